//! The vm host: the namespace host's root as a disk of a virtual machine with Debian's kernel, for what needs controllers of
//! cgroup2 or a reboot.
//!
//! ```text
//! test process ──pdeathsig──► qemu       KVM where it works, else emulation
//!        │                      └─ kernel, initramfs, systemd     what it writes is forgotten at the end
//!        └── one socket a port ─────────► agent.sh                runs commands, several at a time
//! ```
//! It boots in twenty seconds without KVM, so tests share one ([`shared`]); only a test that reboots has its own.

mod disk;
mod initramfs;

pub use disk::cached_kernel;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::host::{Output, root};
use crate::{images, product};

/// Commands that run at the same time.
const PORTS: usize = 6;
/// How long it may take to boot, with emulation on a busy machine.
const BOOT: Duration = Duration::from_secs(300);
/// How long a command may take, likewise.
const LIMIT: Duration = Duration::from_secs(180);

/// For the kernel and systemd.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 reboot=t mitigations=off apparmor=0 cryptomgr.notests selinux=0 \
                            systemd.show_status=0 systemd.unit=multi-user.target";
/// Units that only cost time, or wait for devices that only udev would announce.
const MASKED: &[&str] = &[
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-random-seed.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
];

/// A running virtual machine. It ends when this value is dropped, or when this process ends in whatever way.
#[derive(Debug)]
pub struct Vm {
    qemu: Arc<Mutex<Child>>,
    dir: PathBuf,
    ports: Mutex<Vec<Port>>,
    returned: Condvar,
}

/// A connection to the agent.
#[derive(Debug)]
struct Port {
    reader: BufReader<UnixStream>,
    boot_id: String,
}

/// The machine that all tests of a test program share, with the product and the images in it.
pub fn shared() -> &'static Vm {
    static VM: OnceLock<Vm> = OnceLock::new();
    VM.get_or_init(|| boot_with_product().unwrap_or_else(|error| panic!("{error:?}")))
}

/// Boots a machine with the product under test and the suite's images in its store.
pub fn boot_with_product() -> Result<Vm> {
    let vm = Vm::boot(Some(&product::tree()?))?;
    vm.sh("rkt --insecure-options=image fetch /images/*.aci").success();
    Ok(vm)
}

impl Vm {
    /// Boots a machine whose root is the cached one with the tree `product` and the suite's images copied over it.
    pub fn boot(product: Option<&Path>) -> Result<Vm> {
        let boot = disk::cached()?;
        let dir = new_dir()?;
        let payload = payload(&dir, product)?;
        let mut qemu = Command::new("setpriv");
        qemu.args([
            "--pdeathsig",
            "KILL",
            "qemu-system-x86_64",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ]);
        qemu.args(["-machine", "q35,smm=off,sata=off,smbus=off", "-m", "1024", "-smp", "1"]);
        let emulated = !kvm_works();
        qemu.args(if emulated {
            ["-accel", "tcg", "-cpu", "max,erms=off"]
        } else {
            ["-accel", "kvm", "-cpu", "host"]
        });
        qemu.arg("-kernel").arg(&boot.kernel).arg("-initrd").arg(&boot.initramfs);
        let masks = MASKED.iter().map(|unit| format!(" systemd.mask={unit}"));
        // See "Time in emulation" in docs/kvm.md: a busy host makes a kernel that counts for itself hang, early in its start.
        let speed = emulated.then(counter_speed).flatten().map(|speed| format!(" {speed}"));
        let options: String = masks.chain(speed).collect();
        qemu.arg("-append").arg(COMMAND_LINE.to_owned() + &options);
        let disk = |path: &Path, more: &str| format!("file={},format=raw,if=virtio,{more}", path.display());
        qemu.arg("-drive").arg(disk(&boot.root, "snapshot=on,cache=unsafe"));
        qemu.arg("-drive").arg(disk(&payload, "readonly=on"));
        qemu.arg("-serial").arg(format!("file:{}", dir.join("console").display()));
        qemu.args(["-device", "virtio-serial-pci"]);
        for port in 1..=PORTS {
            let socket = socket(&dir, port);
            qemu.arg("-chardev")
                .arg(format!("socket,id=port{port},path={},server=on,wait=off", socket.display()));
            qemu.arg("-device").arg(format!("virtserialport,chardev=port{port},nr={port}"));
        }
        qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(dir.join("qemu"))?);
        // Its forgotten writes.
        qemu.env("TMPDIR", &dir);
        let qemu = spawn(qemu)?;
        let mut vm = Vm { qemu, dir, ports: Mutex::default(), returned: Condvar::new() };
        let end = Instant::now() + BOOT;
        for port in 1..=PORTS {
            let port = vm.connect(port, end).with_context(|| vm.diagnosis())?;
            vm.ports.get_mut().unwrap_or_else(PoisonError::into_inner).push(port);
        }
        vm.wait_until_up();
        Ok(vm)
    }

    fn connect(&mut self, port: usize, end: Instant) -> Result<Port> {
        let path = socket(&self.dir, port);
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(error) => {
                    ensure!(lock(&self.qemu).try_wait()?.is_none(), "QEMU ended");
                    ensure!(Instant::now() < end, "Cannot connect to {}: {error}", path.display());
                    thread::sleep(Duration::from_millis(20));
                }
            }
        };
        let mut port = Port { reader: BufReader::new(stream), boot_id: String::new() };
        port.wait_for_boot(end).context("The vm host did not boot")?;
        Ok(port)
    }

    fn wait_until_up(&self) {
        self.exec(["systemctl", "is-system-running", "--wait"]).output();
    }

    /// Starts the machine anew, in order: services are stopped first.
    pub fn reboot(&mut self) {
        self.restart("systemctl reboot");
    }

    /// Starts the machine anew as a power failure would: nothing is stopped, and nothing is written any more.
    pub fn crash(&mut self) {
        self.restart("echo b >/proc/sysrq-trigger");
    }

    fn restart(&mut self, script: &str) {
        let end = Instant::now() + BOOT;
        let ports = self.ports.get_mut().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(ports.len(), PORTS, "no command may run when the machine starts anew");
        let request = Request { script: script.to_owned(), input: Vec::new(), limit: LIMIT };
        // There may be an answer or not.
        ports[0].ask(&request).unwrap_or_else(|error| panic!("{error:?}"));
        let again = ports.iter_mut().try_for_each(|port| port.wait_for_boot(end));
        if let Err(error) = again {
            panic!("The vm host did not start anew: {error:?}\n{}", self.diagnosis());
        }
        self.wait_until_up();
    }

    /// A shell script to run in it, which ends at the first command that fails.
    pub fn sh(&self, script: &str) -> Output {
        self.script(script).output()
    }

    /// Like [`Vm::sh`], with more to say before it runs.
    pub fn script(&self, script: &str) -> Exec<'_> {
        Exec { vm: self, request: Request { script: script.to_owned(), input: Vec::new(), limit: LIMIT } }
    }

    /// A command to run in it.
    pub fn exec<S: AsRef<str>>(&self, words: impl IntoIterator<Item = S>) -> Exec<'_> {
        let words: Vec<String> = words.into_iter().map(|word| quote(word.as_ref())).collect();
        self.script(&format!("exec {}", words.join(" ")))
    }

    /// Writes a file in it, with the directories above it.
    pub fn write(&self, path: &str, content: impl Into<Vec<u8>>) {
        let path = quote(path);
        let mut exec = self.script(&format!("mkdir -p \"$(dirname {path})\"; cat >{path}"));
        exec.request.input = content.into();
        exec.output().success();
    }

    fn take_port(&self) -> Port {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match ports.pop() {
                Some(port) => return port,
                None => ports = self.returned.wait(ports).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// What it has said so far.
    fn diagnosis(&self) -> String {
        let read = |file: &str| {
            let bytes = fs::read(self.dir.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned()
        };
        format!("---- QEMU\n{}---- console\n{}", read("qemu"), read("console"))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // It may have ended by itself.
        let mut qemu = lock(&self.qemu);
        let _ = qemu.kill();
        let _ = qemu.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A command on its way into a machine.
#[derive(Debug)]
#[must_use = "nothing runs before `output`"]
pub struct Exec<'v> {
    vm: &'v Vm,
    request: Request,
}

#[derive(Debug)]
struct Request {
    script: String,
    input: Vec<u8>,
    limit: Duration,
}

impl Exec<'_> {
    /// Gives it something to read; standard input is empty else.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.request.input = input.into();
        self
    }

    /// Kills it after this time instead of three minutes.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.request.limit = limit;
        self
    }

    /// Runs it to its end, whatever its exit status is (124: it was killed for its time).
    #[track_caller]
    pub fn output(self) -> Output {
        let mut port = self.vm.take_port();
        let started = Instant::now();
        let answer = port.ask(&self.request).and_then(|()| port.hear(self.request.limit));
        let (code, stdout, stderr) = match answer {
            Ok(answer) => answer,
            Err(error) => panic!("{}: {error:?}\n{}", self.request.script, self.vm.diagnosis()),
        };
        self.vm.ports.lock().unwrap_or_else(PoisonError::into_inner).push(port);
        self.vm.returned.notify_one();
        Output::new(self.request.script, code, stdout, stderr, started.elapsed())
    }
}

impl Port {
    /// Waits until the agent says that the machine has booted, and not that of before.
    fn wait_for_boot(&mut self, end: Instant) -> Result<()> {
        loop {
            let line = self.line(end.saturating_duration_since(Instant::now()))?;
            if let Some((_, boot_id)) = line.trim().split_once("up ").filter(|(_, id)| *id != self.boot_id) {
                boot_id.clone_into(&mut self.boot_id);
                return Ok(());
            }
        }
    }

    fn ask(&mut self, Request { script, input, limit }: &Request) -> Result<()> {
        let mut bytes =
            format!("{} {} {}\n{script}", script.len(), input.len(), limit.as_secs()).into_bytes();
        bytes.extend(input);
        self.reader.get_mut().write_all(&bytes).context("Cannot ask the agent")
    }

    fn hear(&mut self, limit: Duration) -> Result<(i32, String, String)> {
        let line = self.line(limit + Duration::from_secs(30))?;
        let numbers: Vec<usize> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [code, output, errors] = numbers[..] else { anyhow::bail!("The agent said {line:?}") };
        let mut text = |length: usize| -> Result<String> {
            let mut bytes = vec![0; length];
            self.reader.read_exact(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok((i32::try_from(code)?, text(output)?, text(errors)?))
    }

    fn line(&mut self, limit: Duration) -> Result<String> {
        self.reader.get_ref().set_read_timeout(Some(limit.max(Duration::from_millis(1))))?;
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).context("No word from the agent")?;
        ensure!(!line.is_empty(), "QEMU ended");
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

/// The kernel parameter that says how fast the time stamp counter counts: as that of the host's processor, in emulation.
#[must_use]
pub fn counter_speed() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut speeds = text.lines().filter_map(|line| line.strip_prefix("cpu MHz")?.split_once(": "));
    let mhz: f64 = speeds.next()?.1.parse().ok()?;
    Some(format!("tsc_early_khz={:.0}", mhz * 1000.0))
}

/// Whether virtual machines run on the processor itself. A `/dev/kvm` alone says nothing: in a container of a cloud
/// machine it can be opened, and then a machine never does its first step.
#[must_use]
pub fn kvm_works() -> bool {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
        && fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// A disk with the product and the images.
fn payload(dir: &Path, product: Option<&Path>) -> Result<PathBuf> {
    let tree = dir.join("payload");
    fs::create_dir_all(tree.join("images"))?;
    if let Some(product) = product {
        disk::run(Command::new("cp").arg("--archive").arg(product.join(".")).arg(&tree))?;
    }
    for (name, archive) in images::all() {
        fs::write(tree.join(format!("images/{name}.aci")), archive)?;
    }
    let image = dir.join("payload.img");
    disk::disk(&tree, &image, "512M")?;
    fs::remove_dir_all(&tree)?;
    Ok(image)
}

/// Starts it from a thread that lives as long: the kernel kills it when that thread ends, and tests come and go.
fn spawn(mut qemu: Command) -> Result<Arc<Mutex<Child>>> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let child = qemu.spawn().map(|child| Arc::new(Mutex::new(child)));
        let ours = child.as_ref().ok().cloned();
        let _ = send.send(child);
        while let Some(child) = &ours
            && matches!(lock(child).try_wait(), Ok(None))
        {
            thread::sleep(Duration::from_millis(100));
        }
    });
    receive.recv()?.context("Cannot start QEMU (setpriv)")
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A directory for one machine; those of test processes that were killed go.
fn new_dir() -> Result<PathBuf> {
    let cache = root::cache_dir()?;
    for entry in fs::read_dir(&cache)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("vm-run-").and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let dir = cache.join(format!("vm-run-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir(&dir).with_context(|| format!("Cannot create {}", dir.display()))?;
    Ok(dir)
}

fn socket(dir: &Path, port: usize) -> PathBuf {
    dir.join(format!("port{port}"))
}

/// A word as the shell reads it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
