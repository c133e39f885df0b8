//! Image store: import, verify, unpack, list and remove images.
//!
//! The on-disk format is drawn in [`store`]. An archive passes through [`decompress`], [`archive`] and
//! [`unpack`] in one go ([`pipeline`]), in a process of its own ([`helper`]).

pub mod archive;
pub mod decompress;
pub mod helper;
pub mod limits;
pub mod pipeline;
pub mod store;
pub mod unpack;

mod copy;
mod remove;

pub use copy::copy_tree;
pub use limits::Limits;
pub use store::{Image, ImportRequest, Refusal, Staged, Store, StoreError, Tree, Verifier};
