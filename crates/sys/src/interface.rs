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

/// The MTU of interface `name`.
pub fn mtu(name: &str) -> Result<u32> {
    let socket = socket()?;
    let mut request = Request::new(name)?;
    // SAFETY: as above; the call fills four bytes of the value.
    let returned =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, std::ptr::from_mut(&mut request)) };
    check(returned.into())?;
    let [a, b, c, d, ..] = request.value;
    Ok(u32::from_ne_bytes([a, b, c, d]))
}

fn socket() -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

/// The number of interface `name`.
pub fn index(name: &str) -> Result<u32> {
    rustix::net::netdevice::name_to_index(socket()?, name)
}

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const REPLACE: u16 = 0x100;

fn tell(kind: u16, flags: u16, header: &[u8], attributes: &Attributes) -> Result<()> {
    exchange(None, &message(kind, flags | WITH_ACK, 1, header, attributes), 1)
}

/// `struct ifinfomsg`: family, padding, type, index, flags, mask of flags to change.
fn link_header(index: u32, up: bool) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(u32::from(up).to_ne_bytes());
    header.extend(u32::from(up).to_ne_bytes());
    header
}

/// Makes the bridge `name` and switches it on.
pub fn add_bridge(name: &str) -> Result<()> {
    const NAME: u16 = 3;
    const LINK_INFO: u16 = 18;
    const INFO_KIND: u16 = 1;
    let info = Attributes::default().bytes(INFO_KIND, b"bridge");
    let attributes = Attributes::default().text(NAME, name).nest(LINK_INFO, &info);
    tell(NEW_LINK, CREATE, &link_header(0, true), &attributes)
}

/// Switches an interface on, as a port of the bridge `master` or for itself, and gives it another MTU.
pub fn switch_on(index: u32, master: Option<u32>, mtu: Option<u32>) -> Result<()> {
    const MTU: u16 = 4;
    const MASTER: u16 = 10;
    let mut attributes = Attributes::default();
    if let Some(mtu) = mtu {
        attributes = attributes.bytes(MTU, &mtu.to_ne_bytes());
    }
    if let Some(master) = master {
        attributes = attributes.bytes(MASTER, &master.to_ne_bytes());
    }
    tell(NEW_LINK, 0, &link_header(index, true), &attributes)
}

/// Gives an interface an address.
pub fn add_address(index: u32, address: IpAddr, prefix: u8) -> Result<()> {
    tell(NEW_ADDRESS, CREATE | REPLACE, &address_header(index, address, prefix), &address_attributes(address))
}

/// Takes an address from an interface.
pub fn delete_address(index: u32, address: IpAddr, prefix: u8) -> Result<()> {
    tell(DELETE_ADDRESS, 0, &address_header(index, address, prefix), &address_attributes(address))
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
    }
}
