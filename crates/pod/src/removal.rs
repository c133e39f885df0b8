//! Deleting a pod directory.
//!
//! Nothing is deleted while anything is mounted in it, and the deletion itself never enters another mount: the
//! files of a volume belong to the host. It works on handles, so a path that the pod made (links, loops,
//! ten thousand levels) leads nowhere else and costs no descriptors.
//!
//! Order: the stage1 root, everything else, and last what a later `gc` needs to try again: the stage1's
//! manifest and tree id, and the pod manifest.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use crate::{PodDir, Teardown};

/// Directories deeper than this are moved up to the top and deleted from there.
const DEPTH_MAX: usize = 64;

/// What goes last, in this order.
const LAST: [&CStr; 3] = [c"stage1", c"stage1TreeStoreID", c"pod"];

/// Deletes the pod directory `dir`, called `name` in `pods`.
pub(crate) fn remove(
    pods: BorrowedFd<'_>,
    name: &str,
    dir: &PodDir,
    remove_cgroup: impl FnOnce() -> Result<(), Teardown>,
) -> Result<(), Teardown> {
    crate::mounts::clear(dir.as_fd())?;
    let mut sweep = Sweep::begin(pods, name, dir)?;
    if let Err(teardown) = remove_cgroup() {
        sweep.failed.append(teardown);
    }
    sweep.remove_stage1_root();
    sweep.empty_top();
    if sweep.failed.is_empty() {
        for last in LAST {
            sweep.remove_top_entry(last);
        }
    }
    if sweep.failed.is_empty() {
        match rustix::fs::unlinkat(pods, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => sweep.failed.note(format!("remove {name}"), error),
        }
    }
    sweep.failed.into_result()
}

/// Which mount a directory belongs to: the id of the mount, or the device where the kernel has no such ids
/// (before Linux 5.8). The device alone is too strict: a btrfs subvolume that a pod made has its own.
type MountId = (bool, u64);

fn mount_id(directory: BorrowedFd<'_>) -> rustix::io::Result<MountId> {
    let stat = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        return Ok((true, stat.stx_mnt_id));
    }
    Ok((false, u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor)))
}

struct Sweep {
    top: OwnedFd,
    mount: MountId,
    /// The directories on the way to the one being emptied, for messages.
    path: Vec<CString>,
    /// How many deep directories were moved to the top so far.
    moved: usize,
    failed: Teardown,
}

impl Sweep {
    /// Opens the pod directory anew: the handle may belong to a mount on it that is gone now.
    fn begin(pods: BorrowedFd<'_>, name: &str, dir: &PodDir) -> Result<Self, Teardown> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(pods, name, flags, Mode::empty()).and_then(|top| {
            let (now, held) = (rustix::fs::fstat(&top)?, rustix::fs::fstat(dir)?);
            if (now.st_dev, now.st_ino) != (held.st_dev, held.st_ino) {
                return Err(Errno::STALE);
            }
            Ok((mount_id(top.as_fd())?, top))
        });
        match opened {
            Ok((mount, top)) => {
                Ok(Self { top, mount, path: Vec::new(), moved: 0, failed: Teardown::default() })
            }
            Err(error) => {
                let mut failed = Teardown::default();
                failed.note(format!("open {name}"), error);
                Err(failed)
            }
        }
    }

    fn note(&mut self, name: &CStr, error: Errno) {
        let directories = self.path.iter().map(CString::as_c_str).chain([name]);
        let path: Vec<_> = directories.map(CStr::to_string_lossy).collect();
        self.failed.note(format!("delete {}", path.join("/")), error);
    }

    fn remove_stage1_root(&mut self) {
        match self.open(self.top.as_fd(), c"stage1") {
            Ok(stage1) => {
                self.path.push(c"stage1".to_owned());
                self.remove_entry(stage1.as_fd(), c"rootfs", FileType::Directory);
                self.path.pop();
            }
            Err(Errno::NOENT) => {}
            Err(error) => self.note(c"stage1", error),
        }
    }

    fn empty_top(&mut self) {
        match Dir::read_from(&self.top) {
            Ok(top) => self.empty(top),
            Err(error) => self.note(c".", error),
        }
        self.remove_moved();
    }

    fn remove_top_entry(&mut self, name: &CStr) {
        let Ok(top) = self.top.try_clone() else { return self.note(name, Errno::MFILE) };
        self.remove_entry(top.as_fd(), name, FileType::Unknown);
        self.remove_moved();
    }

    /// Deletes the deep directories that were moved up; each can have deep ones itself.
    fn remove_moved(&mut self) {
        let Ok(top) = self.top.try_clone() else { return self.note(c".", Errno::MFILE) };
        let mut done = 0;
        while done < self.moved {
            self.remove_entry(top.as_fd(), &moved_name(done), FileType::Directory);
            done += 1;
        }
    }

    /// Deletes what is in `directory`, but for what goes last when it is the top.
    fn empty(&mut self, mut directory: Dir) {
        while let Some(entry) = directory.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.note(c".", error),
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || (self.path.is_empty() && LAST.contains(&name)) {
                continue;
            }
            match directory.fd() {
                Ok(at) => self.remove_entry(at, name, entry.file_type()),
                Err(error) => return self.note(name, error),
            }
        }
    }

    fn remove_entry(&mut self, at: BorrowedFd<'_>, name: &CStr, kind: FileType) {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return,
                // The kind was not known, or is another one now.
                Err(Errno::ISDIR) => {}
                Err(error) => return self.note(name, error),
            }
        }
        let opened = match self.open(at, name) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => return,
            Err(error) => return self.note(name, error),
        };
        if self.path.len() >= DEPTH_MAX {
            return self.move_up(at, name);
        }
        match Dir::new(opened) {
            Ok(directory) => {
                self.path.push(name.to_owned());
                self.empty(directory);
                self.path.pop();
            }
            Err(error) => return self.note(name, error),
        }
        match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            // What could not be deleted in it was noted.
            Err(Errno::NOTEMPTY | Errno::EXIST) if !self.failed.is_empty() => {}
            Err(error) => self.note(name, error),
        }
    }

    fn move_up(&mut self, at: BorrowedFd<'_>, name: &CStr) {
        loop {
            let target = moved_name(self.moved);
            self.moved += 1;
            match rustix::fs::renameat(at, name, &self.top, target) {
                Ok(()) => return,
                // Left by one that was interrupted.
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                Err(error) => return self.note(name, error),
            }
        }
    }

    /// Opens a directory that belongs to the same mount as the pod directory; `EXDEV` for any other.
    fn open(&self, at: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let opened = loop {
            match rustix::fs::openat2(at, name, flags, Mode::empty(), rules) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => break opened?,
            }
        };
        if mount_id(opened.as_fd())? != self.mount {
            return Err(Errno::XDEV);
        }
        Ok(opened)
    }
}

fn moved_name(number: usize) -> CString {
    // Digits hold no NUL.
    CString::new(format!(".deep-{number}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        base: tempfile::TempDir,
        pods: OwnedFd,
    }

    impl Fixture {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(base.path().join("pods/one/stage1/rootfs/rkt/status")).unwrap();
            std::fs::write(base.path().join("pods/one/pod"), "{}").unwrap();
            std::fs::write(base.path().join("pods/one/stage1/manifest"), "{}").unwrap();
            let pods = sys::path::open_directory(&base.path().join("pods")).unwrap();
            Self { base, pods }
        }

        fn pod(&self) -> std::path::PathBuf {
            self.base.path().join("pods/one")
        }

        fn remove(&self, cgroup: Result<(), Teardown>) -> Result<(), Teardown> {
            let dir = PodDir::from(sys::path::open_directory(&self.pod()).unwrap());
            remove(self.pods.as_fd(), "one", &dir, || cgroup)
        }
    }

    #[test]
    fn follows_no_link() {
        let fixture = Fixture::new();
        let outside = fixture.base.path().join("outside");
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("kept"), "").unwrap();
        let rootfs = fixture.pod().join("stage1/rootfs");
        std::os::unix::fs::symlink(&outside, rootfs.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../outside", rootfs.join("relative")).unwrap();
        std::os::unix::fs::symlink(&outside, fixture.pod().join("appsinfo")).unwrap();
        fixture.remove(Ok(())).unwrap();
        assert!(!fixture.pod().exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn deep_trees_cost_no_descriptors() {
        let fixture = Fixture::new();
        std::fs::create_dir_all(fixture.pod().join(".deep-0/left")).unwrap();
        let mut at = sys::path::open_directory(&fixture.pod().join("stage1/rootfs")).unwrap();
        for level in 0..1500 {
            rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o700)).unwrap();
            if level % 100 == 0 {
                rustix::fs::mkdirat(&at, "e", Mode::from_raw_mode(0o700)).unwrap();
            }
            at = rustix::fs::openat(&at, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        fixture.remove(Ok(())).unwrap();
        assert!(!fixture.pod().exists());
    }

    #[test]
    fn manifests_stay_when_anything_else_does() {
        let fixture = Fixture::new();
        let mut teardown = Teardown::default();
        teardown.note("remove cgroup x", Errno::BUSY);
        let error = fixture.remove(Err(teardown)).unwrap_err();
        assert_eq!(error.failures().map(|(what, _)| what).collect::<Vec<_>>(), ["remove cgroup x"]);
        assert!(fixture.pod().join("pod").exists());
        assert!(fixture.pod().join("stage1/manifest").exists());
        assert!(!fixture.pod().join("stage1/rootfs").exists());
        fixture.remove(Ok(())).unwrap();
        assert!(!fixture.pod().exists());
    }
}
