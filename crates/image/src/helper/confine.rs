//! Gives up all that unpacking does not need.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use sys::landlock::Access;
use sys::seccomp::Instruction;

/// What making other people's files takes.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);

/// Fences this process, which must have one thread still, to what unpacking takes:
///
/// * its descriptors are the three standard ones;
/// * its root (where it is root's) is its working directory, of which a handle is returned, and Landlock allows no file
///   outside it and nothing to be executed (`unpacks`; otherwise no file at all);
/// * its capabilities are those on owners, modes, devices and file capabilities (`unpacks`; otherwise none), and no
///   program can give it others;
/// * seccomp allows no system call for sockets, other processes, mounts, programs or the kernel's settings;
/// * it dies with its parent, leaves no core file, and others of its user cannot trace it.
///
/// Root's `unpacks` wants `CAP_SYS_CHROOT` at the start.
pub fn confine(unpacks: bool) -> io::Result<Option<OwnedFd>> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    sys::fd::close_from(3)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    raise_open_files()?;
    rustix::process::umask(Mode::empty());
    rustix::thread::set_no_new_privs(true)?;
    let root = if unpacks {
        if rustix::process::geteuid().is_root() {
            rustix::process::chroot(".")?;
            rustix::process::chdir("/")?;
        }
        Some(rustix::fs::open(".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    } else {
        None
    };
    let access = Access::READ.and(Access::WRITE).and(Access::CHANGE).and(Access::MAKE_NODES);
    let rules: Vec<_> = root.iter().map(|root| (root.as_fd(), access)).collect();
    sys::landlock::restrict(&rules)?;
    let kept = if unpacks { CAPABILITIES } else { CapabilitySet::empty() };
    drop_capabilities(kept)?;
    for program in filters().map_err(io::Error::other)? {
        let program: Vec<Instruction> = program
            .iter()
            .map(|step| Instruction { code: step.code, jt: step.jt, jf: step.jf, k: step.k })
            .collect();
        sys::seccomp::install(&program)?;
    }
    Ok(root)
}

/// A handle is held for each level of directories.
fn raise_open_files() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
}

fn drop_capabilities(kept: CapabilitySet) -> io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    let have = rustix::thread::capabilities(None)?;
    let kept = kept & have.permitted;
    if have.effective.contains(CapabilitySet::SETPCAP) {
        // Those that this kernel does not have give EINVAL.
        for capability in CapabilitySet::all().iter().filter(|one| !kept.contains(*one)) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(())
}

/// System calls that the helper makes: its own, and those of the runtime and the allocator underneath.
const ALLOWED: &[i64] = &[
    // Files.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_ftruncate,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_fsetxattr,
    libc::SYS_fcntl,
    libc::SYS_lseek,
    // Memory, threads, the end.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_geteuid,
    libc::SYS_getegid,
    libc::SYS_clock_gettime,
    libc::SYS_prlimit64,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Everything that is not allowed fails with `EPERM`; system calls of other architectures kill the process.
/// `clone3` fails with `ENOSYS`, so that threads are made with `clone`, whose flags a filter can see.
fn filters() -> Result<[BpfProgram; 2], BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let errno = |errno: libc::c_int| SeccompAction::Errno(errno.cast_unsigned());
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    let mut rules: BTreeMap<_, _> = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(libc::SYS_clone, vec![argument(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    let set_name = u64::from(libc::PR_SET_NAME.cast_unsigned());
    rules.insert(libc::SYS_prctl, vec![argument(0, SeccompCmpOp::Eq, set_name)?]);
    let allow = SeccompFilter::new(rules, errno(libc::EPERM), SeccompAction::Allow, arch)?;
    let no_clone3 = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        errno(libc::ENOSYS),
        arch,
    )?;
    // In the order in which they are installed: the second one forbids installing more.
    Ok([no_clone3.try_into()?, allow.try_into()?])
}

fn argument(index: u8, comparison: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(index, SeccompCmpArgLen::Qword, comparison, value)?])
}
