//! `enter`: becomes a command in the app's view, control group and bounds, as its user.

use std::os::fd::OwnedFd;

use executor::become_app;
use pod::Current;
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use stage1::args::Enter;
use stage1::processes::{self, Member};
use stage1::spec::Limits;
use stage1::{Context, Error, Pod, Result};
use sys::namespace::{self, Kind};

use crate::app;

/// Runs a command in the app. Returns only when that fails.
pub(crate) fn enter(enter: &Enter) -> Result<u8> {
    let current = Current::open()?;
    let pid = Pid::from_raw(enter.pid).ok_or_else(|| Error::Refused("0 is no process".to_owned()))?;
    let member = Member::open(&current.dir, Current::uuid()?, pid)?;
    let view = View::open(pid)?;
    // The handles are of the app only if it still had its number when they were opened.
    member.check_alive()?;

    let pod = Pod::open(current)?;
    let only = app::only(&pod)?;
    if enter.app.as_deref().is_some_and(|name| name != only.name()) {
        // Names the apps that there are.
        pod.app(enter.app.as_deref().unwrap_or_default())?;
    }
    let limits = Limits::Impossible("the app's control group has them already".to_owned());
    let mut spec = app::spec(only, &limits, &mut Vec::new())?;
    stage1::credentials::find(only, &mut spec, std::os::fd::AsFd::as_fd(&view.root));
    spec.exec.clone_from(&enter.command);
    // As it is: the mount is the app's own.
    spec.read_only_root = false;
    if let Some(group) = processes::group(&pod.current.dir)? {
        group.create(&app::group_name(only))?.enter()?;
    } else if let Some(shared) = processes::standing(&pod.current.dir)? {
        shared.enter()?;
    }
    let identity = app::identity(&spec, &view.root)?;
    namespace::join(std::os::fd::AsFd::as_fd(&view.mounts), Kind::Mount)
        .step(|| "join the app's mount namespace".to_owned())?;
    let error = become_app(&spec, &identity, &view.root, 3);
    Err(app::failure(&spec, &view.root, error))
}

/// What the app sees, by handle.
struct View {
    mounts: OwnedFd,
    root: OwnedFd,
}

impl View {
    fn open(pid: Pid) -> Result<Self> {
        let step = || format!("look into process {}", pid.as_raw_nonzero());
        let mounts = namespace::open(Some(pid), Kind::Mount).step(step)?;
        let path = format!("/proc/{}/root", pid.as_raw_nonzero());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).step(step)?;
        Ok(View { mounts, root })
    }
}
