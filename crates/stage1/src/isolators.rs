//! What an app's isolators mean for its [`AppSpec`].

use appc::Isolator;
use executor::AppSpec;
use executor::seccomp::{SetKind, compile};
use executor::spec::{CgroupLimits, Seccomp};

use crate::input::AppInput;
use crate::spec::{Limits, Options, Policy};
use crate::{Error, Result, disks, extensions};

/// A limit of the app's control group: the isolator, the controller that enforces it, and how to do without.
struct Limit {
    isolator: &'static str,
    controller: &'static str,
    is_set: fn(&CgroupLimits) -> bool,
    clear: fn(&mut CgroupLimits),
}

const LIMITS: [Limit; 6] = [
    Limit {
        isolator: "resource/memory",
        controller: "memory",
        is_set: |limits| limits.memory_bytes.is_some(),
        clear: |limits| limits.memory_bytes = None,
    },
    Limit {
        isolator: "resource/cpu",
        controller: "cpu",
        is_set: |limits| limits.cpu_milli.is_some(),
        clear: |limits| limits.cpu_milli = None,
    },
    Limit {
        isolator: "os/linux/cpu-shares",
        controller: "cpu",
        is_set: |limits| limits.cpu_weight.is_some(),
        clear: |limits| limits.cpu_weight = None,
    },
    Limit {
        isolator: "resource/block-bandwidth",
        controller: "io",
        is_set: |limits| limits.io_bytes.is_some(),
        clear: |limits| limits.io_bytes = None,
    },
    Limit {
        isolator: "resource/block-iops",
        controller: "io",
        is_set: |limits| limits.io_operations.is_some(),
        clear: |limits| limits.io_operations = None,
    },
    Limit {
        isolator: appc::extension::PIDS_LIMIT,
        controller: "pids",
        is_set: |limits| limits.pids.is_some(),
        clear: |limits| limits.pids = None,
    },
];

/// Applies the isolators of `app` to `spec`; what cannot be applied and may be left out is told to `warnings`.
///
/// # Errors
/// In a container, for isolators that are not enforced: silence would be a promise.
pub(crate) fn apply(
    app: &AppInput,
    options: &Options<'_>,
    spec: &mut AppSpec,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let contained = options.policy == Policy::Contained;
    let isolators = &app.app.isolators;
    let mut restricts_capabilities = contained;
    if !contained {
        spec.seccomp = Seccomp::Off;
    }
    for isolator in isolators {
        let name = isolator.name();
        match isolator {
            Isolator::Memory(value) => {
                spec.cgroup.memory_bytes = value.limit.as_ref().map(appc::Quantity::value);
            }
            Isolator::Cpu(value) => {
                spec.cgroup.cpu_milli = value.limit.as_ref().map(appc::Quantity::milli_value);
            }
            Isolator::CpuShares(_) if !contained => warnings.push(format!(
                "app {:?}: the isolator {name:?} is not enforced: it shares out among the apps of a pod, and this one has \
                 no other; set CPUWeight= of the unit",
                app.name()
            )),
            Isolator::CpuShares(shares) => spec.cgroup.cpu_weight = Some(weight(*shares)),
            Isolator::BlockBandwidth(value) => {
                spec.cgroup.io_bytes = value.limit.as_ref().map(appc::Quantity::value);
            }
            Isolator::BlockIops(value) => {
                spec.cgroup.io_operations = value.limit.as_ref().map(appc::Quantity::value);
            }
            Isolator::OomScoreAdj(score) => spec.oom_score_adj = i16::try_from(*score).ok(),
            Isolator::NoNewPrivileges(wanted) => spec.no_new_privileges = *wanted,
            Isolator::CapabilitiesRetain(_) | Isolator::CapabilitiesRemove(_) => {
                restricts_capabilities = true;
            }
            Isolator::SeccompRetain(set) => seccomp(app, SetKind::Retain, set, options, spec, warnings)?,
            Isolator::SeccompRemove(set) => seccomp(app, SetKind::Remove, set, options, spec, warnings)?,
            _ if contained => {
                return Err(Error::Refused(format!(
                    "App {:?} has the isolator {name:?}, which this stage1 does not enforce; {}",
                    app.name(),
                    instead(isolator),
                )));
            }
            _ => warnings.push(format!("app {:?}: the isolator {name:?} is not enforced", app.name())),
        }
    }
    if options.insecure.seccomp && contained {
        spec.seccomp = Seccomp::Off;
    }
    if restricts_capabilities && !(options.insecure.capabilities && contained) {
        let kept = isolators.capabilities();
        spec.capabilities = Some(kept.iter().map(|capability| capability.name().to_owned()).collect());
    }
    extensions::apply(app, options, spec, warnings)?;
    check_limits(app, options, spec, warnings)?;
    if spec.cgroup.io_bytes.or(spec.cgroup.io_operations).is_some() {
        spec.cgroup.disks = disks::all();
    }
    Ok(())
}

/// What to do in place of an isolator that is not enforced.
fn instead(isolator: &Isolator) -> &'static str {
    match isolator {
        Isolator::NetworkBandwidth(_) => "add the CNI plugin \"bandwidth\" to the pod's network",
        Isolator::SeLinuxContext(_) | Isolator::AppArmorProfile(_) => {
            "confine the unit that starts rkt (SELinuxContext=, AppArmorProfile=)"
        }
        Isolator::Sysctl(_) => "set it on the host, or by the CNI plugin \"tuning\" of the pod's network",
        _ => "remove it",
    }
}

/// Leaves out limits that nobody would enforce, with a word.
fn check_limits(
    app: &AppInput,
    options: &Options<'_>,
    spec: &mut AppSpec,
    warnings: &mut Vec<String>,
) -> Result<()> {
    for limit in LIMITS {
        if !(limit.is_set)(&spec.cgroup) {
            continue;
        }
        match options.limits {
            Limits::Enforced(controllers) if controllers.iter().any(|name| name == limit.controller) => {
                continue;
            }
            Limits::Enforced(_) => warnings.push(format!(
                "{} isolator set but support disabled in the kernel, skipping",
                limit.isolator
            )),
            Limits::Impossible(reason) if options.policy == Policy::Contained => {
                return Err(Error::Refused(format!(
                    "App {:?} asks for a limit of its own ({}), which cannot be enforced: {reason}. Leave it out, start rkt from a \
                     unit that has Delegate=yes in its [Service] section, or limit the unit as a whole",
                    app.name(),
                    limit.isolator,
                )));
            }
            Limits::Impossible(reason) => warnings.push(format!(
                "app {:?}: the isolator {:?} is not enforced: {reason}",
                app.name(),
                limit.isolator
            )),
        }
        (limit.clear)(&mut spec.cgroup);
    }
    Ok(())
}

fn seccomp(
    app: &AppInput,
    kind: SetKind,
    set: &appc::SeccompSet,
    options: &Options<'_>,
    spec: &mut AppSpec,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let compiled = compile(kind, &set.set, set.errno.as_deref())
        .map_err(|error| Error::Refused(format!("App {:?}: {error}", app.name())))?;
    if !compiled.ignored.is_empty() {
        let names = compiled.ignored.join(", ");
        warnings.push(format!("app {:?}: unknown system calls in its seccomp set: {names}", app.name()));
    }
    if options.policy == Policy::Fly && set.errno.is_none() {
        warnings.push(format!(
            "app {:?}: its seccomp filter kills, and nobody of ours is there to say for which system call: the kernel's audit \
             record does, journalctl _AUDIT_TYPE=1326",
            app.name()
        ));
    }
    spec.seccomp = compiled.seccomp;
    Ok(())
}

/// `cpu.weight` for `cpu-shares`, as systemd converts `CPUShares=`: 1024 shares are the usual weight of 100.
fn weight(shares: u32) -> u64 {
    (u64::from(shares) * 100 / 1024).clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        for (shares, wanted) in [(2, 1), (512, 50), (1024, 100), (262_144, 10_000)] {
            assert_eq!(weight(shares), wanted, "{shares}");
        }
    }
}
