//! Copying layers into a directory, for pods without overlays and for parts of layers.
//!
//! A higher layer replaces what a lower one has; directories are joined. A character device 0/0 in a layer takes away what is
//! below it, as overlayfs reads it. Blocks are shared where the file system can, holes stay holes, hard links
//! within a layer stay links.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::remove::{names, remove_tree};
use crate::store::Tree;
use crate::unpack::OPAQUE;

/// Directories inside one another that are copied at most: each holds two descriptors open.
const DEPTH: usize = 400;

/// Copies the files of `tree` into the empty directory `target`.
///
/// # Errors
/// What reading a layer or writing to `target` says; `ENAMETOOLONG` for directories that are nested too deep.
pub fn copy_tree(tree: &Tree, target: BorrowedFd<'_>) -> io::Result<()> {
    for layer in tree.layers.iter().rev() {
        copy(layer, target, &Whitelist::default(), true)?;
    }
    Ok(())
}

/// Copies the part of the layer at `source` that `whitelist` shows into the empty directory `target`. It stays a layer: what it
/// takes away from those below, it still does.
pub(crate) fn copy_layer(source: &Path, target: BorrowedFd<'_>, whitelist: &Whitelist) -> io::Result<()> {
    copy(source, target, whitelist, false)
}

fn copy(source: &Path, target: BorrowedFd<'_>, whitelist: &Whitelist, flatten: bool) -> io::Result<()> {
    let source = sys::path::open_directory(source)?;
    let mut copier = Copier { target, whitelist, flatten, links: HashMap::new(), path: PathBuf::new() };
    copier.directory(source.as_fd(), target, 0)?;
    Ok(())
}

/// Which paths are copied: those that all lists name, and the directories on the way to them. No list, all paths.
#[derive(Debug, Default)]
pub(crate) struct Whitelist {
    lists: Vec<BTreeSet<PathBuf>>,
}

impl Whitelist {
    /// The lists, of paths relative to the root.
    pub(crate) fn new(lists: &[BTreeSet<PathBuf>]) -> Self {
        let with_parents = |list: &BTreeSet<PathBuf>| {
            list.iter().flat_map(|path| path.ancestors()).map(Path::to_owned).collect()
        };
        Self { lists: lists.iter().map(with_parents).collect() }
    }

    fn shows(&self, path: &Path) -> bool {
        self.lists.iter().all(|list| list.contains(path))
    }
}

struct Copier<'a> {
    target: BorrowedFd<'a>,
    whitelist: &'a Whitelist,
    /// Whether what takes away takes away, and is gone then.
    flatten: bool,
    /// Where the files with several names are in the target, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    path: PathBuf,
}

impl Copier<'_> {
    /// Copies what is in `source`, and what `source` itself is, to `target`.
    fn directory(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        depth: usize,
    ) -> Result<(), Errno> {
        if depth > DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        for name in names(source)? {
            self.path.push(std::ffi::OsStr::from_bytes(name.to_bytes()));
            if self.whitelist.shows(&self.path) {
                self.entry(source, target, &name, depth)?;
            }
            self.path.pop();
        }
        copy_attributes(source, target)
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), Errno> {
        let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let from = open(source, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let opaque = is_opaque(&from);
            if opaque && self.flatten {
                remove_tree(target, name)?;
            }
            let into = self.make_directory(target, name)?;
            if opaque && !self.flatten {
                rustix::fs::fsetxattr(&into, OPAQUE, b"y", XattrFlags::empty())?;
            }
            return self.directory(from.as_fd(), into.as_fd(), depth + 1);
        }
        remove_tree(target, name)?;
        if self.flatten && kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return Ok(());
        }
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                return rustix::fs::linkat(self.target, first, target, name, AtFlags::empty());
            }
            self.links.insert(identity, self.path.clone());
        }
        match kind {
            FileType::RegularFile => copy_file(source, target, name, &stat),
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(source, name, Vec::new())?;
                rustix::fs::symlinkat(&*text, target, name)?;
                set_owner(target, name, &stat)
            }
            _ => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                rustix::fs::mknodat(target, name, kind, mode, stat.st_rdev)?;
                set_owner(target, name, &stat)?;
                rustix::fs::chmodat(target, name, mode, AtFlags::empty())
            }
        }
    }

    fn make_directory(&self, target: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match open(target, name, flags) {
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => remove_tree(target, name)?,
            opened => return opened,
        }
        rustix::fs::mkdirat(target, name, Mode::RWXU)?;
        open(target, name, flags)
    }
}

/// Whether a directory of a layer hides what layers below have in it.
fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0; 2];
    rustix::fs::fgetxattr(directory, OPAQUE, &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

fn open(at: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn copy_file(source: BorrowedFd<'_>, target: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let from = open(source, name, OFlags::RDONLY)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let into = rustix::fs::openat(target, name, flags, Mode::RUSR | Mode::WUSR)?;
    if rustix::fs::ioctl_ficlone(&into, &from).is_err() {
        copy_content(&from, &into, stat)?;
    }
    copy_attributes(from.as_fd(), into.as_fd())
}

/// Copies the parts of a file that are no holes.
fn copy_content(from: &OwnedFd, into: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    let length = stat.st_size.unsigned_abs();
    rustix::fs::ftruncate(into, length)?;
    let mut at = 0;
    while at < length {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => return Ok(()),
            found => found?,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start))?.min(length);
        let (mut read, mut written) = (start, start);
        while read < end {
            let wanted = usize::try_from(end - read).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(from, Some(&mut read), into, Some(&mut written), wanted) {
                Ok(0) => return Err(Errno::IO),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                    copy_bytes(from, into, &mut read, end)?;
                    written = read;
                }
                Err(error) => return Err(error),
            }
        }
        at = end;
    }
    Ok(())
}

/// Copies up to `end` through memory.
fn copy_bytes(from: &OwnedFd, into: &OwnedFd, at: &mut u64, end: u64) -> Result<(), Errno> {
    let mut buffer = vec![0; 128 << 10];
    while *at < end {
        let wanted = usize::try_from(end - *at).unwrap_or(usize::MAX).min(buffer.len());
        let count = rustix::io::pread(from, &mut buffer[..wanted], *at)?;
        if count == 0 {
            return Err(Errno::IO);
        }
        let mut done = 0;
        while done < count {
            done += rustix::io::pwrite(into, &buffer[done..count], *at + done as u64)?;
        }
        *at += count as u64;
    }
    Ok(())
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn set_owner(target: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (user, group) = owner(stat);
    rustix::fs::chownat(target, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(target, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Gives `target` the owner, mode, extended attributes and times of `source`, in the order in which they last.
pub(crate) fn copy_attributes(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(source)?;
    let (user, group) = owner(&stat);
    rustix::fs::fchown(target, user, group)?;
    rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode))?;
    copy_xattrs(source, target)?;
    rustix::fs::futimens(target, &times(&stat))
}

/// Those that unpacking keeps, too: others belong to this host, not to the image.
fn copy_xattrs(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    for (name, value) in xattrs(source)?.iter().filter(|(name, _)| name.as_bytes() != OPAQUE.as_bytes()) {
        rustix::fs::fsetxattr(target, &**name, value, XattrFlags::empty())?;
    }
    Ok(())
}

/// The extended attributes of a file that say something about it: those that unpacking keeps, and the mark of an opaque directory.
pub(crate) fn xattrs(file: BorrowedFd<'_>) -> Result<Vec<(CString, Vec<u8>)>, Errno> {
    let mut list = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut list[..]) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut found = Vec::new();
    for name in list[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let bytes = name.to_bytes();
        let counts = bytes == b"security.capability"
            || bytes == OPAQUE.as_bytes()
            || (bytes.starts_with(b"user.") && !bytes.starts_with(b"user.overlay."));
        if counts {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::fgetxattr(file, name, &mut value[..])?;
            value.truncate(length);
            found.push((name.to_owned(), value));
        }
    }
    found.sort();
    Ok(found)
}
