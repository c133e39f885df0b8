//! Process 1 of a pod, seen from the host.

use rustix::process::Pid;

use crate::{Error, PidFile, PodDir, Result};

/// Process 1 of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessOne {
    /// Its pid on the host.
    pub pid: Pid,
    /// Whether it is known to be process 1 of a pid namespace or was named by the stage1 itself. While a
    /// container is being set up, the only child of the recorded parent can be a helper.
    pub certain: bool,
}

impl PodDir {
    /// Finds process 1 of the pod; `None` when stage1 did not record it yet, or it is gone.
    ///
    /// # Errors
    /// [`Error::ManyChildren`] when the process recorded as its parent has several children.
    pub fn process_one(&self) -> Result<Option<ProcessOne>> {
        let parent = match self.pid_file()? {
            None => return Ok(None),
            Some(PidFile::Itself(pid)) => return Ok(Some(ProcessOne { pid, certain: true })),
            Some(PidFile::Parent(parent)) => parent,
        };
        let children = children(parent);
        match children.as_slice() {
            [] => Ok(None),
            &[pid] => {
                let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
                Ok(Some(ProcessOne { pid, certain: status.is_ok_and(|status| leads_namespace(&status)) }))
            }
            more => Err(Error::ManyChildren { parent: parent.as_raw_nonzero().get(), count: more.len() }),
        }
    }
}

/// The children of the main thread of `parent`.
fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero();
    match std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        Ok(list) => list.split_whitespace().filter_map(parse_pid).collect(),
        // A kernel without CONFIG_PROC_CHILDREN, or no such process.
        Err(_) if std::path::Path::new(&format!("/proc/{parent}")).exists() => scan(parent.get()),
        Err(_) => Vec::new(),
    }
}

fn scan(parent: i32) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| parse_pid(entry.file_name().to_str()?));
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| parent_of(&stat) == Some(parent))
    })
    .collect()
}

/// A pid in decimal digits. (`Pid::from_raw` accepts no negative number.)
pub(crate) fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok().filter(|number: &i32| *number > 0)?)
}

/// The parent's pid in `/proc/PID/stat`. The name of the program, second and in parentheses, may have blanks
/// and parentheses itself.
fn parent_of(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Whether `/proc/PID/status` is of process 1 of a pid namespace below ours.
fn leads_namespace(status: &str) -> bool {
    let Some(pids) = status.lines().find_map(|line| line.strip_prefix("NSpid:")) else { return false };
    let pids: Vec<&str> = pids.split_whitespace().collect();
    pids.len() > 1 && pids.last() == Some(&"1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_survives_odd_program_names() {
        assert_eq!(parent_of("12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of("12 (a) b) 9 (c) R 8 1"), Some(8));
        assert_eq!(parent_of("12"), None);
    }

    #[test]
    fn leader_of_a_namespace() {
        for (status, leads) in [
            ("Name:\tx\nNSpid:\t4711\t1\n", true),
            ("NSpid:\t4711\t33\t1", true),
            ("NSpid:\t4711\t2", false),
            ("NSpid:\t1", false),
            ("Name:\tx", false),
        ] {
            assert_eq!(leads_namespace(status), leads, "{status:?}");
        }
    }

    #[test]
    fn children_by_both_ways() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let ours = std::process::id().try_into().unwrap();
        // Children belong to the thread that made them; the test runs in one that is not the main thread.
        assert!(scan(ours).contains(&Pid::from_raw(pid).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(children(Pid::from_raw(i32::MAX).unwrap()), []);
    }
}
