//! Taking rights on files, the network and other processes away from oneself; see landlock(7).
//!
//! What a kernel does not know it cannot take away: each of its versions is used as far as it goes. Landlock has no
//! say over changes of owner, mode, times and attributes by path, so a process that must not reach other files
//! at all needs a root of its own besides.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::{Result, check};

/// Rights on the files below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u64);

impl Access {
    /// Execute files.
    pub const EXECUTE: Access = Access(1);
    /// Read a file: the one right of these that a rule for a file, and not for a directory, may give.
    pub const READ_FILE: Access = Access(1 << 2);
    /// Read files and list directories.
    pub const READ: Access = Access(1 << 2 | 1 << 3);
    /// Write to files that are there, and cut them.
    pub const WRITE: Access = Access(1 << 1 | 1 << 14);
    /// Make and remove files, directories and links, and move them around below the directory.
    pub const CHANGE: Access = Access(1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13);
    /// Make devices and named pipes.
    pub const MAKE_NODES: Access = Access(1 << 6 | 1 << 10 | 1 << 11);

    /// The rights of both.
    #[must_use]
    pub const fn and(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }
}

/// Takes every right that Landlock knows from this thread and all that it starts from here on, except those of
/// `rules` on what is below their directories. TCP, abstract sockets and signals to processes outside go too, as
/// far as the kernel knows them. Returns the kernel's version of Landlock, 0 for none: then nothing happened.
///
/// # Errors
/// `EPERM` without no-new-privileges or `CAP_SYS_ADMIN`; `E2BIG` after 16 times.
pub fn restrict(rules: &[(BorrowedFd<'_>, Access)]) -> Result<u32> {
    restrict_with(rules, BIND_TCP | CONNECT_TCP)
}

/// Like [`restrict`], and leaves TCP connections to elsewhere: for a client.
pub fn restrict_client(rules: &[(BorrowedFd<'_>, Access)]) -> Result<u32> {
    restrict_with(rules, BIND_TCP)
}

fn restrict_with(rules: &[(BorrowedFd<'_>, Access)], network: u64) -> Result<u32> {
    let version = match version() {
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(0),
        version => version?,
    };
    let known = |bits: u64, steps: &[(u32, u64)]| {
        steps.iter().filter(|(since, _)| version < *since).fold(bits, |bits, (_, newer)| bits & !newer)
    };
    let files = known(0xffff, &[(2, 1 << 13), (3, 1 << 14), (5, 1 << 15)]);
    let attributes = RulesetAttributes {
        handled_access_fs: files,
        handled_access_net: known(network, &[(4, BIND_TCP | CONNECT_TCP)]),
        scoped: known(0b11, &[(6, 0b11)]),
    };
    // SAFETY: rustix and libc have no Landlock. The structure is the kernel's (repr(C)), lives through the call
    // and its true size is passed; fields that an older kernel lacks are zero, which it accepts.
    let ruleset = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(&attributes),
            size_of::<RulesetAttributes>(),
            0,
        )
    })?;
    let ruleset = i32::try_from(ruleset).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel opened this descriptor for us and nobody else knows it.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    for (directory, access) in rules {
        let rule = PathBeneath { allowed_access: access.0 & files, parent_fd: directory.as_raw_fd() };
        // SAFETY: the structure is the kernel's (packed) and lives through the call; both descriptors are open.
        check(unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset.as_raw_fd(),
                LANDLOCK_RULE_PATH_BENEATH,
                std::ptr::from_ref(&rule),
                0,
            )
        })?;
    }
    // SAFETY: the descriptor is a ruleset's and open.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })?;
    Ok(version)
}

fn version() -> Result<u32> {
    // SAFETY: with this flag the kernel takes no structure and only says its version.
    let version = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttributes>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    })?;
    u32::try_from(version).map_err(|_| Errno::INVAL)
}

const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
const LANDLOCK_RULE_PATH_BENEATH: u32 = 1;
const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct RulesetAttributes {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn leaves_what_the_rules_say() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        // The restriction is this thread's alone and ends with it.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let inside = crate::path::open_directory(dir.path()).unwrap();
                rustix::thread::set_no_new_privs(true).unwrap();
                let access = Access::READ.and(Access::WRITE).and(Access::CHANGE);
                if restrict(&[(inside.as_fd(), access)]).unwrap() == 0 {
                    return;
                }
                std::fs::write(dir.path().join("file"), "x").unwrap();
                assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"x");
                assert!(
                    rustix::fs::mknodat(
                        &inside,
                        "pipe",
                        rustix::fs::FileType::Fifo,
                        rustix::fs::Mode::RUSR,
                        0
                    )
                    .is_err()
                );
                assert!(std::fs::write(other.path().join("file"), "x").is_err());
                assert!(std::fs::read("/etc/passwd").is_err());
            });
        });
        std::fs::write(other.path().join("file"), "x").unwrap();
    }
}
