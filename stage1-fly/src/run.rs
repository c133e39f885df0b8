//! `run`: from a prepared pod directory to the app.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use executor::spec::{CgroupLimits, OutputMode};
use executor::{AppSpec, become_app};
use pod::{Current, PodUuid};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use stage1::args::{Network, Run};
use stage1::input::AppInput;
use stage1::spec::{Limits, Policy};
use stage1::{Context, Error, Pod, Result, attach, pod_limits, warn};
use systemd::cgroup::Group;
use systemd::listen::Listen;
use systemd::pod_group::{self, Mover, Owner};
use systemd::{PodGroup, journal};

use crate::{app, mounts};

/// Becomes the app.
pub(crate) fn run(run: &Run) -> Result<Infallible> {
    let host = attach::leave_host()?;
    let mut listen = systemd::listen::take();
    if run.mutable {
        return Err(Error::Refused(
            "A pod of the flavor \"fly\" cannot be mutable; use another stage1".to_owned(),
        ));
    }
    if run.private_users.is_some() {
        return Err(Error::Refused(
            "A pod of the flavor \"fly\" has the users of the host, and cannot have --private-users: use another stage1"
                .to_owned(),
        ));
    }
    if run.network != Network::Host {
        return Err(Error::Refused(format!(
            "A pod of the flavor \"fly\" shares the network of the host, and cannot have --net={}: \
             use --net=host, or another stage1",
            run.network
        )));
    }
    let mut pod = Pod::open(Current::open()?)?;
    let mut warnings = Vec::new();
    let of_pod = pod_limits::read(&pod, Policy::Fly, &mut warnings)?;
    let (standing, mut spec) = Standing::take(&pod, run.uuid, &of_pod, &mut warnings)?;
    let group = if let Standing::Own(group) = &standing { Some(group) } else { None };
    pod_limits::enforce(&of_pod, group, Policy::Fly, &mut warnings)?;
    warnings.iter().for_each(|warning| warn(warning));
    let app = app::only(&pod)?;

    // Without a word about it, standard input is rkt's own.
    let reads_nothing = app.runtime.annotations.get("coreos.com/rkt/stage2/stdin") == Some("null");

    stage1::metadata::announce(run, || Ok(String::new()), std::slice::from_mut(&mut spec))?;
    let root = mounts::build(&pod, app, run, &mut spec, host.as_fd())?;
    let places = stage1::sockets::of_app(app, &pod.manifest, &listen);
    let mut place = 0..;
    listen.retain(|_| place.next().is_some_and(|place| places.contains(&place)));
    activate(&mut spec, &listen);
    let identity = app::identity(&spec, &root)?;
    let [output, errors] = streams(&spec, standing.unit())?;

    write_files(&pod, run, &spec)?;
    // Where `rkt logs` finds the lines: a group of its service says nothing of the pod.
    match (&output, systemd::unit::invocation()) {
        (None, _) => pod.current.dir.write("output", b"inherited")?,
        (Some(_), Some(id)) => pod.current.dir.write("output", format!("invocation {id}").as_bytes())?,
        (Some(_), None) => {}
    }
    if let Standing::Service { group, .. } = &standing {
        pod.current.write_service_cgroup(group)?;
    }
    pod.current.write_pid(rustix::process::getpid(), standing.own_group())?;
    let lock = pod.current.keep_lock_on_file()?;

    let own = (io::stdin(), io::stdout(), io::stderr());
    let null = app::null()?;
    let output = match spec.stdout {
        OutputMode::Null => null.as_fd(),
        _ => output.as_ref().map_or(own.1.as_fd(), |fd| fd.as_fd()),
    };
    let errors = match spec.stderr {
        OutputMode::Null => null.as_fd(),
        _ => errors.as_ref().map_or(own.2.as_fd(), |fd| fd.as_fd()),
    };
    let input = if reads_nothing { null.as_fd() } else { own.0.as_fd() };
    let mut descriptors: Vec<BorrowedFd<'_>> = vec![input, output, errors];
    descriptors.extend(listen.iter().map(|socket| socket.fd.as_fd()));
    descriptors.push(lock.as_fd());
    let (root, first_closed) = hand_down(&root, &descriptors)?;
    if !spec.notify {
        say_ready();
    }
    let error = become_app(&spec, &identity, &root, first_closed);
    Err(app::failure(&spec, &root, error))
}

/// Where the app stands.
enum Standing {
    /// In a group of its own below the pod's.
    Own(PodGroup),
    /// In the service that started it, as whatever else that runs.
    Service { name: String, group: String },
    /// Where rkt stood: nobody manages groups here.
    Anywhere,
}

impl Standing {
    /// Takes the place that fits, and reads what the app asks for there. A group of its own is for limits, and for a pod
    /// that no service ends.
    fn take(
        pod: &Pod,
        uuid: PodUuid,
        of_pod: &CgroupLimits,
        warnings: &mut Vec<String>,
    ) -> Result<(Self, AppSpec)> {
        let app = app::only(pod)?;
        if of_pod.is_empty() {
            // Whether it asks for limits does not depend on which can be had.
            let all = ["cpu", "io", "memory", "pids"].map(str::to_owned).to_vec();
            let mut of_app = Vec::new();
            let spec = app::spec(app, &Limits::Enforced(all), &mut of_app)?;
            if spec.cgroup.is_empty()
                && let Ok(Some((name, group))) = pod_group::stay()
            {
                warnings.append(&mut of_app);
                return Ok((Standing::Service { name, group }, spec));
            }
        }
        let standing = Self::apart(app, uuid, of_pod)?;
        let limits = standing.limits()?;
        let spec = app::spec(app, &limits, warnings)?;
        if let Standing::Own(PodGroup { group, below: Some(below), .. }) = &standing
            && !spec.cgroup.is_empty()
        {
            limit(group, below, &spec.cgroup)?;
        }
        Ok((standing, spec))
    }

    /// Takes a group of its own, where there are groups.
    fn apart(app: &AppInput, uuid: PodUuid, of_pod: &CgroupLimits) -> Result<Self> {
        let name = app::group_name(app);
        let uuid = uuid.to_string();
        let properties = pod_limits::properties(of_pod);
        let request = pod_group::Request {
            uuid: &uuid,

            properties: &properties,
            mover: Mover::Us { below: Some(&name) },
        };
        match pod_group::join(&request) {
            Ok(group) => Ok(Standing::Own(group)),
            Err(systemd::Error::NoUnifiedCgroups) => Ok(Standing::Anywhere),
            Err(_) if !systemd::booted() => Ok(Standing::Anywhere),
            Err(error) => Err(error.into()),
        }
    }

    /// Which limits its app can have.
    fn limits(&self) -> Result<Limits> {
        Ok(match self {
            Standing::Own(PodGroup { limits: Err(reason), .. }) => Limits::Impossible(reason.clone()),
            Standing::Own(PodGroup { limits: Ok(()), group, .. }) => Limits::Enforced(group.controllers()?),
            Standing::Service { .. } | Standing::Anywhere => {
                Limits::Impossible("there is no control group for the pod".to_owned())
            }
        })
    }

    fn own_group(&self) -> Option<&str> {
        match self {
            Standing::Own(group) => Some(group.group.path()),
            Standing::Service { .. } | Standing::Anywhere => None,
        }
    }

    /// The unit it belongs to; empty without one.
    fn unit(&self) -> &str {
        match self {
            Standing::Service { name, .. }
            | Standing::Own(PodGroup { owner: Owner::Service(name) | Owner::Scope(name), .. }) => name,
            Standing::Own(PodGroup { owner: Owner::Nobody, .. }) | Standing::Anywhere => "",
        }
    }
}

/// Limits the app's group. The pod's own has no process, so it can give its controllers away.
fn limit(pod: &Group, app: &Group, limits: &CgroupLimits) -> Result<()> {
    pod.enable_controllers()?;
    for (file, value) in limits.settings() {
        app.write(file, &value)?;
    }
    Ok(())
}

/// Tells the app of the sockets that it finds from descriptor 3 on.
fn activate(spec: &mut AppSpec, sockets: &[Listen]) {
    if sockets.is_empty() {
        return;
    }
    let names: Vec<&str> = sockets.iter().map(|socket| socket.name.as_str()).collect();
    for (name, value) in [
        ("LISTEN_FDS", sockets.len().to_string()),
        ("LISTEN_PID", rustix::process::getpid().as_raw_nonzero().to_string()),
        ("LISTEN_FDNAMES", names.join(":")),
    ] {
        spec.environment.push((name.to_owned(), value));
    }
}

/// Standard output and error of the app, where they are not ours: when ours lead to the journal, it gets a stream
/// under its own name.
fn streams(spec: &AppSpec, unit: &str) -> Result<[Option<OwnedFd>; 2]> {
    let mut streams = journal_streams(spec, unit);
    for (stream, mode) in streams.iter_mut().zip([spec.stdout, spec.stderr]) {
        if mode == OutputMode::Null {
            let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
            *stream = Some(null.step(|| "open /dev/null".to_owned())?);
        }
    }
    Ok(streams)
}

fn journal_streams(spec: &AppSpec, unit: &str) -> [Option<OwnedFd>; 2] {
    if !journal::stdout_is_journal() {
        return [None, None];
    }
    match journal::Stream::of_app(&spec.name, unit).open() {
        Ok(output) => {
            let errors = if same_file() { output.try_clone().ok() } else { None };
            [Some(output), errors]
        }
        Err(error) => {
            warn(&format!("no journal stream for app {:?}: {error}", spec.name));
            [None, None]
        }
    }
}

/// An app that does not say itself when it is ready is so when it runs, which is as good as now.
fn say_ready() {
    let said = systemd::notify::Notifier::from_environment()
        .and_then(|notifier| notifier.map_or(Ok(()), |notifier| notifier.send("READY=1")));
    if let Err(error) = said {
        warn(&format!("cannot tell systemd that the pod is ready: {error}"));
    }
}

/// Whether standard output and error lead to the same place.
fn same_file() -> bool {
    let file = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    file(io::stdout().as_fd()) == file(io::stderr().as_fd())
}

fn write_files(pod: &Pod, run: &Run, spec: &AppSpec) -> Result<()> {
    let dir = &pod.current.dir;
    let path = format!("stage1/rootfs/rkt/env/{}", spec.name);
    dir.create_directory("stage1/rootfs/rkt/env")?;
    dir.write(&path, stage1::spec::environment_file(spec).as_bytes())?;
    stage1::runtime_config::write(pod, run)?;
    let stat = std::fs::read_to_string("/proc/self/stat").step(|| "read /proc/self/stat".to_owned())?;
    if let Some(group) = process_group(&stat) {
        dir.write("pgid", group.as_bytes())?;
    }
    Ok(pod.current.write_flavor("fly")?)
}

/// The process group in `/proc/PID/stat`; `None` when its leader is not in our pid namespace. (`getpgrp` of rustix
/// cannot say that.)
fn process_group(stat: &str) -> Option<&str> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(2).filter(|group| *group != "0")
}

/// Puts the descriptors under the numbers from 0 on and everything else out of the app's reach. Returns the app's root
/// under a number that did not change, and the number from which on all is closed.
fn hand_down(root: &OwnedFd, descriptors: &[BorrowedFd<'_>]) -> Result<(OwnedFd, i32)> {
    let step = || "hand down descriptors".to_owned();
    let first_closed = i32::try_from(descriptors.len()).map_err(|_| Errno::MFILE).step(step)?;
    let root = fcntl_dupfd_cloexec(root, first_closed).step(step)?;
    sys::fd::arrange(descriptors).step(step)?;
    Ok((root, first_closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_group_of_a_process() {
        assert_eq!(process_group("7 (a) (b) S 1 5 5 0 -1"), Some("5"));
        assert_eq!(process_group("7 (sh) S 0 0 0 0 -1"), None);
        assert_eq!(process_group(""), None);
    }
}
