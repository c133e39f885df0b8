//! What the running kernel makes of the filters: each case in a process of its own, which installs one and tries.
//!
//! The calls are such that they do nothing without a filter either: nobody can make a directory of /proc.

use std::os::fd::AsFd;

use executor::seccomp::{SetKind, baseline, compile, default_filter};
use executor::spec::Seccomp;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use sys::process::Fork;
use sys::seccomp::Instruction;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exited(i32),
    Killed(i32),
}

/// Runs `attempt` under `filter`; the process exits with the error that it got, or 0.
fn under(filter: &[Instruction], attempt: fn() -> Result<(), Errno>) -> End {
    match sys::process::fork().expect("the test has one thread") {
        Fork::Child => {
            let outcome = rustix::thread::set_no_new_privs(true)
                .and_then(|()| sys::seccomp::install(filter))
                .map_err(|_| Errno::from_raw_os_error(200))
                .and_then(|()| attempt());
            sys::process::exit_now(outcome.err().map_or(0, Errno::raw_os_error));
        }
        Fork::Parent(child) => {
            let status = child.wait().expect("it is our child");
            match (status.exit_status(), status.terminating_signal()) {
                (Some(status), _) => End::Exited(status),
                (None, signal) => End::Killed(signal.unwrap_or(0)),
            }
        }
    }
}

fn read() -> Result<(), Errno> {
    let file = rustix::fs::open("/proc/self/status", OFlags::RDONLY, Mode::empty())?;
    rustix::io::read(file, &mut [0; 64]).map(|_| ())
}

fn openat2_and_pidfd() -> Result<(), Errno> {
    openat2(rustix::fs::CWD, ".", OFlags::PATH, Mode::empty(), ResolveFlags::empty())?;
    rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).map(|_| ())
}

fn mount() -> Result<(), Errno> {
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", "/proc/nonexistent/place", "tmpfs", flags, None)
}

fn setns() -> Result<(), Errno> {
    let file = rustix::fs::open("/dev/null", OFlags::RDONLY, Mode::empty())?;
    sys::namespace::join(file.as_fd(), sys::namespace::Kind::Uts)
}

fn unshare() -> Result<(), Errno> {
    sys::namespace::leave(&[])
}

fn clone3() -> Result<(), Errno> {
    match sys::process::fork()? {
        Fork::Child => sys::process::exit_now(0),
        Fork::Parent(child) => child.wait().map(|_| ()),
    }
}

fn socket(family: AddressFamily) -> Result<(), Errno> {
    rustix::net::socket(family, SocketType::STREAM, None).map(|_| ())
}

fn unix_socket() -> Result<(), Errno> {
    socket(AddressFamily::UNIX)
}

fn vsock_socket() -> Result<(), Errno> {
    socket(AddressFamily::VSOCK)
}

fn mkdir() -> Result<(), Errno> {
    rustix::fs::mkdir("/proc/nonexistent/place", Mode::empty())
}

fn pipe_to_dead_end() -> Result<(), Errno> {
    let (_reader, writer) = rustix::pipe::pipe()?;
    rustix::io::write(writer, b"x").map(|_| ())
}

fn custom(kind: SetKind, set: &[&str], errno: Option<&str>) -> Vec<Instruction> {
    match compile(kind, set, errno).expect("the set is good").seccomp {
        Seccomp::Custom(filter) => filter.instructions,
        other => panic!("{set:?} gives {other:?}"),
    }
}

fn main() {
    const SIGSYS: i32 = 31;
    let error = |errno: Errno| End::Exited(errno.raw_os_error());
    let ok = End::Exited(0);
    let default = default_filter();
    let pod = baseline(|_| false)[0];
    // A build with checks asks whether a descriptor is open before it closes it: fcntl.
    let retain = custom(SetKind::Retain, &["close", "fcntl", "pipe", "pipe2", "write"], None);
    let full = custom(SetKind::Retain, &["@rkt/default-whitelist"], Some("EXFULL"));
    let remove = custom(SetKind::Remove, &["mkdir", "mkdirat"], Some("EACCES"));
    type Case<'a> = (&'a str, &'a [Instruction], fn() -> Result<(), Errno>, End);
    let cases: [Case<'_>; 20] = [
        ("default: read", default, read, ok),
        ("default: this decade's calls", default, openat2_and_pidfd, ok),
        ("default: mount", default, mount, error(Errno::PERM)),
        ("default: setns", default, setns, error(Errno::PERM)),
        ("default: unshare", default, unshare, error(Errno::PERM)),
        ("default: clone3", default, clone3, error(Errno::NOSYS)),
        ("default: AF_UNIX", default, unix_socket, ok),
        ("default: AF_VSOCK", default, vsock_socket, error(Errno::PERM)),
        ("default: mkdir", default, mkdir, error(Errno::NOENT)),
        ("baseline: read", pod, read, ok),
        ("baseline: mount", pod, mount, error(Errno::NOENT)),
        ("baseline: clone3", pod, clone3, ok),
        ("baseline: setns", pod, setns, error(Errno::INVAL)),
        ("retain: in the set", &retain, pipe_to_dead_end, ok),
        ("retain: not in the set", &retain, mkdir, End::Killed(SIGSYS)),
        ("retain with errno: in the set", &full, read, ok),
        ("retain with errno: not in the set", &full, mount, error(Errno::XFULL)),
        ("remove: in the set", &remove, mkdir, error(Errno::ACCESS)),
        ("remove: not in the set", &remove, clone3, ok),
        ("remove: what the default list denies", &remove, unshare, ok),
    ];
    let mut failed = 0;
    for (name, filter, attempt, wanted) in cases {
        let end = under(filter, attempt);
        let verdict = if end == wanted { "ok" } else { "FAILED" };
        println!("{name} ... {verdict}");
        if end != wanted {
            println!("    wanted {wanted:?}, got {end:?}");
            failed += 1;
        }
    }
    assert_eq!(failed, 0, "cases failed");
}
