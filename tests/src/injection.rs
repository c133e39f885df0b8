//! System calls in the name of a process that runs: what its confinement lets it do is tried by itself, not read off.
//!
//! gdb attaches, puts a number and arguments into the registers, and steps over the instruction that the process waits in. The kernel
//! sees the process call.

use std::fmt::Write as _;

use crate::case::eventually;
use crate::host::{Host, Output};

/// One argument.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// A number.
    Number(i64),
    /// The address of a text that ends with NUL.
    Text(&'static str),
}

/// A call that is tried: what it is in the test's own words, the number of the system call on this machine, its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Attempt(pub &'static str, pub i64, pub &'static [Argument]);

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it is for.
    Done,
    /// The kernel answered with this error.
    Refused(i32),
    /// The process was killed for it.
    Killed,
}

const REGISTERS: [&str; 6] = ["rdi", "rsi", "rdx", "r10", "r8", "r9"];

/// Bytes between the stack pointer and the texts: beyond the red zone, on pages that are there.
const BELOW_STACK: usize = 1024;

/// Has the process `pid`, which waits in a system call, make these, one after the other. It is of no use afterwards.
///
/// # Panics
/// When gdb cannot do that.
#[must_use]
pub fn attempt(host: &Host, pid: &str, attempts: &[Attempt]) -> Vec<(Attempt, Verdict)> {
    let mut script = String::from(
        "set pagination off\nset confirm off\nset scheduler-locking on\nset $at = $pc\nset $stack = $sp\n\
         if *(unsigned short *) ($at - 2) != 0x050f\nquit\nend\nprintf \"it waits\\n\"\n",
    );
    for (index, attempt) in attempts.iter().enumerate() {
        script.push_str(&commands(index, attempt));
    }
    let file = format!("/tmp/attempts-{pid}.gdb");
    host.write(&file, script);
    // The instruction `syscall` is behind it, unless it has something to do just now.
    let output = eventually("the process to wait in a system call", || {
        let output = host.exec("gdb").args(["-nx", "-batch", "-p", pid, "-x", &file]).output();
        output.stdout.contains("it waits").then_some(output)
    });
    attempts
        .iter()
        .enumerate()
        .map(|(index, attempt)| (*attempt, verdict(host, pid, index, attempt, &output)))
        .collect()
}

fn commands(index: usize, attempt: &Attempt) -> String {
    let mut text = format!("set $orig_rax = -1\nset $rax = {}\n", attempt.1);
    let mut below = BELOW_STACK;
    for (register, argument) in REGISTERS.iter().zip(attempt.2) {
        let _ = match argument {
            Argument::Number(number) => writeln!(text, "set ${register} = {number}"),
            Argument::Text(bytes) => {
                let start = below;
                for (offset, byte) in bytes.bytes().chain([0]).enumerate() {
                    let _ = writeln!(text, "set *(char *) ($stack - {start} + {offset}) = {byte}");
                }
                below += 256;
                writeln!(text, "set ${register} = $stack - {start}")
            }
        };
    }
    let _ = writeln!(text, "set $pc = $at - 2\nstepi\nprintf \"answer {index} %ld\\n\", (long) $rax");
    text
}

/// Whether the process has ended, fetched by its parent or not.
fn is_dead(host: &Host, pid: &str) -> bool {
    std::fs::read_to_string(host.path(format!("/proc/{pid}/stat"))).map_or(true, |stat| stat.contains(") Z "))
}

fn verdict(host: &Host, pid: &str, index: usize, attempt: &Attempt, output: &Output) -> Verdict {
    let label = format!("answer {index} ");
    match output.stdout.lines().find_map(|line| line.strip_prefix(&label)) {
        Some(number) => match number.trim().parse::<i64>() {
            Ok(error @ -4095..0) => Verdict::Refused(i32::try_from(-error).unwrap_or(i32::MAX)),
            Ok(_) => Verdict::Done,
            Err(_) => panic!("no answer to {}: {output}", attempt.0),
        },
        // The kernel lets nobody step over that; how gdb says so depends on how many threads there were.
        None if is_dead(host, pid) => Verdict::Killed,
        None => panic!("no answer to {}: {output}", attempt.0),
    }
}
