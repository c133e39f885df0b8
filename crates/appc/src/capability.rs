//! Capabilities of the kernel, by name and number (capabilities(7), `linux/capability.h`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The names, at the index of their number.
const NAMES: [&str; 41] = [
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

/// A text is not the name of a capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unknown capability {0:?} (names are those of capabilities(7), for example \"CAP_NET_ADMIN\")")]
pub struct UnknownCapability(String);

/// One capability.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

impl Capability {
    /// The capability with this number, 0 to 40.
    pub fn from_number(number: u8) -> Option<Self> {
        (usize::from(number) < NAMES.len()).then_some(Self(number))
    }

    /// The number the kernel knows it by.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The name, for example `CAP_NET_ADMIN`.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// All capabilities by number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map_while(Self::from_number)
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    /// Reads a name, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        Self::all()
            .find(|capability| capability.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownCapability(text.to_owned()))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of capabilities: bit N is the capability of number N.
///
/// On the command line a list of names with commas between, in JSON a list of names.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// What an app has when its image says nothing: the 14 of rkt 1.x.
    ///
    /// AUDIT_WRITE, CHOWN, DAC_OVERRIDE, FSETID, FOWNER, KILL, MKNOD, NET_RAW, NET_BIND_SERVICE, SETUID, SETGID,
    /// SETPCAP, SETFCAP and SYS_CHROOT.
    pub const DEFAULT: Self = Self(0xa804_25fb);

    /// All known capabilities.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// The set as bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of these bits; bits that no known capability has are dropped.
    pub const fn from_bits_truncate(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are in the set.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether `capability` is in the set.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Adds `capability`.
    pub fn insert(&mut self, capability: Capability) {
        self.0 |= 1 << capability.0;
    }

    /// What is in this set or in `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and in `other`.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set but not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The capabilities by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::all().filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        let mut set = Self::EMPTY;
        for capability in capabilities {
            set.insert(capability);
        }
        set
    }
}

impl FromStr for CapabilitySet {
    type Err = UnknownCapability;

    /// Reads `CAP_X,CAP_Y`; the list must not be empty.
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        text.split(',').map(|name| name.trim().parse()).collect()
    }
}

impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, capability) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(capability.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for CapabilitySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Capability::name))
    }
}

impl<'de> Deserialize<'de> for CapabilitySet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names
            .iter()
            .map(|name| name.parse::<Capability>())
            .collect::<Result<_, _>>()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (name, number) in [
            ("CAP_CHOWN", 0),
            ("CAP_SETPCAP", 8),
            ("CAP_NET_ADMIN", 12),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_SETFCAP", 31),
            ("CAP_SYSLOG", 34),
            ("CAP_AUDIT_READ", 37),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ] {
            let capability: Capability = name.parse().unwrap();
            assert_eq!((capability.number(), capability.name()), (number, name));
            assert_eq!(Capability::from_number(number), Some(capability));
        }
        assert_eq!(Capability::from_number(41), None);
        assert_eq!(Capability::all().count(), 41);
        assert_eq!("cap_kill".parse::<Capability>().unwrap().number(), 5);
        assert!("KILL".parse::<Capability>().is_err());
    }

    #[test]
    fn the_default_set() {
        let names = "CAP_AUDIT_WRITE,CAP_CHOWN,CAP_DAC_OVERRIDE,CAP_FSETID,CAP_FOWNER,CAP_KILL,CAP_MKNOD,CAP_NET_RAW,\
                     CAP_NET_BIND_SERVICE,CAP_SETUID,CAP_SETGID,CAP_SETPCAP,CAP_SETFCAP,CAP_SYS_CHROOT";
        assert_eq!(names.parse::<CapabilitySet>().unwrap(), CapabilitySet::DEFAULT);
        assert_eq!(CapabilitySet::DEFAULT.len(), 14);
    }

    #[test]
    fn lists() {
        for (text, printed) in [
            ("CAP_KILL", Some("CAP_KILL")),
            ("CAP_NET_ADMIN, cap_kill,CAP_KILL", Some("CAP_KILL,CAP_NET_ADMIN")),
            ("", None),
            ("CAP_KILL,", None),
            ("CAP_NOPE", None),
        ] {
            assert_eq!(
                text.parse::<CapabilitySet>().ok().map(|set| set.to_string()).as_deref(),
                printed,
                "{text:?}"
            );
        }
        let set: CapabilitySet = serde_json::from_str(r#"["CAP_SYS_TIME"]"#).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["CAP_SYS_TIME"]"#);
        assert!(CapabilitySet::DEFAULT.difference(CapabilitySet::ALL).is_empty());
    }
}
