//! From the pod's network namespace into the machine.
//!
//! ```text
//! host ── veth ── eth0 ┐             (the pod's network namespace, made by CNI plugins)
//!                 rkt0 ┤ bridge
//!                 tap0 ┘── QEMU ═══ guest's eth0, with the addresses and routes that the namespace's had
//! ```
//! The interface in the namespace gives its addresses up: its owner is the guest now, which has another hardware address.
//! All of it goes with the namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use pod::PodUuid;
use serde::Deserialize;
use stage1::{Context, Error, Result};
use supervisor::link::{Interface, Route};
use sys::interface;
use sys::namespace::{self, Kind};

/// Types of networks whose interface in the pod is one end of a cable. Others share one of the host's, whose frames go
/// by the hardware address that they know.
const CABLES: [&str; 3] = ["ptp", "bridge", "flannel"];

/// What the network's set-up has written about one network.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Joined {
    net_name: String,
    plugin_path: String,
    if_name: String,
    #[serde(default)]
    ip: String,
    #[serde(default)]
    mask: String,
    #[serde(default)]
    ip6: String,
    #[serde(default)]
    mask6: String,
}

/// Connects the interfaces of the pod's network namespace with tap devices; what the guest has to know, and these.
pub(crate) fn lay(uuid: PodUuid, netns: &OwnedFd) -> Result<(Vec<Interface>, Vec<OwnedFd>)> {
    let text = std::fs::read("net-info.json").step(|| "read net-info.json".to_owned())?;
    let joined: Vec<Joined> = serde_json::from_slice(&text)
        .map_err(std::io::Error::from)
        .step(|| "read net-info.json".to_owned())?;
    for network in &joined {
        let kind = network.plugin_path.rsplit('/').next().unwrap_or_default();
        if !CABLES.contains(&kind) {
            return Err(Error::Network(format!(
                "The network {:?} is of type {kind:?}, which a machine cannot join: it takes one of type {}",
                network.net_name,
                CABLES.join(", ")
            )));
        }
    }
    let home = namespace::open(None, Kind::Network).step(|| "open our network namespace".to_owned())?;
    namespace::join(netns.as_fd(), Kind::Network).step(|| "enter the pod's network namespace".to_owned())?;
    let laid = (0..)
        .zip(&joined)
        .map(|(number, network)| lay_one(uuid, number, network))
        .collect::<Result<Vec<_>>>();
    namespace::join(home.as_fd(), Kind::Network).step(|| "leave the pod's network namespace".to_owned())?;
    Ok(laid?.into_iter().unzip())
}

fn lay_one(uuid: PodUuid, number: u8, network: &Joined) -> Result<(Interface, OwnedFd)> {
    let name = &network.if_name;
    let step = || format!("connect {name} of network {:?} with the machine", network.net_name);
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/net/{file}")).unwrap_or_default();
    let (v4, v6) = (read("route"), read("ipv6_route"));
    let routes = sys::routes::parse4(&v4)
        .chain(sys::routes::parse6(&v6))
        .filter(|route| route.interface == *name)
        .map(|route| Route { destination: route.destination, gateway: route.gateway })
        .collect();
    let addresses: Vec<(IpAddr, u8)> = addresses(network).collect();
    let mtu = interface::mtu(name).step(step)?;
    let index = interface::index(name).step(step)?;
    for &(address, prefix) in &addresses {
        interface::delete_address(index, address, prefix).step(step)?;
    }
    let (bridge, tap) = (format!("rkt{number}"), format!("tap{number}"));
    interface::add_bridge(&bridge).step(step)?;
    let master = interface::index(&bridge).step(step)?;
    let device = interface::tap(&tap).step(step)?;
    interface::switch_on(index, Some(master), None).step(step)?;
    let tap = interface::index(&tap).step(step)?;
    interface::switch_on(tap, Some(master), Some(mtu)).step(step)?;
    Ok((Interface { mac: mac(uuid, number), name: name.clone(), mtu, addresses, routes }, device))
}

/// A hardware address of nobody's: 02:, the first digits of the pod's UUID, the interface's number.
fn mac(uuid: PodUuid, number: u8) -> [u8; 6] {
    let digits: String = uuid.to_string().chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let [a, b, c, d] = u32::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes();
    [2, a, b, c, d, number]
}

fn addresses(network: &Joined) -> impl Iterator<Item = (IpAddr, u8)> {
    let v4 = || -> Option<(IpAddr, u8)> {
        let mask: Ipv4Addr = network.mask.parse().ok()?;
        let prefix = u8::try_from(u32::from(mask).leading_ones()).ok()?;
        Some((network.ip.parse::<Ipv4Addr>().ok()?.into(), prefix))
    };
    let v6 = || -> Option<(IpAddr, u8)> {
        Some((network.ip6.parse::<Ipv6Addr>().ok()?.into(), network.mask6.parse().ok()?))
    };
    [v4(), v6()].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_local_and_differ() {
        let uuid: PodUuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap();
        assert_eq!(mac(uuid, 0), [0x02, 0x6b, 0xa7, 0xb8, 0x10, 0]);
        assert_eq!(mac(uuid, 1)[5], 1);
    }
}
