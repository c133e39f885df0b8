//! `rkt image`.

pub(crate) mod cat_manifest;
pub(crate) mod export;
pub(crate) mod extract;
pub(crate) mod gc;
pub(crate) mod list;
pub(crate) mod rm;
pub(crate) mod verify;
