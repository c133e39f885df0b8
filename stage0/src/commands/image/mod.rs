//! `rkt image`.

pub(crate) mod cat_manifest;
pub(crate) mod list;
pub(crate) mod rm;
