//! What stands around a host: neighbours in network namespaces of their own, real servers and clients there.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::case::eventually;
use crate::host::{Exec, Host, Output, Running};

static COUNT: AtomicU32 = AtomicU32::new(1);

/// A number that no other caller gets, for parts of addresses and ports.
#[must_use]
pub fn number() -> u32 {
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// A neighbour of the host: a network namespace, joined to the host's by a pair of veth devices.
///
/// ```text
/// host  peerN  10.77.N.1/24 fd77:N::1/64  ──  eth0  10.77.N.2/24 fd77:N::2/64  neighbour
/// ```
/// It knows no way but to the host's end: what reaches it from a pod came under the host's address.
#[derive(Debug)]
pub struct Neighbour {
    host: &'static Host,
    number: u32,
}

impl Neighbour {
    /// Makes one.
    #[must_use]
    pub fn new(host: &'static Host) -> Neighbour {
        let neighbour = Neighbour { host, number: number() };
        let name = neighbour.device();
        let n = neighbour.number;
        host.sh(&format!(
            "ip netns add {name}
             ip link add {name} type veth peer name eth0 netns {name}
             ip addr add 10.77.{n}.1/24 dev {name}; ip -6 addr add fd77:{n}::1/64 dev {name} nodad; ip link set {name} up
             ip -n {name} link set lo up
             ip -n {name} addr add 10.77.{n}.2/24 dev eth0; ip -n {name} -6 addr add fd77:{n}::2/64 dev eth0 nodad
             ip -n {name} link set eth0 up"
        ))
        .success();
        neighbour
    }

    /// Its number: `N` above.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The device of the host that leads to it, and the name of its namespace.
    #[must_use]
    pub fn device(&self) -> String {
        format!("peer{}", self.number)
    }

    /// Its address, as it stands in a URL.
    #[must_use]
    pub fn address(&self, v6: bool) -> String {
        if v6 { format!("[fd77:{}::2]", self.number) } else { format!("10.77.{}.2", self.number) }
    }

    /// The host's address on the same wire, as it stands in a URL.
    #[must_use]
    pub fn address_of_host(&self, v6: bool) -> String {
        if v6 { format!("[fd77:{}::1]", self.number) } else { format!("10.77.{}.1", self.number) }
    }

    /// A command that runs there.
    pub fn exec(&self, program: &str) -> Exec<'static> {
        self.host.exec("ip").args(["netns", "exec", &self.device(), program])
    }

    /// A web server there, on port 80 of all its addresses, that answers `text`.
    #[must_use]
    pub fn serve(&self, text: &str) -> Running {
        let directory = format!("/tmp/{}", self.device());
        self.host.write(&format!("{directory}/index.html"), text);
        let server = self.exec("busybox").args(["httpd", "-f", "-p", "[::]:80", "-h", &directory]).spawn();
        eventually("the neighbour's web server", || {
            let answer = self.exec("curl").args(CURL).arg("http://localhost/").output();
            (answer.code == 0).then_some(())
        });
        server
    }

    /// Asks a web server from there.
    #[must_use]
    pub fn get(&self, url: &str) -> Output {
        self.exec("curl").args(CURL).arg(url).output()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let name = self.device();
        let _ = self.host.sh(&format!("ip link del {name}; ip netns del {name}"));
    }
}

/// What is near answers at once, but for a busy machine, and for an IPv6 address that is new: its network is asked first
/// whether anybody has it.
const CURL: [&str; 4] = ["--silent", "--show-error", "--max-time", "20"];

/// Asks a web server from the host itself.
#[must_use]
pub fn get(host: &'static Host, url: &str) -> Output {
    host.exec("curl").args(CURL).arg(url).output()
}

/// The same, until there is an answer.
#[must_use]
pub fn get_eventually(host: &'static Host, url: &str) -> Output {
    eventually("an answer", || Some(get(host, url)).filter(|answer| answer.code == 0))
}

/// What the host still has of the networks of the pod `uuid`, one a line: nothing, when all was undone.
#[must_use]
pub fn leftovers(host: &Host, uuid: &str) -> String {
    let script = format!(
        "ip netns list | grep {uuid} || :
         ls /run/netns 2>/dev/null | grep {uuid} || :
         grep {uuid} /proc/self/mountinfo || :
         ip -o link | grep 'rkt-{uuid}' || :
         nft list ruleset | grep {uuid} || :
         ls /run/rkt/ports /run/rkt/networks 2>/dev/null | grep {uuid} || :
         grep -rl {uuid} /var/lib/cni 2>/dev/null || :"
    );
    host.sh(&script).success().stdout
}
