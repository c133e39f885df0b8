//! End-to-end suite and its test hosts.
