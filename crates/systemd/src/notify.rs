//! Telling the service manager how far we are; see sd_notify(3).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to whoever started this process, when it wants to be told.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
}

impl Notifier {
    /// The one that `NOTIFY_SOCKET` names; `None` when nobody asked.
    ///
    /// # Errors
    /// When it is named and cannot be reached.
    pub fn from_environment() -> io::Result<Option<Self>> {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(name) if !name.is_empty() => Self::connect(&name).map(Some),
            _ => Ok(None),
        }
    }

    /// The one at `name`: an absolute path, or `@` and the name of an abstract socket.
    pub fn connect(name: &OsStr) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match name.as_bytes() {
            [b'@', rest @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(rest)?)?,
            [b'/', ..] => socket.connect(name)?,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(Notifier { socket })
    }

    /// Sends assignments, `READY=1` or `STATUS=…`, one a line.
    pub fn send(&self, state: &str) -> io::Result<()> {
        self.socket.send(state.as_bytes()).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches_both_kinds_of_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let abstract_name = format!("rkt-notify-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&abstract_name).unwrap()).unwrap();
        for (name, receiver) in
            [(path.into_os_string(), by_path), (format!("@{abstract_name}").into(), by_name)]
        {
            Notifier::connect(&name).unwrap().send("READY=1\nSTATUS=here").unwrap();
            let mut buffer = [0; 64];
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1\nSTATUS=here");
        }
        assert!(Notifier::connect(OsStr::new("vsock:2:1234")).is_err());
        assert!(Notifier::connect(OsStr::new("/nonexistent/notify")).is_err());
    }
}
