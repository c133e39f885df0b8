//! Where a body goes: into a file that rkt handed over.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, fstat, ftruncate};
use rustix::io::{Errno, pread, pwrite};
use transport::Failure;
use transport::digest::{Algorithm, Digest, Hasher};

use crate::http::Answer;
use crate::session::Reporter;

/// How much is read at once from a part that is there already.
const PIECE: usize = 1 << 20;

/// A file and how much of the body it holds.
#[derive(Debug)]
pub(crate) struct Sink {
    file: OwnedFd,
    /// The first so many bytes are the body's.
    length: u64,
    /// Hashes them, when somebody wants to know.
    hasher: Option<Hasher>,
}

fn failure(error: Errno) -> Failure {
    Failure::File { reason: std::io::Error::from(error).to_string() }
}

impl Sink {
    /// Starts with nothing of the body in `file`.
    pub(crate) fn new(file: OwnedFd, digest: Option<Algorithm>) -> Result<Self, Failure> {
        let stat = fstat(&file).map_err(failure)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Failure::BadRequest { reason: "a body can only go to a regular file".to_owned() });
        }
        Ok(Self { file, length: 0, hasher: digest.map(Hasher::new) })
    }

    /// How many bytes the file has, of whatever.
    pub(crate) fn file_size(&self) -> Result<u64, Failure> {
        let stat = fstat(&self.file).map_err(failure)?;
        u64::try_from(stat.st_size).map_err(|_| failure(Errno::OVERFLOW))
    }

    /// How much of the body is there.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Takes all that is in the file as the first part of the body.
    pub(crate) async fn adopt(&mut self) -> Result<(), Failure> {
        let size = self.file_size()?;
        let Some(hasher) = &mut self.hasher else {
            self.length = size;
            return Ok(());
        };
        let mut piece = vec![0; PIECE];
        self.length = 0;
        loop {
            let count = pread(&self.file, &mut piece, self.length).map_err(failure)?;
            if count == 0 {
                return Ok(());
            }
            hasher.update(&piece[..count]);
            self.length += count as u64;
            // Others have their turn too.
            tokio::task::yield_now().await;
        }
    }

    /// Starts again with nothing.
    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        self.rewind();
        self.cut()
    }

    /// Forgets what is there without touching the file: a server that has nothing new leaves it as it is.
    pub(crate) fn rewind(&mut self) {
        self.length = 0;
        if let Some(hasher) = &mut self.hasher {
            *hasher = Hasher::new(hasher.algorithm());
        }
    }

    /// Cuts off what is in the file beyond the body.
    pub(crate) fn cut(&self) -> Result<(), Failure> {
        match ftruncate(&self.file, self.length) {
            // A document in memory keeps its length.
            Ok(()) | Err(Errno::PERM) => Ok(()),
            Err(error) => Err(failure(error)),
        }
    }

    /// Appends to the body.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = match pwrite(&self.file, rest, self.length) {
                Err(Errno::INTR) => continue,
                result => result.map_err(failure)?,
            };
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&rest[..count]);
            }
            self.length += count as u64;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Appends the rest of the body from a response. What came stays when the connection breaks.
    ///
    /// `limit` is for the whole of the body.
    pub(crate) async fn receive(
        &mut self,
        answer: &mut Answer,
        limit: u64,
        total: Option<u64>,
        reporter: &Reporter,
    ) -> Result<(), Failure> {
        if total.is_some_and(|total| total > limit) {
            return Err(Failure::TooLarge { url: answer.url(), limit });
        }
        loop {
            let chunk = match answer.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if total.is_some_and(|total| total > self.length) => {
                    let (url, reason) = (answer.url(), "the answer ends early".to_owned());
                    return Err(Failure::Interrupted { url, received: self.length, reason });
                }
                Ok(None) => return Ok(()),
                Err(Failure::Interrupted { url, reason, .. }) => {
                    return Err(Failure::Interrupted { url, received: self.length, reason });
                }
                Err(other) => return Err(other),
            };
            let bytes = chunk.as_ref();
            if bytes.len() as u64 > limit.saturating_sub(self.length) {
                return Err(Failure::TooLarge { url: answer.url(), limit });
            }
            self.write(bytes)?;
            reporter.progress(self.length, total);
        }
    }

    /// The digest of the body so far, when one was wanted.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.hasher.clone().map(Hasher::finish)
    }
}
