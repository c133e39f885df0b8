//! Makes one app a running process: its file system, identity, limits and exec.
