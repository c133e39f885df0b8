//! Limits of an app's processes and of its cgroup.

use serde::{Deserialize, Serialize};

/// One resource limit; see getrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rlimit {
    /// Which.
    pub resource: RlimitKind,
    /// `None` is unlimited.
    pub soft: Option<u64>,
    /// `None` is unlimited.
    pub hard: Option<u64>,
}

/// The resources of getrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are those of getrlimit(2)")]
pub enum RlimitKind {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl RlimitKind {
    /// The resource called so in getrlimit(2), without `RLIMIT_` and in lower case.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "as" => Self::As,
            "core" => Self::Core,
            "cpu" => Self::Cpu,
            "data" => Self::Data,
            "fsize" => Self::Fsize,
            "locks" => Self::Locks,
            "memlock" => Self::Memlock,
            "msgqueue" => Self::Msgqueue,
            "nice" => Self::Nice,
            "nofile" => Self::Nofile,
            "nproc" => Self::Nproc,
            "rss" => Self::Rss,
            "rtprio" => Self::Rtprio,
            "rttime" => Self::Rttime,
            "sigpending" => Self::Sigpending,
            "stack" => Self::Stack,
            _ => return None,
        })
    }
}

/// Limits that the app's cgroup enforces; `None` sets nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct CgroupLimits {
    /// `memory.max`, bytes.
    pub memory_bytes: Option<u64>,
    /// `cpu.max`, in thousandths of a processor.
    pub cpu_milli: Option<u64>,
    /// `cpu.weight`, 1 to 10000 (the appc `cpu-shares`, converted).
    pub cpu_weight: Option<u64>,
    /// `pids.max`.
    pub pids: Option<u64>,
    /// `io.max`: bytes a second that are read, and as many that are written, on each of `disks`.
    pub io_bytes: Option<u64>,
    /// `io.max`: reads a second, and as many writes, on each of `disks`.
    pub io_operations: Option<u64>,
    /// The disks for the two above: `MAJOR:MINOR`, as the host counts them.
    pub disks: Vec<String>,
}

/// The period of `cpu.max`, in microseconds: what systemd uses.
const CPU_PERIOD: u64 = 100_000;

impl CgroupLimits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == CgroupLimits::default()
    }

    /// The controllers that enforce them.
    pub fn controllers(&self) -> Vec<&'static str> {
        let CgroupLimits { memory_bytes, cpu_milli, cpu_weight, pids, io_bytes, io_operations, disks: _ } =
            self;
        let io = io_bytes.or(*io_operations);
        [
            // What a program writes goes to the page cache first; only with both does the kernel know whose it is.
            memory_bytes.or(io).map(|_| "memory"),
            cpu_milli.or(*cpu_weight).map(|_| "cpu"),
            pids.map(|_| "pids"),
            io.map(|_| "io"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Files of a cgroup and what is to be written to them, in this order.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let CgroupLimits { memory_bytes, cpu_milli, cpu_weight, pids, io_bytes, io_operations, disks } = self;
        // The kernel takes a quota of a millisecond at least.
        let quota = |milli: u64| (milli.saturating_mul(CPU_PERIOD) / 1000).max(1000);
        let mut settings: Vec<(&'static str, String)> = [
            memory_bytes.map(|bytes| ("memory.max", bytes.to_string())),
            cpu_milli.map(|milli| ("cpu.max", format!("{} {CPU_PERIOD}", quota(milli)))),
            cpu_weight.map(|weight| ("cpu.weight", weight.to_string())),
            pids.map(|pids| ("pids.max", pids.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect();
        let both = |what: &str, most: &Option<u64>| {
            most.map(|most| format!(" r{what}={most} w{what}={most}")).unwrap_or_default()
        };
        let io = both("bps", io_bytes) + &both("iops", io_operations);
        if !io.is_empty() {
            settings.extend(disks.iter().map(|disk| ("io.max", format!("{disk}{io}"))));
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_cgroup() {
        let limits = CgroupLimits {
            memory_bytes: Some(1 << 30),
            cpu_milli: Some(1500),
            cpu_weight: Some(39),
            pids: Some(100),
            io_bytes: Some(1 << 20),
            io_operations: Some(50),
            disks: vec!["8:0".to_owned(), "254:16".to_owned()],
        };
        assert_eq!(limits.controllers(), ["memory", "cpu", "pids", "io"]);
        let wanted = [
            ("memory.max", "1073741824"),
            ("cpu.max", "150000 100000"),
            ("cpu.weight", "39"),
            ("pids.max", "100"),
            ("io.max", "8:0 rbps=1048576 wbps=1048576 riops=50 wiops=50"),
            ("io.max", "254:16 rbps=1048576 wbps=1048576 riops=50 wiops=50"),
        ];
        assert_eq!(limits.settings(), wanted.map(|(file, value)| (file, value.to_owned())));
        assert!(CgroupLimits::default().controllers().is_empty());
        let tiny = CgroupLimits { cpu_milli: Some(1), ..CgroupLimits::default() };
        assert_eq!(tiny.settings(), [("cpu.max", "1000 100000".to_owned())]);
    }
}
