//! What one archive may cost; every limit has a name that the error gives.

use serde::{Deserialize, Serialize};

/// Bounds on one archive. The defaults are far above what real images need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of one path or link target.
    pub path: u32,
    /// Directories above one entry.
    pub depth: u32,
    /// Bytes of extended headers of one entry.
    pub metadata: u32,
    /// Bytes of the image manifest.
    pub manifest: u64,
    /// Bytes of the uncompressed archive.
    pub unpacked: u64,
    /// Uncompressed bytes for each compressed one, once [`RATIO_GRACE`] bytes came out.
    pub ratio: u64,
    /// Bytes of memory that a decompressor may take for its window.
    pub decoder_memory: u64,
}

/// Uncompressed bytes that are free of the ratio limit: small archives full of zeros are harmless.
pub const RATIO_GRACE: u64 = 256 << 20;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            entries: 5_000_000,
            path: 4095,
            depth: 256,
            metadata: 1 << 20,
            manifest: 8 << 20,
            unpacked: 128 << 30,
            ratio: 1000,
            decoder_memory: 128 << 20,
        }
    }
}

/// Names one of the [`Limits`] in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// [`Limits::entries`].
    Entries,
    /// [`Limits::path`].
    Path,
    /// The 255 bytes that a file name can have on Linux.
    Name,
    /// [`Limits::depth`].
    Depth,
    /// [`Limits::metadata`].
    Metadata,
    /// Regions of a sparse file.
    SparseRegions,
    /// [`Limits::manifest`].
    Manifest,
    /// [`Limits::unpacked`].
    Unpacked,
    /// [`Limits::ratio`].
    Ratio,
    /// [`Limits::decoder_memory`].
    DecoderMemory,
    /// Hard links that stand before the file they link to.
    EarlyLinks,
    /// Directories of a layer that hide those below, or that it does not have itself.
    Marks,
}

impl Limit {
    /// The field of rkt's configuration (kind `imageLimits`, in `images.d`) that sets the limit, if one does.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Limit::Entries => Some("entries"),
            Limit::Unpacked => Some("unpackedBytes"),
            Limit::Ratio => Some("compressionRatio"),
            _ => None,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Limit::Entries => "number of entries",
            Limit::Path => "length of a path",
            Limit::Name => "length of a file name",
            Limit::Depth => "depth of directories",
            Limit::Metadata => "size of an extended header",
            Limit::SparseRegions => "regions of a sparse file",
            Limit::Manifest => "size of the manifest",
            Limit::Unpacked => "unpacked size",
            Limit::Ratio => "compression ratio",
            Limit::DecoderMemory => "memory for decompression",
            Limit::EarlyLinks => "hard links before their targets",
            Limit::Marks => "opaque and missing directories of a layer",
        })
    }
}
