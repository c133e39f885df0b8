//! Forwarding ports of the host to a pod: the claim, the rules, and the setting that the host's loopback address needs.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use sys::routes::Route;

use crate::error::Context;
use crate::ports::{Claim, Claims};
use crate::record::Record;
use crate::result::{Address, Outcome};
use crate::setup::Request;
use crate::{Error, Result, nft};

/// Takes the ports, or fails with the name of the pod that has one.
pub(crate) fn claim(request: &Request<'_>) -> Result<()> {
    let claim =
        Claim { data: request.data.clone(), forwards: request.forwards.clone(), localnet: Vec::new() };
    Claims::lock()?.take(request.uuid.as_str(), &claim)
}

/// Leads the ports to the pod through the network that hides it behind the host, or else through the last one.
pub(crate) fn start(request: &Request<'_>, record: &Record, outcomes: &[Outcome]) -> Result<()> {
    let masquerades = record.attachments.iter().position(|attachment| attachment.network.masquerades());
    let index = masquerades.unwrap_or(record.attachments.len().saturating_sub(1));
    let (Some(attachment), Some(outcome)) = (record.attachments.get(index), outcomes.get(index)) else {
        return Err(Error::Refused("Ports cannot be forwarded to a pod without a network".to_owned()));
    };
    let addresses: Vec<Address> = [false, true].into_iter().filter_map(|v6| outcome.address(v6)).collect();
    for forward in &request.forwards {
        if !addresses.iter().any(|address| forward.serves(address.ip.is_ipv6())) {
            return Err(Error::Refused(format!(
                "Port {} cannot be forwarded: network {:?} gave the pod no address of that family",
                forward.host_port, attachment.network.name
            )));
        }
    }
    let claims = Claims::lock()?;
    outcome.host_interfaces.iter().try_for_each(|interface| return_to_sender(interface))?;
    let mut localnet = Vec::new();
    if let Some(interface) = interface_behind(&addresses, outcome, record, index) {
        let shared = claims.all()?.iter().any(|(_, claim)| claim.localnet.contains(&interface));
        let setting = route_localnet(&interface);
        let is_off =
            fs::read_to_string(&setting).step(|| format!("read {}", setting.display()))?.trim() == "0";
        if is_off || shared {
            localnet.push(interface);
            let claim = Claim {
                data: request.data.clone(),
                forwards: request.forwards.clone(),
                localnet: localnet.clone(),
            };
            claims.write(request.uuid.as_str(), &claim)?;
        }
        // The guard stands before the door opens.
        nft::add(request.uuid.as_str(), &request.forwards, &addresses, &localnet)?;
        return fs::write(&setting, "1").step(|| format!("write {}", setting.display()));
    }
    nft::add(request.uuid.as_str(), &request.forwards, &addresses, &localnet)
}

/// Ends the forwarding and gives the ports back.
pub(crate) fn stop(pod: &str) -> Result<()> {
    end(&Claims::lock()?, pod)
}

/// The same for who holds the lock already: also the interfaces that were open for the pod are closed.
pub(crate) fn end(claims: &Claims, pod: &str) -> Result<()> {
    let (own, others): (Vec<_>, Vec<_>) =
        claims.all()?.into_iter().partition(|(holder, _)| holder.as_str() == pod);
    let of_others = |interface: &&String| others.iter().any(|(_, claim)| claim.localnet.contains(*interface));
    let interfaces = own.iter().flat_map(|(_, claim)| &claim.localnet);
    for interface in interfaces.filter(|interface| !of_others(interface)) {
        let setting = route_localnet(interface);
        // An interface of the pod alone is gone with the pod, maybe at this very moment.
        if setting.exists() {
            let written = fs::write(&setting, "0");
            if setting.exists() {
                written.step(|| format!("write {}", setting.display()))?;
            }
        }
    }
    nft::remove(pod)?;
    claims.drop_of(pod).map(|_| ())
}

/// Lets a bridge send packets back through the port that they came in by: what a pod sends to itself by an address of
/// the host takes that way where bridges hand packets to netfilter. It ends with the port, which is the pod's.
fn return_to_sender(interface: &str) -> Result<()> {
    let setting = PathBuf::from(format!("/sys/class/net/{interface}/brport/hairpin_mode"));
    if setting.exists() {
        fs::write(&setting, "1").step(|| format!("write {}", setting.display()))
    } else {
        Ok(())
    }
}

fn route_localnet(interface: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/ipv4/conf/{interface}/route_localnet"))
}

/// The interface of the host through which packets for the pod leave, if it was made for pods.
fn interface_behind(
    addresses: &[Address],
    outcome: &Outcome,
    record: &Record,
    index: usize,
) -> Option<String> {
    let v4 = addresses.iter().find_map(|address| match address.ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    })?;
    let interface = route(&fs::read_to_string("/proc/net/route").ok()?, v4)?;
    let kind = record.attachments.get(index)?.network.plugins.first()?.get("type")?.as_str()?;
    let is_ours = outcome.host_interfaces.contains(&interface) || ["ptp", "bridge"].contains(&kind);
    is_ours.then_some(interface)
}

/// The interface of the most particular route to `to` in the text of `/proc/net/route`, the default route aside.
fn route(table: &str, to: Ipv4Addr) -> Option<String> {
    let leads_there = |route: &Route| match route.destination {
        (IpAddr::V4(_), 0) | (IpAddr::V6(_), _) => false,
        (IpAddr::V4(net), prefix) => {
            let mask = u32::MAX << (32 - u32::from(prefix));
            u32::from(to) & mask == u32::from(net)
        }
    };
    sys::routes::parse4(table)
        .filter(leads_there)
        .max_by_key(|route| route.destination.1)
        .map(|route| route.interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_particular_route() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            veth1\t021C10AC\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n\
            cni0\t001C10AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        for (to, interface) in [
            ("172.16.28.2", Some("veth1")),
            ("172.16.28.3", Some("cni0")),
            ("172.17.0.9", Some("eth0")),
            ("8.8.8.8", None),
        ] {
            assert_eq!(route(table, to.parse().unwrap()).as_deref(), interface, "{to}");
        }
    }
}
