//! The machine that a pod gets.

use executor::AppSpec;
use pod::PodUuid;

use crate::accelerator::Accelerator;
use crate::settings::Model;

/// What the guest's kernel, init and supervisor need for themselves, measured: with 80 MiB the guest boots, with less it
/// does not.
const OVERHEAD: u64 = 128 << 20;

/// What apps without a limit of memory share. The host gives it only as the guest uses it.
const UNLIMITED: u64 = 512 << 20;

/// What the link goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    /// A port of virtio-serial.
    Serial,
    /// vsock.
    Vsock {
        /// The guest's context id.
        cid: u32,
        /// Where the host listens.
        port: u32,
    },
}

/// Where the guest's files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    /// The host shares them.
    Virtiofs,
    /// They are on a disk.
    Image,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The pod.
    pub(crate) uuid: PodUuid,
    /// Who runs it.
    pub(crate) accelerator: Accelerator,
    /// What it looks like.
    pub(crate) model: Model,
    /// Its memory in MiB.
    pub(crate) memory_mib: u64,
    /// Its processors.
    pub(crate) cpus: u64,
    /// What its link goes over.
    pub(crate) link: Device,
    /// Where its files come from.
    pub(crate) root: Root,
    /// The command line of its kernel.
    pub(crate) kernel_parameters: String,
    /// Hardware addresses of its network interfaces.
    pub(crate) interfaces: Vec<[u8; 6]>,
}

/// Memory in MiB: what the apps may use, or all of the pod, and what the guest needs beside them.
pub(crate) fn memory_mib(apps: &[AppSpec], of_pod: Option<u64>) -> u64 {
    if let Some(limit) = of_pod {
        return OVERHEAD.saturating_add(limit).div_ceil(1 << 20);
    }
    let limits = apps.iter().map(|app| app.cgroup.memory_bytes);
    let limited = limits.clone().flatten().fold(0_u64, u64::saturating_add);
    let unlimited = if limits.into_iter().any(|limit| limit.is_none()) { UNLIMITED } else { 0 };
    OVERHEAD.saturating_add(limited).saturating_add(unlimited).div_ceil(1 << 20)
}

/// Processors: as many as the apps may use together, or all of the pod, and no more than the host has. An app without a
/// limit may use all.
pub(crate) fn cpus(apps: &[AppSpec], of_pod: Option<u64>, host: u64) -> u64 {
    let limits: Option<Vec<u64>> = apps.iter().map(|app| app.cgroup.cpu_milli).collect();
    let of_apps = limits.map(|limits| limits.iter().fold(0_u64, |sum, limit| sum.saturating_add(*limit)));
    let least = of_apps.into_iter().chain(of_pod).min();
    let wanted = least.map_or(host, |milli| milli.div_ceil(1000));
    wanted.clamp(1, host.max(1))
}

/// The command line of the guest's kernel.
pub(crate) fn kernel_parameters(
    machine: &Machine,
    debug: bool,
    tsc_khz: Option<u64>,
    extra: Option<&str>,
) -> String {
    let mut words = vec![
        "console=ttyS0".to_owned(),
        "rdinit=/init".to_owned(),
        // A guest that cannot go on ends at once.
        "panic=-1".to_owned(),
        "reboot=t".to_owned(),
        "no_timer_check".to_owned(),
        "noreplace-smp".to_owned(),
        "tsc=reliable".to_owned(),
        // Tests of the kernel's own cryptography take as long as all the rest.
        "cryptomgr.notests".to_owned(),
    ];
    // What its console shows goes to the journal: errors, unless everything is asked for.
    words.push(if debug { "loglevel=7" } else { "loglevel=4" }.to_owned());
    words.push(format!("rkt.transport={}", transport(machine.model)));
    words.push(format!("rkt.root={}", purpose(machine.root)));
    if let Device::Vsock { port, .. } = machine.link {
        words.push(format!("rkt.vsock={port}"));
    }
    words.extend((!machine.interfaces.is_empty()).then(|| "rkt.net".to_owned()));
    // See "Time in emulation" in docs/kvm.md.
    if let Some(khz) = tsc_khz.filter(|_| machine.accelerator == Accelerator::Tcg) {
        words.push(format!("tsc_early_khz={khz}"));
    }
    words.extend(extra.map(str::to_owned));
    words.join(" ")
}

fn transport(model: Model) -> &'static str {
    match model {
        Model::Microvm => "mmio",
        Model::Q35 => "pci",
    }
}

fn purpose(root: Root) -> &'static str {
    match root {
        Root::Virtiofs => "virtiofs",
        Root::Image => "image",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apps(limits: &[(Option<u64>, Option<u64>)]) -> Vec<AppSpec> {
        let app = |&(memory, cpu): &(Option<u64>, Option<u64>)| {
            let mut app = AppSpec::new("a", &["/a"]);
            (app.cgroup.memory_bytes, app.cgroup.cpu_milli) = (memory, cpu);
            app
        };
        limits.iter().map(app).collect()
    }

    #[test]
    fn memory_is_what_the_apps_may_use_and_the_guests_own() {
        const MIB: u64 = 1 << 20;
        for (limits, mib) in [
            (&[][..], 128),
            (&[Some(64 * MIB)], 192),
            (&[Some(64 * MIB), Some(32 * MIB + 1)], 225),
            (&[None], 640),
            (&[None, None, Some(10 * MIB)], 650),
        ] {
            let limits: Vec<_> = limits.iter().map(|memory| (*memory, None)).collect();
            assert_eq!(memory_mib(&apps(&limits), None), mib, "{limits:?}");
            assert_eq!(memory_mib(&apps(&limits), Some(256 * MIB)), 384, "{limits:?}");
        }
    }

    #[test]
    fn processors_are_whole_and_those_of_the_host() {
        for (limits, host, count) in [
            (&[Some(500)][..], 4, 1),
            (&[Some(500), Some(600)], 4, 2),
            (&[Some(64_000)], 4, 4),
            (&[Some(500), None], 4, 4),
            (&[Some(0)], 0, 1),
        ] {
            let limits: Vec<_> = limits.iter().map(|cpu| (None, *cpu)).collect();
            assert_eq!(cpus(&apps(&limits), None, host), count, "{limits:?}");
        }
        let four = apps(&[(None, Some(2000)), (None, Some(2000))]);
        assert_eq!((cpus(&four, Some(1500), 8), cpus(&four, Some(9000), 8)), (2, 4));
    }

    #[test]
    fn the_users_parameters_come_last() {
        let machine = Machine {
            uuid: "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap(),
            accelerator: Accelerator::Kvm,
            model: Model::Microvm,
            memory_mib: 192,
            cpus: 1,
            link: Device::Serial,
            root: Root::Virtiofs,
            kernel_parameters: String::new(),
            interfaces: Vec::new(),
        };
        let line = kernel_parameters(&machine, false, Some(5), Some("loglevel=1 x=y"));
        assert!(
            line.ends_with(" rkt.transport=mmio rkt.root=virtiofs loglevel=1 x=y")
                && !line.contains("tsc_early"),
            "{line}"
        );
        let machine = Machine {
            accelerator: Accelerator::Tcg,
            model: Model::Q35,
            link: Device::Vsock { cid: 3, port: 7 },
            root: Root::Image,
            interfaces: vec![[2, 0, 0, 0, 0, 1]],
            ..machine
        };
        let line = kernel_parameters(&machine, true, Some(2_000_000), None);
        assert!(
            line.ends_with(
                " loglevel=7 rkt.transport=pci rkt.root=image rkt.vsock=7 rkt.net tsc_early_khz=2000000"
            ),
            "{line}"
        );
    }
}
