//! Sockets that systemd opened for the pod, and which app each is for.
//!
//! An app gets a socket when one of its ports says `socketActivated`, and the socket has that port's name
//! (`FileDescriptorName=`) or its number on the host; or when the pod's manifest names the socket for it.

use std::os::fd::AsFd;

use appc::PodManifest;
use rustix::net::SocketAddrAny;
use systemd::listen::Listen;

use crate::input::AppInput;

/// The annotation of an app that names the sockets that it gets, with spaces between, whatever its ports are.
const ANNOTATION: &str = "coreos.com/rkt/stage2/sockets";

/// The number of the port that a socket listens on, if it is of the Internet.
pub fn port(socket: impl AsFd) -> Option<u16> {
    let address: SocketAddrAny = rustix::net::getsockname(socket).ok()?;
    match std::net::SocketAddr::try_from(address).ok()? {
        std::net::SocketAddr::V4(address) => Some(address.port()),
        std::net::SocketAddr::V6(address) => Some(address.port()),
    }
}

/// Which of `sockets` (name and port) are for `app`, by their place.
pub fn meant_for<'a>(
    app: &AppInput,
    pod: &PodManifest,
    sockets: impl IntoIterator<Item = (&'a str, Option<u16>)>,
) -> Vec<usize> {
    let activated: Vec<_> = app.app.ports.iter().filter(|port| port.socket_activated).collect();
    let is_meant = |name: &str, number: Option<u16>| {
        activated.iter().any(|port| {
            let outside = pod.ports.iter().find(|exposed| exposed.name == port.name);
            let first = outside.map_or(port.port, |exposed| exposed.host_port);
            port.name == *name
                || number.is_some_and(|number| {
                    number.checked_sub(first).is_some_and(|n| u32::from(n) < u32::from(port.count))
                })
        })
    };
    sockets
        .into_iter()
        .enumerate()
        .filter(|(_, (name, number))| is_meant(name, *number))
        .map(|(index, _)| index)
        .collect()
}

/// The sockets of `listen` that are for `app`, by their place.
pub fn of_app(app: &AppInput, pod: &PodManifest, listen: &[Listen]) -> Vec<usize> {
    if let Some(names) = app.runtime.annotations.get(ANNOTATION) {
        let wanted = |socket: &Listen| names.split_whitespace().any(|name| name == socket.name);
        return (0..listen.len()).filter(|&place| wanted(&listen[place])).collect();
    }
    meant_for(app, pod, listen.iter().map(|socket| (socket.name.as_str(), port(&socket.fd))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use appc::ImageManifest;

    #[test]
    fn by_name_or_by_number() {
        let image = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"web","app":{"exec":["/x"],"user":"0","group":"0","ports":[
            {"name":"http","protocol":"tcp","port":80,"socketActivated":true},
            {"name":"range","protocol":"tcp","port":9000,"count":3,"socketActivated":true},
            {"name":"admin","protocol":"tcp","port":81}]}}"#;
        let id = "0".repeat(64);
        let pod = format!(
            r#"{{"acKind":"PodManifest","acVersion":"0.8.11","apps":[{{"name":"web","image":{{"id":"sha512-{id}"}}}}],"ports":[{{"name":"http","hostPort":8080}}]}}"#
        );
        let pod = PodManifest::parse(pod.as_bytes()).unwrap();
        let app = AppInput::new(pod.apps[0].clone(), ImageManifest::parse(image).unwrap()).unwrap();
        let sockets = [
            ("web.socket", Some(8080)),
            ("web.socket", Some(80)),
            ("http", None),
            ("admin", Some(81)),
            ("x", Some(9002)),
            ("x", Some(9003)),
            ("x", Some(8999)),
        ];
        assert_eq!(meant_for(&app, &pod, sockets), [0, 2, 4]);
    }

    #[test]
    fn the_port_of_a_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(port(&listener), Some(listener.local_addr().unwrap().port()));
        let (unix, _) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(port(&unix), None);
    }
}
