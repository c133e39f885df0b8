//! From root to a user who owns nothing.

use rustix::process::{Gid, Uid, getgroups};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::{Error, step};

/// The user that root's downloads run as. Where the package has not made it, they run as nobody.
pub const USER: &str = "rkt-fetch";
/// User and group id of nobody, the same on every Linux.
const NOBODY: u32 = 65534;

/// Becomes [`USER`] when this is root, gives up every capability and group, and tells which user this is now.
pub(super) fn give_up_root() -> Result<u32, Error> {
    let (real, effective) = (rustix::process::getuid(), rustix::process::geteuid());
    if real.is_root() || effective.is_root() {
        let (uid, gid) = target()?;
        empty_bounding_set()?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let become_user = |what: &str, result: rustix::io::Result<()>| {
            result.map_err(|error| Error::User { what: what.to_owned(), source: Some(error.into()) })
        };
        // There is one thread, so the thread's ids are the process's.
        become_user("no supplementary groups", set_thread_groups(&[]))?;
        become_user("its group", set_thread_res_gid(gid, gid, gid))?;
        become_user("its user id", set_thread_res_uid(uid, uid, uid))?;
        if !getgroups().is_ok_and(|groups| groups.is_empty()) || rustix::process::getuid() != uid {
            return Err(Error::User { what: "the change has no effect".to_owned(), source: None });
        }
        // The way back must be closed.
        if set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
            return Err(Error::User { what: "root can be had back".to_owned(), source: None });
        }
    }
    step("ambient capabilities", clear_ambient_capability_set())?;
    let none = CapabilitySet::empty();
    let empty = CapabilitySets { effective: none, permitted: none, inheritable: none };
    step("capabilities", set_capabilities(None, empty))?;
    Ok(rustix::process::getuid().as_raw())
}

/// Takes every capability that the kernel knows out of the bounding set.
fn empty_bounding_set() -> Result<(), Error> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // The kernel says EINVAL to numbers that it does not know.
        if capability_is_in_bounding_set(capability).unwrap_or(false) {
            step("the capability bounding set", remove_capability_from_bounding_set(capability))?;
        }
    }
    Ok(())
}

/// User and group id to become.
fn target() -> Result<(u32, u32), Error> {
    let read = |source: std::io::Error| Error::User {
        what: "/etc/passwd cannot be read".to_owned(),
        source: Some(source),
    };
    let passwd = match std::fs::read("/etc/passwd") {
        Ok(passwd) => passwd,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(read(error)),
    };
    match find(&String::from_utf8_lossy(&passwd), USER) {
        Some((0, _) | (_, 0)) => {
            Err(Error::User { what: format!("{USER} is root in /etc/passwd"), source: None })
        }
        Some(ids) => Ok(ids),
        None => Ok((NOBODY, NOBODY)),
    }
}

/// User and group id of `name` in the text of a passwd file.
fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_passwd_file() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbroken\nrkt-fetch-not:x:1:1::/:/x\nrkt-fetch:x:981:980::/:/x\n";
        for (passwd, name, ids) in [
            (passwd, "rkt-fetch", Some((981, 980))),
            (passwd, "root", Some((0, 0))),
            (passwd, "rkt", None),
            (passwd, "broken", None),
            ("", "rkt-fetch", None),
            ("rkt-fetch:x:-1:5::/:/x", "rkt-fetch", None),
            ("rkt-fetch:x:5::", "rkt-fetch", None),
        ] {
            assert_eq!(find(passwd, name), ids, "{name}");
        }
    }
}
