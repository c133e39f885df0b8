//! Mounts that were left in a pod directory.
