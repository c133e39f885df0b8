//! From the pod's network namespace into the machine.
//!
//! ```text
//!      the pod's network namespace, made by CNI plugins │
//! host ─────────── eth0 ═══════ all that arrives ═══════ tap0 ── QEMU ═══ guest's eth0
//!                  keeps its    leaves by the other     │         has the same hardware address,
//!                  addresses                            │         addresses and routes
//! ```
//! What plugins have made stands as they left it: what a host knows the pod by, the hardware address (bridge, macvlan) or the network
//! address (ipvlan), is known where they expect it. But packets pass the namespace's own network by, and the guest alone answers. All
//! of it goes with the namespace.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use network::record::{Attachment, Record};
use network::result::Outcome;
use pod::PodDir;
use rustix::io::Errno;
use stage1::{Context, Error, Result};
use supervisor::link::{Interface, Route};
use sys::namespace::{self, Kind};
use sys::{interface, traffic};

/// Connects the interfaces of the pod's network namespace with tap devices; what the guest has to know, and these.
pub(crate) fn lay(pod: &PodDir, netns: &OwnedFd) -> Result<(Vec<Interface>, Vec<OwnedFd>)> {
    let record = Record::read(pod).map_err(|error| Error::Network(error.chain()))?;
    let attachments = record.map(|record| record.attachments).unwrap_or_default();
    let home = namespace::open(None, Kind::Network).step(|| "open our network namespace".to_owned())?;
    namespace::join(netns.as_fd(), Kind::Network).step(|| "enter the pod's network namespace".to_owned())?;
    let laid = attachments.iter().enumerate().map(|(number, attachment)| lay_one(number, attachment));
    let laid = laid.collect::<Result<Vec<_>>>();
    namespace::join(home.as_fd(), Kind::Network).step(|| "leave the pod's network namespace".to_owned())?;
    Ok(laid?.into_iter().unzip())
}

fn lay_one(number: usize, attachment: &Attachment) -> Result<(Interface, OwnedFd)> {
    let name = &attachment.interface;
    let network = &attachment.network.name;
    let step = || format!("connect {name} of network {network:?} with the machine");
    let outcome = Outcome::parse(&attachment.result)
        .map_err(|why| Error::Network(format!("The result of network {network:?} cannot be read: {why}")))?;
    let index = interface::index(name).step(step)?;
    let Some(mac) = interface::hardware_address(name).step(step)? else {
        return Err(Error::Network(format!(
            "The interface {name} of network {network:?} is no Ethernet, which a machine takes"
        )));
    };
    let mtu = interface::mtu(name).step(step)?;
    let finds_neighbours = interface::finds_neighbours(name).step(step)?;
    let mut addresses: Vec<(IpAddr, u8)> =
        outcome.addresses.iter().map(|address| (address.ip, address.prefix)).collect();
    addresses.extend(own_link_local(name, mac).map(|address| (address.into(), 64)));
    let tap = format!("tap{number}");
    let device = interface::tap(&tap).map_err(|errno| match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => Error::Network(format!(
            "The host has no /dev/net/tun, by which a machine gets network {network:?}: load the module tun (modprobe tun)"
        )),
        errno => Error::Network(format!("Cannot make {tap} for network {network:?} with /dev/net/tun: {errno}")),
    })?;
    let tap = interface::index(&tap).step(step)?;
    interface::switch_on(tap, mtu, true).step(step)?;
    interface::take_all_groups(index).step(step)?;
    for (from, to) in [(index, tap), (tap, index)] {
        traffic::redirect(from, to).map_err(|errno| match errno {
            Errno::NOENT | Errno::OPNOTSUPP => Error::Network(format!(
                "The kernel cannot redirect packets of network {network:?} to the machine: it needs sch_ingress, cls_u32 and \
                 act_mirred, as modules or built in"
            )),
            errno => Error::Network(format!("Cannot redirect packets between {name} and the machine: {errno}")),
        })?;
    }
    let routes = routes(name);
    Ok((Interface { mac, name: name.clone(), mtu, finds_neighbours, addresses, routes }, device))
}

fn of_namespace(file: &str) -> String {
    // Without IPv6 there is none of its files.
    std::fs::read_to_string(format!("/proc/self/net/{file}")).unwrap_or_default()
}

fn routes(name: &str) -> Vec<Route> {
    let (v4, v6) = (of_namespace("route"), of_namespace("ipv6_route"));
    sys::routes::parse4(&v4)
        .chain(sys::routes::parse6(&v6))
        .filter(|route| route.interface == *name)
        .map(|route| Route { destination: route.destination, gateway: route.gateway })
        .collect()
}

/// The link-local address of interface `name`, where it is not the one that the guest's kernel derives from the hardware address. (Those
/// of type ipvlan share one, and the kernel makes a difference that the guest cannot know.)
fn own_link_local(name: &str, mac: [u8; 6]) -> Option<Ipv6Addr> {
    let address = sys::routes::link_local(&of_namespace("if_inet6"), name)?;
    (address != derived(mac)).then_some(address)
}

/// RFC 4291, appendix A.
fn derived(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let [w, x, y, z] = [[a ^ 2, b], [c, 0xff], [0xfe, d], [e, f]].map(u16::from_be_bytes);
    Ipv6Addr::new(0xfe80, 0, 0, 0, w, x, y, z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_as_the_kernel_derives_them() {
        assert_eq!(
            derived([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
            "fe80::5054:ff:fe12:3456".parse::<Ipv6Addr>().unwrap()
        );
    }
}
