//! Helpers of the monitor: other programs with few rights, which end with it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Gid, Signal, Uid, WaitId, WaitIdOptions};
use rustix::thread::{CapabilitySet, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use stage1::{Context, Error, Result};
use sys::namespace::{self, Kind};
use sys::process::{Child, CloneOptions, Fork};

/// The user that hypervisors run as. Where the package has not made it, they run as nobody.
const USER: &str = "rkt-vm";
/// User and group id of nobody, the same on every Linux.
const NOBODY: u32 = 65534;

/// Whom a program runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
    /// A supplementary group.
    also: Option<u32>,
}

impl User {
    /// The user of hypervisors, who may open `device` if its group may.
    pub(crate) fn of_hypervisor(device: Option<&Path>) -> Result<Self> {
        let passwd = match std::fs::read("/etc/passwd") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            passwd => passwd.step(|| "read /etc/passwd".to_owned())?,
        };
        let (uid, gid) = find_user(&String::from_utf8_lossy(&passwd)).unwrap_or((NOBODY, NOBODY));
        if uid == 0 || gid == 0 {
            return Err(Error::Refused(format!("{USER} is root in /etc/passwd")));
        }
        let also = match device {
            Some(device) => {
                Some(std::fs::metadata(device).step(|| format!("look at {}", device.display()))?.gid())
            }
            None => None,
        };
        Ok(User { uid, gid, also: also.filter(|gid| *gid != 0) })
    }

    fn assume(self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let also: Vec<Gid> = self.also.into_iter().map(Gid::from_raw).collect();
        // There is one thread, so the thread's ids are the process's. With the user's id all capabilities go.
        set_thread_groups(&also)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        Ok(())
    }
}

fn find_user(passwd: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(USER)).then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

/// A program that is executable, in `PATH` or at one of `places`.
pub(crate) fn find_program(name: &str, places: &[&Path]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    let is_program = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
    };
    let places = places.iter().map(|place| place.to_path_buf());
    in_path.map(|directory| directory.join(name)).chain(places).find(is_program)
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// Its path.
    pub(crate) program: PathBuf,
    /// Its arguments, without its name.
    pub(crate) arguments: Vec<String>,
    /// Whom it runs as; root otherwise.
    pub(crate) user: Option<User>,
    /// As root it has no other capabilities.
    pub(crate) bounds: Option<CapabilitySet>,
    /// It gets a network namespace of its own, with nothing in it.
    pub(crate) alone_on_the_network: bool,
}

impl Command {
    /// Starts it with these descriptors: standard streams first. It ends with this process.
    pub(crate) fn spawn(&self, descriptors: &[BorrowedFd<'_>]) -> Result<Running> {
        let name = self.program.display().to_string();
        let strings = |texts: &mut dyn Iterator<Item = &[u8]>| -> Result<Vec<CString>> {
            let nul = |_| Error::Refused(format!("A NUL byte stands in the arguments of {name}"));
            texts.map(|text| CString::new(text).map_err(nul)).collect()
        };
        let path = self.program.as_os_str().as_bytes();
        let argv = strings(&mut [path].into_iter().chain(self.arguments.iter().map(String::as_bytes)))?;
        let environment =
            strings(&mut [&b"PATH=/usr/sbin:/usr/bin:/sbin:/bin"[..], b"LC_ALL=C"].into_iter())?;
        let parent = rustix::process::getpid();
        match sys::process::clone3(CloneOptions::default()).step(|| format!("start {name}"))? {
            Fork::Parent(child) => Ok(Running { name, child, ended: None, status: None }),
            Fork::Child => {
                let failed = self.execute(&argv, &environment, descriptors, parent);
                let _ =
                    io::Write::write_fmt(&mut io::stderr(), format_args!("Cannot start {name}: {failed}\n"));
                sys::process::exit_now(254)
            }
        }
    }

    fn execute(
        &self,
        argv: &[CString],
        environment: &[CString],
        descriptors: &[BorrowedFd<'_>],
        parent: rustix::process::Pid,
    ) -> io::Error {
        let prepare = || -> io::Result<()> {
            if self.alone_on_the_network {
                namespace::leave(&[Kind::Network])?;
            }
            sys::process::reset_signals()?;
            sys::fd::close_on_exec_from(3)?;
            sys::fd::arrange(descriptors)?;
            if let Some(bounds) = self.bounds {
                executor::capabilities::bound(bounds)?;
            }
            if let Some(user) = self.user {
                user.assume()?;
            }
            // A change of user would undo it.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() != Some(parent) {
                return Err(Errno::SRCH.into());
            }
            Ok(())
        };
        match prepare() {
            Ok(()) => sys::process::execute_path(&argv[0], argv, environment).into(),
            Err(error) => error,
        }
    }
}

/// A helper that runs, or has ended.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    ended: Option<String>,
    status: Option<i32>,
}

impl Running {
    /// Readable when it has ended.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// How it ended, as the rest of a sentence; `None` while it runs.
    pub(crate) fn has_ended(&mut self) -> Option<&str> {
        if self.ended.is_none() {
            let id = WaitId::PidFd(self.child.pidfd.as_fd());
            let status = rustix::process::waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            if let Ok(Some(status)) = status {
                self.status = status.exit_status();
                self.ended = Some(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => format!("has ended with status {code}"),
                    (None, signal) => format!("was killed by signal {}", signal.unwrap_or(0)),
                });
            }
        }
        self.ended.as_deref()
    }

    /// Kills it, and does not wait for its end.
    pub(crate) fn kill(&mut self) {
        if self.has_ended().is_none() {
            let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        }
    }

    /// Waits for its end, and kills it when it takes longer than `patience`.
    pub(crate) fn end(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.has_ended().is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
                let _ = self.child.wait();
                self.ended = Some("was killed".to_owned());
                return;
            }
            let limit = rustix::event::Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let flags = rustix::event::PollFlags::IN;
            let mut fds = [rustix::event::PollFd::new(&self.child.pidfd, flags)];
            let _ = rustix::event::poll(&mut fds, Some(&limit));
        }
    }

    /// Waits for its end as [`Running::end`] does, and returns its exit status; `None` when it was killed.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<i32> {
        self.end(patience);
        self.status
    }

    /// Its program, for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_user() {
        let passwd =
            "root:x:0:0::/:/bin/sh\nrkt-vmx:x:7:7::/:\nrkt-vm:x:998:997:machines:/:/usr/sbin/nologin\n";
        assert_eq!(find_user(passwd), Some((998, 997)));
        assert_eq!(find_user("rkt-vm:x:many\n"), None);
        assert_eq!(find_user(""), None);
    }

    #[test]
    fn finds_programs_that_can_be_executed() {
        assert!(find_program("sh", &[]).is_some());
        assert_eq!(find_program("no-such-program", &[Path::new("/etc/passwd")]), None);
        assert_eq!(find_program("no-such-program", &[Path::new("/bin/sh")]), Some("/bin/sh".into()));
    }
}
