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
    /// Limits of a scope.
    pub properties: &'a [Property],
    /// Who moves into the group.
    pub mover: Mover<'a>,
}

/// Who moves into a pod's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mover<'a> {
    /// This process, at once.
    Us {
        /// A group to make below the pod's and to stand in, rather than in the pod's own: moving twice costs twice.
        below: Option<&'a str>,
    },
    /// The program that this process becomes. We go all the same where systemd moves us, and out of the very group of a delegated unit:
    /// it can give its controllers away when no process is left there.
    Next,
}

impl Mover<'_> {
    fn below(&self) -> Option<&str> {
        match self {
            Mover::Us { below } => *below,
            Mover::Next => None,
        }
    }
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

/// A pod's group. This process stands in it, or in the one below that was asked for, if it has moved.
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
    /// Whether this process has moved. Else it is left to [`Mover::Next`].
    pub moved: bool,
}

/// The service that started this process, and the path of the group in it where we stand: a pod that has no limits and
/// no use for a group of its own stays there, because a process that moves into a group waits for the whole kernel
/// ([`Group::begin_grace_period`]). `None` when no service started us.
///
/// # Errors
/// [`Error::NoUnifiedCgroups`].
pub fn stay() -> Result<Option<(String, String)>> {
    let standing = unit::own()?;
    Ok(standing.service.filter(|_| crate::booted()).map(|service| (service.name, standing.group)))
}

/// Makes the group for a pod, and moves this process in unless that is left to the next program.
///
/// # Errors
/// [`Error::NoUnifiedCgroups`]; when the group cannot be made; those of [`scope::start`].
pub fn join(request: &Request<'_>) -> Result<PodGroup> {
    let standing = unit::own()?;
    let hierarchy = Hierarchy::open()?;
    if crate::booted() && standing.service.is_none() {
        return join_scope(request, &hierarchy);
    }
    let ours = hierarchy.group(&standing.group)?;
    let service = standing.service.filter(|_| crate::booted());
    let unit = match &service {
        Some(service) => &hierarchy.group(&service.group)?,
        None => &ours,
    };
    let group = unit.create(&format!("pod-{}", request.uuid))?;
    let delegated = service.is_some() && unit.is_delegated();
    let in_the_way = delegated && unit.path() == ours.path();
    let moved = request.mover != Mover::Next || in_the_way;
    let below = if moved { enter(&group, request.mover.below())? } else { None };
    let (owner, limits) = match service {
        None => (Owner::Nobody, Err(NO_SYSTEMD.to_owned())),
        Some(service) if delegated => (Owner::Service(service.name.clone()), hand_down(unit, &service.name)),
        Some(service) => {
            let reason = format!("{} has no Delegate=yes", service.name);
            (Owner::Service(service.name), Err(reason))
        }
    };
    if !moved {
        ours.begin_grace_period();
    }
    Ok(PodGroup { group, below, owner, limits, moved })
}

/// Why there are no limits where systemd is not process 1.
const NO_SYSTEMD: &str = "systemd is not process 1 of this host, so nobody has handed us controllers";

/// Has systemd make a scope, and move this process in.
fn join_scope(request: &Request<'_>, hierarchy: &Hierarchy) -> Result<PodGroup> {
    let scope = unit::pod_scope(request.uuid);
    scope::start(&scope::Scope {
        name: &scope,
        description: &format!("rkt pod {}", request.uuid),
        slice: "machine.slice",
        properties: request.properties,
    })?;
    let group = hierarchy.group(&unit::own()?.group)?;
    // A job is done when systemd says so, but what counts is where we stand.
    if group.path().rsplit('/').next() != Some(scope.as_str()) {
        return Err(Error::Elsewhere { unit: scope });
    }
    let below = match request.mover.below() {
        None => None,
        below => enter(&group, below)?,
    };
    Ok(PodGroup { group, below, owner: Owner::Scope(scope), limits: Ok(()), moved: true })
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

/// Hands the controllers of a delegated unit down to the pod.
fn hand_down(unit: &Group, name: &str) -> Result<(), String> {
    match unit.enable_controllers() {
        Ok(_) => Ok(()),
        Err(Error::Io { source, .. }) if Errno::from_io_error(&source) == Some(Errno::BUSY) => Err(format!(
            "other processes of {name} stand in its own control group; set DelegateSubgroup= or start rkt with exec"
        )),
        Err(error) => Err(format!("controllers of {name} cannot be enabled: {error}")),
    }
}
