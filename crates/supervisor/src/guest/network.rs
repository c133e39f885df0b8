//! The guest's network: what the pod's namespace on the host has, on this machine's own interfaces.

use std::net::IpAddr;
use std::path::Path;

use executor::{Failed, Step};
use sys::interface;

use super::Error;
use crate::link::Interface;

/// Where the kernel lists its interfaces.
const INTERFACES: &str = "/sys/class/net";

/// Switches the loopback interface on.
pub(super) fn loopback_up() -> Result<(), Failed> {
    interface::loopback_up().step(|| "switch the loopback interface on".to_owned())
}

/// Sets the interfaces up.
pub(super) fn set_up(interfaces: &[Interface]) -> Result<(), Error> {
    let mut names: Vec<String> = Vec::new();
    for interface in interfaces {
        let name = find(&interface.mac, &names)?;
        names.push(name.clone());
        let step = |what: &str| format!("{what} of the network interface {name}");
        let index = interface::index(&name).step(|| step("find the number"))?;
        if interface.addresses.iter().any(|(address, _)| is_link_local(*address)) {
            // Two, and both of them with one that another pod may have.
            let file = format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode");
            std::fs::write(&file, "1").map_err(|error| format!("Cannot write {file}: {error}"))?;
        }
        interface::switch_on(index, interface.mtu, interface.finds_neighbours)
            .step(|| step("set the MTU"))?;
        for &(address, prefix) in &interface.addresses {
            interface::add_address(index, address, prefix)
                .step(|| step(&format!("set the address {address}")))?;
        }
        // Gateways are reached by routes that have none.
        let mut routes: Vec<_> = interface.routes.iter().collect();
        routes.sort_by_key(|route| route.gateway.is_some());
        for route in routes {
            let (to, prefix) = route.destination;
            interface::add_route(index, route.destination, route.gateway)
                .step(|| step(&format!("add the route to {to}/{prefix}")))?;
        }
    }
    Ok(())
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The first interface with this hardware address that is none of `taken`. The kernel gives them the names that they have in a container:
/// eth0, eth1, ….
fn find(mac: &[u8; 6], taken: &[String]) -> Result<String, Error> {
    let text = mac.map(|byte| format!("{byte:02x}")).join(":");
    let has_it = |name: &str| {
        std::fs::read_to_string(Path::new(INTERFACES).join(name).join("address"))
            .is_ok_and(|address| address.trim() == text)
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(INTERFACES)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !taken.contains(&name) && has_it(&name) {
            found.push(name);
        }
    }
    // eth2 comes before eth10.
    let first = found.into_iter().min_by_key(|name| (name.len(), name.clone()));
    first.ok_or_else(|| format!("There is no network interface with the address {text}").into())
}
