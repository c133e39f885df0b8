//! Transient scopes: a unit for processes that systemd did not start.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::getpid;
use zbus::Variant;

use crate::bus::Fault;
use crate::manager::Manager;
use crate::{Error, Result};

/// How long systemd may take. A job waits for others of the same unit, and for a busy host.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A limit of a scope; see systemd.resource-control(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// `MemoryMax=`, bytes.
    MemoryMax(u64),
    /// `CPUQuota=`, microseconds of processor time a second.
    CpuQuotaPerSec(u64),
    /// `CPUWeight=`, 1 to 10000.
    CpuWeight(u64),
    /// `TasksMax=`.
    TasksMax(u64),
}

impl Property {
    fn name(self) -> &'static str {
        match self {
            Property::MemoryMax(_) => "MemoryMax",
            Property::CpuQuotaPerSec(_) => "CPUQuotaPerSecUSec",
            Property::CpuWeight(_) => "CPUWeight",
            Property::TasksMax(_) => "TasksMax",
        }
    }

    fn value(self) -> u64 {
        match self {
            Property::MemoryMax(value)
            | Property::CpuQuotaPerSec(value)
            | Property::CpuWeight(value)
            | Property::TasksMax(value) => value,
        }
    }
}

/// A scope to be made.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Its name, ending in `.scope`.
    pub name: &'a str,
    /// What people see.
    pub description: &'a str,
    /// The slice it is put into.
    pub slice: &'a str,
    /// Its limits.
    pub properties: &'a [Property],
}

/// Makes `scope` with `Delegate=yes` and this process in it, and waits until that is done.
///
/// # Errors
/// [`Error::NoSystemd`], [`Error::NoBus`], [`Error::Refused`], [`Error::JobFailed`], [`Error::TimedOut`].
pub fn start(scope: &Scope<'_>) -> Result<()> {
    let unit = || scope.name.to_owned();
    if !crate::booted() {
        return Err(Error::NoSystemd { unit: unit() });
    }
    let no_bus = |fault: Fault| Error::NoBus { reason: fault.to_string() };
    let mut manager = Manager::connect(Instant::now() + TIMEOUT).map_err(no_bus)?;
    let ourselves = getpid().as_raw_nonzero().get().cast_unsigned();
    let mut properties = vec![
        ("Description", Variant::from(scope.description)),
        ("Slice", Variant::from(scope.slice)),
        ("Delegate", Variant::from(true)),
        ("PIDs", Variant::from(vec![ourselves])),
        // A pod that was killed leaves no failed unit behind.
        ("CollectMode", Variant::from("inactive-or-failed")),
    ];
    properties
        .extend(scope.properties.iter().map(|property| (property.name(), Variant::from(property.value()))));
    match manager.start_transient_unit(scope.name, &properties) {
        Ok(result) if result == "done" => Ok(()),
        Ok(result) => Err(Error::JobFailed { unit: unit(), result }),
        Err(fault @ Fault::Answer { .. }) => Err(Error::Refused { unit: unit(), reason: fault.to_string() }),
        Err(Fault::Connection(error)) if error.kind() == io::ErrorKind::TimedOut => {
            Err(Error::TimedOut { unit: unit(), seconds: TIMEOUT.as_secs() })
        }
        Err(fault) => Err(no_bus(fault)),
    }
}

/// Stops the scope `name`; one that is gone needs no stopping.
///
/// # Errors
/// [`Error::NoSystemd`], [`Error::NoBus`], [`Error::StopRefused`].
pub fn stop(name: &str) -> Result<()> {
    if !crate::booted() {
        return Err(Error::NoSystemd { unit: name.to_owned() });
    }
    let no_bus = |fault: Fault| Error::NoBus { reason: fault.to_string() };
    let mut manager = Manager::connect(Instant::now() + TIMEOUT).map_err(no_bus)?;
    match manager.stop_unit(name) {
        Ok(()) => Ok(()),
        Err(Fault::Answer { name, .. }) if name == "org.freedesktop.systemd1.NoSuchUnit" => Ok(()),
        Err(fault @ Fault::Answer { .. }) => {
            Err(Error::StopRefused { unit: name.to_owned(), reason: fault.to_string() })
        }
        Err(fault) => Err(no_bus(fault)),
    }
}
