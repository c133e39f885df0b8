//! The control group that systemd-nspawn starts from.
//!
//! With `--keep-unit` it makes the groups `payload` and `supervisor` below the one that its `/proc/self/cgroup` names, and moves the pod
//! and itself there. We could move to the pod's group first; but the first move of all waits for the whole kernel
//! (`Group::begin_grace_period`). So that wait has been begun, we stay where we are, and that file, as this process and systemd-nspawn
//! see it in their mount namespace, names the pod's group already.

use std::os::fd::AsFd;
use std::path::Path;

use pod::Current;
use rustix::fs::{AtFlags, Mode, OFlags};
use stage1::args::{Network, Run};
use stage1::{Context, Result, warn};
use systemd::cgroup::Group;
use systemd::pod_group::Mover;

/// The youngest systemd whose nspawn is known to look for its group there.
const YOUNGEST: u32 = 257;
/// The file that is mounted there: in the pod's directory, for as long as that takes.
const FILE: &str = "nspawn-cgroup";

/// Whether systemd-nspawn, which is of `version`, moves into the pod's group by itself.
pub(crate) fn mover(run: &Run, version: Option<u32>) -> Mover<'static> {
    // A plugin that outlives us is in the pod's group: so it keeps the pod from being collected while it works.
    let has_plugins = !matches!(run.network, Network::None | Network::Host);
    // A process in a user namespace may mount /proc only where it sees all of one, with nothing mounted on it.
    let mounts_as_user = run.private_users.is_some();
    match version {
        Some(..=YOUNGEST) if !has_plugins && !mounts_as_user => Mover::Next,
        _ => Mover::Us { below: None },
    }
}

/// Presents `group`, the pod's, to the program that this process becomes. Where that is not possible, this process moves there.
pub(crate) fn present(pod: &Current, group: &Group, debug: bool) -> Result<()> {
    if let Err(error) = mount(pod, group) {
        if debug {
            warn(&format!("{error}; rkt moves to the pod's control group itself"));
        }
        group.enter()?;
    }
    Ok(())
}

fn mount(pod: &Current, group: &Group) -> Result<()> {
    pod.dir.write(FILE, format!("0::/{}\n", group.path()).as_bytes())?;
    let step = || "mount the pod's control group on /proc/self/cgroup".to_owned();
    let source = sys::path::open_beneath(pod.dir.as_fd(), Path::new(FILE), OFlags::PATH, Mode::empty());
    let target = rustix::fs::open("/proc/self/cgroup", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let mounted = sys::mount::bind(source.step(step)?.as_fd(), target.step(step)?.as_fd(), false);
    rustix::fs::unlinkat(&pod.dir, FILE, AtFlags::empty()).step(|| format!("remove {FILE}"))?;
    mounted.step(step)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn nspawn_moves_where_it_is_known_to() {
        let run = |flags: &[&str]| {
            let uuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
            Run::parse(flags.iter().chain([&uuid]).map(OsString::from).collect()).unwrap()
        };
        let us = Mover::Us { below: None };
        for (flags, version, expected) in [
            (&["--net=host"][..], Some(252), Mover::Next),
            (&["--net=none"], Some(257), Mover::Next),
            (&["--net=none"], Some(258), us),
            (&["--net=none"], None, us),
            (&["--net=default"], Some(252), us),
            (&["--net=none", "--private-users=65536:65536"], Some(252), us),
        ] {
            assert_eq!(mover(&run(flags), version), expected, "{flags:?} {version:?}");
        }
    }
}
