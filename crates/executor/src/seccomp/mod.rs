//! System call filters.
//!
//! Three kinds, all made of the lists in `sets/`:
//!
//! * the **baseline**, which the supervisor installs on itself first, so that every process of a pod has it;
//! * the **default** list, for apps that ask for nothing else;
//! * **custom** ones, compiled by [`compile`] from an app's `seccomp-retain-set` or `seccomp-remove-set` when its pod
//!   is started. The supervisor gets them as instructions.
//!
//! The first two are compiled when rkt is built. Decisions, taken on purpose:
//!
//! * *Known but not in the default list*: EPERM. *Newer than our table*: ENOSYS, so that programs fall back. (The Go rkt
//!   killed in both cases.) Retain and remove sets do what their `errno` says, or kill with SIGSYS.
//! * *i386*: the same lists by name, as systemd did it for the Go rkt: images hold 32-bit programs. Calls that
//!   multiplex (`socketcall`, `ipc`) go with their members: a remove set that names one of them removes both.
//! * *x32*: ENOSYS, in every filter; nobody runs it, and its numbers would slip past lists of what is denied.
//! * *Any other architecture*: the process is killed.
//!
//! The `seccompiler` crate has one action a filter, kills i386, and compares numbers one after another: three stacked
//! filters of it would do less than one of `program`.

use std::collections::BTreeMap;

use sys::seccomp::Instruction;

use crate::spec::{Filter, Seccomp};
use program::{ALLOW, Architecture, Decision, KILL, assemble};

pub(crate) mod program;
mod sets;

include!(concat!(env!("OUT_DIR"), "/filters.rs"));

/// The filter of [`Seccomp::Default`].
pub fn default_filter() -> &'static [Instruction] {
    DEFAULT
}

/// The filters that every process of a pod has. `retains` tells whether some app of the pod retains a capability
/// (`CAP_SYS_TIME`): calls that are only for it are left to the app's own filter then.
pub fn baseline(retains: impl Fn(&str) -> bool) -> Vec<&'static [Instruction]> {
    let kept: Vec<_> = BASELINE_GROUPS.iter().filter(|(capability, _)| !retains(capability)).collect();
    if kept.len() == BASELINE_GROUPS.len() {
        return vec![BASELINE];
    }
    kept.iter().map(|(_, filter)| *filter).collect()
}

/// What a set of system calls is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetKind {
    /// The app may call these only (and what every program needs to start: `@systemd/default-whitelist`).
    Retain,
    /// The app may call everything but these.
    Remove,
}

/// A filter of an app, compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// For [`crate::AppSpec::seccomp`].
    pub seccomp: Seccomp,
    /// Names that mean nothing here, which have no effect: worth a warning.
    pub ignored: Vec<String>,
}

/// Why a set cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// Not one of errno(3).
    #[error("Seccomp errno {0:?} is not the name of an error (such as EPERM)")]
    UnknownErrno(String),
    /// Remove all.
    #[error("A seccomp remove set of @appc.io/all leaves the app no system call to start with")]
    NothingLeft,
}

/// Compiles the value of a seccomp isolator: names of system calls and wildcards (`@rkt/default-whitelist`).
///
/// # Errors
/// When `errno` is no error, or nothing would be left.
pub fn compile<S: AsRef<str>>(kind: SetKind, set: &[S], errno: Option<&str>) -> Result<Compiled, SetError> {
    let violation = match errno {
        Some(name) => {
            program::errno(error_number(name).ok_or_else(|| SetError::UnknownErrno(name.to_owned()))?)
        }
        None => KILL,
    };
    let mut calls: BTreeMap<&str, Decision> = BTreeMap::new();
    let mut ignored = Vec::new();
    for name in set.iter().map(AsRef::as_ref) {
        match (name, kind) {
            ("@appc.io/all", SetKind::Retain) => return Ok(Compiled { seccomp: Seccomp::Off, ignored }),
            ("@appc.io/all", SetKind::Remove) => return Err(SetError::NothingLeft),
            // As the reference has it: nothing is removed from the default list.
            ("@appc.io/empty", SetKind::Remove) if set.len() == 1 => {
                return Ok(Compiled { seccomp: Seccomp::Default, ignored });
            }
            ("@appc.io/empty", _) => {}
            _ if name.starts_with('@') => match wildcard(name) {
                Some(text) => add(&mut calls, text),
                None => ignored.push(name.to_owned()),
            },
            _ => match NAMES.binary_search_by_key(&name, |entry| entry.0) {
                Ok(found) => _ = calls.insert(NAMES[found].0, Decision::Return(ALLOW)),
                Err(_) => ignored.push(name.to_owned()),
            },
        }
    }
    let others = match kind {
        SetKind::Retain => {
            add(&mut calls, include_str!("sets/systemd-default.txt"));
            Decision::Return(violation)
        }
        SetKind::Remove => {
            for (multiplexer, members) in MULTIPLEXERS {
                if members.split(' ').any(|member| calls.contains_key(member)) {
                    calls.insert(multiplexer, Decision::Return(violation));
                }
            }
            calls.values_mut().for_each(|decision| *decision = Decision::Return(violation));
            Decision::Return(ALLOW)
        }
    };
    let architectures: Vec<Architecture> = ARCHITECTURES
        .iter()
        .enumerate()
        .map(|(index, &audit)| Architecture {
            audit,
            calls: calls
                .iter()
                .filter_map(|(name, &decision)| Some((number(name, index)?, decision)))
                .collect(),
            others,
        })
        .collect();
    let instructions = assemble(&architectures)
        .into_iter()
        .map(|(code, jt, jf, k)| Instruction { code, jt, jf, k })
        .collect();
    Ok(Compiled { seccomp: Seccomp::Custom(Filter { instructions }), ignored })
}

/// The name of system call `number` as an audit record of architecture `audit` (`AUDIT_ARCH_*`) has it.
pub fn call_name(audit: u32, number: u32) -> Option<&'static str> {
    let index = ARCHITECTURES.iter().position(|&known| known == audit)?;
    NAMES.iter().find(|(_, numbers)| numbers[index] == Some(number)).map(|(name, _)| *name)
}

/// Calls of i386 that stand for several others.
const MULTIPLEXERS: [(&str, &str); 2] = [
    (
        "socketcall",
        "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmsg send \
         sendmmsg sendmsg sendto setsockopt shutdown socket socketpair",
    ),
    ("ipc", "msgctl msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget"),
];

fn wildcard(name: &str) -> Option<&'static str> {
    Some(match name {
        "@rkt/default-whitelist" | "@docker/default-whitelist" => include_str!("sets/default-whitelist.txt"),
        "@rkt/default-blacklist" | "@docker/default-blacklist" => include_str!("sets/default-blacklist.txt"),
        "@systemd/clock" => include_str!("sets/systemd-clock.txt"),
        "@systemd/default-whitelist" => include_str!("sets/systemd-default.txt"),
        "@systemd/mount" => include_str!("sets/systemd-mount.txt"),
        "@systemd/network-io" => include_str!("sets/systemd-network-io.txt"),
        "@systemd/obsolete" => include_str!("sets/systemd-obsolete.txt"),
        "@systemd/privileged" => include_str!("sets/systemd-privileged.txt"),
        "@systemd/process" => include_str!("sets/systemd-process.txt"),
        "@systemd/raw-io" => include_str!("sets/systemd-raw-io.txt"),
        _ => return None,
    })
}

/// Adds a list; what has been allowed without a condition stays so.
fn add(calls: &mut BTreeMap<&'static str, Decision>, list: &'static str) {
    // The lists are part of the program, and a test reads them all.
    for entry in sets::parse(list).unwrap_or_default() {
        if entry.decision == Decision::Return(ALLOW) {
            calls.insert(entry.name, entry.decision);
        } else {
            calls.entry(entry.name).or_insert(entry.decision);
        }
    }
}

fn number(name: &str, architecture: usize) -> Option<u32> {
    let found = NAMES.binary_search_by_key(&name, |entry| entry.0).ok()?;
    NAMES[found].1[architecture]
}

fn error_number(name: &str) -> Option<u16> {
    include_str!("sets/errno.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_whitespace)
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
