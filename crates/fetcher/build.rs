//! Compiles the worker's two seccomp filters.
//!
//! The first allows what a download needs and answers everything else with ENOSYS, so that libraries take their
//! fallbacks. The second kills the process for what only somebody else's code would try. The kernel takes the stricter
//! answer of both.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// Allowed whatever the arguments. What opens or names files is Landlock's business.
const ALLOWED: &[&str] = &[
    // Files and sockets that are open.
    "read",
    "readv",
    "pread64",
    "write",
    "writev",
    "pwrite64",
    "close",
    "fstat",
    "lseek",
    "ftruncate",
    "fcntl",
    "recvmsg",
    "recvfrom",
    "recvmmsg",
    "sendmsg",
    "sendto",
    "sendmmsg",
    "connect",
    "shutdown",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    // The resolver's configuration.
    "openat",
    "newfstatat",
    "fstatat64",
    "statx",
    "readlinkat",
    // Waiting.
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    "poll",
    "ppoll",
    "futex",
    "nanosleep",
    "clock_nanosleep",
    "restart_syscall",
    "sched_yield",
    // Memory, threads, time, chance.
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "brk",
    "set_robust_list",
    "rseq",
    "set_tid_address",
    "sched_getaffinity",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "getrandom",
    "getpid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "uname",
    "exit",
    "exit_group",
];

/// Nothing that a download ever calls, on any libc.
const DEADLY: &[&str] = &[
    "execve",
    "execveat",
    "fork",
    "vfork",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_open",
    "pidfd_getfd",
    "pidfd_send_signal",
    "kcmp",
    "mount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "fspick",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "keyctl",
    "add_key",
    "request_key",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "bind",
    "listen",
    "accept",
    "accept4",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "capset",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "fchownat",
    "mknod",
    "mknodat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "open_by_handle_at",
];

const ENOSYS: u32 = 38;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    let numbers: BTreeMap<&str, i64> = match target.as_str() {
        "x86_64" => syscalls::x86_64::Sysno::iter().map(|call| (call.name(), i64::from(call.id()))).collect(),
        "aarch64" => {
            syscalls::aarch64::Sysno::iter().map(|call| (call.name(), i64::from(call.id()))).collect()
        }
        other => panic!("There is no table of system calls for {other}: add one here"),
    };
    let arch = TargetArch::try_from(target.as_str()).expect("seccompiler knows it");
    // A name that an architecture does not have is called otherwise there.
    let plain = |names: &[&str]| -> BTreeMap<i64, Vec<SeccompRule>> {
        names.iter().filter_map(|name| Some((*numbers.get(name)?, Vec::new()))).collect()
    };
    let mut allowed = plain(ALLOWED);
    for (name, rules) in conditional() {
        allowed.insert(numbers[name], rules);
    }
    let mut code = String::new();
    define(&mut code, "ALLOWED", allowed, SeccompAction::Errno(ENOSYS), SeccompAction::Allow, arch);
    define(&mut code, "DEADLY", plain(DEADLY), SeccompAction::Allow, SeccompAction::KillProcess, arch);
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("filters.rs"), code).expect("OUT_DIR takes files");
}

/// Allowed for some arguments only.
fn conditional() -> Vec<(&'static str, Vec<SeccompRule>)> {
    const AF_INET: u64 = 2;
    const AF_INET6: u64 = 10;
    const SOCK_TYPE: u64 = 0xf;
    const SOCK_STREAM: u64 = 1;
    const SOCK_DGRAM: u64 = 2;
    const CLONE_VM_AND_THREAD: u64 = 0x0001_0100;
    const CLONE_NEW_ANYTHING: u64 = 0x7e02_0080;
    const FIONREAD: u64 = 0x541b;
    const FIONBIO: u64 = 0x5421;
    const PR_SET_NAME: u64 = 15;
    let equal = |argument, value| condition(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    let masked = |argument, mask, value| {
        condition(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
    };
    let socket = |family, kind| rule(vec![equal(0, family), masked(1, SOCK_TYPE, kind)]);
    vec![
        (
            "socket",
            vec![
                socket(AF_INET, SOCK_STREAM),
                socket(AF_INET, SOCK_DGRAM),
                socket(AF_INET6, SOCK_STREAM),
                socket(AF_INET6, SOCK_DGRAM),
            ],
        ),
        // Threads, no processes and no namespaces. clone3 hides its flags and is not allowed: libc falls back to this.
        ("clone", vec![rule(vec![masked(0, CLONE_VM_AND_THREAD | CLONE_NEW_ANYTHING, CLONE_VM_AND_THREAD)])]),
        ("ioctl", vec![rule(vec![equal(1, FIONREAD)]), rule(vec![equal(1, FIONBIO)])]),
        ("prctl", vec![rule(vec![equal(0, PR_SET_NAME)])]),
        // Its own limits, to read.
        (
            "prlimit64",
            vec![rule(vec![equal(0, 0), condition(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)])],
        ),
    ]
}

fn condition(argument: u8, length: SeccompCmpArgLen, operator: SeccompCmpOp, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, length, operator, value).expect("an argument from 0 to 5")
}

fn rule(conditions: Vec<SeccompCondition>) -> SeccompRule {
    SeccompRule::new(conditions).expect("it has conditions")
}

/// Writes one filter as a constant.
fn define(
    code: &mut String,
    name: &str,
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
    arch: TargetArch,
) {
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).expect("the actions differ");
    let program: BpfProgram = filter.try_into().expect("it is short enough");
    let _ = writeln!(code, "pub(super) static {name}: &[sys::seccomp::Instruction] = &[");
    for instruction in program {
        let (code_, jt, jf, k) = (instruction.code, instruction.jt, instruction.jf, instruction.k);
        let _ = writeln!(
            code,
            "sys::seccomp::Instruction {{ code: {code_:#x}, jt: {jt}, jf: {jf}, k: {k:#x} }},"
        );
    }
    code.push_str("];\n");
}
