//! The tables of routes and of addresses in `/proc/net`; see proc_net(5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The route has a gateway.
const GATEWAY: u32 = 2;
/// What goes there is refused.
const REJECT: u32 = 0x200;
/// It leads to an address of this machine.
const LOCAL: u32 = 0x8000_0000;

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The name of the interface that it goes through.
    pub interface: String,
    /// Where it leads: an address and the bits of it that count.
    pub destination: (IpAddr, u8),
    /// The next station on the way.
    pub gateway: Option<IpAddr>,
}

/// Reads `/proc/net/route`: interface, destination, gateway, flags, …, mask; addresses are numbers as this processor has them in
/// memory.
pub fn parse4(text: &str) -> impl Iterator<Item = Route> {
    let address = |hex: &str| Some(Ipv4Addr::from(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes()));
    text.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, gateway, flags, _, _, _, mask, ..] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let prefix = u8::try_from(u32::from(address(mask)?).leading_ones()).ok()?;
        let gateway = if flags & GATEWAY == 0 { None } else { Some(address(gateway)?.into()) };
        let destination = (address(destination)?.into(), prefix);
        (flags & REJECT == 0).then(|| Route { interface: interface.to_owned(), destination, gateway })
    })
}

/// Reads `/proc/net/ipv6_route`: destination, prefix, source, prefix, next hop, metric, counts, flags, interface. Leaves out what the
/// kernel makes by itself for each link: multicast and link-local addresses, and its own.
pub fn parse6(text: &str) -> impl Iterator<Item = Route> {
    let address = |hex: &str| Some(Ipv6Addr::from(u128::from_str_radix(hex, 16).ok()?));
    text.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, prefix, _, _, hop, _, _, _, flags, interface] = fields[..] else { return None };
        let (to, flags) = (address(destination)?, u32::from_str_radix(flags, 16).ok()?);
        if flags & (REJECT | LOCAL) != 0 || to.is_multicast() || to.is_unicast_link_local() {
            return None;
        }
        let gateway = if flags & GATEWAY == 0 { None } else { Some(address(hop)?.into()) };
        let destination = (to.into(), u8::from_str_radix(prefix, 16).ok()?);
        Some(Route { interface: interface.to_owned(), destination, gateway })
    })
}

/// The link-local address of an interface in `/proc/net/if_inet6`: address, index, prefix, scope, flags, interface.
pub fn link_local(text: &str, interface: &str) -> Option<Ipv6Addr> {
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, _, _, _, _, name] = fields[..] else { return None };
        let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        (name == interface && address.is_unicast_link_local()).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(interface: &str, destination: &str, prefix: u8, gateway: Option<&str>) -> Route {
        let ip = |text: &str| text.parse().unwrap();
        Route {
            interface: interface.to_owned(),
            destination: (ip(destination), prefix),
            gateway: gateway.map(ip),
        }
    }

    #[test]
    fn tables_as_the_kernel_writes_them() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t011C10AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    *\t000A0A0A\t00000000\t0200\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                    eth0\t001C10AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let wanted =
            [route("eth0", "0.0.0.0", 0, Some("172.16.28.1")), route("eth0", "172.16.28.0", 24, None)];
        assert_eq!(parse4(text).collect::<Vec<_>>(), wanted);

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
        let wanted = [route("eth0", "fd01:203::", 64, None), route("eth0", "::", 0, Some("fd01:203::1"))];
        assert_eq!(parse6(&text).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn link_local_addresses() {
        let text = "00000000000000000000000000000001 01 80 10 80       lo\n\
                    fd770001000000000000000000000100 02 40 00 80     eth0\n\
                    fe80000000000000505400fffe123456 02 40 20 80     eth0\n";
        assert_eq!(link_local(text, "eth0"), "fe80::5054:ff:fe12:3456".parse().ok());
        assert_eq!(link_local(text, "lo"), None);
    }
}
