//! Commands inside a host: exit status, output, and a time limit that kills.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::Host;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LIMIT: Duration = Duration::from_secs(60);
/// How long output may still come after the command itself has ended, from children that kept its pipe.
const DRAIN: Duration = Duration::from_millis(500);

/// A command to run in a host.
#[derive(Debug)]
#[must_use = "nothing runs before `output`, `ok` or `spawn`"]
pub struct Exec<'h> {
    host: &'h Host,
    words: Vec<String>,
    env: Vec<(String, String)>,
    dir: Option<String>,
    input: Option<Vec<u8>>,
    limit: Duration,
    session: bool,
}

impl<'h> Exec<'h> {
    pub(super) fn new(host: &'h Host, program: &str) -> Exec<'h> {
        let words = vec![program.to_owned()];
        Exec { host, words, env: Vec::new(), dir: None, input: None, limit: LIMIT, session: true }
    }

    /// Adds one argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.words.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.words.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the working directory; it is `/` else.
    pub fn dir(mut self, dir: &str) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Gives it something to read; standard input is empty else.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Kills it after this time instead of a minute.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(super) fn outside_session(mut self) -> Self {
        self.session = false;
        self
    }

    /// Runs it to its end, whatever its exit status is.
    pub fn output(self) -> Output {
        let limit = self.limit;
        self.spawn().wait(limit)
    }

    /// Runs it to its end and insists on success.
    #[track_caller]
    pub fn ok(self) -> Output {
        self.output().success()
    }

    /// Runs it to its end and insists on this exit status.
    #[track_caller]
    pub fn fails(self, code: i32) -> Output {
        self.output().code(code)
    }

    /// Starts it and returns at once.
    pub fn spawn(self) -> Running {
        let words = self.words.join(" ");
        let mut command = self.command();
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), self.input) {
            thread::spawn(move || stdin.write_all(&input));
        }
        let stdout = Tap::on(child.stdout.take());
        let stderr = Tap::on(child.stderr.take());
        Running { words, child, stdout, stderr, started }
    }

    /// Runs it on the standard streams of this process and returns its exit status.
    pub fn interactive(self) -> Result<i32> {
        Ok(exit_code(self.command().status().with_context(|| format!("Cannot run {:?}", self.words))?))
    }

    pub(super) fn spawn_detached(self) -> Result<Child> {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().with_context(|| format!("Cannot start {:?}", self.words))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        // The shell joins the session's cgroup before it becomes nsenter: systemd then sees a user's command, not one of a service.
        let join = if self.session { r#"echo 0 >"$1/cgroup.procs" && "# } else { "" };
        command.args(["-c", &format!(r#"{join}shift && exec nsenter "$@""#), "sh"]);
        command.arg(self.host.session_group());
        command.args([
            "-t",
            &self.host.pid.to_string(),
            "-m",
            "-p",
            "-C",
            "-u",
            "-i",
            "-n",
            "-r",
            "-w",
            "--",
            "env",
        ]);
        command.args(self.dir.iter().map(|dir| format!("--chdir={dir}")));
        command.args(self.env.iter().map(|(name, value)| format!("{name}={value}")));
        command.args(&self.words);
        command.env_clear().envs([("PATH", PATH), ("HOME", "/root"), ("LANG", "C.UTF-8"), ("TERM", "dumb")]);
        command
    }
}

/// A command that runs in a host. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    words: String,
    child: Child,
    stdout: Tap,
    stderr: Tap,
    started: Instant,
}

impl Running {
    /// Waits for its end; kills it when that takes longer than `limit`, and panics then.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Output {
        let end = Instant::now() + limit;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(2)),
                Ok(None) => {
                    self.kill();
                    panic!("still running after {limit:?}, killed: {}", self.describe("killed"));
                }
                Err(error) => panic!("cannot wait for {:?}: {error}", self.words),
            }
        };
        let took = self.started.elapsed();
        self.stdout.drain();
        self.stderr.drain();
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        Output { words: self.words.clone(), code: exit_code(status), stdout, stderr, took }
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits until its standard output has `text`.
    #[track_caller]
    pub fn wait_for_stdout(&mut self, text: &str) {
        let end = Instant::now() + LIMIT;
        while !self.stdout.text().contains(text) {
            if self.ended() {
                self.stdout.drain();
                if self.stdout.text().contains(text) {
                    return;
                }
            }
            if self.ended() || Instant::now() > end {
                panic!("no {text:?} in the output of {}", self.describe("so far"));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it and whatever it started in its process group with SIGKILL.
    pub fn kill(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group.filter(|_| matches!(self.child.try_wait(), Ok(None))) {
            // It may end by itself at this very moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Kills the command alone with SIGKILL, and nothing that it has started.
    pub fn kill_command(&mut self) {
        // What runs here is nsenter; the command is its only child.
        let nsenter = self.child.id();
        let children =
            std::fs::read_to_string(format!("/proc/{nsenter}/task/{nsenter}/children")).unwrap_or_default();
        let command =
            children.split_whitespace().next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        match command {
            // It may end by itself at this very moment.
            Some(command) => drop(kill_process(command, Signal::KILL)),
            None => self.kill(),
        }
        let _ = self.child.wait();
    }

    fn describe(&self, state: &str) -> String {
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        format!("{} ({state})\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---", self.words)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a command left.
#[derive(Debug, Clone)]
pub struct Output {
    words: String,
    /// Exit status; 128 + N when signal N ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Wall-clock time from start to end.
    pub took: Duration,
}

impl Output {
    pub(crate) fn new(words: String, code: i32, stdout: String, stderr: String, took: Duration) -> Output {
        Output { words, code, stdout, stderr, took }
    }

    /// Insists on success.
    #[track_caller]
    pub fn success(self) -> Output {
        self.code(0)
    }

    /// Insists on an exit status.
    #[track_caller]
    pub fn code(self, code: i32) -> Output {
        assert!(self.code == code, "exit status {} instead of {code}: {self}", self.code);
        self
    }

    /// Insists on a text in standard output.
    #[track_caller]
    pub fn prints(self, text: &str) -> Output {
        assert!(self.stdout.contains(text), "no {text:?} in standard output: {self}");
        self
    }

    /// Insists on a text in standard error, whatever its case.
    #[track_caller]
    pub fn says(self, text: &str) -> Output {
        let found = self.stderr.to_lowercase().contains(&text.to_lowercase());
        assert!(found, "no {text:?} in standard error: {self}");
        self
    }

    /// Standard output without white space at its ends.
    #[must_use]
    pub fn trimmed(&self) -> &str {
        self.stdout.trim()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output { words, code, stdout, stderr, took } = self;
        write!(
            out,
            "{words}\n--- exit status {code} after {took:?}\n--- stdout\n{stdout}--- stderr\n{stderr}---"
        )
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Collects what comes out of a pipe.
#[derive(Debug)]
struct Tap {
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Tap {
    fn on(pipe: Option<impl Read + Send + 'static>) -> Tap {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        let reader = pipe.map(|mut pipe| {
            thread::spawn(move || {
                let mut buffer = vec![0; 65536];
                while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                    shared.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
                }
            })
        });
        Tap { seen, reader }
    }

    fn drain(&mut self) {
        let end = Instant::now() + DRAIN;
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}
