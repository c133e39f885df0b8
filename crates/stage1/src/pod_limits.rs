//! Limits of a pod as a whole: isolators of its manifest, enforced by its control group.

use appc::Isolator;
use executor::spec::CgroupLimits;
use systemd::PodGroup;
use systemd::pod_group::Owner;
use systemd::scope::Property;

use crate::spec::Policy;
use crate::{Error, Pod, Result};

const MEMORY: &str = "resource/memory";
const CPU: &str = "resource/cpu";

/// Reads them. What is not a limit of a group is refused, or under fly told to `warnings`.
///
/// # Errors
/// In a container, for isolators that are not enforced.
pub fn read(pod: &Pod, policy: Policy, warnings: &mut Vec<String>) -> Result<CgroupLimits> {
    let mut limits = CgroupLimits::default();
    for isolator in pod.manifest.isolators.iter() {
        match isolator {
            Isolator::Memory(value) => limits.memory_bytes = value.limit.as_ref().map(appc::Quantity::value),
            Isolator::Cpu(value) => limits.cpu_milli = value.limit.as_ref().map(appc::Quantity::milli_value),
            // See `crate::sysctls`.
            Isolator::Sysctl(_) if policy == Policy::Contained => {}
            other if policy == Policy::Contained => {
                return Err(Error::Refused(format!(
                    "The pod has the isolator {:?}, which is not enforced for whole pods: give it to an app, or limit \
                     the unit that starts rkt",
                    other.name()
                )));
            }
            other => warnings.push(format!("the isolator {:?} of the pod is not enforced", other.name())),
        }
    }
    Ok(limits)
}

/// As properties of a scope: what systemd has set, it also keeps.
pub fn properties(limits: &CgroupLimits) -> Vec<Property> {
    let memory = limits.memory_bytes.map(Property::MemoryMax);
    // Microseconds a second.
    let cpu = limits.cpu_milli.map(|milli| Property::CpuQuotaPerSec(milli.saturating_mul(1000)));
    memory.into_iter().chain(cpu).collect()
}

/// Has the pod's group enforce them, if they are no properties of its scope already.
///
/// # Errors
/// In a container, when they cannot be enforced.
pub fn enforce(
    limits: &CgroupLimits,
    group: Option<&PodGroup>,
    policy: Policy,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if limits.is_empty() {
        return Ok(());
    }
    let asked = if limits.memory_bytes.is_some() { MEMORY } else { CPU };
    let group = match group {
        Some(PodGroup { limits: Err(reason), .. }) => Err(reason.as_str()),
        Some(group) => Ok(group),
        None => Err("there is no control group for the pod"),
    };
    let group = match group {
        Ok(group) => group,
        Err(reason) if policy == Policy::Contained => {
            return Err(Error::Refused(format!(
                "The pod asks for a limit of its own ({asked}), which cannot be enforced: {reason}. Leave it out, start rkt from a \
                 unit that has Delegate=yes in its [Service] section, or limit the unit as a whole"
            )));
        }
        Err(reason) => {
            warnings.push(format!("the isolator {asked:?} of the pod is not enforced: {reason}"));
            return Ok(());
        }
    };
    let controllers = group.group.controllers()?;
    for (file, value) in limits.settings() {
        let (controller, isolator) = if file == "memory.max" { ("memory", MEMORY) } else { ("cpu", CPU) };
        if !controllers.iter().any(|has| has == controller) {
            warnings.push(format!("{isolator} isolator set but support disabled in the kernel, skipping"));
        } else if !matches!(group.owner, Owner::Scope(_)) {
            group.group.write(file, &value)?;
        }
    }
    Ok(())
}
