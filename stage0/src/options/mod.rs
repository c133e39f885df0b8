//! Flags that several commands share, and the rules of their values.

pub(crate) mod dns;
pub(crate) mod environment;
pub(crate) mod net;
pub(crate) mod pod;
pub(crate) mod pull;
pub(crate) mod runtime;
pub(crate) mod stage1;
