//! QEMU: where it is, and its command line.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stage1::{Context, Error, Result};

use crate::accelerator::Accelerator;
use crate::hypervisor::{CONSOLE, CONTROL, FILES, Hypervisor, INITRD, KERNEL, TAPS};
use crate::machine::{Device, Machine, Root};
use crate::process::{Command, User, find_program};
use crate::settings::Model;

/// How long QEMU may take to end when it has said what it was asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The host's QEMU.
#[derive(Debug)]
pub(crate) struct Qemu {
    program: PathBuf,
    user: User,
}

impl Qemu {
    /// Finds it.
    ///
    /// # Errors
    /// When it is not installed; the text says what to install.
    pub(crate) fn find(accelerator: Accelerator) -> Result<Self> {
        let program = find_program("qemu-system-x86_64", &[Path::new("/usr/libexec/qemu-kvm")]).ok_or_else(|| {
            Error::Refused(
                "QEMU is not installed on this host: there is no qemu-system-x86_64. Install it (Debian: apt install \
                 qemu-system-x86; Fedora: dnf install qemu-system-x86-core), or run the pod with another stage1"
                    .to_owned(),
            )
        })?;
        let device = Path::new("/dev/kvm");
        let device = (accelerator == Accelerator::Kvm).then_some(device);
        Ok(Qemu { program, user: User::of_hypervisor(device)? })
    }

    /// The machine where nobody has chosen one: the first of those for this accelerator that this QEMU has. Distributions leave some
    /// out, and QEMU takes some 20 ms to say which it has.
    ///
    /// # Errors
    /// When it has none of them.
    pub(crate) fn usual_model(&self, accelerator: Accelerator) -> Result<Model> {
        let ask = || "ask QEMU for its machines".to_owned();
        let null = File::options().read(true).write(true).open("/dev/null").step(ask)?;
        let (mut answers, answer) = std::io::pipe().step(ask)?;
        let mut running = self.program_with(vec!["-machine".to_owned(), "help".to_owned()]).spawn(&[
            null.as_fd(),
            answer.as_fd(),
            null.as_fd(),
        ])?;
        drop(answer);
        let mut text = String::new();
        answers.read_to_string(&mut text).step(ask)?;
        running.end(PATIENCE);
        first_of(accelerator, &text).ok_or_else(|| {
            Error::Refused(format!("{} has neither the machine microvm nor q35", self.program.display()))
        })
    }

    fn program_with(&self, arguments: Vec<String>) -> Command {
        Command {
            program: self.program.clone(),
            arguments,
            user: Some(self.user),
            bounds: None,
            // What it needs is handed to it.
            alone_on_the_network: true,
        }
    }
}

impl Hypervisor for Qemu {
    fn name(&self) -> &'static str {
        "QEMU"
    }

    fn command(&self, machine: &Machine) -> Command {
        self.program_with(arguments(machine))
    }
}

/// The machine to use of those in the answer to `-machine help`, which has a line for each, its name first.
///
/// In emulation that is a PC before all. The kernel of a `microvm` measures the timer of its local APIC by the processor's counter alone,
/// and where the host keeps an emulated processor from running meanwhile it measures wrong, or finds the timer too slow to use and has none.
/// A PC has a second clock, the ACPI PM timer, that shows it. See "Time in emulation" in docs/kvm.md.
fn first_of(accelerator: Accelerator, answer: &str) -> Option<Model> {
    let order = match accelerator {
        Accelerator::Kvm => [Model::Microvm, Model::Q35],
        Accelerator::Tcg => [Model::Q35, Model::Microvm],
    };
    let has = |model: &Model| {
        let name = match model {
            Model::Microvm => "microvm",
            Model::Q35 => "q35",
        };
        answer.lines().any(|line| line.split_whitespace().next() == Some(name))
    };
    order.into_iter().find(has)
}

/// How devices are attached: the suffix of their names.
fn bus(model: Model) -> &'static str {
    match model {
        Model::Microvm => "device",
        Model::Q35 => "pci",
    }
}

fn arguments(machine: &Machine) -> Vec<String> {
    let Machine { uuid, accelerator, model, memory_mib, cpus, link, root, kernel_parameters, interfaces } =
        machine;
    let bus = bus(*model);
    let (accelerator, cpu) = match accelerator {
        Accelerator::Kvm => ("kvm", "host"),
        // With ERMS the kernel and the C library copy byte by byte, which is fast in hardware and takes as long for each byte here.
        Accelerator::Tcg => ("tcg", "max,erms=off"),
    };
    let kind = match model {
        // Without the devices that nobody uses. ACPI tells the kernel where the others are. There is a clock because the
        // kernel asks for the time in any case, and waits long for a clock that is not there.
        Model::Microvm => "microvm,acpi=on,pit=off,pic=off,rtc=on,isa-serial=on",
        Model::Q35 => "q35,smm=off,hpet=off,vmport=off,sata=off,smbus=off,i8042=off",
    };
    let mut words: Vec<String> = Vec::new();
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    add("-name", format!("rkt-{uuid},process=rkt-vm"));
    add("-uuid", uuid.to_string());
    add("-machine", format!("{kind},accel={accelerator},memory-backend=ram,usb=off,dump-guest-core=off"));
    add("-cpu", cpu.to_owned());
    add("-smp", cpus.to_string());
    add("-m", format!("{memory_mib}M"));
    // The file server has the guest's memory mapped, too.
    add("-object", format!("memory-backend-memfd,id=ram,size={memory_mib}M,share=on"));
    add("-kernel", format!("/proc/self/fd/{KERNEL}"));
    add("-initrd", format!("/proc/self/fd/{INITRD}"));
    add("-append", kernel_parameters.clone());
    add("-chardev", format!("socket,id=console,fd={CONSOLE}"));
    add("-serial", "chardev:console".to_owned());
    match link {
        Device::Serial => {
            let name = supervisor::guest::PORT;
            add("-chardev", format!("socket,id=control,fd={CONTROL}"));
            add("-device", format!("virtio-serial-{bus},id=serial,max_ports=2"));
            add("-device", format!("virtserialport,bus=serial.0,chardev=control,name={name}"));
        }
        Device::Vsock { cid, .. } => {
            add("-device", format!("vhost-vsock-{bus},vhostfd={CONTROL},guest-cid={cid}"));
        }
    }
    match root {
        Root::Virtiofs => {
            add("-chardev", format!("socket,id=files,fd={FILES}"));
            let tag = supervisor::guest::TAG;
            add("-device", format!("vhost-user-fs-{bus},chardev=files,tag={tag},queue-size=1024"));
        }
        Root::Image => {
            add("-add-fd", format!("fd={FILES},set={FILES}"));
            add(
                "-blockdev",
                format!(
                    "driver=raw,node-name=files,read-only=on,file.driver=file,file.filename=/dev/fdset/{FILES}"
                ),
            );
            add("-device", format!("virtio-blk-{bus},drive=files"));
        }
    }
    for (number, mac) in (0..).zip(interfaces) {
        let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        add("-netdev", format!("tap,id=net{number},fd={},vhost=off", TAPS + number));
        add("-device", format!("virtio-net-{bus},netdev=net{number},mac={}", mac.join(":")));
    }
    add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".to_owned());
    let switches = ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"];
    words.extend(switches.map(str::to_owned));
    if *model == Model::Microvm {
        add_globals(&mut words);
    }
    words
}

/// virtiofs and all that is younger needs version 1 of virtio, which virtio-mmio has only when asked for it.
fn add_globals(words: &mut Vec<String>) {
    words.extend(["-global", "virtio-mmio.force-legacy=false"].map(str::to_owned));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(model: Model) -> Machine {
        Machine {
            uuid: "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap(),
            accelerator: Accelerator::Kvm,
            model,
            memory_mib: 192,
            cpus: 2,
            link: Device::Serial,
            root: Root::Virtiofs,
            kernel_parameters: "quiet".to_owned(),
            interfaces: vec![[2, 0, 0, 0, 0, 0xa1]],
        }
    }

    #[test]
    fn the_usual_machine_is_one_that_qemu_has() {
        use Accelerator::{Kvm, Tcg};
        let both = "Supported machines are:\nmicrovm              microvm (i386)\nq35                  Standard PC\n";
        for (accelerator, answer, model) in [
            (Kvm, both, Some(Model::Microvm)),
            (Tcg, both, Some(Model::Q35)),
            (Kvm, "q35  Standard PC\nnomicrovm  x\n", Some(Model::Q35)),
            (Tcg, "microvm  microvm (i386)\npc-q35-7.2  Standard PC\n", Some(Model::Microvm)),
            (Tcg, "none  empty machine\n", None),
            (Kvm, "", None),
        ] {
            assert_eq!(first_of(accelerator, answer), model, "{accelerator:?}: {answer}");
        }
    }

    #[test]
    fn a_microvm_has_no_pci() {
        let words = arguments(&machine(Model::Microvm)).join(" ");
        assert!(!words.contains("pci"), "{words}");
        for part in [
            "-machine microvm,acpi=on,",
            "accel=kvm,",
            "-cpu host",
            "-smp 2",
            "-m 192M",
            "size=192M,share=on",
            "-device vhost-user-fs-device,",
            "-netdev tap,id=net0,fd=8,vhost=off -device virtio-net-device,netdev=net0,mac=02:00:00:00:00:a1",
            "-global virtio-mmio.force-legacy=false",
            "-sandbox on,",
            "-nodefaults -no-user-config -no-reboot -display none",
        ] {
            assert!(words.contains(part), "{part} in {words}");
        }
    }

    #[test]
    fn an_image_is_a_disk_that_cannot_be_written() {
        for (model, disk) in [(Model::Microvm, "virtio-blk-device"), (Model::Q35, "virtio-blk-pci")] {
            let words = arguments(&Machine { root: Root::Image, ..machine(model) }).join(" ");
            for part in [
                "-add-fd fd=7,set=7 -blockdev driver=raw,node-name=files,read-only=on,file.driver=file,file.filename=/dev/fdset/7",
                &format!("-device {disk},drive=files"),
            ] {
                assert!(words.contains(part), "{part} in {words}");
            }
            assert!(!words.contains("vhost-user-fs"), "{words}");
        }
    }

    #[test]
    fn a_link_over_vsock_needs_no_serial_port() {
        for (model, device) in [(Model::Microvm, "vhost-vsock-device"), (Model::Q35, "vhost-vsock-pci")] {
            let link = Device::Vsock { cid: 77, port: 5 };
            let words = arguments(&Machine { link, ..machine(model) }).join(" ");
            assert!(words.contains(&format!("-device {device},vhostfd=5,guest-cid=77")), "{words}");
            assert!(!words.contains("virtio-serial"), "{words}");
        }
    }

    #[test]
    fn a_pc_has_pci_and_emulation_another_processor() {
        let machine = Machine { accelerator: Accelerator::Tcg, ..machine(Model::Q35) };
        let words = arguments(&machine).join(" ");
        for part in [
            "q35,",
            "accel=tcg,",
            "-cpu max,erms=off",
            "virtio-serial-pci",
            "vhost-user-fs-pci",
            "virtio-net-pci",
        ] {
            assert!(words.contains(part), "{part} in {words}");
        }
        assert!(!words.contains("mmio"));
    }
}
