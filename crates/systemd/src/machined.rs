//! machined: whether machines can be registered with it.

use std::path::Path;

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
