//! Linux capabilities by name; capabilities(7).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The names, in the order of their numbers, without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The capabilities of an app that says nothing about them.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
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

/// No capability has this name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Unknown capability {0:?}")]
pub struct UnknownCapability(pub String);

/// One capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Capability(u8);

impl Capability {
    /// Its number in the kernel's header.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its bit in a set.
    pub fn bit(self) -> u64 {
        1 << self.0
    }

    /// Every capability that this version knows, by number.
    pub fn all() -> impl Iterator<Item = Capability> {
        (0..=40).map(Capability)
    }

    /// [`DEFAULT_CAPABILITIES`] as a set of bits (`0xa80425fb`).
    pub fn default_set() -> u64 {
        let known = DEFAULT_CAPABILITIES.iter().filter_map(|name| name.parse::<Capability>().ok());
        known.fold(0, |set, capability| set | capability.bit())
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let number = NAMES.iter().position(|name| *name == bare).and_then(|at| u8::try_from(at).ok());
        number.map(Capability).ok_or_else(|| UnknownCapability(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Capability {
    type Error = UnknownCapability;

    fn try_from(text: String) -> Result<Self, UnknownCapability> {
        text.parse()
    }
}

impl From<Capability> for String {
    fn from(capability: Capability) -> String {
        capability.to_string()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CAP_{}", NAMES[usize::from(self.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [("CAP_CHOWN", 0), ("cap_net_admin", 12), ("SYS_ADMIN", 21), ("CAP_BPF", 39)] {
            assert_eq!(text.parse::<Capability>().unwrap().number(), number, "{text}");
        }
        assert!("CAP_ROOT".parse::<Capability>().is_err());
        assert_eq!(Capability::default_set(), 0xa804_25fb);
        for capability in Capability::all() {
            assert_eq!(capability.to_string().parse(), Ok(capability));
        }
    }
}
