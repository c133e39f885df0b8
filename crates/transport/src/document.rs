//! A small body, kept in memory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

/// A file in memory that never grows beyond its limit, to be handed over for a manifest, a signature or a key.
///
/// Its length is the limit from the start and is sealed: what does not fit cannot be written, and memory is used only for
/// what is. The length of the body is in the reply.
#[derive(Debug)]
pub struct Document {
    file: File,
    limit: u64,
}

impl Document {
    /// An empty one, for at most `limit` bytes.
    pub fn new(limit: u64) -> io::Result<Self> {
        let file = memfd_create("rkt-document", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, limit)?;
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self { file: File::from(file), limit })
    }

    /// A copy of the first `length` bytes.
    ///
    /// # Errors
    /// `InvalidInput` for more than its limit.
    pub fn read(&self, length: u64) -> io::Result<Vec<u8>> {
        let wanted = usize::try_from(length.min(self.limit)).map_err(io::Error::other)?;
        if length > self.limit {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut content = vec![0; wanted];
        self.file.read_exact_at(&mut content, 0)?;
        Ok(content)
    }
}

impl AsFd for Document {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_limit_and_no_more() {
        let document = Document::new(100).unwrap();
        let copy = File::from(document.as_fd().try_clone_to_owned().unwrap());
        copy.write_all_at(b"content", 0).unwrap();
        assert!(copy.write_all_at(b"beyond", 97).is_err());
        assert!(copy.set_len(200).is_err());
        assert!(copy.set_len(0).is_err());
        assert_eq!(document.read(7).unwrap(), b"content");
        assert!(document.read(101).is_err());
    }
}
