//! What the command line says about the apps of a pod.

pub(crate) mod flags;
