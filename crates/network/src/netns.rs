//! The network namespace of a pod, and its name among those of the host.
//!
//! It is bound at `/run/netns/rkt-UUID` in the host's mount namespace, so that `ip netns` shows it, and what a pod
//! joined can be undone in it when all of the pod's processes are dead.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, unmount};
use rustix::pipe::{PipeFlags, pipe_with};
use sys::namespace::{self, Kind};
use sys::process::{CloneOptions, Fork, clone3, exit_now};

use crate::error::Context;

use crate::{Error, Result};

const DIRECTORY: &str = "/run/netns";

/// Where the namespace of a pod is bound.
pub fn path(pod: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("rkt-{pod}"))
}

/// Makes a network namespace whose loopback interface is on. It lives as long as the handle.
pub fn create() -> Result<OwnedFd> {
    let step = || "make a network namespace".to_owned();
    let (tell, told) = pipe_with(PipeFlags::CLOEXEC).map(|(read, write)| (write, read)).step(step)?;
    let (done, hold) = pipe_with(PipeFlags::CLOEXEC).step(step)?;
    match clone3(CloneOptions { new_network: true, ..CloneOptions::default() }).step(step)? {
        Fork::Child => {
            drop((told, hold));
            let code = sys::interface::loopback_up().err().map_or(0, |error| error.raw_os_error());
            // Who does not hear this sees the end of the pipe instead.
            let _ = rustix::io::write(&tell, &code.to_ne_bytes());
            let _ = File::from(done).read(&mut [0]);
            exit_now(0)
        }
        Fork::Parent(child) => {
            drop((tell, done));
            let mut code = [0; 4];
            let heard = File::from(told).read_exact(&mut code);
            let namespace = namespace::open(Some(child.pid), Kind::Network);
            drop(hold);
            child.wait().step(step)?;
            heard.step(step)?;
            match i32::from_ne_bytes(code) {
                0 => namespace.step(step),
                code => {
                    Err(Errno::from_raw_os_error(code)).step(|| "switch the loopback interface on".to_owned())
                }
            }
        }
    }
}

/// Gives `namespace` its name, in the mount namespace of the caller.
pub(crate) fn bind(namespace: BorrowedFd<'_>, at: &Path) -> Result<()> {
    let step = || format!("bind the network namespace at {}", at.display());
    let _lock = share_directory()?;
    // What is there already was left by a pod of that name, before a reboot or a crash.
    unbind_locked(at)?;
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(at, flags, Mode::empty()).step(step)?;
    sys::mount::bind(namespace, file.as_fd(), false).step(step)
}

/// Whether a network namespace is bound at `at`: not a file that was left when it went.
pub(crate) fn is_bound(at: &Path) -> bool {
    const NSFS: i64 = 0x6e73_6673;
    rustix::fs::statfs(at).is_ok_and(|stat| stat.f_type == NSFS)
}

/// Takes the name at `at` away. It is fine when there is none.
pub(crate) fn unbind(at: &Path) -> Result<()> {
    if !at.exists() {
        return Ok(());
    }
    let _lock = lock_directory()?;
    unbind_locked(at)
}

fn unbind_locked(at: &Path) -> Result<()> {
    let step = || format!("remove the network namespace {}", at.display());
    loop {
        match unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => break,
            Err(error) => return Err(error).step(step),
        }
    }
    match fs::remove_file(at) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).step(step),
        _ => Ok(()),
    }
}

/// The lock that ip(8) takes, too.
fn lock_directory() -> Result<File> {
    let step = || format!("lock {DIRECTORY}");
    let directory = File::open(DIRECTORY).step(step)?;
    directory.lock().step(step)?;
    Ok(directory)
}

/// Makes the directory, as ip(8) does: a shared mount, so that names come and go in all mount namespaces at once.
fn share_directory() -> Result<File> {
    let step = || format!("make {DIRECTORY} a shared mount");
    fs::create_dir_all(DIRECTORY).step(step)?;
    let lock = lock_directory()?;
    let share = || mount_change(DIRECTORY, MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    match share() {
        Err(Errno::INVAL) => {
            mount_bind_recursive(DIRECTORY, DIRECTORY).step(step)?;
            share().step(step)?;
        }
        shared => shared.step(step)?,
    }
    Ok(lock)
}

/// Runs `work` in a process of its own, which stands in the mount namespace `mounts` (if given), and returns what it answers.
///
/// The process has a copy of every handle of this one, the pod's lock too: the pod counts as running until it ends.
pub(crate) fn apart<T>(mounts: Option<BorrowedFd<'_>>, work: impl FnOnce() -> Result<T>) -> Result<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let step = || "start the process for the network".to_owned();
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).step(step)?;
    match sys::process::fork().step(step)? {
        Fork::Child => {
            drop(read);
            let joined = mounts.map_or(Ok(()), |mounts| {
                namespace::join(mounts, Kind::Mount).step(|| "join the host's mount namespace".to_owned())
            });
            let answer: Result<T, String> = joined.and_then(|()| work()).map_err(|error| error.chain());
            // Types of this crate always serialise; whoever waits takes silence for a failure.
            let json = serde_json::to_vec(&answer).unwrap_or_default();
            let written = std::io::Write::write_all(&mut File::from(write), &json);
            exit_now(i32::from(written.is_err()))
        }
        Fork::Parent(child) => {
            drop(write);
            let mut json = Vec::new();
            let heard = File::from(read).read_to_end(&mut json);
            child.wait().step(step)?;
            heard.step(step)?;
            let answer: Result<T, String> = serde_json::from_slice(&json)
                .map_err(|_| Error::Told("The process that sets networks up died".to_owned()))?;
            answer.map_err(Error::Told)
        }
    }
}
