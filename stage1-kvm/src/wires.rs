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
    let mut routes = routes4(&read("route"), name);
    routes.extend(routes6(&read("ipv6_route"), name));
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

/// Of `/proc/net/route`: interface, destination, gateway, flags, …, mask; addresses as the processor has them in memory.
fn routes4(text: &str, name: &str) -> Vec<Route> {
    const GATEWAY: u32 = 2;
    let route = |line: &str| -> Option<Route> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, gateway, flags, _, _, _, mask, ..] = fields[..] else { return None };
        let address = |hex: &str| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let prefix = u8::try_from(u32::from(address(mask)?).leading_ones()).ok()?;
        let gateway = if flags & GATEWAY == 0 { None } else { Some(address(gateway)?.into()) };
        (interface == name).then_some(Route { destination: (address(destination)?.into(), prefix), gateway })
    };
    text.lines().filter_map(route).collect()
}

/// Of `/proc/net/ipv6_route`: destination, prefix, source, prefix, next hop, metric, counts, flags, interface.
fn routes6(text: &str, name: &str) -> Vec<Route> {
    const GATEWAY: u32 = 2;
    const REJECT: u32 = 0x200;
    const LOCAL: u32 = 0x8000_0000;
    let route = |line: &str| -> Option<Route> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, prefix, _, _, hop, _, _, _, flags, interface] = fields[..] else { return None };
        let address = |hex: &str| Some(Ipv6Addr::from(u128::from_str_radix(hex, 16).ok()?));
        let (to, flags) = (address(destination)?, u32::from_str_radix(flags, 16).ok()?);
        // The guest's kernel makes those of the link itself.
        if interface != name
            || flags & (REJECT | LOCAL) != 0
            || to.is_multicast()
            || to.is_unicast_link_local()
        {
            return None;
        }
        let gateway = if flags & GATEWAY == 0 { None } else { Some(address(hop)?.into()) };
        Some(Route { destination: (to.into(), u8::from_str_radix(prefix, 16).ok()?), gateway })
    };
    text.lines().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_as_the_kernel_lists_them() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t011C10AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth1\t00000000\t01020304\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t001C10AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let routes = routes4(text, "eth0");
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0], Route { destination: (ip("0.0.0.0"), 0), gateway: Some(ip("172.16.28.1")) });
        assert_eq!(routes[1], Route { destination: (ip("172.16.28.0"), 24), gateway: None });
        let zero = "0".repeat(32);
        let line = |to: &str, prefix: &str, hop: &str, flags: &str, name: &str| {
            format!("{to} {prefix} {zero} 00 {hop} 00000400 00000001 00000000 {flags} {name}\n")
        };
        let (net, hop) = ("fd010203000000000000000000000000", "fd010203000000000000000000000001");
        let text = [
            line(net, "40", &zero, "00000001", "eth0"),
            line(&zero, "00", hop, "00000003", "eth0"),
            line("fe800000000000000000000000000000", "40", &zero, "00000001", "eth0"),
            line("ff000000000000000000000000000000", "08", &zero, "00000001", "eth0"),
            line(hop, "80", &zero, "80200001", "eth0"),
            line(&zero, "00", &zero, "00200200", "lo"),
        ]
        .concat();
        let routes = routes6(&text, "eth0");
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0], Route { destination: (ip("fd01:203::"), 64), gateway: None });
        assert_eq!(routes[1], Route { destination: (ip("::"), 0), gateway: Some(ip("fd01:203::1")) });
    }

    #[test]
    fn hardware_addresses_are_local_and_differ() {
        let uuid: PodUuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap();
        assert_eq!(mac(uuid, 0), [0x02, 0x6b, 0xa7, 0xb8, 0x10, 0]);
        assert_eq!(mac(uuid, 1)[5], 1);
    }
}
