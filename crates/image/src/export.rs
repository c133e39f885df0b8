//! Writing a directory as an App Container image.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

use crate::copy::xattrs;
use crate::remove::names;

/// Directories inside one another that are written at most: each holds a descriptor open.
const DEPTH: usize = 400;

const BLOCK: usize = 512;

/// Writes `manifest` and the files of `rootfs`, by name, as a compressed App Container image to `out`.
///
/// # Errors
/// What reading a file or writing to `out` says; `ENAMETOOLONG` for directories that are nested too deep.
pub fn write_compressed(manifest: &[u8], rootfs: BorrowedFd<'_>, out: &File) -> io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    write(manifest, rootfs, &mut encoder)?;
    encoder.finish().map(drop)
}

/// Writes `manifest` and the files of `rootfs`, by name, as an uncompressed archive to `out`.
pub(crate) fn write(manifest: &[u8], rootfs: BorrowedFd<'_>, out: impl Write) -> io::Result<()> {
    let mut writer = Writer { out: BufWriter::with_capacity(256 << 10, out), links: HashMap::new() };
    let mut header = EntryBuilder::new_ustar();
    header.path("manifest").entry_type(EntryType::Regular);
    set(header.mode(0o644))?;
    set(header.uid(0))?;
    set(header.gid(0))?;
    set(header.mtime(0))?;
    set(header.size(manifest.len() as u64))?;
    writer.out.write_all(&header.finish_bytes())?;
    writer.out.write_all(manifest)?;
    writer.pad(manifest.len() as u64)?;
    writer.directory(rootfs, b"rootfs", 0)?;
    writer.out.write_all(&[0; 2 * BLOCK])?;
    writer.out.flush()
}

struct Writer<W: Write> {
    out: BufWriter<W>,
    /// Where files with several names were written first.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Writer<W> {
    fn directory(&mut self, dir: BorrowedFd<'_>, path: &[u8], depth: usize) -> io::Result<()> {
        if depth > DEPTH {
            return Err(Errno::NAMETOOLONG.into());
        }
        let stat = rustix::fs::fstat(dir)?;
        self.header(path, EntryType::Directory, &stat, 0, &xattrs(dir)?, |_| Ok(()))?;
        let mut names = names(dir)?;
        names.sort();
        for name in names {
            let path = [path, b"/", name.to_bytes()].concat();
            self.entry(dir, &name, &path, depth)?;
        }
        Ok(())
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &[u8], depth: usize) -> io::Result<()> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return self.directory(open(dir, name, OFlags::DIRECTORY)?.as_fd(), path, depth + 1);
        }
        if stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&identity).cloned() {
                return self.header(path, EntryType::Link, &stat, 0, &[], |header| {
                    header.link_name(first);
                    Ok(())
                });
            }
            self.links.insert(identity, path.to_vec());
        }
        let device = |header: &mut EntryBuilder| {
            let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            set(header.device(major, minor))
        };
        match kind {
            FileType::RegularFile => {
                let file = File::from(open(dir, name, OFlags::NONBLOCK)?);
                let size = stat.st_size.unsigned_abs();
                self.header(path, EntryType::Regular, &stat, size, &xattrs(file.as_fd())?, |_| Ok(()))?;
                let copied = io::copy(&mut file.take(size), &mut self.out)?;
                if copied != size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.pad(size)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
                self.header(path, EntryType::Symlink, &stat, 0, &[], |header| {
                    header.link_name(target.to_bytes());
                    Ok(())
                })
            }
            FileType::CharacterDevice => self.header(path, EntryType::Char, &stat, 0, &[], device),
            FileType::BlockDevice => self.header(path, EntryType::Block, &stat, 0, &[], device),
            FileType::Fifo => self.header(path, EntryType::Fifo, &stat, 0, &[], |_| Ok(())),
            // A socket belongs to a process, not to an image.
            _ => Ok(()),
        }
    }

    fn header(
        &mut self,
        path: &[u8],
        kind: EntryType,
        stat: &Stat,
        size: u64,
        xattrs: &[(std::ffi::CString, Vec<u8>)],
        more: impl FnOnce(&mut EntryBuilder) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut header = EntryBuilder::new_ustar();
        header.path(path).entry_type(kind);
        set(header.mode(stat.st_mode & 0o7777))?;
        set(header.uid(stat.st_uid.into()))?;
        set(header.gid(stat.st_gid.into()))?;
        set(header.mtime(u64::try_from(stat.st_mtime).unwrap_or(0)))?;
        set(header.size(size))?;
        // What is written is no layer.
        for (name, value) in xattrs.iter().filter(|(name, _)| !name.to_bytes().starts_with(b"trusted.")) {
            header.add_pax(&format!("SCHILY.xattr.{}", name.to_string_lossy()), value);
        }
        more(&mut header)?;
        self.out.write_all(&header.finish_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        if over > 0 {
            self.out.write_all(&[0; BLOCK][over..])?;
        }
        Ok(())
    }
}

/// What cannot be expressed in a header.
fn set<T, E: std::error::Error + Send + Sync + 'static>(result: Result<T, E>) -> io::Result<()> {
    result.map(drop).map_err(io::Error::other)
}

fn open(at: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}
