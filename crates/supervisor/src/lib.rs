//! Process 1 of a pod: starts apps, reaps them, records exit status, serves the control socket.
//!
//! This library is what others need to talk to it: [`PodSpec`], which it reads at its start, and
//! [`control`], the protocol of its socket.

pub mod control;
pub mod pod;

pub use pod::PodSpec;
