//! Lists of system calls, as the files in `sets/` write them.
//!
//! ```text
//! read write             # names, any number a line
//! clone if arg0 & 0x7e020000 == 0     # allowed on this condition only (also: if arg1 != 0x5412)
//! clone3 = ENOSYS        # never allowed, and says so in its own way
//! ```
//! This file is compiled into the build script too.

use super::program::{ALLOW, Condition, Decision, ENOSYS, EPERM};

/// One system call of a list and what becomes of it when the list is an allow list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Its name, on any architecture.
    pub(crate) name: &'a str,
    /// What becomes of it.
    pub(crate) decision: Decision,
}

/// Reads a list. Only the project's own lists come here, so an error is a text for the one who wrote it.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry<'_>>, String> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, "=", "ENOSYS"] => entries.push(Entry { name, decision: Decision::Return(ENOSYS) }),
            [name, "if", ref rest @ ..] => {
                let condition = condition(rest).ok_or_else(|| format!("Cannot read condition: {line}"))?;
                let decision = Decision::If { condition, met: ALLOW, unmet: EPERM };
                entries.push(Entry { name, decision });
            }
            ref names => {
                entries.extend(names.iter().map(|&name| Entry { name, decision: Decision::Return(ALLOW) }));
            }
        }
    }
    match entries.iter().find(|entry| !is_name(entry.name)) {
        Some(bad) => Err(format!("Not the name of a system call: {}", bad.name)),
        None => Ok(entries),
    }
}

/// Reads `argN [& MASK] ==|!= VALUE`.
fn condition(words: &[&str]) -> Option<Condition> {
    let (argument, mask, comparison, value) = match *words {
        [argument, "&", mask, comparison, value] => (argument, number(mask)?, comparison, value),
        [argument, comparison, value] => (argument, u32::MAX, comparison, value),
        _ => return None,
    };
    Some(Condition {
        argument: argument.strip_prefix("arg")?.parse().ok().filter(|&argument: &u8| argument < 6)?,
        mask,
        value: number(value)?,
        equal: match comparison {
            "==" => true,
            "!=" => false,
            _ => return None,
        },
    })
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
