//! Network interfaces: what takes an `ioctl`, and making and changing them by messages to the kernel.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::netlink::{Attributes, CREATE, WITH_ACK, exchange, message};
use crate::{Result, check};

/// `struct ifreq` of `net/if.h`, as far as it is used here.
#[repr(C)]
struct Request {
    name: [u8; 16],
    value: [u8; 24],
}

impl Request {
    fn new(name: &str) -> Result<Self> {
        let mut request = Request { name: [0; 16], value: [0; 24] };
        // The last byte stays 0.
        if name.len() >= request.name.len() {
            return Err(Errno::NAMETOOLONG);
        }
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        Ok(request)
    }
}

/// Makes the tap device `name` in this network namespace; it is gone when the descriptor is closed.
pub fn tap(name: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let device = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
    let mut request = Request::new(name)?;
    let kind = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.value[..2].copy_from_slice(&i16::try_from(kind).map_err(|_| Errno::INVAL)?.to_ne_bytes());
    // SAFETY: rustix has no TUNSETIFF. The structure has the size and layout that the call takes, and outlives it.
    let returned =
        unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, std::ptr::from_mut(&mut request)) };
    check(returned.into())?;
    Ok(device)
}

/// Tells or asks the kernel something about the interface that `request` names; what it answers is in the value.
macro_rules! ioctl {
    ($request:expr, $what:expr) => {{
        let (socket, mut request) = (socket()?, $request);
        // SAFETY: as above; the calls fill no more than the value.
        let returned = unsafe { libc::ioctl(socket.as_raw_fd(), $what, std::ptr::from_mut(&mut request)) };
        check(returned.into())?;
        request.value
    }};
}

/// Switches the loopback interface of this network namespace on.
pub fn loopback_up() -> Result<()> {
    let mut request = Request::new("lo")?;
    request.value[..2].copy_from_slice(&i16::try_from(libc::IFF_UP).map_err(|_| Errno::INVAL)?.to_ne_bytes());
    ioctl!(request, libc::SIOCSIFFLAGS);
    Ok(())
}

/// The MTU of interface `name`.
pub fn mtu(name: &str) -> Result<u32> {
    let [a, b, c, d, ..] = ioctl!(Request::new(name)?, libc::SIOCGIFMTU);
    Ok(u32::from_ne_bytes([a, b, c, d]))
}

/// The hardware address of interface `name`; `None` when it is no Ethernet.
pub fn hardware_address(name: &str) -> Result<Option<[u8; 6]>> {
    // struct sockaddr: the type of the hardware, the address.
    let [first, second, a, b, c, d, e, f, ..] = ioctl!(Request::new(name)?, libc::SIOCGIFHWADDR);
    let is_ethernet = u16::from_ne_bytes([first, second]) == libc::ARPHRD_ETHER;
    Ok(is_ethernet.then_some([a, b, c, d, e, f]))
}

/// Whether interface `name` finds the hardware addresses of its neighbours, by ARP and the like; without, all packets go to whoever
/// is at the other end.
pub fn finds_neighbours(name: &str) -> Result<bool> {
    let [first, second, ..] = ioctl!(Request::new(name)?, libc::SIOCGIFFLAGS);
    let no_arp = u16::try_from(libc::IFF_NOARP).map_err(|_| Errno::INVAL)?;
    Ok(u16::from_ne_bytes([first, second]) & no_arp == 0)
}

/// The kernel asks for no certain kind, and one that talks to the network takes more to make.
fn socket() -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

/// The number of interface `name`.
pub fn index(name: &str) -> Result<u32> {
    rustix::net::netdevice::name_to_index(socket()?, name)
}

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const REPLACE: u16 = 0x100;

fn tell(kind: u16, flags: u16, header: &[u8], attributes: &Attributes) -> Result<()> {
    exchange(None, &message(kind, flags | WITH_ACK, 1, header, attributes), 1)
}

/// `struct ifinfomsg`: family, padding, type, index, flags, mask of flags to change.
fn link_header(index: u32, flags: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header
}

const UP: u32 = 1;
const NO_ARP: u32 = 0x80;
const ALL_GROUPS: u32 = 0x200;

/// Switches an interface on, with this MTU. Without `finds_neighbours`, see [`finds_neighbours`].
pub fn switch_on(index: u32, mtu: u32, finds_neighbours: bool) -> Result<()> {
    const MTU: u16 = 4;
    let attributes = Attributes::default().bytes(MTU, &mtu.to_ne_bytes());
    let flags = if finds_neighbours { UP } else { UP | NO_ARP };
    tell(NEW_LINK, 0, &link_header(index, flags), &attributes)
}

/// Lets an interface that is on take packets of all multicast groups, not just those that its own host has joined.
pub fn take_all_groups(index: u32) -> Result<()> {
    tell(NEW_LINK, 0, &link_header(index, UP | ALL_GROUPS), &Attributes::default())
}

/// Gives an interface an address.
pub fn add_address(index: u32, address: IpAddr, prefix: u8) -> Result<()> {
    tell(NEW_ADDRESS, CREATE | REPLACE, &address_header(index, address, prefix), &address_attributes(address))
}

/// `struct ifaddrmsg`: family, prefix, flags, scope, index.
fn address_header(index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    // Whoever gave the address has made sure that nobody else has it.
    const NO_DUPLICATE_DETECTION: u8 = 2;
    let flags = if address.is_ipv6() { NO_DUPLICATE_DETECTION } else { 0 };
    let mut header = vec![family(address), prefix, flags, 0];
    header.extend(index.to_ne_bytes());
    header
}

fn address_attributes(address: IpAddr) -> Attributes {
    const ADDRESS: u16 = 1;
    const LOCAL: u16 = 2;
    let bytes = octets(address);
    Attributes::default().bytes(LOCAL, &bytes).bytes(ADDRESS, &bytes)
}

/// Adds a route over an interface, in the place of one that is there already.
pub fn add_route(index: u32, destination: (IpAddr, u8), gateway: Option<IpAddr>) -> Result<()> {
    const DESTINATION: u16 = 1;
    const INTERFACE: u16 = 4;
    const GATEWAY: u16 = 5;
    const TABLE_MAIN: u8 = 254;
    const PROTOCOL_STATIC: u8 = 4;
    const SCOPE_UNIVERSE: u8 = 0;
    const SCOPE_LINK: u8 = 253;
    const UNICAST: u8 = 1;
    let (to, prefix) = destination;
    let scope = if gateway.is_none() && to.is_ipv4() { SCOPE_LINK } else { SCOPE_UNIVERSE };
    // struct rtmsg: family, prefixes of destination and source, service, table, protocol, scope, type, flags.
    let mut header = vec![family(to), prefix, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, scope, UNICAST];
    header.extend(0_u32.to_ne_bytes());
    let mut attributes = Attributes::default().bytes(INTERFACE, &index.to_ne_bytes());
    if prefix > 0 {
        attributes = attributes.bytes(DESTINATION, &octets(to));
    }
    if let Some(gateway) = gateway {
        attributes = attributes.bytes(GATEWAY, &octets(gateway));
    }
    tell(NEW_ROUTE, CREATE | REPLACE, &header, &attributes)
}

fn family(address: IpAddr) -> u8 {
    // AF_INET and AF_INET6.
    if address.is_ipv4() { 2 } else { 10 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        assert!(Request::new("eth0").is_ok_and(|request| request.name.starts_with(b"eth0\0")));
        assert_eq!(Request::new("a-name-of-16-byt").err(), Some(Errno::NAMETOOLONG));
        assert_eq!(index("lo"), Ok(1));
        assert!(mtu("lo").is_ok_and(|mtu| mtu > 1000));
        assert_eq!((hardware_address("lo"), finds_neighbours("lo")), (Ok(None), Ok(true)));
    }
}
