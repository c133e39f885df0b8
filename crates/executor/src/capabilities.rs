//! Capabilities by name, and what is left of them for an app; see capabilities(7).

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The set that an app retains when it says nothing.
pub const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETFCAP",
    "CAP_SYS_CHROOT",
];

/// All names, each at the place of its number.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a capability (such as CAP_NET_ADMIN)")]
pub struct UnknownCapability(pub String);

/// Reads a list of names.
pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<CapabilitySet, UnknownCapability> {
    names.iter().map(AsRef::as_ref).try_fold(CapabilitySet::empty(), |set, name| {
        let number = NAMES.iter().position(|&known| known == name);
        let number = number.ok_or_else(|| UnknownCapability(name.to_owned()))?;
        Ok(set | CapabilitySet::from_bits_retain(1 << number))
    })
}

/// The names in `set`, for messages.
pub fn names(set: CapabilitySet) -> Vec<&'static str> {
    let is_in = |number: &usize| set.bits() >> number & 1 == 1;
    (0..NAMES.len()).filter(is_in).map(|number| NAMES[number]).collect()
}

/// The bounding set of this process.
pub fn bounding() -> CapabilitySet {
    each_known().filter(|&(_, present)| present).fold(CapabilitySet::empty(), |set, (one, _)| set | one)
}

/// Takes everything that is not in `keep` out of the bounding set: no program started from here on can have it.
pub fn bound(keep: CapabilitySet) -> Result<(), Errno> {
    for (one, present) in each_known() {
        if present && !keep.contains(one) {
            rustix::thread::remove_capability_from_bounding_set(one)?;
        }
    }
    Ok(())
}

/// Empties the sets through which capabilities outlive a change of user or an exec: inheritable and ambient.
pub fn clear_inheritable() -> Result<(), Errno> {
    match rustix::thread::clear_ambient_capability_set() {
        // Before Linux 4.3 there is none.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    let sets = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..sets })
}

/// Every capability that the running kernel knows, also those without a name here, and whether the bounding
/// set has it.
fn each_known() -> impl Iterator<Item = (CapabilitySet, bool)> {
    (0..u64::BITS).map_while(|number| {
        let one = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::capability_is_in_bounding_set(one).ok().map(|present| (one, present))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_is_the_documented_mask() {
        assert_eq!(parse(&DEFAULT).unwrap().bits(), 0xa804_25fb);
    }

    #[test]
    fn names_and_bits() {
        assert_eq!(parse(&["CAP_CHOWN", "CAP_BPF"]).unwrap().bits(), 1 | 1 << 39);
        assert_eq!(
            names(CapabilitySet::from_bits_retain(1 | 1 << 40)),
            ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]
        );
        assert_eq!(parse(&["chown"]), Err(UnknownCapability("chown".to_owned())));
        assert!(parse(&[] as &[&str]).unwrap().is_empty());
    }

    #[test]
    fn the_kernel_tells_the_bounding_set() {
        assert!(each_known().count() >= 38);
    }
}
