//! The directories on the way to where the unpacker works, held open.
//!
//! Archives come depth first, so most entries find their parent open. A directory gets its modification time
//! when it is left: what was put into it before does not change it any more, and memory does not grow with the
//! number of directories. On the way in, the time that a directory has is remembered.
//!
//! No symbolic link is followed on this way. A path that leads through one is looked up by the kernel as if the
//! root were `/`, and its directory (the alias) is held for one entry only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use sys::path::{create_dir_all_in_root, open_beneath, open_in_root};

use super::{Marks, bytes_as_path};
use crate::archive::{ArchiveError, Problem, Time};
use crate::limits::{Limit, Limits};

/// How a directory is opened to work in it.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// Mode of directories that the archive needs but does not have.
pub(super) const IMPLICIT: Mode = Mode::from_raw_mode(0o755);

/// A directory that is worked in.
#[derive(Debug)]
pub(super) struct Level {
    name: Vec<u8>,
    /// Its handle.
    pub(super) dir: OwnedFd,
    /// What it gets when it is left.
    mtime: Time,
    /// Whether new files in it take its group.
    pub(super) inherits_group: bool,
}

#[derive(Debug)]
pub(super) struct Levels {
    /// The root first; never empty.
    stack: Vec<Level>,
    /// The path of the last one.
    path: Vec<u8>,
    alias: Option<Level>,
    depth: u32,
    pub(super) marks: Marks,
}

impl Levels {
    pub(super) fn new(root: OwnedFd, limits: &Limits) -> Result<Self, ArchiveError> {
        let mut root = Level::hold(root, b"")?;
        root.mtime = Time::default();
        let mut marks = Marks::default();
        marks.add_implicit(b"")?;
        Ok(Levels {
            stack: vec![root],
            path: Vec::new(),
            alias: None,
            depth: limits.depth,
            marks: Marks::default(),
        })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.stack[0].dir.as_fd()
    }

    /// The directory that was entered last.
    pub(super) fn current(&self) -> &Level {
        self.alias.as_ref().unwrap_or_else(|| &self.stack[self.stack.len() - 1])
    }

    /// Whether the current directory was reached through a symbolic link.
    pub(super) fn in_alias(&self) -> bool {
        self.alias.is_some()
    }

    /// Sets the time that the root gets in the end.
    pub(super) fn set_root_time(&mut self, mtime: Time) {
        self.stack[0].mtime = mtime;
    }

    /// Goes to the directory `path`, components joined by `/`; makes what is missing.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        if let Some(alias) = self.alias.take() {
            alias.leave()?;
        }
        if path == self.path {
            return Ok(());
        }
        let components: Vec<&[u8]> =
            path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        let shared =
            components.iter().zip(&self.stack[1..]).take_while(|(name, level)| **name == level.name).count();
        self.leave_to(shared)?;
        for name in &components[shared..] {
            match self.open_child(name) {
                Ok((level, made)) => {
                    self.push(level);
                    match made {
                        Made::Not => {}
                        Made::New => self.marks.add_implicit(&self.path)?,
                        Made::OverWhiteout => {
                            self.marks.add_implicit(&self.path)?;
                            self.marks.add_opaque(&self.path)?;
                        }
                    }
                }
                Err(Errno::LOOP) => return self.enter_alias(path),
                Err(Errno::NOTDIR) => return Err(ArchiveError::entry(path, Problem::BelowFile)),
                Err(error) => return Err(ArchiveError::system("open directory", path, error)),
            }
        }
        Ok(())
    }

    /// Goes down into `dir`, just made or opened as `name` in the current directory, which gets `mtime` in the
    /// end.
    pub(super) fn descend(
        &mut self,
        name: &[u8],
        dir: OwnedFd,
        mtime: Time,
        inherits_group: bool,
    ) -> Result<(), ArchiveError> {
        let level = Level { name: name.to_vec(), dir, mtime, inherits_group };
        if self.in_alias() {
            return level.leave();
        }
        self.push(level);
        Ok(())
    }

    /// Leaves all directories.
    pub(super) fn finish(mut self) -> Result<Marks, ArchiveError> {
        if let Some(alias) = self.alias.take() {
            alias.leave()?;
        }
        self.leave_to(0)?;
        self.stack.pop().map_or(Ok(()), Level::leave)?;
        Ok(self.marks)
    }

    fn push(&mut self, level: Level) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&level.name);
        self.stack.push(level);
    }

    /// Leaves all but the root and `kept` directories below it.
    fn leave_to(&mut self, kept: usize) -> Result<(), ArchiveError> {
        while self.stack.len() > kept + 1 {
            let Some(level) = self.stack.pop() else { break };
            self.path.truncate(self.path.len() - level.name.len());
            if self.path.last() == Some(&b'/') {
                self.path.pop();
            }
            level.leave()?;
        }
        Ok(())
    }

    fn open_child(&self, name: &[u8]) -> rustix::io::Result<(Level, Made)> {
        let parent = &self.stack[self.stack.len() - 1];
        let open = || open_beneath(parent.dir.as_fd(), bytes_as_path(name), DIRECTORY, Mode::empty());
        let made = match open() {
            Err(Errno::NOENT) => Made::New,
            Err(Errno::NOTDIR) if is_whiteout(parent.dir.as_fd(), name) => {
                rustix::fs::unlinkat(&parent.dir, name, AtFlags::empty())?;
                Made::OverWhiteout
            }
            opened => return Ok((Level::hold_raw(opened?, name)?, Made::Not)),
        };
        rustix::fs::mkdirat(&parent.dir, name, IMPLICIT)?;
        let dir = open()?;
        if parent.inherits_group {
            own(dir.as_fd())?;
            rustix::fs::fchmod(&dir, IMPLICIT)?;
        }
        Ok((Level { name: name.to_vec(), dir, mtime: Time::default(), inherits_group: false }, made))
    }

    fn enter_alias(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        // The alias may be one of the directories in hand: they get their times first.
        self.leave_to(0)?;
        let system = |error| match error {
            Errno::LOOP | Errno::NOTDIR => ArchiveError::entry(path, Problem::BelowFile),
            error => ArchiveError::system("open directory", path, error),
        };
        let root = self.root();
        let place: &Path = bytes_as_path(path);
        let dir = match open_in_root(root, place, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => create_dir_all_in_root(root, place, IMPLICIT)
                .and_then(|made| open_beneath(made.as_fd(), Path::new("."), DIRECTORY, Mode::empty())),
            opened => opened,
        }
        .map_err(system)?;
        if !self.is_shallow(dir.as_fd()).map_err(system)? {
            return Err(ArchiveError::limit(Limit::Depth, self.depth, Some(path)));
        }
        self.alias = Some(Level::hold(dir, path)?);
        Ok(())
    }

    /// Whether `dir` is within the depth limit: symbolic links make paths shorter than they are.
    fn is_shallow(&self, dir: BorrowedFd<'_>) -> rustix::io::Result<bool> {
        let identity = |dir: BorrowedFd<'_>| rustix::fs::fstat(dir).map(|stat| (stat.st_dev, stat.st_ino));
        let root = identity(self.root())?;
        let mut at = rustix::io::fcntl_dupfd_cloexec(dir, 0)?;
        for _ in 0..self.depth {
            if identity(at.as_fd())? == root {
                return Ok(true);
            }
            at = rustix::fs::openat(
                &at,
                "..",
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
        }
        Ok(false)
    }
}

/// Whether a directory had to be made.
enum Made {
    Not,
    New,
    OverWhiteout,
}

/// Whether `name` in `dir` is a whiteout of this layer.
pub(super) fn is_whiteout(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
    })
}

impl Level {
    fn hold(dir: OwnedFd, path: &[u8]) -> Result<Self, ArchiveError> {
        Level::hold_raw(dir, path).map_err(|error| ArchiveError::system("look at", path, error))
    }

    fn hold_raw(dir: OwnedFd, name: &[u8]) -> rustix::io::Result<Self> {
        let stat = rustix::fs::fstat(&dir)?;
        let mtime =
            Time { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) };
        Ok(Level { name: name.to_vec(), dir, mtime, inherits_group: stat.st_mode & 0o2000 != 0 })
    }

    fn leave(self) -> Result<(), ArchiveError> {
        rustix::fs::futimens(&self.dir, &timestamps(self.mtime))
            .map_err(|error| ArchiveError::system("set the time of", &self.name, error))
    }
}

/// Both times of a file set to `time`.
pub(super) fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Makes `dir` ours, group included.
fn own(dir: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    rustix::fs::chownat(dir, "", Some(user), Some(group), AtFlags::EMPTY_PATH)
}
