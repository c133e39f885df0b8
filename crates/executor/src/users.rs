//! Who an app runs as, by the image's own passwd and group files.
//!
//! The files belong to the image: they are opened inside its root, only when they are regular files, and read up to
//! a limit. Nothing of the host's user database counts.

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::path::open_in_root;

/// The most that is read of a passwd or group file.
const SIZE_MAX: u64 = 16 << 20;

/// The ids of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Root, as event handlers run.
    pub fn root() -> Self {
        Identity { uid: 0, gid: 0, groups: Vec::new() }
    }
}

/// Why nobody could be found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No entry.
    #[error("User {0:?} is not in the image's /etc/passwd; give a number, or a file whose owner it is")]
    NoUser(String),
    /// No entry.
    #[error("Group {0:?} is not in the image's /etc/group; give a number, or a file whose group it is")]
    NoGroup(String),
    /// A path as user or group, which is not there.
    #[error("Cannot take the owner of {path} in the image's root")]
    Owner {
        /// The path.
        path: String,
        /// Why.
        source: Errno,
    },
    /// A database that cannot be read.
    #[error("Cannot read {file} of the image")]
    Database {
        /// Which.
        file: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// Finds the ids of `user` and `group` (name, number, or absolute path of a file whose owner it is) in `root`.
///
/// A group that cannot be found and has the name of the user is taken to be the user's own: images made from
/// Docker's say both by one name, and often have the user only. Then the gid is the uid, as ever.
///
/// A user given by name is also in the groups whose entries list it, as after a login. Root is in none.
pub fn resolve(
    root: BorrowedFd<'_>,
    user: &str,
    group: &str,
    supplementary: &[u32],
) -> Result<Identity, UserError> {
    let mut groups = supplementary.to_vec();
    let uid = if let Some(id) = id(user) {
        id
    } else if user.starts_with('/') {
        owner(root, user)?.0
    } else {
        let uid = find(root, "/etc/passwd", user)?.ok_or_else(|| UserError::NoUser(user.to_owned()))?;
        groups.extend(memberships(&database(root, "/etc/group")?, user));
        uid
    };
    groups.sort_unstable();
    groups.dedup();
    let gid = if let Some(id) = id(group) {
        id
    } else if group.starts_with('/') {
        owner(root, group)?.1
    } else {
        match find(root, "/etc/group", group)? {
            Some(gid) => gid,
            None if group == user => uid,
            None => return Err(UserError::NoGroup(group.to_owned())),
        }
    };
    Ok(Identity { uid, gid, groups })
}

/// An id that needs no file.
fn id(text: &str) -> Option<u32> {
    if text == "root" { Some(0) } else { number(text) }
}

/// An id as a number. The last one means "none" to the kernel, so it is no id.
fn number(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&number| number != u32::MAX)
}

fn owner(root: BorrowedFd<'_>, path: &str) -> Result<(u32, u32), UserError> {
    open_in_root(root, Path::new(path), OFlags::PATH, Mode::empty())
        .and_then(|file| rustix::fs::statat(file, "", AtFlags::EMPTY_PATH))
        .map(|stat| (stat.st_uid, stat.st_gid))
        .map_err(|source| UserError::Owner { path: path.to_owned(), source })
}

fn find(root: BorrowedFd<'_>, file: &'static str, name: &str) -> Result<Option<u32>, UserError> {
    Ok(lookup(&database(root, file)?, name))
}

fn database(root: BorrowedFd<'_>, file: &'static str) -> Result<Vec<u8>, UserError> {
    read(root, file).map_err(|source| UserError::Database { file, source })
}

/// The contents of a regular file of the image; nothing when there is none.
fn read(root: BorrowedFd<'_>, file: &str) -> std::io::Result<Vec<u8>> {
    // A fifo must not make us wait.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = match open_in_root(root, Path::new(file), flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
        opened => std::fs::File::from(opened?),
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode) != FileType::RegularFile {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut text = Vec::new();
    opened.take(SIZE_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// The id of `name`: the third field of its line, in passwd and group alike.
fn lookup(text: &[u8], name: &str) -> Option<u32> {
    text.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        if fields.next()? != name.as_bytes() || name.starts_with('#') {
            return None;
        }
        number(std::str::from_utf8(fields.nth(1)?).ok()?)
    })
}

/// The groups that list `user` in their fourth field. The kernel takes so many and no more.
fn memberships(text: &[u8], user: &str) -> Vec<u32> {
    const MOST: usize = 65_536;
    let group_of = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
        let [name, _, id, members] = fields[..] else { return None };
        let is_member = members.split(|&byte| byte == b',').any(|member| member == user.as_bytes());
        (is_member && !name.starts_with(b"#")).then(|| number(std::str::from_utf8(id).ok()?)).flatten()
    };
    text.split(|&byte| byte == b'\n').filter_map(group_of).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn image() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let passwd =
            "root:x:0:0::/:/bin/sh\n#no:x:1:1\nbroken\nbad:x:many:1::\nweb:x:33:44::/:\nlone:x:70:71::/:\n";
        std::fs::write(etc.join("passwd"), passwd).unwrap();
        std::fs::write(etc.join("group"), "root:x:0:\nstaff:x:50:web\nweb:x:44:\n").unwrap();
        dir
    }

    #[test]
    fn names_numbers_and_paths() {
        let dir = image();
        let root = sys::path::open_directory(dir.path()).unwrap();
        let own = std::os::unix::fs::MetadataExt::uid(&dir.path().metadata().unwrap());
        for (user, group, wanted) in [
            ("root", "root", Some((0, 0))),
            ("0", "0", Some((0, 0))),
            ("1000", "70000", Some((1000, 70000))),
            ("web", "staff", Some((33, 50))),
            ("web", "web", Some((33, 44))),
            ("lone", "lone", Some((70, 70))),
            ("/etc/passwd", "/etc", Some((own, own))),
            ("../etc/passwd", "0", None),
            ("nobody", "0", None),
            ("bad", "0", None),
            ("#no", "0", None),
            ("web", "lone", None),
            ("/etc/none", "0", None),
            ("4294967295", "0", None),
            ("-1", "0", None),
            ("", "0", None),
        ] {
            let found = resolve(root.as_fd(), user, group, &[7]).ok();
            assert_eq!(found.as_ref().map(|found| (found.uid, found.gid)), wanted, "{user}:{group}");
            if let Some(found) = found {
                let listed: &[u32] = if user == "web" { &[7, 50] } else { &[7] };
                assert_eq!(found.groups, listed, "{user}");
            }
        }
    }

    #[test]
    fn groups_list_their_members() {
        let text = b"a:x:1:web\nb:x:2:lone,web\nc:x:3:webs\n#d:x:4:web\ne:x:five:web\nf:x:6\nweb:x:7:\n";
        assert_eq!(memberships(text, "web"), [1, 2]);
        assert!(memberships(text, "nobody").is_empty());
    }

    #[test]
    fn a_database_that_leaves_the_root_or_never_ends() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("../../../../../../etc/passwd", dir.path().join("etc/passwd")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("etc/group"), FileType::Fifo, mode, 0).unwrap();
        let root = sys::path::open_directory(dir.path()).unwrap();
        let error = resolve(root.as_fd(), "daemon", "0", &[]).unwrap_err();
        assert!(matches!(error, UserError::Database { file: "/etc/passwd", .. }), "{error}");
        let error = resolve(root.as_fd(), "0", "daemon", &[]).unwrap_err();
        assert!(matches!(error, UserError::Database { file: "/etc/group", .. }), "{error}");
    }
}
