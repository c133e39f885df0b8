//! The last steps of a process before it becomes the app's program: limits, identity, capabilities, filter.

use std::os::fd::IntoRawFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource};
use rustix::thread::{Gid, Uid};
use sys::seccomp::Instruction;

use crate::capabilities;
use crate::error::SetupError;
use crate::seccomp;
use crate::spec::{AppSpec, RlimitKind, Seccomp};
use crate::step::{Failed, Step};
use crate::users::Identity;

/// Sets `oom_score_adj`. The `/proc` of this process must be one that no image had its hands on.
pub(crate) fn adjust_oom_score(spec: &AppSpec) -> Result<(), SetupError> {
    let Some(score) = spec.oom_score_adj else { return Ok(()) };
    rustix::fs::openat(CWD, "/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::write(file, score.to_string().as_bytes()))
        .step(|| format!("set oom_score_adj to {score}"))?;
    Ok(())
}

/// Sets the resource limits.
pub(crate) fn limit_resources(spec: &AppSpec) -> Result<(), SetupError> {
    for limit in &spec.rlimits {
        let new = rustix::process::Rlimit { current: limit.soft, maximum: limit.hard };
        rustix::process::setrlimit(resource(limit.resource), new)
            .step(|| format!("set the resource limit {:?}", limit.resource))?;
    }
    Ok(())
}

fn resource(kind: RlimitKind) -> Resource {
    match kind {
        RlimitKind::As => Resource::As,
        RlimitKind::Core => Resource::Core,
        RlimitKind::Cpu => Resource::Cpu,
        RlimitKind::Data => Resource::Data,
        RlimitKind::Fsize => Resource::Fsize,
        RlimitKind::Locks => Resource::Locks,
        RlimitKind::Memlock => Resource::Memlock,
        RlimitKind::Msgqueue => Resource::Msgqueue,
        RlimitKind::Nice => Resource::Nice,
        RlimitKind::Nofile => Resource::Nofile,
        RlimitKind::Nproc => Resource::Nproc,
        RlimitKind::Rss => Resource::Rss,
        RlimitKind::Rtprio => Resource::Rtprio,
        RlimitKind::Rttime => Resource::Rttime,
        RlimitKind::Sigpending => Resource::Sigpending,
        RlimitKind::Stack => Resource::Stack,
    }
}

/// Takes on `identity` with the capability bounds and the filter of `spec`. What is called from here on must be
/// allowed by the filter: do nothing but execute.
///
/// Root keeps its capabilities up to the exec, which cuts them down to the bounding set: installing the filter
/// without no-new-privileges takes CAP_SYS_ADMIN. Anybody else loses them here, and gets no-new-privileges
/// when there is a filter.
///
/// With `listener`, a filter that would kill asks that instead ([`crate::listener`]).
pub(crate) fn confine(
    spec: &AppSpec,
    identity: &Identity,
    listener: Option<&[Instruction]>,
) -> Result<(), SetupError> {
    if let Some(names) = &spec.capabilities {
        let keep = capabilities::parse(names)?;
        capabilities::bound(keep).step(|| "drop capabilities".to_owned())?;
    }
    capabilities::clear_inheritable().step(|| "clear inheritable capabilities".to_owned())?;
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    rustix::thread::set_thread_groups(&groups).step(|| format!("set the groups {:?}", identity.groups))?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).step(|| format!("become group {}", identity.gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step(|| format!("become user {}", identity.uid))?;
    // Others of the same user must not trace us while handles of ours are open. The exec makes it right.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .step(|| "be closed to tracing".to_owned())?;
    if spec.no_new_privileges || (spec.seccomp != Seccomp::Off && identity.uid != 0) {
        rustix::thread::set_no_new_privs(true).step(|| "set no-new-privileges".to_owned())?;
    }
    sys::process::reset_signals().step(|| "reset signals".to_owned())?;
    if let Some(referring) = listener
        && let Ok(listener) = sys::seccomp_notify::install(referring)
    {
        // It stays open until the program is executed: whoever waits for it finds it by its number.
        let _ = listener.into_raw_fd();
        return Ok(());
    }
    let filter = match &spec.seccomp {
        Seccomp::Off => return Ok(()),
        Seccomp::Default => seccomp::default_filter(),
        Seccomp::Custom(filter) => &filter.instructions,
    };
    sys::seccomp::install(filter).map_err(|errno| match errno {
        Errno::ACCESS => SetupError::Reported(
            "Cannot install the seccomp filter: as root it takes CAP_SYS_ADMIN or no-new-privileges"
                .to_owned(),
        ),
        errno => SetupError::from(Failed { step: "install the seccomp filter".to_owned(), errno }),
    })
}
