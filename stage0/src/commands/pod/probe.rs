//! Running a program in an app of a pod, as `rkt enter` does, with an end in sight.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::Context;

/// How often the end of a program is looked for.
const NAP: Duration = Duration::from_millis(20);

/// Runs `command` in `app` of the pod `uuid`, and says whether it succeeded within `time`. Its output is ours.
pub(crate) fn run(
    context: &Context,
    uuid: &str,
    app: &str,
    command: &[String],
    time: Duration,
) -> Result<bool> {
    let mut child = enter(context, uuid, app, command)?;
    let end = Instant::now().checked_add(time);
    loop {
        if let Some(status) = child.try_wait().context("Cannot wait for the program")? {
            return Ok(status.success());
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            // Who entered goes with the client that holds the other side.
            child.kill().and_then(|()| child.wait()).context("Cannot end the program")?;
            return Ok(false);
        }
        std::thread::sleep(NAP);
    }
}

fn enter(context: &Context, uuid: &str, app: &str, command: &[String]) -> Result<Child> {
    let mut rkt = Command::new("/proc/self/exe");
    if let Some(directory) = context.dir_flag() {
        rkt.arg(format!("--dir={}", directory.display()));
    }
    rkt.arg(format!("--system-config={}", context.roots.system.display()))
        .arg(format!("--local-config={}", context.roots.local.display()))
        .args(["enter", &format!("--app={app}"), uuid])
        .args(command)
        .stdin(Stdio::null())
        // A probe of an app does not speak for the unit.
        .env_remove("NOTIFY_SOCKET");
    rkt.spawn().context("Cannot start rkt enter")
}
