//! What the supervisor was started with: descriptors, by name, and whom to tell how far it is.
//!
//! | name | what |
//! |---|---|
//! | `control` | a listening unix stream socket, for [`crate::control`] |
//! | `journal` | a datagram socket connected to journald's native socket |
//! | `records` | a pipe of packets for [`crate::status::Record`]s, where the files that they are about are not the host's |
//! | `stdout-APP`, `stderr-APP` | a journal stream of that app: nobody copies bytes then |
//! | any other | a socket for apps that ask for it by name |

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The descriptors and their names, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    descriptors: Vec<(String, OwnedFd)>,
    notify_socket: Option<OsString>,
}

impl Inherited {
    /// Takes what `LISTEN_FDS` and `LISTEN_FDNAMES` announce, if `LISTEN_PID` means this process, and `NOTIFY_SOCKET`.
    pub(crate) fn take() -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let names = announced(
            &variable("LISTEN_PID"),
            &variable("LISTEN_FDS"),
            &variable("LISTEN_FDNAMES"),
            std::process::id(),
        );
        Self::of(names, std::env::var_os("NOTIFY_SOCKET"))
    }

    /// Takes the descriptors that have these numbers and names.
    pub(crate) fn of(names: Vec<(i32, String)>, notify_socket: Option<OsString>) -> Self {
        let descriptors = names
            .into_iter()
            .filter_map(|(number, name)| Some((name, sys::fd::take_inherited(number).ok()?)))
            .collect();
        Inherited { descriptors, notify_socket }
    }

    /// Tells whoever started the pod about its state; see sd_notify(3). An answer is not expected.
    pub(crate) fn notify(&self, message: &str) {
        let Some(name) = self.notify_socket.as_deref().map(OsStr::as_bytes) else { return };
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(OsStr::from_bytes(name)),
        };
        let _ =
            address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address));
    }

    /// Takes out the descriptor called `name`.
    pub(crate) fn remove(&mut self, name: &str) -> Option<OwnedFd> {
        let index = self.descriptors.iter().position(|(known, _)| known == name)?;
        Some(self.descriptors.remove(index).1)
    }

    /// All descriptors called `name`: several sockets of one unit have one name.
    pub(crate) fn called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a (String, OwnedFd)> {
        self.descriptors.iter().filter(move |(known, _)| known == name)
    }
}

/// The numbers from 3 on and their names; those without get the name that sd_listen_fds(3) gives.
fn announced(pid: &str, count: &str, names: &str, own: u32) -> Vec<(i32, String)> {
    if pid.parse() != Ok(own) {
        return Vec::new();
    }
    let count: i32 = count.parse().unwrap_or(0);
    let mut names = names.split(':').filter(|name| !name.is_empty());
    (3..count.saturating_add(3))
        .take(1024)
        .map(|number| (number, names.next().unwrap_or("unknown").to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements() {
        let named = |pairs: &[(i32, &str)]| -> Vec<(i32, String)> {
            pairs.iter().map(|&(number, name)| (number, name.to_owned())).collect()
        };
        for (pid, count, names, wanted) in [
            ("1", "2", "control:journal", named(&[(3, "control"), (4, "journal")])),
            ("1", "2", "", named(&[(3, "unknown"), (4, "unknown")])),
            ("1", "1", "a:b", named(&[(3, "a")])),
            ("2", "2", "a:b", named(&[])),
            ("", "2", "a:b", named(&[])),
            ("1", "many", "", named(&[])),
            ("1", "-4", "", named(&[])),
        ] {
            assert_eq!(announced(pid, count, names, 1), wanted, "{pid} {count} {names}");
        }
    }
}
