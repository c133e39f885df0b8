//! The test host itself: what the other tests take for granted.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
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

/// What a host has of the machine while it runs.
struct Traces {
    /// The process ID of its keeper.
    keeper: u32,
    /// Its control group, right below the machine's root and called after the keeper.
    group: String,
    /// The mount namespace of its keeper and the process namespace of its process 1. They are held open, because the kernel gives the
    /// number of a namespace that is gone to the next one.
    namespaces: [File; 2],
}

impl Traces {
    /// Those of the host that a process, as the machine counts them, runs in.
    fn of(pid: u32) -> Traces {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read the groups of a process");
        let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).expect("a group of cgroup2");
        let group = path.split('/').next().unwrap_or_default().to_owned();
        let keeper = group.strip_prefix("rkt-test-host-").and_then(|pid| pid.parse().ok());
        let keeper: u32 = keeper.unwrap_or_else(|| panic!("{group:?} is not the group of a test host"));
        let namespaces = [namespace(&keeper.to_string(), "mnt"), namespace(&pid.to_string(), "pid")];
        let traces = Traces { keeper, group, namespaces };
        for (of_host, name) in traces.namespaces.iter().zip(["mnt", "pid"]) {
            assert_ne!(inode(of_host), inode(&namespace("self", name)), "a namespace of the machine");
        }
        assert!(traces.has_group());
        // The keeper, and what the host runs.
        assert!(traces.processes().len() > 2, "{:?}", traces.processes());
        traces
    }

    /// Whether the group is there. Not every machine has cgroup2 mounted, so a process of its own mounts it for itself.
    fn has_group(&self) -> bool {
        let list = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--", "sh", "-ec"])
            .args([r#"mount -t cgroup2 cgroup2 "$1" && ls "$1""#, "sh"])
            .arg(cache().join("mnt"))
            .output()
            .expect("run unshare");
        assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
        let list = String::from_utf8(list.stdout).expect("names of groups");
        assert!(list.lines().any(|name| name == "cgroup.procs"), "no cgroup2: {list}");
        list.lines().any(|name| name == self.group)
    }

    /// What still runs in the host, or keeps it: process IDs. The mounts are as long there as those are.
    fn processes(&self) -> Vec<String> {
        let wanted = self.namespaces.each_ref().map(inode);
        let stands_in = |process: &Path| {
            let [mounts, pids] = ["ns/mnt", "ns/pid"].map(|name| fs::metadata(process.join(name)));
            // One that has ended and is not waited for has a process namespace yet, and no mounts any more.
            let (Ok(mounts), Ok(pids)) = (mounts, pids) else { return false };
            mounts.ino() == wanted[0] || pids.ino() == wanted[1]
        };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        processes.filter(|path| stands_in(path)).map(|path| path.display().to_string()).collect()
    }

    fn assert_gone(&self) {
        assert_eq!(self.processes(), Vec::<String>::new());
        assert!(!self.has_group(), "the control group {} is left", self.group);
    }
}

fn namespace(process: &str, name: &str) -> File {
    File::open(format!("/proc/{process}/ns/{name}")).expect("open a namespace")
}

fn inode(file: &File) -> u64 {
    file.metadata().expect("the number of a namespace").ino()
}

fn cache() -> PathBuf {
    tests::host::root::cache_dir().unwrap_or_else(|error| panic!("{error:?}"))
}

/// The directories on disk that hosts of this process have.
fn data_dirs() -> Vec<PathBuf> {
    let own = format!("-{}", std::process::id());
    let is_own = |name: &str| name.starts_with("data-") && name.ends_with(&own);
    let entries = fs::read_dir(cache()).into_iter().flatten().flatten();
    entries.filter(|entry| is_own(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

/// The machine's number of a host's process 1.
fn process_1(host: &Host) -> u32 {
    let path = host.path("/");
    let pid = path.components().nth(2).and_then(|part| part.as_os_str().to_str()?.parse().ok());
    pid.unwrap_or_else(|| panic!("no process in {}", path.display()))
}

#[test]
fn leaves_nothing_behind() {
    let host = boot(Data::Disk);
    let root = host.path("/");
    host.write("/var/lib/rkt/file", "of this test");
    let traces = Traces::of(process_1(&host));
    let holds = |dir: &PathBuf| fs::read(dir.join("file")).is_ok_and(|text| text == b"of this test");
    let data = data_dirs().into_iter().find(holds).expect("a data directory on disk");
    assert!(root.exists());
    // Nothing of what the host mounts is seen by the machine.
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
    let point = cache().join("mnt").display().to_string();
    assert!(!mounts.contains(&point), "{mounts}");
    drop(host);
    traces.assert_gone();
    assert!(!data.exists(), "{} is left", data.display());
    assert!(!root.exists(), "process 1 of the host is still there");
    assert!(Path::new("/dev/null").exists());
}

/// Another process that has a host, in which a command sleeps.
struct User {
    process: Child,
    seconds: u32,
}

impl User {
    fn start(number: u32) -> User {
        // Seconds of this run alone: a killed run before may have left its own.
        let seconds = number * 10_000_000 + std::process::id();
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_test-host")])
            .args(["sh", "-c", &format!("echo up; exec sleep {seconds}")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("start test-host");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut line).expect("read");
        assert_eq!(line, "up\n");
        User { process, seconds }
    }

    /// The process of the command.
    fn sleeper(&self) -> Option<u32> {
        let wanted = format!("sleep\0{}\0", self.seconds);
        let mut processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let process = processes.find(|process| {
            fs::read(process.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
        });
        process?.file_name().to_str()?.parse().ok()
    }

    fn traces(&self) -> Traces {
        // The line comes before the shell has become the command.
        Traces::of(eventually("the command to be seen", || self.sleeper()))
    }
}

#[test]
fn ends_with_a_killed_test_process() {
    let mut user = User::start(1);
    let traces = user.traces();
    user.process.kill().expect("kill");
    user.process.wait().expect("wait");
    // The keeper is the last to go.
    eventually("the host to end", || traces.processes().is_empty().then_some(()));
    traces.assert_gone();
    assert_eq!(user.sleeper(), None);
}

/// A keeper that was killed cleans nothing up, and so the next host does.
#[test]
fn ends_with_a_killed_keeper() {
    let mut user = User::start(2);
    let traces = user.traces();
    // No process has this number.
    let data = cache().join(format!("data-0-{}", u32::MAX));
    fs::create_dir_all(data.join("rkt")).expect("make a data directory");
    let keeper = i32::try_from(traces.keeper).ok().and_then(Pid::from_raw).expect("a process ID");
    kill_process(keeper, Signal::KILL).expect("kill the keeper");
    eventually("the host to end", || traces.processes().is_empty().then_some(()));
    let status = user.process.wait().expect("wait");
    assert!(!status.success(), "the command in the host has not ended by itself");
    let living = boot(Data::Disk);
    living.write("/var/lib/rkt/file", "content");
    traces.assert_gone();
    assert!(!data.exists(), "{} is left", data.display());
    // What belongs to somebody who lives stays.
    let other = Traces::of(process_1(&living));
    drop(boot(Data::Memory));
    assert!(other.has_group());
    assert_eq!(living.read("/var/lib/rkt/file"), "content");
}
