//! One pass over an archive: decompress → digest and walk → unpack, each step in a thread of its own.
//!
//! ```text
//! source ─▶ decompress ─┬─▶ SHA-512 (of a layer SHA-256)
//!                       └─▶ walk, unpack        (chunks of 256 KiB, shared, at most 8 on the way to each)
//! ```
//! Memory does not grow with the archive. The digest is that of the whole uncompressed stream, padding
//! included, so it counts only when the walk came to its end.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};
use transport::digest::{Algorithm, Hasher};

use crate::archive::{ArchiveError, Feed};
use crate::decompress::{Compression, Decompressor};
use crate::limits::{Limit, Limits, RATIO_GRACE};
use crate::unpack::{Marks, Unpacked, Unpacker};

pub use walk::manifest;

mod walk;

const CHUNK: usize = 256 << 10;
const ON_THE_WAY: usize = 8;

/// What an archive is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// An App Container image: a manifest and a root file system. Its digest is SHA-512.
    Image,
    /// A layer of an OCI or Docker image: changes to the layers below. Its digest is SHA-256.
    Layer,
    /// An archive around an OCI or Docker image: files to be read by us, whatever owner and mode they have.
    /// Its digest means nothing.
    Parts,
}

/// What one pass over an archive found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Digest of the uncompressed archive in hexadecimal digits; which one, [`Content`] says.
    pub digest: String,
    /// Length of the uncompressed archive in bytes.
    pub size: u64,
    /// How it was compressed.
    pub compression: Compression,
    /// Number of entries.
    pub entries: u64,
    /// Bytes written to files.
    pub unpacked: u64,
    /// Extended attributes that were dropped.
    pub dropped_xattrs: u64,
    /// The image manifest, byte for byte; empty when the archive is no image.
    pub manifest: String,
    /// Directories of a layer that say something about those below.
    pub marks: Marks,
}

/// Reads the archive `source` once. With `root`, an empty directory, its files are unpacked there; without, it
/// is only checked. `umask_cleared` is for [`Unpacker::new`].
pub fn run(
    content: Content,
    source: impl Read + Send + 'static,
    root: Option<OwnedFd>,
    limits: &Limits,
    umask_cleared: bool,
) -> Result<Outcome, ArchiveError> {
    let unpacker = root.map(|root| Unpacker::new(root, limits, umask_cleared)).transpose()?;
    let (to_walk, walked) = sync_channel(ON_THE_WAY);
    let (to_hash, hashed) = sync_channel::<Arc<Chunk>>(ON_THE_WAY);
    let bounds = limits.clone();
    let decompress = spawn("decompress", move || decompress(source, &bounds, &to_walk, &to_hash))?;
    let hash = spawn("digest", move || match content {
        Content::Image => digest(Algorithm::Sha512, hashed),
        Content::Layer => digest(Algorithm::Sha256, hashed),
        Content::Parts => {
            hashed.into_iter().for_each(drop);
            String::new()
        }
    })?;
    // When the walk fails the threads are not waited for: the source may never end. They stop by themselves,
    // for nobody takes their chunks any more.
    let feed = ChunkFeed { chunks: walked, current: None, used: 0 };
    let walk = walk::walk(content, feed, unpacker, limits)?;
    let (Ok((compression, size)), Ok(digest)) = (decompress.join(), hash.join()) else {
        // Unreachable with panic = "abort".
        return Err(ArchiveError::Read { errno: rustix::io::Errno::IO.raw_os_error() });
    };
    let Unpacked { bytes, dropped_xattrs, marks } = walk.unpacked;
    Ok(Outcome {
        digest,
        size,
        compression,
        entries: walk.entries,
        unpacked: bytes,
        dropped_xattrs,
        manifest: walk.manifest,
        marks,
    })
}

/// Hands the uncompressed `source` to `write`, piece by piece, and returns its SHA-512.
pub fn expand(
    source: impl Read,
    limits: &Limits,
    write: impl Fn(&[u8]) -> rustix::io::Result<()>,
) -> Result<String, ArchiveError> {
    let mut decompressor = Decompressor::new(source, limits.decoder_memory)?;
    let mut hasher = Hasher::new(Algorithm::Sha512);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = decompressor.fill(&mut buffer)?;
        hasher.update(&buffer[..count]);
        write(&buffer[..count]).map_err(|error| ArchiveError::System {
            doing: "write".to_owned(),
            entry: "the archive".to_owned(),
            errno: error.raw_os_error(),
        })?;
        if count < CHUNK {
            return Ok(hasher.finish().hex().to_owned());
        }
    }
}

fn digest(algorithm: Algorithm, chunks: Receiver<Arc<Chunk>>) -> String {
    let mut hasher = Hasher::new(algorithm);
    for chunk in chunks {
        hasher.update(chunk.bytes());
    }
    hasher.finish().hex().to_owned()
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A piece of the uncompressed stream. Its buffer goes home when the last reader is done with it.
struct Chunk {
    buffer: Vec<u8>,
    len: usize,
    home: Sender<Vec<u8>>,
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let _ = self.home.send(std::mem::take(&mut self.buffer));
    }
}

/// Sends the uncompressed stream to both readers; returns the format and the length of the stream.
fn decompress(
    source: impl Read,
    limits: &Limits,
    to_walk: &SyncSender<Result<Arc<Chunk>, ArchiveError>>,
    to_hash: &SyncSender<Arc<Chunk>>,
) -> (Compression, u64) {
    let mut format = Compression::Plain;
    let mut size = 0;
    let result = (|| {
        let (home, returned) = channel();
        let mut decompressor = Decompressor::new(source, limits.decoder_memory)?;
        format = decompressor.format();
        loop {
            let mut buffer = returned.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
            let len = decompressor.fill(&mut buffer)?;
            size += len as u64;
            if size > limits.unpacked {
                return Err(ArchiveError::limit(Limit::Unpacked, limits.unpacked, None));
            }
            if size > RATIO_GRACE && size / decompressor.taken().max(1) > limits.ratio {
                return Err(ArchiveError::limit(Limit::Ratio, limits.ratio, None));
            }
            let chunk = Arc::new(Chunk { buffer, len, home: home.clone() });
            let last = len < CHUNK;
            if to_walk.send(Ok(Arc::clone(&chunk))).is_err() || to_hash.send(chunk).is_err() || last {
                return Ok(());
            }
        }
    })();
    if let Err(error) = result {
        let _ = to_walk.send(Err(error));
    }
    (format, size)
}

/// The chunks as the walker wants them.
struct ChunkFeed {
    chunks: Receiver<Result<Arc<Chunk>, ArchiveError>>,
    current: Option<Arc<Chunk>>,
    used: usize,
}

impl Feed for ChunkFeed {
    fn fill(&mut self) -> Result<&[u8], ArchiveError> {
        while self.current.as_ref().is_none_or(|chunk| self.used == chunk.len) {
            self.used = 0;
            self.current = None;
            match self.chunks.recv() {
                Ok(chunk) => self.current = Some(chunk?),
                Err(_) => return Ok(&[]),
            }
        }
        Ok(self.current.as_ref().map_or(&[][..], |chunk| &chunk.bytes()[self.used..]))
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, ArchiveError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| ArchiveError::System {
        doing: "start a thread for".to_owned(),
        entry: "the archive".to_owned(),
        errno: error.raw_os_error().unwrap_or(0),
    })
}
