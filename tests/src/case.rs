//! One test's view of the shared host: names of its own, an `rkt` to call, and what to print when the test fails.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::{Data, Exec, Host, Output, Running};
use crate::{images, product};

/// Which wall a pod gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage1 {
    /// A container by systemd-nspawn.
    Nspawn,
    /// A chroot.
    Fly,
    /// A virtual machine, emulated.
    Kvm,
}

/// Cases that cannot apply to stage1-kvm as they are, by a part of their names, and why.
pub const NOT_UNDER_KVM: &[(&str, &str)] = &[(
    "file_system::a_device_is_a_volume",
    "a machine does not have the devices of the host, and says so (kvm::)",
)];

impl Stage1 {
    /// Its file among the stage1 images.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Stage1::Nspawn => "stage1-nspawn.aci",
            Stage1::Fly => "stage1-fly.aci",
            Stage1::Kvm => "stage1-kvm.aci",
        }
    }

    /// Whether its pods can have more than one app.
    #[must_use]
    pub fn has_several_apps(self) -> bool {
        self != Stage1::Fly
    }

    /// The flag for the simplest network that it can have.
    #[must_use]
    pub fn simplest_net(self) -> &'static str {
        if self == Stage1::Kvm { "--net=none" } else { "--net=host" }
    }

    /// The flag that picks it.
    #[must_use]
    pub fn flag(self) -> String {
        format!("--stage1-from-dir={}", self.file())
    }
}

/// Machines of the suite run without KVM, so that they run everywhere, also where others keep the processors busy.
const EMULATED: &str = r#"{"rktKind": "kvm", "rktVersion": "v1", "accelerator": "tcg", "readySec": 300}"#;

/// The host that all tests of a test program share, with the product and the images in it.
pub fn shared_host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let tree = product::tree().unwrap_or_else(|error| panic!("{error:?}"));
        let host = Host::boot(Some(&tree), Data::Memory).unwrap_or_else(|error| panic!("{error:?}"));
        images::install(&host);
        host.write("/usr/lib/rkt/kvm.d/tests.json", EMULATED);
        host
    })
}

/// One test.
#[derive(Debug)]
pub struct Case {
    host: &'static Host,
    name: String,
    stage1: Stage1,
    data: Option<String>,
    net: String,
    config: Option<String>,
    pods: RefCell<Vec<String>>,
    units: RefCell<Vec<String>>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Case {
    /// A test that shares the data directory `/var/lib/rkt` with others.
    #[must_use]
    pub fn new(stage1: Stage1) -> Case {
        let thread = thread::current();
        let test: String = thread
            .name()
            .unwrap_or("test")
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '-' })
            .collect();
        let name = format!("{}-{}", test.replace("--", "-"), COUNT.fetch_add(1, Ordering::Relaxed));
        let host = shared_host();
        host.exec("mkdir").args(["-p", &format!("/tmp/{name}")]).ok();
        Case {
            host,
            name,
            stage1,
            data: None,
            net: stage1.simplest_net().to_owned(),
            config: None,
            pods: RefCell::default(),
            units: RefCell::default(),
        }
    }

    /// A test with a data directory of its own.
    #[must_use]
    pub fn alone(stage1: Stage1) -> Case {
        Case::new(stage1).with_data()
    }

    /// Gives it a data directory of its own.
    #[must_use]
    pub fn with_data(mut self) -> Case {
        self.data = Some(self.tmp("data"));
        self
    }

    /// Its pods get the network of this flag, such as `--net=default`, instead of the host's.
    #[must_use]
    pub fn with_net(mut self, flag: &str) -> Case {
        flag.clone_into(&mut self.net);
        self
    }

    /// The flag that gives pods of this test their network.
    #[must_use]
    pub fn net(&self) -> &str {
        &self.net
    }

    /// Adds a network: a file in the directory `net.d` of a local configuration of this test's own.
    #[must_use]
    pub fn with_network(mut self, file: &str, network: &serde_json::Value) -> Case {
        let config = self.config.get_or_insert_with(|| format!("/tmp/{}/config", self.name)).clone();
        self.host.write(&format!("{config}/net.d/{file}"), network.to_string());
        self
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &'static Host {
        self.host
    }

    /// A name no other test has: letters, digits and dashes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The wall under test.
    #[must_use]
    pub fn stage1(&self) -> Stage1 {
        self.stage1
    }

    /// A path in a temporary directory of this test.
    #[must_use]
    pub fn tmp(&self, file: &str) -> String {
        format!("/tmp/{}/{file}", self.name)
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &str {
        self.data.as_deref().unwrap_or("/var/lib/rkt")
    }

    /// The small image with a shell, as a word for `rkt`: its name in the shared store, its file for a store of one's own.
    #[must_use]
    pub fn busybox(&self) -> &'static str {
        if self.data.is_some() { images::BUSYBOX_FILE } else { images::BUSYBOX_NAME }
    }

    /// Writes an image into this test's temporary directory and says where.
    #[must_use]
    pub fn image(&self, name: &str, archive: impl AsRef<[u8]>) -> String {
        let path = self.tmp(name);
        self.host.write(&path, archive);
        path
    }

    /// The words that every call of `rkt` begins with.
    #[must_use]
    pub fn rkt_words(&self) -> Vec<String> {
        let mut words = vec!["/usr/bin/rkt".to_owned(), "--insecure-options=image".to_owned()];
        words.extend(self.data.iter().map(|dir| format!("--dir={dir}")));
        words.extend(self.config.iter().map(|dir| format!("--local-config={dir}")));
        words
    }

    /// `rkt` with these arguments.
    pub fn rkt<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Exec<'static> {
        let mut words = self.rkt_words().into_iter();
        self.host.exec(&words.next().unwrap_or_default()).args(words).args(args)
    }

    /// The words of `rkt run` under this test's wall, with this test's network and the pod's UUID saved as `id`.
    #[must_use]
    pub fn run_words(&self, id: &str) -> Vec<String> {
        let mut words = self.rkt_words();
        let save = format!("--uuid-file-save={}", self.uuid_file(id));
        words.extend(["run".to_owned(), self.stage1.flag(), self.net.clone(), save]);
        self.pods.borrow_mut().push(id.to_owned());
        words
    }

    /// `rkt run` under this test's wall with these arguments; [`Case::uuid`] then knows the pod.
    pub fn run<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Exec<'static> {
        self.run_as("pod", args)
    }

    /// Like [`Case::run`] for a test with several pods.
    pub fn run_as<S: Into<String>>(&self, id: &str, args: impl IntoIterator<Item = S>) -> Exec<'static> {
        let mut words = self.run_words(id).into_iter();
        self.host.exec(&words.next().unwrap_or_default()).args(words).args(args)
    }

    /// Runs a shell script as the only app of a pod.
    pub fn run_sh(&self, script: &str) -> Exec<'static> {
        self.run([self.busybox(), "--exec=/bin/sh", "--", "-c", script])
    }

    /// Starts a pod whose app runs `script`, which has to print `up`, and waits for that.
    #[track_caller]
    pub fn start_sh(&self, script: &str) -> Running {
        let mut pod = self.run_sh(script).spawn();
        pod.wait_for_stdout("up");
        pod
    }

    /// The file that `--uuid-file-save` writes.
    #[must_use]
    pub fn uuid_file(&self, id: &str) -> String {
        self.tmp(&format!("{id}.uuid"))
    }

    /// The UUID of the pod that [`Case::run`] started.
    #[track_caller]
    #[must_use]
    pub fn uuid(&self) -> String {
        self.uuid_as("pod")
    }

    /// The UUID of the pod that [`Case::run_as`] started.
    #[track_caller]
    #[must_use]
    pub fn uuid_as(&self, id: &str) -> String {
        let path = self.host.path(self.uuid_file(id));
        eventually("the file of --uuid-file-save", || {
            let text = std::fs::read_to_string(&path).ok()?;
            Some(text.trim().to_owned()).filter(|uuid| uuid.len() == 36)
        })
    }

    /// The state that `rkt status` prints.
    #[must_use]
    pub fn state(&self, uuid: &str) -> String {
        let output = self.rkt(["status", uuid]).output();
        match output.stdout.lines().find_map(|line| line.strip_prefix("state=")) {
            Some(state) => state.to_owned(),
            None => {
                eprintln!("no state: {output}");
                String::new()
            }
        }
    }

    /// The first six directories a pod can be in: which one holds `uuid`, if any.
    #[must_use]
    pub fn pod_dir(&self, uuid: &str) -> Option<String> {
        ["embryo", "prepare", "prepared", "run", "exited-garbage", "garbage"]
            .map(|state| format!("{}/pods/{state}/{uuid}", self.data()))
            .into_iter()
            .find(|dir| self.host.path(dir).exists())
    }

    /// Defines a service, loads it and returns its name. `section` holds further lines of `[Service]`.
    #[must_use]
    pub fn service(&self, id: &str, exec_start: &[String], section: &str) -> String {
        let unit = format!("{}-{id}.service", self.name);
        let start: Vec<String> = exec_start.iter().map(|word| quote(word)).collect();
        let text = format!("[Service]\nExecStart={}\n{section}\n", start.join(" "));
        self.host.write(&format!("/run/systemd/system/{unit}"), text);
        self.host.exec("systemctl").arg("daemon-reload").ok();
        self.units.borrow_mut().push(unit.clone());
        unit
    }

    /// Lets a failing test tell about this unit, and ends it with the test.
    pub fn know_unit(&self, unit: &str) {
        self.units.borrow_mut().push(unit.to_owned());
    }

    /// A service whose pod runs a shell script as its only app.
    #[must_use]
    pub fn service_sh(&self, script: &str, section: &str) -> String {
        let mut words = self.run_words("pod");
        words.extend([self.busybox(), "--exec=/bin/sh", "--", "-c", script].map(str::to_owned));
        self.service("pod", &words, section)
    }

    /// `systemctl` with these arguments, which has to succeed.
    #[track_caller]
    pub fn systemctl(&self, args: &[&str]) -> Output {
        self.host.exec("systemctl").args(args.iter().copied()).ok()
    }

    /// One property of a unit.
    #[track_caller]
    #[must_use]
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.systemctl(&["show", "--value", "--property", property, unit]).trimmed().to_owned()
    }

    /// Waits until the journal, asked with these arguments, has `text`; returns the messages.
    #[track_caller]
    pub fn journal(&self, args: &[&str], text: &str) -> String {
        eventually("the journal to have the line", || {
            let ask = self
                .host
                .exec("journalctl")
                .args(["-q", "--no-pager", "-o", "cat"])
                .args(args.iter().copied());
            Some(ask.output().stdout).filter(|messages| messages.contains(text))
        })
    }

    fn report(&self) {
        eprintln!("==== {}: what the host knows", self.name);
        let show = |program: &str, args: &[&str]| {
            let output = self.host.exec(program).args(args.iter().copied()).output();
            eprintln!("---- {program} {}\n{}{}", args.join(" "), output.stdout, output.stderr);
        };
        for unit in self.units.borrow().iter() {
            show("systemctl", &["status", "--no-pager", "--full", "--lines=0", unit]);
            show("journalctl", &["-q", "--no-pager", "--lines=50", "-u", unit]);
        }
        let mut uuids: BTreeSet<String> = (self.pods.borrow().iter())
            .filter_map(|id| std::fs::read_to_string(self.host.path(self.uuid_file(id))).ok())
            .map(|uuid| uuid.trim().to_owned())
            .collect();
        // Those that no file names, where no other test has any.
        if let Some(data) = &self.data {
            let found = self.host.exec("find").args([data, "-path", "*/pods/*/*", "-prune"]).output();
            uuids.extend(found.stdout.lines().filter_map(|path| Some(path.rsplit_once('/')?.1.to_owned())));
        }
        for uuid in uuids {
            for words in [&["status", &uuid][..], &["logs", "--lines=50", &uuid]] {
                eprintln!("---- {}", self.rkt(words.iter().copied()).output());
            }
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if thread::panicking() {
            self.report();
        }
        for unit in self.units.borrow().iter() {
            let _ = self.host.exec("systemctl").args(["kill", "--signal=KILL", unit]).output();
        }
    }
}

/// Waits (a minute at most) until `probe` has an answer.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "waited a minute in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The lines an app wrote to its pod's standard output, without the `[ uptime] APP[pid]: ` that nspawn pods put before them.
#[must_use]
pub fn app_lines(output: &str) -> Vec<&str> {
    output
        .lines()
        .map(|line| {
            let line = line.trim_end_matches('\r');
            if line.starts_with('[') { line.split_once("]: ").map_or(line, |(_, text)| text) } else { line }
        })
        .collect()
}

/// A word as systemd reads it in `ExecStart=`.
fn quote(word: &str) -> String {
    let escaped = word
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$")
        .replace('\n', r"\n");
    format!("\"{escaped}\"")
}
