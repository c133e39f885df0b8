//! The manager's D-Bus interface: only what rkt calls.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use zbus::connection::Builder;
use zbus::{Connection, OwnedObjectPath, Variant};

/// Where systemd itself listens, for root, also when there is no bus yet.
const PRIVATE_SOCKET: &str = "/run/systemd/private";

/// One property of a unit.
pub(crate) type Property<'a> = (&'a str, Variant<'a>);

/// `org.freedesktop.systemd1.Manager`
#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(crate) trait Manager {
    /// Makes a unit that exists until it ends, and starts it.
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[Property<'_>],
        auxiliary: &[(&str, Vec<Property<'_>>)],
    ) -> zbus::Result<OwnedObjectPath>;

    /// A job has ended.
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

/// Connects to the system bus, or to systemd itself where there is none.
pub(crate) async fn connect(timeout: Duration) -> zbus::Result<Connection> {
    let bus = Builder::system().method_timeout(timeout).build().await;
    let error = match bus {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    if !Path::new(PRIVATE_SOCKET).exists() {
        return Err(error);
    }
    let socket = UnixStream::connect(PRIVATE_SOCKET).map_err(|_| error)?;
    Builder::unix_stream(socket).p2p().method_timeout(timeout).build().await
}
