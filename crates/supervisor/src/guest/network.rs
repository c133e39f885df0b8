//! The guest's network: what the pod's namespace on the host has, on this machine's own interfaces.

use rustix::io::Errno;

use super::Error;
use crate::link::Interface;

/// Sets the interfaces up.
pub(super) fn set_up(interfaces: &[Interface]) -> Result<(), Error> {
    sys::netlink::loopback_up().map_err(|errno: Errno| format!("Cannot switch loopback on: {errno}"))?;
    if let Some(interface) = interfaces.first() {
        return Err(format!("Cannot set up {}: not built", interface.name).into());
    }
    Ok(())
}
