//! What can be wrong with an archive. The unpack helper sends these to its parent, so they are plain data.

use serde::{Deserialize, Serialize};

use crate::decompress::{Compression, DecompressError};
use crate::limits::Limit;

/// Why an archive was refused or could not be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveError {
    /// There is nothing in the file.
    #[error("The file is empty")]
    Empty,
    /// Neither a tar archive nor a compressed one.
    #[error("This is not a tar archive, nor one that gzip, bzip2, xz or zstd compressed")]
    NotAnArchive,
    /// The archive ends in the middle.
    #[error("The archive is cut off {place}; fetch or copy the file again")]
    Truncated {
        /// Where.
        place: String,
    },
    /// The compressed stream is damaged.
    #[error("The {format} stream is damaged ({detail}); fetch or copy the file again")]
    Stream {
        /// How it is compressed.
        format: Compression,
        /// What the decoder says.
        detail: String,
    },
    /// A tar header is damaged or means nothing.
    #[error("The archive has a bad header after {after}: {detail}")]
    Header {
        /// The last good entry.
        after: String,
        /// What is wrong.
        detail: String,
    },
    /// Something follows the end of the archive.
    #[error("The archive has data after its end")]
    TrailingData,
    /// A limit was passed.
    #[error("The archive is over the limit for the {limit}, which is {value}{}{}", at(.entry), way(*.limit))]
    Limit {
        /// Which limit.
        limit: Limit,
        /// Its value.
        value: u64,
        /// The entry that passed it, when one did.
        entry: Option<String>,
    },
    /// An entry is not acceptable.
    #[error("Entry {entry} of the archive {problem}")]
    Entry {
        /// Its path, quoted.
        entry: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The archive has no manifest.
    #[error("The archive has no manifest, so it is not an App Container image")]
    NoManifest,
    /// The archive has no root file system.
    #[error("The archive has no rootfs directory, so it is not an App Container image")]
    NoRootfs,
    /// The source could not be read.
    #[error("Cannot read the archive: {}", system_text(*.errno))]
    Read {
        /// The system's error number.
        errno: i32,
    },
    /// The system refused something while unpacking.
    #[error("Cannot {doing} {entry}: {}", system_text(*.errno))]
    System {
        /// What was being done.
        doing: String,
        /// To which entry.
        entry: String,
        /// The system's error number.
        errno: i32,
    },
}

impl ArchiveError {
    /// Whether the archive is to blame, and not the system that it was unpacked on.
    pub fn is_about_content(&self) -> bool {
        !matches!(self, ArchiveError::Read { .. } | ArchiveError::System { .. })
    }
}

/// What is wrong with one entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// `..` in its path.
    #[error("would leave the image: its path has a \"..\"")]
    ParentInPath,
    /// An absolute path.
    #[error("would leave the image: its path is absolute")]
    AbsolutePath,
    /// A NUL in its path or link target.
    #[error("has a NUL byte in its name")]
    Nul,
    /// Neither `manifest` nor below `rootfs`.
    #[error("does not belong: only \"manifest\" and what is below \"rootfs\" may be there")]
    NotInLayout,
    /// A second manifest.
    #[error("comes twice")]
    Twice,
    /// The manifest is something else than a regular file.
    #[error("must be a regular file")]
    NotAFile,
    /// The manifest is not UTF-8.
    #[error("is not text")]
    NotText,
    /// `rootfs` is something else than a directory.
    #[error("must be a directory")]
    NotADirectory,
    /// A type of entry that means nothing here.
    #[error("is of type {0:?}, which has no meaning in an image")]
    UnknownType(char),
    /// Content where there can be none.
    #[error("has content, which only a regular file can")]
    Content,
    /// A number out of its range.
    #[error("has a {0} that is out of range")]
    Number(String),
    /// A sparse file whose map does not fit.
    #[error("is a sparse file whose map does not add up")]
    SparseMap,
    /// A symbolic link to nothing.
    #[error("is a link without a target")]
    NoTarget,
    /// A hard link whose target is not in the image.
    #[error("is a hard link to {0}, which is outside the image")]
    LinkOutside(String),
    /// A hard link whose target is not in the archive.
    #[error("is a hard link to {0}, which is not in the archive")]
    LinkMissing(String),
    /// A hard link to a directory.
    #[error("is a hard link to {0}, which is a directory")]
    LinkToDirectory(String),
    /// A whiteout of nothing.
    #[error("takes away nothing: a name must follow \".wh.\"")]
    BadWhiteout,
    /// Character device 0/0.
    #[error("is the character device 0/0, which overlayfs would take for a deletion")]
    Whiteout,
    /// Below something that is no directory.
    #[error("stands below something that is not a directory")]
    BelowFile,
}

impl ArchiveError {
    pub(crate) fn entry(path: &[u8], problem: Problem) -> Self {
        ArchiveError::Entry { entry: quoted(path), problem }
    }

    pub(crate) fn limit(limit: Limit, value: impl Into<u64>, path: Option<&[u8]>) -> Self {
        ArchiveError::Limit { limit, value: value.into(), entry: path.map(quoted) }
    }

    pub(crate) fn system(doing: &str, path: &[u8], errno: rustix::io::Errno) -> Self {
        ArchiveError::System { doing: doing.to_owned(), entry: quoted(path), errno: errno.raw_os_error() }
    }
}

impl From<DecompressError> for ArchiveError {
    fn from(error: DecompressError) -> Self {
        match error {
            DecompressError::Read(cause) => ArchiveError::Read {
                errno: cause.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()),
            },
            DecompressError::Truncated(format) => {
                ArchiveError::Truncated { place: format!("in its {format} stream") }
            }
            DecompressError::Corrupt { format, detail } => ArchiveError::Stream { format, detail },
            DecompressError::Memory { limit, .. } => ArchiveError::limit(Limit::DecoderMemory, limit, None),
        }
    }
}

fn at(entry: &Option<String>) -> String {
    entry.as_ref().map(|entry| format!(" (at {entry})")).unwrap_or_default()
}

fn way(limit: Limit) -> String {
    let text = |setting| {
        format!("; {setting:?} in a document of kind \"imageLimits\" in /etc/rkt/images.d raises it")
    };
    limit.setting().map(text).unwrap_or_default()
}

fn system_text(number: i32) -> String {
    rustix::io::Errno::from_raw_os_error(number).to_string()
}

/// A name out of an archive as text for an error: in quotes, control characters escaped, and not endless.
pub(crate) fn quoted(path: &[u8]) -> String {
    const SHOWN: usize = 300;
    let text = String::from_utf8_lossy(&path[..path.len().min(SHOWN)]);
    let dots = if path.len() > SHOWN { "…" } else { "" };
    format!("{text:?}{dots}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_harmlessly() {
        for (name, shown) in [
            (&b"rootfs/a"[..], r#""rootfs/a""#),
            (b"a\nb\x1b[31m\"", r#""a\nb\u{1b}[31m\"""#),
            (b"\xff", "\"\u{fffd}\""),
        ] {
            assert_eq!(quoted(name), shown);
        }
        assert_eq!(quoted(&[b'a'; 4000]).chars().count(), 303);
    }

    #[test]
    fn errors_survive_the_way_to_the_parent() {
        let error = ArchiveError::limit(Limit::Depth, 256u64, Some(b"rootfs/a"));
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<ArchiveError>(&text).unwrap(), error);
        assert_eq!(
            error.to_string(),
            r#"The archive is over the limit for the depth of directories, which is 256 (at "rootfs/a")"#
        );
    }
}
