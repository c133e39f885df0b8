//! Running one CNI plugin.
//!
//! ```text
//! stdin   the configuration, JSON          CNI_COMMAND CNI_CONTAINERID CNI_NETNS CNI_IFNAME CNI_ARGS CNI_PATH
//! stdout  the result, or {code, msg, details}, JSON
//! ```
//! A plugin has [`LIMIT`] to end; then its whole process group is killed. `RKT_NETWORK_TIMEOUT` (seconds) is another limit.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Deserialize;
use serde_json::Value;

use crate::error::PluginFailure;

/// How long a plugin may take.
pub const LIMIT: Duration = Duration::from_secs(60);
/// No result is longer.
const OUTPUT_MAX: u64 = 1 << 20;

/// Where the host's plugins are looked for. Never in the root of a stage1: plugins run on the host as root, also
/// when `gc` calls them, and by then the pod may have written there.
pub fn directories(local_config: &Path) -> Vec<PathBuf> {
    let mut directories = vec![local_config.join("net.d")];
    directories.extend(
        ["/usr/lib/rkt/plugins/net", "/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"].map(PathBuf::from),
    );
    directories
}

/// The limit in force.
pub fn limit() -> Duration {
    let seconds = std::env::var("RKT_NETWORK_TIMEOUT").ok().and_then(|text| text.parse().ok());
    seconds.map_or(LIMIT, Duration::from_secs)
}

/// One call of a plugin.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The name of its program.
    pub kind: &'a str,
    /// Where to look for it.
    pub path: &'a [PathBuf],
    /// `ADD`, `DEL`, …
    pub command: &'a str,
    /// The pod.
    pub container: &'a str,
    /// The path of the network namespace; empty when it is gone.
    pub netns: &'a str,
    /// The interface in the pod.
    pub interface: &'a str,
    /// `CNI_ARGS`.
    pub args: &'a str,
    /// How long it may take.
    pub limit: Duration,
}

/// The program of a plugin.
pub fn find(kind: &str, path: &[PathBuf]) -> Result<PathBuf, PluginFailure> {
    path.iter()
        .map(|directory| directory.join(kind))
        .find(|program| program.is_file())
        .ok_or_else(|| PluginFailure::Missing(path.to_vec()))
}

/// Calls a plugin and returns what it printed: `Null` for nothing.
pub fn call(call: Call<'_>, config: &Value) -> Result<Value, PluginFailure> {
    let start = |error: &dyn std::fmt::Display| PluginFailure::Start(error.to_string());
    let program = find(call.kind, call.path)?;
    let path: Vec<String> = call.path.iter().map(|directory| directory.display().to_string()).collect();
    let file = |name: &str| memfd_create(name, MemfdFlags::CLOEXEC).map(File::from);
    let mut input = file("cni-config").map_err(|error| start(&error))?;
    let mut output = file("cni-result").map_err(|error| start(&error))?;
    let mut complaints = file("cni-stderr").map_err(|error| start(&error))?;
    input
        .write_all(config.to_string().as_bytes())
        .and_then(|()| input.rewind())
        .map_err(|error| start(&error))?;
    let share = |file: &File| file.try_clone().map(Stdio::from);
    let mut command = Command::new(&program);
    command
        .env("CNI_COMMAND", call.command)
        .env("CNI_CONTAINERID", call.container)
        .env("CNI_NETNS", call.netns)
        .env("CNI_IFNAME", call.interface)
        .env("CNI_ARGS", call.args)
        .env("CNI_PATH", path.join(":"))
        .env("CNI_VERSION", "0.1.0")
        .env("PATH", search_path(std::env::var("PATH").ok().as_deref()))
        .stdin(input)
        .stdout(share(&output).map_err(|error| start(&error))?)
        .stderr(share(&complaints).map_err(|error| start(&error))?)
        .process_group(0);
    for ours in [pod::LOCK_FD_VARIABLE, "RKT_MOUNT_NAMESPACE_FD", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"]
    {
        command.env_remove(ours);
    }
    // One that hangs must not outlive who would kill it.
    sys::process::die_with_parent(&mut command);
    let mut child = command.spawn().map_err(|error| start(&error))?;
    let ended = wait(&mut child, call.limit);
    let status = match ended {
        Ok(Some(status)) => status,
        Ok(None) => return Err(PluginFailure::TimedOut(call.limit.as_secs())),
        Err(error) => return Err(start(&error)),
    };
    let text = read(&mut output);
    if status.success() {
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        return serde_json::from_str(&text).map_err(|error| PluginFailure::Nonsense(error.to_string()));
    }
    if let Ok(Reported { code, msg, details }) = serde_json::from_str(&text) {
        return Err(PluginFailure::Reported { code, msg, details });
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    };
    let said = format!("{}{}", text, read(&mut complaints));
    Err(PluginFailure::Died { how, output: said.split_whitespace().collect::<Vec<_>>().join(" ") })
}

/// Plugins call programs of the administrator, such as iptables, which not every unit and login has in its path.
fn search_path(path: Option<&str>) -> String {
    let usual = "/usr/sbin:/usr/bin:/sbin:/bin";
    path.filter(|path| !path.is_empty()).map_or_else(|| usual.to_owned(), |path| format!("{path}:{usual}"))
}

#[derive(Debug, Deserialize)]
struct Reported {
    code: u64,
    msg: String,
    #[serde(default)]
    details: String,
}

fn read(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // A memory file that was just made can be read; if not, there is nothing in it.
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(OUTPUT_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for the end of `child`. When it takes too long, or when waiting fails, ends its process group and reaps it.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<std::process::ExitStatus>> {
    let pid = Pid::from_child(child);
    let ended = wait_until(pid, Instant::now() + limit);
    // Also what it left behind: nothing of a plugin outlives the call. What is gone cannot be killed.
    let _ = kill_process_group(pid, Signal::KILL);
    let status = child.wait()?;
    Ok(ended?.then_some(status))
}

fn wait_until(pid: Pid, end: Instant) -> std::io::Result<bool> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(std::io::Error::other)?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> Result<Value, PluginFailure> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("plugin");
        // Another process writes it: a child that a test beside this one starts just then would inherit our handle, and
        // what is open for writing cannot be executed.
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$2" && chmod 755 "$2""#;
        let written = Command::new("sh").args(["-c", write, "sh", script]).arg(&program).status().unwrap();
        assert!(written.success());
        let path = [PathBuf::from("/nonexistent"), dir.path().to_path_buf()];
        let of = |path| Call {
            kind: "plugin",
            path,
            command: "ADD",
            container: "c",
            netns: "/n",
            interface: "eth0",
            args: "A=b",
            limit,
        };
        call(of(&path), &serde_json::json!({"name": "x"}))
    }

    fn failure(script: &str) -> String {
        run(script, LIMIT).unwrap_err().to_string()
    }

    #[test]
    fn a_plugin_reads_and_answers() {
        let script = r#"cfg=$(cat); echo "{\"cfg\": $cfg, \"env\": \"$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS\"}""#;
        let said = run(script, LIMIT).unwrap();
        assert_eq!(said["cfg"]["name"], "x");
        assert_eq!(said["env"], "ADD c /n eth0 A=b");
        assert_eq!(run("exit 0", LIMIT).unwrap(), Value::Null);
    }

    #[test]
    fn failures_say_what_the_plugin_said() {
        assert_eq!(failure(r#"echo '{"code":11,"msg":"busy","details":"very"}'; exit 1"#), "busy; very");
        assert_eq!(failure("echo oh >&2; exit 3"), "it failed (exit status 3): oh");
        assert_eq!(failure("kill -9 $$"), "it failed (signal 9)");
        assert!(failure("echo x").starts_with("its result cannot be read"));
        assert!(find("no", &["/a".into(), "/b".into()]).unwrap_err().to_string().ends_with("/a, /b"));
    }

    #[test]
    fn what_hangs_is_killed_with_its_children() {
        let begin = Instant::now();
        let error = run("sleep 1000 & sleep 1000", Duration::from_secs(1)).unwrap_err();
        assert_eq!(error, PluginFailure::TimedOut(1));
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_child_that_keeps_the_pipes_does_not_hold_us_up() {
        let begin = Instant::now();
        run("sleep 1000 & echo '{}'", LIMIT).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}
