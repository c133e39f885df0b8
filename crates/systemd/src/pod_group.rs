//! A control group for a pod, wherever rkt was started.
//!
//! ```text
//! started by web.service       system.slice/web.service/pod-UUID       we stay in the unit, delegated or not
//!                              system.slice/web.service                [`stay`]: without a group of our own
//! started from a session       machine.slice/machine-rkt\x2dUUID.scope asked of systemd, delegated
//! systemd is not process 1     <our own group>/pod-UUID                where the tree lets us
//! ```
//! Controllers are enabled below the unit only when it has `Delegate=yes`: in a unit that does not, systemd starts
//! `ExecStop=` and the like in the unit's own group, which cgroup2 refuses for a group that has given its controllers away.

use rustix::io::Errno;

use crate::cgroup::{Group, Hierarchy};
use crate::scope::{self, Property};
use crate::{Error, Result, unit};

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The pod's UUID.
    pub uuid: &'a str,
    /// A group to make below the pod's and to stand in, rather than in the pod's own: moving twice costs twice.
    pub below: Option<&'a str>,
    /// Where a scope is put; `machine.slice` when there is none.
    pub slice: Option<&'a str>,
    /// Limits of a scope.
    pub properties: &'a [Property],
}

/// Who owns the pod's group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The service that started us.
    Service(String),
    /// A scope made for the pod.
    Scope(String),
    /// Nobody: systemd is not process 1.
    Nobody,
}

/// A pod's group. This process stands in it, or in the one below that was asked for.
#[derive(Debug)]
pub struct PodGroup {
    /// The group.
    pub group: Group,
    /// The one below.
    pub below: Option<Group>,
    /// Whose it is.
    pub owner: Owner,
    /// Whether groups of apps below can have limits, or the reason why not.
    pub limits: Result<(), String>,
}

/// The service that started this process, and the path of the group in it where we stand: a pod that has no limits and
/// no use for a group of its own stays there, because a process that moves into a group waits for the whole kernel
/// (a grace period of RCU, 8 to 25 ms). `None` when no service started us.
///
/// # Errors
/// [`Error::NoUnifiedCgroups`].
pub fn stay() -> Result<Option<(String, String)>> {
    let standing = unit::own()?;
    Ok(standing.service.filter(|_| crate::booted()).map(|service| (service.name, standing.group)))
}

/// Makes the group for a pod and moves this process in.
///
/// # Errors
/// [`Error::NoUnifiedCgroups`]; when the group cannot be made; those of [`scope::start`].
pub fn join(request: &Request<'_>) -> Result<PodGroup> {
    let standing = unit::own()?;
    let hierarchy = Hierarchy::open()?;
    let name = format!("pod-{}", request.uuid);
    if !crate::booted() {
        let group = hierarchy.group(&standing.group)?.create(&name)?;
        let below = enter(&group, request.below)?;
        let limits =
            Err("systemd is not process 1 of this host, so nobody has handed us controllers".to_owned());
        return Ok(PodGroup { group, below, owner: Owner::Nobody, limits });
    }
    if let Some(service) = standing.service {
        let unit = hierarchy.group(&service.group)?;
        let group = unit.create(&name)?;
        let below = enter(&group, request.below)?;
        let limits = delegate(&unit, &service.name);
        return Ok(PodGroup { group, below, owner: Owner::Service(service.name), limits });
    }
    let scope = unit::pod_scope(request.uuid);
    scope::start(&scope::Scope {
        name: &scope,
        description: &format!("rkt pod {}", request.uuid),
        slice: request.slice.unwrap_or("machine.slice"),
        properties: request.properties,
    })?;
    let group = hierarchy.group(&unit::own()?.group)?;
    // A job is done when systemd says so, but what counts is where we stand.
    if group.path().rsplit('/').next() != Some(scope.as_str()) {
        return Err(Error::Elsewhere { unit: scope });
    }
    let below = match request.below {
        Some(_) => enter(&group, request.below)?,
        None => None,
    };
    Ok(PodGroup { group, below, owner: Owner::Scope(scope), limits: Ok(()) })
}

/// Moves this process into `group`, or into `below` in it.
fn enter(group: &Group, below: Option<&str>) -> Result<Option<Group>> {
    match below {
        Some(name) => {
            let below = group.create(name)?;
            below.enter()?;
            Ok(Some(below))
        }
        None => group.enter().map(|()| None),
    }
}

/// Hands the unit's controllers down to the pod, if the unit's are ours to hand.
fn delegate(unit: &Group, name: &str) -> Result<(), String> {
    if !unit.is_delegated() {
        return Err(format!("{name} has no Delegate=yes"));
    }
    match unit.enable_controllers() {
        Ok(_) => Ok(()),
        Err(Error::Io { source, .. }) if Errno::from_io_error(&source) == Some(Errno::BUSY) => Err(format!(
            "other processes of {name} stand in its own control group; set DelegateSubgroup= or start rkt with exec"
        )),
        Err(error) => Err(format!("controllers of {name} cannot be enabled: {error}")),
    }
}
