//! The descriptors that the supervisor starts with.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use executor::AppSpec;
use executor::spec::OutputMode;
use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use stage1::{Context, Pod, Result, warn};
use systemd::listen::Listen;
use systemd::pod_group::Owner;
use systemd::{PodGroup, journal};

use crate::CONTROL_SOCKET;

/// The socket on which the supervisor takes orders. The working directory is the pod directory; the socket does not show
/// inside the pod.
///
/// # Errors
/// When it cannot be made.
pub fn listen_for_control() -> Result<OwnedFd> {
    match rustix::fs::unlinkat(CWD, CONTROL_SOCKET, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error).step(|| format!("remove {CONTROL_SOCKET}")),
    }
    // The group that may look at pods may not give them orders.
    let umask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let socket = UnixListener::bind(CONTROL_SOCKET).step(|| format!("listen on {CONTROL_SOCKET}"));
    rustix::process::umask(umask);
    Ok(socket?.into())
}

/// A stream of the journal for each app, when our own output is one: then nobody copies bytes.
pub fn streams(specs: &[AppSpec], group: &PodGroup) -> Vec<(String, OwnedFd)> {
    if !journal::stdout_is_journal() {
        return Vec::new();
    }
    let unit = match &group.owner {
        Owner::Service(unit) | Owner::Scope(unit) => unit.as_str(),
        Owner::Nobody => "",
    };
    let mut streams = Vec::new();
    for spec in specs {
        for (output, mode) in [("stdout", spec.stdout), ("stderr", spec.stderr)] {
            // Of mode stream it is the supervisor that writes to it, beside the clients.
            if !matches!(mode, OutputMode::Log | OutputMode::Stream) {
                continue;
            }
            match journal::Stream::of_app(&spec.name, unit).open() {
                Ok(stream) => streams.push((format!("{output}-{}", spec.name), stream)),
                // Then the supervisor copies, to where our own output goes.
                Err(error) => warn(&format!("no journal stream for app {:?}: {error}", spec.name)),
            }
        }
    }
    streams
}

/// Gives the sockets of the unit to the apps that ask for them, under names by which the supervisor tells apart
/// what goes to different apps. Sockets that no app asks for are closed.
pub fn share_out(pod: &Pod, specs: &mut [AppSpec], listen: Vec<Listen>) -> Vec<(String, OwnedFd)> {
    let wanted: Vec<Vec<usize>> =
        pod.apps.iter().map(|app| stage1::sockets::of_app(app, &pod.manifest, &listen)).collect();
    let mut shared: Vec<(String, OwnedFd)> = Vec::new();
    let mut owners: Vec<(String, Vec<usize>)> = Vec::new();
    for (place, Listen { name, fd }) in listen.into_iter().enumerate() {
        let apps: Vec<usize> = (0..wanted.len()).filter(|&app| wanted[app].contains(&place)).collect();
        if apps.is_empty() {
            continue;
        }
        let name = name_inside(&name, &apps, &mut owners);
        for &app in &apps {
            if !specs[app].sockets.contains(&name) {
                specs[app].sockets.push(name.clone());
            }
        }
        shared.push((name, fd));
    }
    shared
}

/// The name under which the supervisor gets a socket that is for `apps`. Some names mean something else to it, and one
/// name cannot mean different apps.
fn name_inside(name: &str, apps: &[usize], owners: &mut Vec<(String, Vec<usize>)>) -> String {
    let reserved = ["control", "journal"].contains(&name)
        || ["stdout-", "stderr-"].iter().any(|prefix| name.starts_with(prefix));
    let plain = if reserved { format!("socket-{name}") } else { name.to_owned() };
    let mut inside = plain.clone();
    for number in 2.. {
        match owners.iter().find(|(known, _)| *known == inside) {
            Some((_, owner)) if owner == apps => break,
            Some(_) => inside = format!("{plain}-{number}"),
            None => {
                owners.push((inside.clone(), apps.to_vec()));
                break;
            }
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_inside_mean_one_thing() {
        let mut owners = Vec::new();
        for (name, apps, inside) in [
            ("web.socket", [0].as_slice(), "web.socket"),
            ("web.socket", &[0], "web.socket"),
            ("web.socket", &[1], "web.socket-2"),
            ("web.socket", &[0, 1], "web.socket-3"),
            ("web.socket", &[1], "web.socket-2"),
            ("control", &[0], "socket-control"),
            ("stdout-web", &[0], "socket-stdout-web"),
            ("journals", &[0], "journals"),
        ] {
            assert_eq!(name_inside(name, apps, &mut owners), inside);
        }
    }
}
