//! From decisions about system calls to the instructions of a filter.
//!
//! The program looks the call's number up by bisection over ranges of equal decisions, so that a list of 400 calls
//! costs 8 comparisons, and the kernel, which runs the program once for each call there is when it is installed,
//! is done soon. This file is compiled into the build script too.

/// One instruction: code, jump when true, jump when false, operand.
pub(crate) type Op = (u16, u8, u8, u32);

// Of linux/bpf_common.h: load a word at an absolute offset, jumps, and, return.
const LD_W_ABS: u16 = 0x20;
const JEQ_K: u16 = 0x15;
const JGE_K: u16 = 0x35;
const JA: u16 = 0x05;
const AND_K: u16 = 0x54;
const RET_K: u16 = 0x06;

// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `SECCOMP_RET_ALLOW`.
pub(crate) const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_KILL_PROCESS`: SIGSYS, and an audit record that names the call.
pub(crate) const KILL: u32 = 0x8000_0000;
/// `SECCOMP_RET_USER_NOTIF`: a listener decides.
pub(crate) const NOTIFY: u32 = 0x7fc0_0000;
/// The operation of an instruction that ends the filter.
pub(crate) const RETURN: u16 = RET_K;
/// The call fails with ENOSYS.
pub(crate) const ENOSYS: u32 = errno(38);
/// The call fails with EPERM.
pub(crate) const EPERM: u32 = errno(1);

/// `SECCOMP_RET_ERRNO`: the call fails with error `number`.
pub(crate) const fn errno(number: u16) -> u32 {
    0x0005_0000 | number as u32
}

/// Calls from here on belong to the x32 ABI, which has the architecture of x86_64 and is in no list.
const X32: u32 = 0x4000_0000;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Return this value.
    Return(u32),
    /// Return `met` when the condition holds, or else `unmet`.
    If { condition: Condition, met: u32, unmet: u32 },
}

/// A test of an argument's lower 32 bits; the kernel cuts off the upper ones of flags and commands too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Which argument, from 0.
    pub(crate) argument: u8,
    /// What of it counts.
    pub(crate) mask: u32,
    /// What that is compared with.
    pub(crate) value: u32,
    /// Equal, or not equal.
    pub(crate) equal: bool,
}

/// What becomes of the calls of one architecture.
#[derive(Debug, Clone)]
pub(crate) struct Architecture {
    /// Its `AUDIT_ARCH_*`.
    pub(crate) audit: u32,
    /// By number.
    pub(crate) calls: Vec<(u32, Decision)>,
    /// What becomes of numbers that do not stand in `calls`.
    pub(crate) others: Decision,
}

/// Makes the program. A call of an architecture that is not given kills the process.
pub(crate) fn assemble(architectures: &[Architecture]) -> Vec<Op> {
    let mut program = vec![(LD_W_ABS, 0, 0, ARCHITECTURE)];
    for architecture in architectures {
        let mut body = vec![(LD_W_ABS, 0, 0, NUMBER)];
        body.extend(bisect(&ranges(architecture)));
        branch(&mut program, JEQ_K, architecture.audit, &body, &[]);
    }
    program.push((RET_K, 0, 0, KILL));
    program
}

/// The decisions as ranges: each begins at its number and ends where the next begins.
fn ranges(architecture: &Architecture) -> Vec<(u32, Decision)> {
    let mut calls = architecture.calls.clone();
    calls.sort_unstable_by_key(|call| call.0);
    calls.dedup_by_key(|call| call.0);
    let mut ranges = vec![(0, architecture.others)];
    let mut begin = |number, decision| match ranges.last_mut() {
        Some(last) if last.1 == decision => {}
        Some(last) if last.0 == number => last.1 = decision,
        _ => ranges.push((number, decision)),
    };
    for (index, &(number, decision)) in calls.iter().enumerate() {
        begin(number, decision);
        if calls.get(index + 1).is_none_or(|next| next.0 != number + 1) {
            begin(number + 1, architecture.others);
        }
    }
    begin(X32, Decision::Return(ENOSYS));
    // Replacing a range's decision can make it equal to the one before.
    ranges.dedup_by(|next, before| next.1 == before.1);
    ranges
}

fn bisect(ranges: &[(u32, Decision)]) -> Vec<Op> {
    match ranges {
        [] => Vec::new(),
        [(_, decision)] => leaf(*decision),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let mut ops = Vec::new();
            branch(&mut ops, JGE_K, high[0].0, &bisect(high), &bisect(low));
            ops
        }
    }
}

/// Appends `test k ? met : unmet`. Conditional jumps reach 255 instructions, so `met` is jumped over by the long one.
fn branch(program: &mut Vec<Op>, test: u16, k: u32, met: &[Op], unmet: &[Op]) {
    match u8::try_from(met.len()) {
        Ok(length) => program.push((test, 0, length, k)),
        Err(_) => {
            program.push((test, 1, 0, k));
            program.push((JA, 0, 0, u32::try_from(met.len()).unwrap_or(u32::MAX)));
        }
    }
    program.extend(met);
    program.extend(unmet);
}

fn leaf(decision: Decision) -> Vec<Op> {
    match decision {
        Decision::Return(value) => vec![(RET_K, 0, 0, value)],
        Decision::If { condition, met, unmet } => {
            // The lower half comes first: only little-endian machines are built for.
            let offset = ARGUMENTS + 8 * u32::from(condition.argument);
            let (equal, different) = if condition.equal { (met, unmet) } else { (unmet, met) };
            vec![
                (LD_W_ABS, 0, 0, offset),
                (AND_K, 0, 0, condition.mask),
                (JEQ_K, 0, 1, condition.value),
                (RET_K, 0, 0, equal),
                (RET_K, 0, 0, different),
            ]
        }
    }
}
