//! Making processes and becoming other programs.
//!
//! rkt's programs that fork are single-threaded when they do, so the child may allocate and lock as it likes.
//! [`is_single_threaded`] tells, and [`fork`] and [`clone3`] refuse otherwise.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus};

use crate::{Result, check};

/// A child process, held by a descriptor: its pid cannot be taken for another's.
#[derive(Debug)]
pub struct Child {
    /// Its pid, in our namespace.
    pub pid: Pid,
    /// The handle: readable when the child has ended.
    pub pidfd: OwnedFd,
}

impl Child {
    /// Waits for the end of the child and reaps it.
    pub fn wait(&self) -> Result<WaitIdStatus> {
        loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Where a process stands after a fork.
#[derive(Debug)]
pub enum Fork {
    /// In the new process.
    Child,
    /// In the old one.
    Parent(Child),
}

/// What a new process does not share with its parent, and where it is born.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloneOptions<'a> {
    /// A new mount namespace.
    pub new_mounts: bool,
    /// A new network namespace.
    pub new_network: bool,
    /// A new pid namespace, of which the child is process 1.
    pub new_pids: bool,
    /// A new user namespace.
    pub new_users: bool,
    /// The cgroup (a directory of cgroup2) that it is born into.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Whether this process has one thread only.
pub fn is_single_threaded() -> bool {
    // SAFETY: rustix has no such flag. It changes nothing: the call fails in a process that has threads; see unshare(2).
    match check(unsafe { libc::unshare(libc::CLONE_THREAD) }.into()) {
        Ok(_) => true,
        Err(Errno::INVAL) => false,
        // Somebody's filter: it takes longer then.
        Err(_) => std::fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.count() <= 1),
    }
}

/// Forks. The child goes on from here with its own copy of everything.
///
/// # Errors
/// `EDEADLK` when the process has threads, whose locks the child could wait for for ever.
pub fn fork() -> Result<Fork> {
    clone3(CloneOptions::default())
}

/// Forks with new namespaces, into a cgroup; see clone3(2).
///
/// # Errors
/// `EDEADLK` when the process has threads; `EPERM`, `EAGAIN`, `ENOSPC` from the kernel; `EBUSY` for a cgroup
/// that has controllers for its children enabled.
pub fn clone3(options: CloneOptions<'_>) -> Result<Fork> {
    if !is_single_threaded() {
        return Err(Errno::DEADLK);
    }
    let mut flags = flag(libc::CLONE_PIDFD);
    for (wanted, bit) in [
        (options.new_mounts, libc::CLONE_NEWNS),
        (options.new_network, libc::CLONE_NEWNET),
        (options.new_pids, libc::CLONE_NEWPID),
        (options.new_users, libc::CLONE_NEWUSER),
    ] {
        if wanted {
            flags |= flag(bit);
        }
    }
    let mut pidfd: RawFd = -1;
    let mut cgroup = 0;
    if let Some(directory) = options.cgroup {
        flags |= CLONE_INTO_CGROUP;
        cgroup = u64::try_from(directory.as_raw_fd()).map_err(|_| Errno::BADF)?;
    }
    let arguments = CloneArguments {
        flags,
        pidfd: std::ptr::from_mut(&mut pidfd).expose_provenance() as u64,
        exit_signal: flag(libc::SIGCHLD),
        cgroup,
        ..CloneArguments::default()
    };
    // SAFETY: rustix has no clone3. Without CLONE_VM the child gets a copy of the memory, and there is one thread
    // (checked above), so no lock is held by a thread that the child lacks. The structure and `pidfd`
    // outlive the call and the true size is passed.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&arguments), size_of::<CloneArguments>())
    })?;
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(Fork::Child);
    };
    // SAFETY: the kernel opened this descriptor for us (CLONE_PIDFD), close-on-exec, and nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Fork::Parent(Child { pid, pidfd }))
}

/// Forks a sibling: a child of this process's own parent that shares this one's table of descriptors until one of them
/// executes a program. Tells whether this is the new process.
///
/// # Errors
/// As for [`fork`]; `EINVAL` in process 1 of a pid namespace.
pub fn fork_sibling() -> Result<bool> {
    if !is_single_threaded() {
        return Err(Errno::DEADLK);
    }
    let flags = flag(libc::CLONE_FILES) | flag(libc::CLONE_PARENT);
    let arguments = CloneArguments { flags, ..CloneArguments::default() };
    // SAFETY: as for `clone3`: the memory is copied, and there is one thread. The new process owns the descriptors together
    // with this one: it closes none that this one uses.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&arguments), size_of::<CloneArguments>())
    })?;
    Ok(pid == 0)
}

/// Has a process of its own run `work`, which this one neither waits for nor ever reaps: it is a child of process 1 (or of a
/// subreaper). It stays in this one's namespaces, at their root, and has nothing open but `kept`, under the numbers 0 to 2.
///
/// # Errors
/// As for [`fork`].
pub fn run_apart(kept: BorrowedFd<'_>, work: impl FnOnce(BorrowedFd<'_>)) -> Result<()> {
    let first = match fork()? {
        Fork::Parent(first) => first,
        Fork::Child => {
            // Closed here, so that nothing is held any more, such as a lock, when this process's parent goes on.
            let ready = crate::fd::arrange(&[kept; 3])
                .and_then(|()| crate::fd::close_from(3))
                .and_then(|()| rustix::process::chdir("/"));
            if ready.is_ok() && matches!(fork(), Ok(Fork::Child)) {
                work(std::io::stdin().as_fd());
            }
            exit_now(0)
        }
    };
    first.wait().map(|_| ())
}

/// `struct clone_args` of `linux/sched.h`, up to version 2.
#[derive(Debug, Default)]
#[repr(C, align(8))]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A flag of the C headers as clone3 takes it: the same bits, without a sign.
fn flag(bits: libc::c_int) -> u64 {
    u64::from(bits.cast_unsigned())
}

/// Becomes the program at `path`, looked up in the root and working directory of this process. Returns only
/// when that fails.
///
/// It is execve, not execveat: a system call filter that is in force already may know the older one only.
pub fn execute_path(path: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let argv = pointers(arguments);
    let envp = pointers(environment);
    // SAFETY: rustix has execve as an unsafe function only. Both arrays end with a null pointer, point at terminated strings, and
    // outlive the call, which does not return when it succeeds.
    let returned = unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    check(returned.into()).err().unwrap_or(Errno::IO)
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Sets every signal back to its default action and blocks none, as a program expects at its start.
pub fn reset_signals() -> Result<()> {
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: SIG_DFL installs no function of ours. The two numbers that libc keeps for itself give EINVAL,
        // which is of no interest.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills the set that it is given; sigprocmask reads it.
    let returned = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
    };
    check(returned.into()).map(|_| ())
}

/// Has the kernel kill the child that `command` starts when this process (strictly, the thread that starts it) ends.
/// What the child itself has started by then lives on.
pub fn die_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    let set = || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        Ok(())
    };
    // SAFETY: what runs between fork and exec is one system call; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(set) };
}

/// Ends this process at once, without running destructors or exit handlers: for the child of a fork.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The test harness has threads, so what forks is tested where it is used, in programs without.
    #[test]
    fn refuses_to_fork_with_threads() {
        let (stop, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv());
        assert_eq!(fork().map(|_| ()), Err(Errno::DEADLK));
        drop(stop);
        let _ = other.join();
    }

    #[test]
    fn execute_names_the_cause() {
        assert_eq!(execute_path(c"/", &[], &[]), Errno::ACCESS);
        assert_eq!(execute_path(c"/nonexistent", &[], &[]), Errno::NOENT);
    }
}
