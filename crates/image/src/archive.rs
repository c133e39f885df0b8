//! Reading tar archives that nobody vouches for.
//!
//! [`Walker`] goes over the entries of an uncompressed stream (POSIX ustar and pax, GNU, old V7; sparse files of
//! all formats), [`Entry`] is one of them with everything checked that can be checked without the others, and
//! [`aci`] has the rules of an App Container image, [`layer`] those of a layer of an OCI image, [`parts`] those of an archive around one. Nothing here touches a file system: that is
//! [`crate::unpack`].
//!
//! The parser underneath is `tar-core`, known to [`walker`](self) and [`entry`](self) only. Stricter than other
//! readers on purpose, so that an archive means one thing: the two blocks of zeros at the end must be there
//! and only zeros may follow, and content where there can be none, numbers that overflow, broken extended
//! headers and global extended headers with a meaning are errors.

pub mod aci;
mod entry;
mod error;
pub mod layer;
pub mod parts;
#[cfg(test)]
pub(crate) mod sample;
mod walker;

pub use entry::{Entry, Kind, Region, Time};
pub(crate) use error::quoted;
pub use error::{ArchiveError, Problem};
pub use walker::{Feed, Walker};
