//! Image store: import, verify, unpack, list and remove images.
//!
//! The on-disk format is drawn in [`store`]. An archive passes through [`decompress`], [`archive`] and
//! [`unpack`] in one go ([`pipeline`]), in a process of its own ([`helper`]). [`oci`] is about images of the other kind.

pub mod archive;
pub mod decompress;
pub mod helper;
pub mod limits;
pub mod oci;
pub mod pipeline;
pub mod store;
pub mod unpack;

mod compare;
mod copy;
mod export;
#[cfg(test)]
mod fuzz;
mod remove;

pub use copy::copy_tree;
pub use export::write_compressed;
pub use limits::Limits;
pub use oci::{LayerSource, OciError, OciImport, OciName};
pub use remove::remove_tree;
pub use store::{
    Image, ImportRequest, LocalImage, Refusal, Staged, Store, StoreError, Tree, Verification, Verifier,
};
