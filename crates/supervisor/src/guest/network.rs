//! The guest's network: what the pod's namespace on the host has, on this machine's own interfaces.

use std::path::Path;

use executor::Step;
use sys::interface;

use super::Error;
use crate::link::Interface;

/// Where the kernel lists its interfaces.
const INTERFACES: &str = "/sys/class/net";

/// Sets the interfaces up.
pub(super) fn set_up(interfaces: &[Interface]) -> Result<(), Error> {
    sys::netlink::loopback_up().step(|| "switch the loopback interface on".to_owned())?;
    for interface in interfaces {
        let name = find(&interface.mac)?;
        let step = |what: &str| format!("{what} of the network interface {name}");
        let index = interface::index(&name).step(|| step("find the number"))?;
        interface::switch_on(index, None, Some(interface.mtu)).step(|| step("set the MTU"))?;
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

/// The interface with this hardware address. The kernel gives them the names that they have in a container: eth0, eth1, ….
fn find(mac: &[u8; 6]) -> Result<String, Error> {
    let text = mac.map(|byte| format!("{byte:02x}")).join(":");
    let has_it = |name: &str| {
        std::fs::read_to_string(Path::new(INTERFACES).join(name).join("address"))
            .is_ok_and(|address| address.trim() == text)
    };
    for entry in std::fs::read_dir(INTERFACES)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if has_it(&name) {
            return Ok(name);
        }
    }
    Err(format!("There is no network interface with the address {text}").into())
}
