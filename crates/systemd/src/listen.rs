//! Descriptors that a service manager hands down; see sd_listen_fds(3).

use std::os::fd::{OwnedFd, RawFd};

/// The first descriptor that is handed down.
pub const FIRST: RawFd = 3;

/// One descriptor that was handed down.
#[derive(Debug)]
pub struct Listen {
    /// Its name, `unknown` when the manager gave none.
    pub name: String,
    /// The descriptor, marked close-on-exec.
    pub fd: OwnedFd,
}

/// Takes the descriptors that were handed to this process. Call it once, at the start of a program.
///
/// Numbers that are not open are left out.
pub fn take() -> Vec<Listen> {
    let variable = |name| std::env::var(name).ok();
    names(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        rustix::process::getpid().as_raw_nonzero().get(),
    )
    .into_iter()
    .zip(FIRST..)
    .filter_map(|(name, number)| Some(Listen { name, fd: sys::fd::take_inherited(number).ok()? }))
    .collect()
}

/// The names of the descriptors that the three variables tell of, from [`FIRST`] on.
fn names(for_pid: Option<&str>, count: Option<&str>, names: Option<&str>, own_pid: i32) -> Vec<String> {
    if for_pid.and_then(|pid| pid.parse().ok()) != Some(own_pid) {
        return Vec::new();
    }
    // No process inherits more: it keeps a mad number from making us run through billions.
    let count = count.and_then(|count| count.parse::<u16>().ok()).unwrap_or(0);
    let mut names = names.unwrap_or_default().split(':');
    (0..count).map(|_| names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_three_variables() {
        type Variable = Option<&'static str>;
        let cases: [(Variable, Variable, Variable, &[&str]); 8] = [
            (Some("7"), Some("2"), Some("web:admin"), &["web", "admin"]),
            (Some("7"), Some("2"), Some("web"), &["web", "unknown"]),
            (Some("7"), Some("2"), Some(":b:c"), &["unknown", "b"]),
            (Some("7"), Some("1"), None, &["unknown"]),
            (Some("8"), Some("1"), None, &[]),
            (None, Some("1"), None, &[]),
            (Some("7"), Some("-1"), None, &[]),
            (Some("7"), Some("99999999"), None, &[]),
        ];
        for (pid, count, names, wanted) in cases {
            assert_eq!(super::names(pid, count, names, 7), wanted, "{pid:?} {count:?} {names:?}");
        }
    }
}
