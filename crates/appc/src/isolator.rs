//! Isolators: limits and privileges of apps (specification, "Isolators"; names as rkt 1.x knew them).

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::capability::CapabilitySet;
use crate::error::{ManifestError, Rule};
use crate::json::{At, Read, deserialize_by_read};
use crate::{AcIdentifier, Capability, Quantity};

/// One isolator: a name and its value. JSON: `{"name": …, "value": …}`.
#[derive(Debug, Clone, PartialEq)]
pub enum Isolator {
    /// `resource/memory`, in bytes.
    Memory(ResourceValue),
    /// `resource/cpu`, in cores.
    Cpu(ResourceValue),
    /// `resource/block-bandwidth`, in bytes per second, on each disk.
    BlockBandwidth(ResourceValue),
    /// `resource/block-iops`, in operations per second, on each disk.
    BlockIops(ResourceValue),
    /// `resource/network-bandwidth`, in bits per second; not enforced.
    NetworkBandwidth(ResourceValue),
    /// `os/linux/cpu-shares`, 2 to 262144.
    CpuShares(u32),
    /// `os/linux/oom-score-adj`, -1000 to 1000.
    OomScoreAdj(i32),
    /// `os/linux/capabilities-retain-set`: exactly these; never empty.
    CapabilitiesRetain(CapabilitySet),
    /// `os/linux/capabilities-remove-set`: the default set without these; never empty.
    CapabilitiesRemove(CapabilitySet),
    /// `os/linux/no-new-privileges`.
    NoNewPrivileges(bool),
    /// `os/linux/seccomp-retain-set`: exactly these system calls.
    SeccompRetain(SeccompSet),
    /// `os/linux/seccomp-remove-set`: all system calls but these.
    SeccompRemove(SeccompSet),
    /// `os/linux/selinux-context`.
    SeLinuxContext(SeLinuxContext),
    /// `os/linux/apparmor-profile`: the name of a profile.
    AppArmorProfile(String),
    /// `os/unix/sysctl`: kernel parameters of the pod.
    Sysctl(BTreeMap<String, String>),
    /// Anything else, kept as it is.
    Other {
        /// The name.
        name: AcIdentifier,
        /// The value.
        value: Value,
    },
}

impl Isolator {
    /// The smallest value of `os/linux/cpu-shares`.
    pub const MIN_CPU_SHARES: u32 = 2;
    /// The largest value of `os/linux/cpu-shares`.
    pub const MAX_CPU_SHARES: u32 = 262_144;

    /// The name, for example `resource/memory`.
    pub fn name(&self) -> &str {
        match self {
            Self::Memory(_) => "resource/memory",
            Self::Cpu(_) => "resource/cpu",
            Self::BlockBandwidth(_) => "resource/block-bandwidth",
            Self::BlockIops(_) => "resource/block-iops",
            Self::NetworkBandwidth(_) => "resource/network-bandwidth",
            Self::CpuShares(_) => "os/linux/cpu-shares",
            Self::OomScoreAdj(_) => "os/linux/oom-score-adj",
            Self::CapabilitiesRetain(_) => "os/linux/capabilities-retain-set",
            Self::CapabilitiesRemove(_) => "os/linux/capabilities-remove-set",
            Self::NoNewPrivileges(_) => "os/linux/no-new-privileges",
            Self::SeccompRetain(_) => "os/linux/seccomp-retain-set",
            Self::SeccompRemove(_) => "os/linux/seccomp-remove-set",
            Self::SeLinuxContext(_) => "os/linux/selinux-context",
            Self::AppArmorProfile(_) => "os/linux/apparmor-profile",
            Self::Sysctl(_) => "os/unix/sysctl",
            Self::Other { name, .. } => name.as_str(),
        }
    }

    /// Isolators of which only one can count share this: the name, or the common part of the two set isolators.
    fn subject(&self) -> &str {
        match self {
            Self::CapabilitiesRetain(_) | Self::CapabilitiesRemove(_) => "os/linux/capabilities",
            Self::SeccompRetain(_) | Self::SeccompRemove(_) => "os/linux/seccomp",
            _ => self.name(),
        }
    }
}

impl Serialize for Isolator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// A set as its own object.
        #[derive(Serialize)]
        struct Set<'a> {
            set: &'a CapabilitySet,
        }
        /// A profile as its own object.
        #[derive(Serialize)]
        struct Profile<'a> {
            profile: &'a str,
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", self.name())?;
        match self {
            Self::Memory(value)
            | Self::Cpu(value)
            | Self::BlockBandwidth(value)
            | Self::BlockIops(value)
            | Self::NetworkBandwidth(value) => map.serialize_entry("value", value)?,
            Self::CpuShares(value) => map.serialize_entry("value", value)?,
            Self::OomScoreAdj(value) => map.serialize_entry("value", value)?,
            Self::CapabilitiesRetain(set) | Self::CapabilitiesRemove(set) => {
                map.serialize_entry("value", &Set { set })?;
            }
            Self::NoNewPrivileges(value) => map.serialize_entry("value", value)?,
            Self::SeccompRetain(set) | Self::SeccompRemove(set) => map.serialize_entry("value", set)?,
            Self::SeLinuxContext(context) => map.serialize_entry("value", context)?,
            Self::AppArmorProfile(profile) => map.serialize_entry("value", &Profile { profile })?,
            Self::Sysctl(parameters) => map.serialize_entry("value", parameters)?,
            Self::Other { value, .. } => map.serialize_entry("value", value)?,
        }
        map.end()
    }
}

impl Read for Isolator {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let name: AcIdentifier = at.parsed("name")?;
        let value = || at.required("value");
        let resource = |default| ResourceValue::read_with(value()?, default);
        Ok(match name.as_str() {
            "resource/memory" => Self::Memory(resource(false)?),
            "resource/cpu" => Self::Cpu(resource(false)?),
            "resource/block-bandwidth" => Self::BlockBandwidth(resource(true)?),
            "resource/block-iops" => Self::BlockIops(resource(true)?),
            "resource/network-bandwidth" => Self::NetworkBandwidth(resource(true)?),
            "os/linux/cpu-shares" => {
                Self::CpuShares(value()?.integer(Self::MIN_CPU_SHARES.into(), Self::MAX_CPU_SHARES.into())?)
            }
            "os/linux/oom-score-adj" => Self::OomScoreAdj(value()?.integer(-1000, 1000)?),
            "os/linux/capabilities-retain-set" => Self::CapabilitiesRetain(read_capabilities(value()?)?),
            "os/linux/capabilities-remove-set" => Self::CapabilitiesRemove(read_capabilities(value()?)?),
            "os/linux/no-new-privileges" => Self::NoNewPrivileges(bool::read(value()?)?),
            "os/linux/seccomp-retain-set" => Self::SeccompRetain(SeccompSet::read(value()?)?),
            "os/linux/seccomp-remove-set" => Self::SeccompRemove(SeccompSet::read(value()?)?),
            "os/linux/selinux-context" => Self::SeLinuxContext(SeLinuxContext::read(value()?)?),
            "os/linux/apparmor-profile" => {
                let value = value()?;
                value.object()?;
                Self::AppArmorProfile(value.required_text("profile")?.to_owned())
            }
            "os/unix/sysctl" => Self::Sysctl(BTreeMap::read(value()?)?),
            _ => Self::Other { name, value: at.or_default("value")? },
        })
    }
}

/// Reads `{"set": [NAME, …]}`.
fn read_capabilities(at: At<'_>) -> Result<CapabilitySet, ManifestError> {
    at.object()?;
    let list = at.required("set")?;
    let set: CapabilitySet =
        list.items()?.map(|item| item.parse::<Capability>()).collect::<Result<_, _>>()?;
    if set.is_empty() { Err(list.error(Rule::Required)) } else { Ok(set) }
}

/// The value of an isolator of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ResourceValue {
    /// Whether this is the default for all that the app does not name itself; must be true for bandwidths and
    /// operations, false for memory and CPU.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// What the app needs at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Quantity>,
    /// What the app gets at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Quantity>,
}

impl ResourceValue {
    /// Reads the value of an isolator whose `default` must be `default`.
    fn read_with(at: At<'_>, default: bool) -> Result<Self, ManifestError> {
        at.object()?;
        let value = Self {
            default: at.or_default("default")?,
            request: at.optional("request")?,
            limit: at.optional("limit")?,
        };
        match (default, value.default) {
            (true, false) => Err(at.field_error("default", Rule::Conflict("must be true for this resource"))),
            (false, true) => {
                Err(at.field_error("default", Rule::Conflict("must be false for this resource")))
            }
            (true, true) if value.request.is_some() => {
                Err(at.field_error("request", Rule::Conflict("cannot be set for this resource")))
            }
            _ => Ok(value),
        }
    }

    /// The value that the command line makes: this much and no more, and this much at least.
    pub fn limited(quantity: Quantity) -> Self {
        Self { default: false, request: Some(quantity.clone()), limit: Some(quantity) }
    }
}

/// A set of system calls: names and wildcards such as `@rkt/default-whitelist`; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeccompSet {
    /// The names and wildcards.
    pub set: Vec<String>,
    /// The symbolic error number that forbidden calls return; such calls kill when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
}

impl SeccompSet {
    /// What the text of an error number must be.
    pub(crate) const ERRNO_RULE: &'static str = "is not a symbolic error number such as EPERM";

    /// Whether `text` has the form of a symbolic error number: `^E[A-Z0-9]+$`.
    pub fn is_errno(text: &str) -> bool {
        text.strip_prefix('E').is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        })
    }
}

impl Read for SeccompSet {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let set: Vec<String> = at.or_default("set")?;
        if set.is_empty() || set.iter().any(String::is_empty) {
            return Err(at.field_error("set", Rule::Required));
        }
        let errno = at.optional("errno")?.filter(|errno: &String| !errno.is_empty());
        match errno {
            Some(found) if !Self::is_errno(&found) => {
                Err(at.field_error("errno", Rule::Form { rule: Self::ERRNO_RULE, found }))
            }
            errno => Ok(Self { set, errno }),
        }
    }
}

/// A context of SELinux; no part is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeLinuxContext {
    /// The user.
    pub user: String,
    /// The role.
    pub role: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The level, which may have categories after a colon.
    pub level: String,
}

impl Read for SeLinuxContext {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let part = |name: &str| {
            let text = at.required_text(name)?;
            if name != "level" && text.contains(':') {
                return Err(at.field_error(name, Rule::Conflict("must not contain a colon")));
            }
            Ok(text.to_owned())
        };
        Ok(Self { user: part("user")?, role: part("role")?, kind: part("type")?, level: part("level")? })
    }
}

/// The isolators of an app or a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Isolators(pub Vec<Isolator>);

impl Isolators {
    /// No isolators.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The isolators in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Isolator> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The isolator called `name`.
    pub fn get(&self, name: &str) -> Option<&Isolator> {
        self.iter().find(|isolator| isolator.name() == name)
    }

    /// Adds `isolator` in place of those it takes the place of: of the same name or, for sets of capabilities and
    /// of system calls, of either name.
    pub fn replace(&mut self, isolator: Isolator) {
        self.0.retain(|old| old.subject() != isolator.subject());
        self.0.push(isolator);
    }

    /// The value of `resource/memory`.
    pub fn memory(&self) -> Option<&ResourceValue> {
        self.iter()
            .find_map(|isolator| if let Isolator::Memory(value) = isolator { Some(value) } else { None })
    }

    /// The value of `resource/cpu`.
    pub fn cpu(&self) -> Option<&ResourceValue> {
        self.iter().find_map(|isolator| if let Isolator::Cpu(value) = isolator { Some(value) } else { None })
    }

    /// The value of `os/linux/cpu-shares`.
    pub fn cpu_shares(&self) -> Option<u32> {
        self.iter()
            .find_map(|isolator| if let Isolator::CpuShares(value) = isolator { Some(*value) } else { None })
    }

    /// The value of `os/linux/oom-score-adj`.
    pub fn oom_score_adj(&self) -> Option<i32> {
        self.iter().find_map(
            |isolator| if let Isolator::OomScoreAdj(value) = isolator { Some(*value) } else { None },
        )
    }

    /// Whether `os/linux/no-new-privileges` is there and true.
    pub fn no_new_privileges(&self) -> bool {
        self.iter().any(|isolator| *isolator == Isolator::NoNewPrivileges(true))
    }

    /// What the app may have: the retain-set alone, or the default set without the remove-set.
    pub fn capabilities(&self) -> CapabilitySet {
        let mut retain = None;
        let mut remove = CapabilitySet::EMPTY;
        for isolator in self {
            match isolator {
                Isolator::CapabilitiesRetain(set) => {
                    retain = Some(retain.unwrap_or(CapabilitySet::EMPTY).union(*set));
                }
                Isolator::CapabilitiesRemove(set) => remove = remove.union(*set),
                _ => {}
            }
        }
        retain.unwrap_or(CapabilitySet::DEFAULT).difference(remove)
    }
}

impl<'a> IntoIterator for &'a Isolators {
    type Item = &'a Isolator;
    type IntoIter = std::slice::Iter<'a, Isolator>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Isolator> for Isolators {
    fn from_iter<I: IntoIterator<Item = Isolator>>(isolators: I) -> Self {
        Self(isolators.into_iter().collect())
    }
}

impl Read for Isolators {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        let isolators = Self(Vec::read(at)?);
        for (i, isolator) in isolators.iter().enumerate() {
            let name = isolator.name();
            for earlier in isolators.iter().take(i).filter(|earlier| earlier.subject() == isolator.subject())
            {
                match isolator {
                    // Several sets of one kind of capabilities add up, and nobody knows about unknown isolators.
                    Isolator::CapabilitiesRetain(_) | Isolator::CapabilitiesRemove(_)
                        if earlier.name() == name => {}
                    Isolator::Other { .. } => {}
                    Isolator::CapabilitiesRetain(_) | Isolator::CapabilitiesRemove(_) => {
                        return Err(at.error(Rule::Conflict(
                            "os/linux/capabilities-retain-set and os/linux/capabilities-remove-set exclude each other",
                        )));
                    }
                    Isolator::SeccompRetain(_) | Isolator::SeccompRemove(_) => {
                        return Err(at.error(Rule::Conflict(
                            "only one of os/linux/seccomp-retain-set and os/linux/seccomp-remove-set may be there, once",
                        )));
                    }
                    _ => return Err(at.error(Rule::Duplicate(name.to_owned()))),
                }
            }
        }
        Ok(isolators)
    }
}

deserialize_by_read!(Isolator, Isolators, SeccompSet, SeLinuxContext);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_isolator_round_trips() {
        for json in [
            r#"[{"name":"resource/memory","value":{"request":"1G","limit":"2G"}}]"#,
            r#"[{"name":"resource/cpu","value":{"limit":"500m"}}]"#,
            r#"[{"name":"resource/block-bandwidth","value":{"default":true,"limit":"2M"}}]"#,
            r#"[{"name":"resource/block-iops","value":{"default":true,"limit":"500"}}]"#,
            r#"[{"name":"resource/network-bandwidth","value":{"default":true,"limit":"1G"}}]"#,
            r#"[{"name":"os/linux/cpu-shares","value":512},{"name":"os/linux/oom-score-adj","value":-1000}]"#,
            r#"[{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_KILL","CAP_SYS_ADMIN"]}}]"#,
            r#"[{"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_KILL"]}}]"#,
            r#"[{"name":"os/linux/no-new-privileges","value":true}]"#,
            r#"[{"name":"os/linux/seccomp-retain-set","value":{"set":["@rkt/default-whitelist","ptrace"]}}]"#,
            r#"[{"name":"os/linux/seccomp-remove-set","value":{"set":["reboot"],"errno":"ENOTSUP"}}]"#,
            r#"[{"name":"os/linux/selinux-context","value":{"user":"system_u","role":"system_r","type":"svirt_t","level":"s0:c1,c2"}}]"#,
            r#"[{"name":"os/linux/apparmor-profile","value":{"profile":"docker-default"}}]"#,
            r#"[{"name":"os/unix/sysctl","value":{"kernel.shmmax":"1","net.core.somaxconn":"2"}}]"#,
            r#"[{"name":"example.com/own","value":{"a":[1,-2,0.5,null,true,"x"]}},{"name":"example.com/own","value":null}]"#,
        ] {
            let isolators: Isolators =
                serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
            assert_eq!(serde_json::to_string(&isolators).unwrap(), json);
            assert!(isolators.iter().all(|isolator| isolators.get(isolator.name()).is_some()));
        }
    }

    #[test]
    fn broken_isolators() {
        for (json, error) in [
            (r#"[{"value":1}]"#, r#"Field "[0].name": must be set"#),
            (r#"[{"name":"resource/memory"}]"#, r#"Field "[0].value": must be set"#),
            (
                r#"[{"name":"resource/memory","value":{"limit":"lots"}}]"#,
                r#"Field "[0].value.limit": "lots" is not a quantity"#,
            ),
            (
                r#"[{"name":"resource/memory","value":{"default":true}}]"#,
                r#"Field "[0].value.default": must be false"#,
            ),
            (
                r#"[{"name":"resource/block-iops","value":{"limit":"1"}}]"#,
                r#"Field "[0].value.default": must be true"#,
            ),
            (
                r#"[{"name":"resource/block-iops","value":{"default":true,"request":"1"}}]"#,
                r#"Field "[0].value.request": cannot be set"#,
            ),
            (
                r#"[{"name":"os/linux/cpu-shares","value":1}]"#,
                r#"Field "[0].value": 1 must be between 2 and 262144"#,
            ),
            (
                r#"[{"name":"os/linux/oom-score-adj","value":1001}]"#,
                r#"Field "[0].value": 1001 must be between -1000 and 1000"#,
            ),
            (
                r#"[{"name":"os/linux/oom-score-adj","value":"1"}]"#,
                r#"Field "[0].value": must be a number, not a string"#,
            ),
            (
                r#"[{"name":"os/linux/no-new-privileges","value":1}]"#,
                r#"Field "[0].value": must be a boolean"#,
            ),
            (
                r#"[{"name":"os/linux/capabilities-retain-set","value":{}}]"#,
                r#"Field "[0].value.set": must be set"#,
            ),
            (
                r#"[{"name":"os/linux/capabilities-retain-set","value":{"set":[]}}]"#,
                r#"Field "[0].value.set": must be set"#,
            ),
            (
                r#"[{"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_ALL"]}}]"#,
                r#"Field "[0].value.set[0]": Unknown capability "CAP_ALL""#,
            ),
            (
                r#"[{"name":"os/linux/seccomp-retain-set","value":{"set":[]}}]"#,
                r#"Field "[0].value.set": must be set"#,
            ),
            (
                r#"[{"name":"os/linux/seccomp-retain-set","value":{"set":["a"],"errno":"1"}}]"#,
                r#"Field "[0].value.errno": "1" is not a symbolic error number"#,
            ),
            (
                r#"[{"name":"os/linux/selinux-context","value":{"user":"a:b","role":"r","type":"t","level":"s0"}}]"#,
                r#"Field "[0].value.user": must not contain a colon"#,
            ),
            (
                r#"[{"name":"os/linux/apparmor-profile","value":{}}]"#,
                r#"Field "[0].value.profile": must be set"#,
            ),
            (
                r#"[{"name":"os/linux/cpu-shares","value":2},{"name":"os/linux/cpu-shares","value":3}]"#,
                r#""os/linux/cpu-shares" is there more than once"#,
            ),
            (
                r#"[{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_KILL"]}},
                    {"name":"os/linux/capabilities-remove-set","value":{"set":["CAP_KILL"]}}]"#,
                "exclude each other",
            ),
            (
                r#"[{"name":"os/linux/seccomp-remove-set","value":{"set":["a"]}},
                    {"name":"os/linux/seccomp-retain-set","value":{"set":["b"]}}]"#,
                "only one of os/linux/seccomp-retain-set",
            ),
            (
                r#"[{"name":"os/linux/seccomp-remove-set","value":{"set":["a"]}},
                    {"name":"os/linux/seccomp-remove-set","value":{"set":["b"]}}]"#,
                "only one of os/linux/seccomp-retain-set",
            ),
        ] {
            let found = serde_json::from_str::<Isolators>(json).unwrap_err().to_string();
            assert!(found.contains(error), "{json}: {found}");
        }
    }

    #[test]
    fn capabilities_of_an_app() {
        let set = |text: &str| text.parse::<CapabilitySet>().unwrap();
        let default = CapabilitySet::DEFAULT;
        for (isolators, capabilities) in [
            (vec![], default),
            (vec![Isolator::CapabilitiesRetain(set("CAP_BPF"))], set("CAP_BPF")),
            (
                vec![
                    Isolator::CapabilitiesRetain(set("CAP_BPF")),
                    Isolator::CapabilitiesRetain(set("CAP_KILL")),
                ],
                set("CAP_BPF,CAP_KILL"),
            ),
            (
                vec![Isolator::CapabilitiesRemove(set("CAP_KILL,CAP_BPF"))],
                default.difference(set("CAP_KILL")),
            ),
        ] {
            assert_eq!(Isolators(isolators).capabilities(), capabilities);
        }
    }

    #[test]
    fn the_command_line_replaces() {
        let kill: CapabilitySet = "CAP_KILL".parse().unwrap();
        let calls = |name: &str| SeccompSet { set: vec![name.to_owned()], errno: None };
        let mut isolators = Isolators(vec![
            Isolator::CapabilitiesRetain(kill),
            Isolator::SeccompRemove(calls("a")),
            Isolator::CpuShares(2),
        ]);
        for isolator in
            [Isolator::CpuShares(3), Isolator::CapabilitiesRemove(kill), Isolator::SeccompRetain(calls("b"))]
        {
            isolators.replace(isolator);
        }
        assert_eq!(
            isolators.0,
            [Isolator::CpuShares(3), Isolator::CapabilitiesRemove(kill), Isolator::SeccompRetain(calls("b"))]
        );
    }
}
