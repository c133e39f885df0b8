//! Image store: import, verify, unpack, list and remove images.

pub mod archive;
pub mod decompress;
pub mod helper;
pub mod limits;
pub mod pipeline;
mod remove;
pub mod unpack;
