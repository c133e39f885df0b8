//! machined: whether machines can be registered with it, and registering those that nobody else registers.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::bus::{Connection, Fault, Method};
use crate::{Error, Result};

/// How long machined may take: systemd may have to start it.
const TIMEOUT: Duration = Duration::from_secs(20);

const REGISTER: Method<'static> = Method {
    destination: "org.freedesktop.machine1",
    path: "/org/freedesktop/machine1",
    interface: "org.freedesktop.machine1.Manager",
    member: "RegisterMachine",
};

const UNREGISTER: Method<'static> = Method { member: "UnregisterMachine", ..REGISTER };

/// Registers process `leader`, in the unit that it stands in, as the virtual machine `name`. `id` is a machine id.
///
/// # Errors
/// [`Error::NoBus`], also for what machined says.
pub fn register(name: &str, id: [u8; 16], leader: Pid) -> Result<()> {
    let leader = leader.as_raw_nonzero().get().cast_unsigned();
    call(&REGISTER, &(name, id.to_vec(), "rkt", "vm", leader, ""))
}

/// Takes the machine `name` off the list. The processes stay.
///
/// # Errors
/// As [`register`].
pub fn unregister(name: &str) -> Result<()> {
    call(&UNREGISTER, &(name,))
}

fn call<B: serde::Serialize + zbus::DynamicType>(method: &Method<'_>, body: &B) -> Result<()> {
    let talk = || -> std::result::Result<(), Fault> {
        let mut connection = Connection::system(Instant::now() + TIMEOUT)?;
        let call = connection.start(method, body)?;
        connection.answer(call).map(|_| ())
    };
    talk().map_err(|fault| Error::NoBus { reason: fault.to_string() })
}

/// Whether a machine can be registered: there are a bus and a machined to activate.
///
/// Looks at files only: nobody is asked, and machined is not started for it.
pub fn available() -> bool {
    let masked = ["/etc/systemd/system", "/run/systemd/system"].iter().any(|directory| {
        std::fs::read_link(Path::new(directory).join("systemd-machined.service"))
            .is_ok_and(|target| target == Path::new("/dev/null"))
    });
    !masked
        && crate::booted()
        && Path::new("/run/dbus/system_bus_socket").exists()
        && [
            "/usr/share/dbus-1/system-services",
            "/usr/local/share/dbus-1/system-services",
            "/run/dbus-1/system-services",
        ]
        .iter()
        .any(|directory| Path::new(directory).join("org.freedesktop.machine1.service").exists())
}
