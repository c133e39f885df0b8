//! The test host itself: what the other tests take for granted.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::case::eventually;
use tests::host::{Data, Host};

fn boot(data: Data) -> Host {
    Host::boot(None, data).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn runs_commands_as_a_session_would() {
    let host = boot(Data::Memory);
    let output = host
        .exec("sh")
        .args(["-c", "grep ^0: /proc/self/cgroup; cat; echo warn >&2; exit 3"])
        .input("in")
        .fails(3);
    assert_eq!(output.stdout, "0::/user.slice/session-test.scope\nin");
    assert_eq!(output.stderr, "warn\n");
    host.exec("systemctl").args(["is-active", "dbus.service"]).ok().prints("active");
    host.exec("systemd-run")
        .args(["--wait", "--pipe", "--quiet", "echo", "from a service"])
        .ok()
        .prints("from a service");
    host.write("/tmp/below/file", "content");
    assert_eq!(host.sh("cat /tmp/below/file").stdout, "content");
}

#[test]
fn kills_what_takes_too_long() {
    let host = boot(Data::Memory);
    let mut command = host.exec("sh").args(["-c", "echo up; sleep 1234"]).spawn();
    command.wait_for_stdout("up");
    command.kill();
    let left = host.exec("pgrep").args(["-f", "sleep 1234"]).output();
    assert_eq!(left.stdout, "", "the command is still there");
    assert!(
        std::panic::catch_unwind(|| host.exec("sleep").arg("99").limit(Duration::from_millis(100)).output())
            .is_err()
    );
}

#[test]
fn leaves_nothing_behind() {
    let host = boot(Data::Disk);
    let root = host.path("/");
    host.write("/var/lib/rkt/file", "content");
    let cache = tests::host::root::cache_dir().unwrap_or_else(|error| panic!("{error:?}"));
    let own = format!("-{}", std::process::id());
    let data = || -> Vec<_> {
        let entries = fs::read_dir(&cache)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        entries.filter(|name| name.starts_with("data-") && name.ends_with(&own)).collect()
    };
    assert_eq!(data().len(), 1);
    assert!(root.exists());
    drop(host);
    assert_eq!(data(), Vec::<String>::new());
    assert!(!root.exists(), "process 1 of the host is still there");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("read /proc/self/mounts");
    assert!(!mounts.contains("rkt-test-host"), "{mounts}");
    assert!(Path::new("/dev/null").exists());
}

#[test]
fn ends_with_a_killed_test_process() {
    // A number of this run alone: a killed run before may have left its own.
    let seconds = 1_000_000 + std::process::id();
    let sleeps = || sleeps(seconds);
    let mut user = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_test-host")])
        .args(["sh", "-c", &format!("echo up; exec sleep {seconds}")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start test-host");
    let mut line = String::new();
    BufReader::new(user.stdout.take().expect("a pipe")).read_line(&mut line).expect("read");
    assert_eq!(line, "up\n");
    // The line comes before the shell has become the command.
    eventually("the command to be seen", || sleeps().then_some(()));
    user.kill().expect("kill");
    user.wait().expect("wait");
    eventually("the host to end", || (!sleeps()).then_some(()));
}

fn sleeps(seconds: u32) -> bool {
    let wanted = format!("sleep\0{seconds}\0");
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .any(|process| fs::read(process.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes()))
}
