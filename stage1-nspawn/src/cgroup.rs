//! The control group that systemd-nspawn starts from.
//!
//! With `--keep-unit` it makes the groups `payload` and `supervisor` below the one that its `/proc/self/cgroup` names, and moves the pod
//! and itself there. That it is the pod's could be had by moving there first; but the first move of all waits for the whole kernel (a
//! grace period of RCU, 4 to 20 ms), while one that comes later finds it over. So we stay where we are, and the file, as systemd-nspawn
//! sees it in the mount namespace of its own, names the pod's group already.

use std::os::fd::AsFd;
use std::path::Path;

use pod::Current;
use rustix::fs::{Mode, OFlags};
use stage1::{Context, Result, warn};
use systemd::cgroup::Group;

/// What `/proc/self/cgroup` says, in the pod's directory.
const FILE: &str = "nspawn-cgroup";

/// Presents `group`, the pod's, to the program that this process becomes. Where the kernel does not let us, this process moves there.
pub(crate) fn present(pod: &Current, group: &Group) -> Result<()> {
    let path = "/proc/self/cgroup";
    let own = std::fs::read_to_string(path).step(|| format!("read {path}"))?;
    pod.dir.write(FILE, named(&own, group.path()).as_bytes())?;
    let open = |file: &Path| sys::path::open_beneath(pod.dir.as_fd(), file, OFlags::PATH, Mode::empty());
    let source = open(Path::new(FILE)).step(|| format!("open {FILE} of the pod"))?;
    let target = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .step(|| format!("open {path}"))?;
    if let Err(error) = sys::mount::bind(source.as_fd(), target.as_fd(), false) {
        warn(&format!("{path} cannot be mounted on ({error}), which makes the pod's start slower"));
        group.enter()?;
    }
    Ok(())
}

/// The text `own` of `/proc/self/cgroup` for a process that stands in `group` of the unified hierarchy.
fn named(own: &str, group: &str) -> String {
    own.lines()
        .map(|line| match line.strip_prefix("0::") {
            Some(_) => format!("0::/{group}\n"),
            None => format!("{line}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_group_in_the_unified_hierarchy_only() {
        let own = "5:memory:/\n1:name=systemd:/a.service\n0::/a.service\n";
        assert_eq!(
            named(own, "a.service/pod-x"),
            "5:memory:/\n1:name=systemd:/a.service\n0::/a.service/pod-x\n"
        );
    }
}
