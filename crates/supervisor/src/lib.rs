//! Process 1 of a pod: starts apps, reaps them, records exit status, serves the control socket.
