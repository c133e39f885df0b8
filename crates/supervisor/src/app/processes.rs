//! Its processes: how they start, and why they do not.

use std::os::fd::{AsFd, BorrowedFd};

use executor::{Identity, Mounts, NOTIFY_SOCKET, Process, SetupError, Sockets, Spawned, Step};

use super::{App, Phase, Shared};
use crate::streams::AppSocket;

impl App {
    pub(super) fn spawn(&self, shared: &Shared) -> Result<Spawned, SetupError> {
        let root = Identity::root();
        let mut environment = Vec::new();
        let mut sockets = Vec::new();
        let (argv, identity) = match self.phase {
            Phase::PreStart => (self.spec.event_handlers.pre_start.as_ref(), &root),
            Phase::PostStop => (self.spec.event_handlers.post_stop.as_ref(), &root),
            _ => {
                if self.notify.is_some() {
                    environment.push(("NOTIFY_SOCKET".to_owned(), NOTIFY_SOCKET.to_owned()));
                    if let Some(period) = self.spec.watchdog_usec {
                        environment.push(("WATCHDOG_USEC".to_owned(), period.to_string()));
                    }
                }
                for name in &self.spec.sockets {
                    let called = shared.inherited.called(name);
                    sockets.extend(called.map(|(name, socket)| (name.clone(), socket.as_fd())));
                }
                (Some(&self.spec.exec), &self.identity)
            }
        };
        let stdio = self.streams.stdio().step(|| "open the standard streams".to_owned())?;
        let mounts = match &self.mounts {
            Some(mounts) => Mounts::Join(mounts.as_fd()),
            None => Mounts::Build {
                root: &self.root,
                sockets: Sockets {
                    notify: self.notify.as_ref().map(AppSocket::path),
                    syslog: self.syslog.as_ref().map(AppSocket::path),
                },
            },
        };
        executor::spawn(&Process {
            spec: &self.spec,
            identity,
            argv: argv.map_or(&[], Vec::as_slice),
            search_path: self.spec.search_path.as_deref(),
            environment: &environment,
            mounts,
            cgroup: Some(self.group.as_fd()),
            stdio: stdio.each_ref().map(AsFd::as_fd),
            // A handler would take it along when it ends.
            controls_terminal: self.streams.has_terminal && self.phase == Phase::Starting,
            sockets: &sockets,
        })
    }

    /// Starts a program beside the app's own, for somebody who enters it.
    pub(crate) fn enter(
        &self,
        argv: &[String],
        environment: &[(String, String)],
        stdio: [BorrowedFd<'_>; 3],
        controls_terminal: bool,
    ) -> Result<Spawned, SetupError> {
        let (Some(mounts), Phase::Starting | Phase::Running) = (&self.mounts, self.phase) else {
            return Err(SetupError::Reported(format!("App {:?} is not running", self.spec.name)));
        };
        let path =
            self.spec.environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_str());
        executor::spawn(&Process {
            spec: &self.spec,
            identity: &self.identity,
            argv,
            search_path: path.or(self.spec.search_path.as_deref()),
            environment,
            mounts: Mounts::Join(mounts.as_fd()),
            cgroup: Some(self.group.as_fd()),
            stdio,
            controls_terminal,
            sockets: &[],
        })
    }

    /// Why a program does not run in it.
    pub(crate) fn explanation(&self, error: &SetupError) -> String {
        match error {
            SetupError::Exec { path, errno } => executor::program::explain(self.rootfs.as_fd(), path, *errno),
            other => other.to_string(),
        }
    }

    /// Says it as a line of the app.
    pub(super) fn explain(&self, shared: &mut Shared, error: &SetupError) {
        let text = format!("Error: {}", self.explanation(error));
        self.say(shared, 3, text.as_bytes());
    }
}
