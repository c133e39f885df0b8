//! The namespace host: a Debian root with systemd as process 1 in namespaces of its own.
//!
//! ```text
//! test process ──pipe──► keeper.sh            ends when the pipe does, and then removes what it made
//!                          └─ unshare         private mount, pid, cgroup, uts, ipc and net namespaces
//!                               └─ boot.sh    mounts, pivot_root, then becomes
//!                                    systemd  process 1 of the host
//! ```
//!
//! The root is cached (see [`root`]) and stays clean: what a host writes goes to memory. The machine's own `/dev`, `/proc`, `/sys` and
//! cgroup mounts are not touched; the host works in a cgroup of its own that the keeper removes.

mod exec;
pub mod root;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

pub use exec::{Exec, Output, Running};

const KEEPER: &str = include_str!("keeper.sh");
const BOOT: &str = include_str!("boot.sh");
/// Where commands run inside: a scope as a login session has one, so that no service owns them.
const SESSION: &str = "user.slice/session-test.scope";

/// Where a host keeps `/var/lib/rkt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// In memory.
    Memory,
    /// On the file system of the build directory.
    Disk,
}

/// A running namespace host. It ends when this value is dropped, or when this process ends in whatever way.
#[derive(Debug)]
pub struct Host {
    keeper: Child,
    lifeline: Option<ChildStdin>,
    pid: u32,
    session: Option<Child>,
}

impl Host {
    /// Boots a host whose file system is the cached root with the tree `product` copied over it.
    pub fn boot(product: Option<&Path>, data: Data) -> Result<Host> {
        let root = root::cached()?;
        let dir = root::cache_dir()?;
        remove_data_of_the_dead(&dir);
        let work = dir.join("mnt");
        fs::create_dir_all(&work).with_context(|| format!("Cannot create {}", work.display()))?;
        let data_dir = match data {
            Data::Memory => PathBuf::new(),
            Data::Disk => new_data_dir(&dir)?,
        };
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--", "sh", "-c", KEEPER, "keeper"])
            .arg(BOOT)
            .args([work.as_path(), &root, &data_dir, product.unwrap_or(Path::new(""))])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("Cannot start the keeper of a test host (unshare)")?;
        let lifeline = keeper.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .context("Cannot hear from the keeper of a test host")?;
        }
        let pid = line.trim().strip_prefix("pid ").and_then(|pid| pid.parse().ok());
        let pid = pid.with_context(|| format!("The test host did not start; its keeper said {line:?}"))?;
        let mut host = Host { keeper, lifeline, pid, session: None };
        host.wait_until_up()?;
        Ok(host)
    }

    /// The machine's path of a file in this host. Only for paths without absolute symbolic links in them.
    #[must_use]
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        Path::new("/proc")
            .join(self.pid.to_string())
            .join("root")
            .join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// A command to run in this host, with a small fixed environment, as a login session would run it.
    pub fn exec(&self, program: &str) -> Exec<'_> {
        Exec::new(self, program)
    }

    /// Runs a shell script in this host.
    pub fn sh(&self, script: &str) -> Output {
        self.exec("sh").args(["-ec", script]).output()
    }

    /// Writes a file in this host, with the directories above it.
    pub fn write(&self, inside: &str, content: impl AsRef<[u8]>) {
        let path = self.path(inside);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap_or_else(|error| panic!("mkdir {}: {error}", parent.display()));
        }
        fs::write(&path, content).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    }

    /// Reads a text file of this host.
    #[must_use]
    pub fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap_or_else(|error| panic!("read {inside}: {error}"))
    }

    /// Process ids, as this host counts them, of all processes in a cgroup (path below the cgroup root) and beneath it.
    #[must_use]
    pub fn cgroup_pids(&self, group: &str) -> Vec<u32> {
        let script = r#"find "/sys/fs/cgroup/$1" -name cgroup.procs -exec cat {} + 2>/dev/null || :"#;
        let output = self.exec("sh").args(["-c", script, "sh", group]).output();
        output.stdout.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn session_group(&self) -> PathBuf {
        self.path("/sys/fs/cgroup").join(SESSION)
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let limit = Instant::now() + Duration::from_secs(30);
        let marker = self.path(root::MARKER);
        let socket = self.path("/run/systemd/private");
        while !(marker.exists() && socket.exists()) {
            if let Some(status) = self.keeper.try_wait()? {
                bail!("The test host ended while it booted ({status})");
            }
            ensure!(Instant::now() < limit, "The test host has no systemd after 30 seconds");
            thread::sleep(Duration::from_millis(5));
        }
        let state = self.exec("systemctl").args(["is-system-running", "--wait"]).outside_session().output();
        let state = state.stdout.trim();
        ensure!(state == "running" || state == "degraded", "The test host is {state:?}, not running");
        let scope =
            ["--scope", "--quiet", "--slice=user.slice", "--unit=session-test", "--property=Delegate=yes"];
        let session = self.exec("systemd-run").args(scope).args(["sleep", "infinity"]).outside_session();
        self.session = Some(session.spawn_detached()?);
        while !self.session_group().exists() {
            ensure!(Instant::now() < limit, "The test host has no session scope after 30 seconds");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // Nobody can act on a failure here: a keeper that failed said so itself.
        let _ = self.keeper.wait();
        if let Some(session) = &mut self.session {
            let _ = session.wait();
        }
    }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

fn new_data_dir(cache: &Path) -> Result<PathBuf> {
    let name = format!("data-{}-{}", COUNT.fetch_add(1, Ordering::Relaxed), std::process::id());
    let path = cache.join(name);
    // Has ext4 put each of them into a part of the disk of its own. In one where much was deleted in the last minutes it passes over
    // all of that for each new file, and what a benchmark measures is the one before. Other file systems do not know the attribute.
    let _ = Command::new("chattr").arg("+T").arg(cache).stderr(Stdio::null()).status();
    fs::create_dir(&path).with_context(|| format!("Cannot create {}", path.display()))?;
    Ok(path)
}

/// Removes data directories whose test process was killed together with its keeper.
fn remove_data_of_the_dead(cache: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix("data-").and_then(|rest| rest.rsplit('-').next()) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = Command::new("rm").args(["-rf", "--one-file-system", "--"]).arg(entry.path()).status();
        }
    }
}
