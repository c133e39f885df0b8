//! The processes that read what strangers wrote try what they must not be able to do.

use tests::case::{Case, Stage1, eventually};
use tests::host::Host;
use tests::injection::Argument::{Number, Text};
use tests::injection::{Attempt, Verdict, attempt};

use crate::fetcher::{status, under_way};
use crate::remote::Net;

const HERE: tests::injection::Argument = Number(libc::AT_FDCWD as i64);
const CREATE: tests::injection::Argument = Number((libc::O_CREAT | libc::O_WRONLY) as i64);
const STREAM: tests::injection::Argument = Number(libc::SOCK_STREAM as i64);
const ZERO: tests::injection::Argument = Number(0);

/// What a download takes.
const FETCHER_MAY: &[Attempt] = &[
    Attempt("read how names become addresses", libc::SYS_openat, &[HERE, Text("/etc/hosts"), ZERO]),
    Attempt("make a connection", libc::SYS_socket, &[Number(libc::AF_INET as i64), STREAM, ZERO]),
];

const FETCHER_MUST_NOT: &[Attempt] = &[
    Attempt("read a file that everybody may read", libc::SYS_openat, &[HERE, Text("/etc/passwd"), ZERO]),
    Attempt("read a program", libc::SYS_openat, &[HERE, Text("/usr/bin/rkt"), ZERO]),
    Attempt(
        "write where everybody may write",
        libc::SYS_openat,
        &[HERE, Text("/tmp/tried"), CREATE, Number(0o600)],
    ),
    Attempt("look at its own memory", libc::SYS_openat, &[HERE, Text("/proc/self/maps"), ZERO]),
    Attempt("look at a process", libc::SYS_openat, &[HERE, Text("/proc/1/environ"), ZERO]),
    Attempt("talk to local services", libc::SYS_socket, &[Number(libc::AF_UNIX as i64), STREAM, ZERO]),
    Attempt(
        "configure networks",
        libc::SYS_socket,
        &[Number(libc::AF_NETLINK as i64), Number(libc::SOCK_RAW as i64), ZERO],
    ),
    Attempt(
        "forge packets",
        libc::SYS_socket,
        &[Number(libc::AF_INET as i64), Number(libc::SOCK_RAW as i64), Number(1)],
    ),
    Attempt(
        "listen to packets",
        libc::SYS_socket,
        &[Number(libc::AF_PACKET as i64), Number(libc::SOCK_RAW as i64), ZERO],
    ),
    Attempt("reach a virtual machine", libc::SYS_socket, &[Number(libc::AF_VSOCK as i64), STREAM, ZERO]),
    Attempt("signal a process", libc::SYS_kill, &[Number(1), ZERO]),
    Attempt(
        "become dumpable",
        libc::SYS_prctl,
        &[Number(libc::PR_SET_DUMPABLE as i64), Number(1), ZERO, ZERO, ZERO],
    ),
    Attempt("fork", libc::SYS_clone, &[Number(libc::SIGCHLD as i64), ZERO, ZERO, ZERO, ZERO]),
    Attempt("hide what it forks", libc::SYS_clone3, &[ZERO, Number(88)]),
    Attempt("make a program of memory", libc::SYS_memfd_create, &[Text("x"), ZERO]),
    Attempt(
        "raise its limits",
        libc::SYS_prlimit64,
        &[ZERO, Number(libc::RLIMIT_CORE as i64), Number(1), ZERO],
    ),
];

/// Each of these ends it.
const FETCHER_DIES_OF: &[Attempt] = &[
    Attempt("run a program", libc::SYS_execve, &[Text("/bin/true"), ZERO, ZERO]),
    Attempt("become root", libc::SYS_setresuid, &[ZERO, ZERO, ZERO]),
    Attempt("trace", libc::SYS_ptrace, &[Number(16), Number(1), ZERO, ZERO]),
    Attempt("mount", libc::SYS_mount, &[Text("none"), Text("/tmp"), Text("tmpfs"), ZERO, ZERO]),
    Attempt("make namespaces", libc::SYS_unshare, &[Number(libc::CLONE_NEWUSER as i64)]),
    Attempt("load a program into the kernel", libc::SYS_bpf, &[ZERO, ZERO, ZERO]),
];

/// What unpacking takes.
const UNPACKER_MAY: &[Attempt] =
    &[Attempt("write where it unpacks", libc::SYS_openat, &[HERE, Text("tried"), CREATE, Number(0o600)])];

const UNPACKER_MUST_NOT: &[Attempt] = &[
    Attempt("talk to the outside", libc::SYS_socket, &[Number(libc::AF_INET as i64), STREAM, ZERO]),
    Attempt("talk to local services", libc::SYS_socket, &[Number(libc::AF_UNIX as i64), STREAM, ZERO]),
    Attempt(
        "configure networks",
        libc::SYS_socket,
        &[Number(libc::AF_NETLINK as i64), Number(libc::SOCK_RAW as i64), ZERO],
    ),
    Attempt("read the host's files", libc::SYS_openat, &[HERE, Text("/etc/passwd"), ZERO]),
    Attempt(
        "read the host's files by going up",
        libc::SYS_openat,
        &[HERE, Text("../../../../../../etc/passwd"), ZERO],
    ),
    Attempt("run a program", libc::SYS_execve, &[Text("/bin/true"), ZERO, ZERO]),
    Attempt("change its root again", libc::SYS_chroot, &[Text(".")]),
    Attempt("mount", libc::SYS_mount, &[Text("none"), Text("/"), Text("tmpfs"), ZERO, ZERO]),
    Attempt("make namespaces", libc::SYS_unshare, &[Number(libc::CLONE_NEWNS as i64)]),
    Attempt("signal a process", libc::SYS_kill, &[Number(1), ZERO]),
    Attempt("trace", libc::SYS_ptrace, &[Number(16), Number(1), ZERO, ZERO]),
    Attempt("open a file by its number", libc::SYS_open_by_handle_at, &[ZERO, ZERO, ZERO]),
    Attempt("get another user's rights", libc::SYS_setresuid, &[Number(1), Number(1), Number(1)]),
    Attempt("load a module", libc::SYS_finit_module, &[ZERO, Text(""), ZERO]),
    Attempt("fork", libc::SYS_clone, &[Number(libc::SIGCHLD as i64), ZERO, ZERO, ZERO, ZERO]),
    Attempt("set the clock", libc::SYS_settimeofday, &[ZERO, ZERO]),
];

/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP.
const KEPT: &str = "000000008800001b";

/// What says that something is not allowed, or not there to be had.
const REFUSALS: &[i32] = &[libc::EPERM, libc::EACCES, libc::ENOSYS, libc::ENOENT];

/// Has a process try all, and insists on the verdicts.
fn try_all(host: &Host, pid: &str, may: &[Attempt], must_not: &[Attempt]) {
    let verdicts = attempt(host, pid, &[may, must_not].concat());
    let wrong: Vec<String> = verdicts
        .into_iter()
        .enumerate()
        .filter(|(index, (_, verdict))| match verdict {
            Verdict::Done => *index >= may.len(),
            Verdict::Refused(error) => *index < may.len() || !REFUSALS.contains(error),
            Verdict::Killed => true,
        })
        .map(|(_, (Attempt(name, ..), verdict))| format!("{name}: {verdict:?}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_download_worker_can_do_nothing_but_download() {
    let net = Net::new();
    net.case.host().exec("systemd-sysusers").ok();
    let web = net.web("location = /slow.aci { limit_rate 50k; }");
    let (_fetch, pid) = under_way(&net, &web, |url| net.lax(&["fetch", url]).spawn());
    try_all(net.case.host(), &pid, FETCHER_MAY, FETCHER_MUST_NOT);
    for deadly in FETCHER_DIES_OF {
        let (_fetch, pid) = under_way(&net, &web, |url| net.lax(&["--no-store", "fetch", url]).spawn());
        let verdicts = attempt(net.case.host(), &pid, &[*deadly]);
        assert_eq!(verdicts[0].1, Verdict::Killed, "{}", deadly.0);
    }
}

#[test]
fn the_unpacker_can_do_nothing_but_unpack() {
    let case = Case::alone(Stage1::Fly);
    let host = case.host();
    let image =
        case.image("large.aci", crate::images::small("example.com/large", &"x".repeat(64 << 20)).build());
    // Stopped, rkt feeds it no more: it waits.
    let stopped = format!(
        "{} fetch {image} & while kill -0 $!; do
            for child in $(cat /proc/$!/task/*/children); do
                tr '\\0' ' ' </proc/$child/cmdline | grep -q '^rkt-unpack .*unpack' && kill -STOP $! && echo $child && wait
            done
        done 2>/dev/null",
        case.rkt_words().join(" ")
    );
    let mut fetch = host.exec("sh").args(["-c", &stopped]).spawn();
    fetch.wait_for_stdout("\n");
    let pid = fetch.stdout().trim().to_owned();
    // Not before it is locked in.
    let status = eventually("the filter of the process that unpacks", || {
        Some(status(host, &pid)).filter(|status| status.get("Seccomp").map(String::as_str) == Some("2"))
    });
    for (field, value) in [("NoNewPrivs", "1"), ("CapEff", KEPT), ("CapBnd", KEPT)] {
        assert_eq!(status.get(field).map(String::as_str), Some(value), "{field}: {status:?}");
    }
    try_all(host, &pid, UNPACKER_MAY, UNPACKER_MUST_NOT);
}
