//! Isolators: what an app may use and do; appc specification, "Isolators".

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::capability::Capability;
use crate::name::AcIdentifier;
use crate::quantity::Quantity;

/// A share of a resource: what is asked for and what is the most.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// Whether it stands for every device or network (mandatory for block and network isolators).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What is reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Quantity>,
    /// The most that may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Quantity>,
}

/// A set of system calls or of wildcards such as `@appc.io/all`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompSet {
    /// Names of system calls, and wildcards.
    pub set: Vec<String>,
    /// What a refused call returns (`EPERM` …); the app is killed when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
}

/// An SELinux context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelinuxContext {
    /// User.
    pub user: String,
    /// Role.
    pub role: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Level.
    pub level: String,
}

/// One isolator, by its name.
#[derive(Debug, Clone, PartialEq)]
pub enum Isolator {
    /// `resource/memory`, bytes.
    Memory(ResourceLimit),
    /// `resource/cpu`, cores.
    Cpu(ResourceLimit),
    /// `resource/block-bandwidth`, bytes a second.
    BlockBandwidth(ResourceLimit),
    /// `resource/block-iops`, operations a second.
    BlockIops(ResourceLimit),
    /// `resource/network-bandwidth`, bits a second.
    NetworkBandwidth(ResourceLimit),
    /// `os/linux/cpu-shares`, 2 to 262144.
    CpuShares(u32),
    /// `os/linux/oom-score-adj`, -1000 to 1000.
    OomScoreAdj(i32),
    /// `os/linux/capabilities-retain-set`: these and no other.
    CapabilitiesRetain(Vec<Capability>),
    /// `os/linux/capabilities-remove-set`: the default ones without these.
    CapabilitiesRemove(Vec<Capability>),
    /// `os/linux/no-new-privileges`.
    NoNewPrivileges(bool),
    /// `os/linux/seccomp-retain-set`: these calls and no other.
    SeccompRetain(SeccompSet),
    /// `os/linux/seccomp-remove-set`: every call but these.
    SeccompRemove(SeccompSet),
    /// `os/linux/selinux-context`.
    SelinuxContext(SelinuxContext),
    /// One that this version does not know: kept as it was written.
    Unknown {
        /// Its name.
        name: AcIdentifier,
        /// Its value.
        value: Value,
    },
}

#[derive(Serialize, Deserialize)]
struct Raw {
    name: AcIdentifier,
    value: Value,
}

#[derive(Serialize, Deserialize)]
struct CapabilitySet {
    set: Vec<Capability>,
}

impl Isolator {
    /// The name that a manifest gives it.
    pub fn name(&self) -> &str {
        match self {
            Isolator::Memory(_) => "resource/memory",
            Isolator::Cpu(_) => "resource/cpu",
            Isolator::BlockBandwidth(_) => "resource/block-bandwidth",
            Isolator::BlockIops(_) => "resource/block-iops",
            Isolator::NetworkBandwidth(_) => "resource/network-bandwidth",
            Isolator::CpuShares(_) => "os/linux/cpu-shares",
            Isolator::OomScoreAdj(_) => "os/linux/oom-score-adj",
            Isolator::CapabilitiesRetain(_) => "os/linux/capabilities-retain-set",
            Isolator::CapabilitiesRemove(_) => "os/linux/capabilities-remove-set",
            Isolator::NoNewPrivileges(_) => "os/linux/no-new-privileges",
            Isolator::SeccompRetain(_) => "os/linux/seccomp-retain-set",
            Isolator::SeccompRemove(_) => "os/linux/seccomp-remove-set",
            Isolator::SelinuxContext(_) => "os/linux/selinux-context",
            Isolator::Unknown { name, .. } => name.as_str(),
        }
    }

    /// Whether `name` is an isolator that limits capabilities.
    pub fn is_capability_set(&self) -> bool {
        matches!(self, Isolator::CapabilitiesRetain(_) | Isolator::CapabilitiesRemove(_))
    }

    /// Whether `name` is an isolator that filters system calls.
    pub fn is_seccomp_set(&self) -> bool {
        matches!(self, Isolator::SeccompRetain(_) | Isolator::SeccompRemove(_))
    }

    fn from_raw(raw: Raw) -> Result<Self, String> {
        let Raw { name, value } = raw;
        let isolator = match name.as_str() {
            "resource/memory" => Isolator::Memory(parse(value)?),
            "resource/cpu" => Isolator::Cpu(parse(value)?),
            "resource/block-bandwidth" => Isolator::BlockBandwidth(default_only(parse(value)?)?),
            "resource/block-iops" => Isolator::BlockIops(default_only(parse(value)?)?),
            "resource/network-bandwidth" => Isolator::NetworkBandwidth(default_only(parse(value)?)?),
            "os/linux/cpu-shares" => Isolator::CpuShares(in_range(parse(value)?, 2, 262_144)?),
            "os/linux/oom-score-adj" => Isolator::OomScoreAdj(in_range(parse(value)?, -1000, 1000)?),
            "os/linux/capabilities-retain-set" => {
                Isolator::CapabilitiesRetain(not_empty(parse::<CapabilitySet>(value)?.set)?)
            }
            "os/linux/capabilities-remove-set" => {
                Isolator::CapabilitiesRemove(not_empty(parse::<CapabilitySet>(value)?.set)?)
            }
            "os/linux/no-new-privileges" => Isolator::NoNewPrivileges(parse(value)?),
            "os/linux/seccomp-retain-set" => Isolator::SeccompRetain(seccomp_set(parse(value)?)?),
            "os/linux/seccomp-remove-set" => Isolator::SeccompRemove(seccomp_set(parse(value)?)?),
            "os/linux/selinux-context" => Isolator::SelinuxContext(parse(value)?),
            _ => return Ok(Isolator::Unknown { name, value }),
        };
        Ok(isolator)
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn default_only(limit: ResourceLimit) -> Result<ResourceLimit, String> {
    if limit.default && limit.request.is_none() {
        Ok(limit)
    } else {
        Err("\"default\" must be true and \"request\" absent".to_owned())
    }
}

fn in_range<T: PartialOrd + Copy + std::fmt::Display>(value: T, least: T, most: T) -> Result<T, String> {
    if value < least || value > most {
        return Err(format!("{value} is not within {least} to {most}"));
    }
    Ok(value)
}

fn not_empty<T>(set: Vec<T>) -> Result<Vec<T>, String> {
    if set.is_empty() { Err("the set cannot be empty".to_owned()) } else { Ok(set) }
}

fn seccomp_set(set: SeccompSet) -> Result<SeccompSet, String> {
    let errno_shaped = |errno: &str| {
        errno.len() > 1
            && errno.starts_with('E')
            && errno.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    if set.set.is_empty() {
        return Err("the set cannot be empty".to_owned());
    }
    match &set.errno {
        Some(errno) if !errno_shaped(errno) => Err(format!("{errno:?} is no errno name such as EPERM")),
        _ => Ok(set),
    }
}

impl Serialize for Isolator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let value = match self {
            Isolator::Memory(limit)
            | Isolator::Cpu(limit)
            | Isolator::BlockBandwidth(limit)
            | Isolator::BlockIops(limit)
            | Isolator::NetworkBandwidth(limit) => serde_json::to_value(limit),
            Isolator::CpuShares(shares) => serde_json::to_value(shares),
            Isolator::OomScoreAdj(score) => serde_json::to_value(score),
            Isolator::CapabilitiesRetain(set) | Isolator::CapabilitiesRemove(set) => {
                serde_json::to_value(CapabilitySet { set: set.clone() })
            }
            Isolator::NoNewPrivileges(flag) => serde_json::to_value(flag),
            Isolator::SeccompRetain(set) | Isolator::SeccompRemove(set) => serde_json::to_value(set),
            Isolator::SelinuxContext(context) => serde_json::to_value(context),
            Isolator::Unknown { value, .. } => Ok(value.clone()),
        };
        let name = self.name().parse().map_err(S::Error::custom)?;
        Raw { name, value: value.map_err(S::Error::custom)? }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Isolator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let name = raw.name.clone();
        Isolator::from_raw(raw).map_err(|reason| D::Error::custom(format!("isolator {name}: {reason}")))
    }
}
