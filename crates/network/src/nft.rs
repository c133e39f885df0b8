//! Port forwarding: one nf_tables table for each pod that has forwarded ports, made and removed in one step.
//!
//! ```text
//! table inet rkt-UUID {
//!   chain guard       { type filter hook prerouting priority raw     interfaces with route_localnet: no loopback addresses from the pod }
//!   chain prerouting  { type nat hook prerouting priority dstnat     from outside and from pods }
//!   chain output      { type nat hook output priority -100           from the host itself }
//!   chain postrouting { type nat hook postrouting priority srcnat-1  answers must come back through the host: from its loopback address,
//!                                                                    from the pod itself and its neighbours on one bridge }
//! }
//! ```
//! Who asks for `::1` is not led to a pod: the kernel lets no packet with that source leave the host.

use std::net::IpAddr;

use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use crate::error::Context;
use crate::ports::{Forward, Protocol};
use crate::result::Address;
use crate::rules::{Cmp, Rule};
use crate::{Error, Result};
use sys::netlink::{APPEND, Attributes, CREATE, WITH_ACK, exchange, message};

/// A range whose ports change on the way needs a rule a port.
const RULES_MAX: usize = 4096;

const SUBSYSTEM: u16 = 10;
const INET: u8 = 1;
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;

/// Messages that take effect together or not at all.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Batch {
    fn new() -> Self {
        let mut batch = Batch::default();
        batch.edge(BEGIN);
        batch
    }

    fn edge(&mut self, kind: u16) {
        let mut header = vec![0, 0];
        header.extend(SUBSYSTEM.to_be_bytes());
        self.bytes.extend(message(kind, 0, self.sequence, &header, &Attributes::default()));
        self.sequence += 1;
    }

    fn add(&mut self, kind: u16, flags: u16, attributes: &Attributes) {
        let flags = flags | WITH_ACK;
        self.bytes.extend(message(SUBSYSTEM << 8 | kind, flags, self.sequence, &[INET, 0, 0, 0], attributes));
        self.sequence += 1;
    }

    fn commit(mut self) -> Result<(), Errno> {
        let last = self.sequence - 1;
        self.edge(END);
        exchange(Some(NETFILTER), &self.bytes, last)
    }

    fn chain(&mut self, table: &str, name: &str, kind: &str, hook: u32, priority: i32) {
        let hook = Attributes::default().number(1, hook).number(2, priority.cast_unsigned());
        let chain = Attributes::default().text(1, table).text(3, name).nest(4, &hook).text(7, kind);
        self.add(NEWCHAIN, CREATE, &chain);
    }

    fn rule(&mut self, table: &str, chain: &str, rule: &Rule) {
        let rule = Attributes::default().text(1, table).text(2, chain).nest(4, rule.expressions());
        self.add(NEWRULE, CREATE | APPEND, &rule);
    }
}

fn table(pod: &str) -> String {
    format!("rkt-{pod}")
}

/// Leads ports of the host to `addresses` of `pod`. `localnet` are the interfaces behind which it is.
pub(crate) fn add(pod: &str, forwards: &[Forward], addresses: &[Address], localnet: &[String]) -> Result<()> {
    let table = table(pod);
    let mut batch = Batch::new();
    batch.add(NEWTABLE, CREATE, &Attributes::default().text(1, &table));
    batch.chain(&table, "guard", "filter", 0, -300);
    batch.chain(&table, "prerouting", "nat", 0, -100);
    batch.chain(&table, "output", "nat", 3, -100);
    batch.chain(&table, "postrouting", "nat", 4, 99);
    for interface in localnet {
        for source in [true, false] {
            batch.rule(&table, "guard", &Rule::family(false).arriving_at(interface).loopback(source).drop());
        }
    }
    let mut rules = Vec::new();
    for forward in forwards {
        for address in addresses.iter().filter(|address| forward.serves(address.ip.is_ipv6())) {
            rules.extend(destination_rules(forward, address.ip));
        }
    }
    if rules.len() > RULES_MAX {
        return Err(Error::Refused(format!(
            "Too many ports to forward: more than {RULES_MAX}. Ranges cost nothing where both ends have the same numbers"
        )));
    }
    for rule in &rules {
        batch.rule(&table, "prerouting", rule);
        batch.rule(&table, "output", rule);
    }
    for address in addresses {
        for rule in source_rules(*address) {
            batch.rule(&table, "postrouting", &rule);
        }
    }
    batch.commit().step(|| "forward ports with nf_tables".to_owned())
}

/// Ends the forwarding to `pod`, if there is one.
pub(crate) fn remove(pod: &str) -> Result<()> {
    let mut batch = Batch::new();
    batch.add(DELTABLE, 0, &Attributes::default().text(1, &table(pod)));
    match batch.commit() {
        // Without nf_tables in the kernel there is no table either.
        Ok(()) | Err(Errno::NOENT | Errno::PROTONOSUPPORT | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error).step(|| format!("remove the nf_tables table {}", table(pod))),
    }
}

fn destination_rules(forward: &Forward, pod: IpAddr) -> Vec<Rule> {
    let matching = |first: u16, last: u16| {
        let rule = Rule::family(pod.is_ipv6()).protocol(match forward.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        });
        let rule = match forward.particular_ip() {
            Some(ip) => rule.destination(ip, Cmp::Equal),
            None if pod.is_ipv6() => {
                rule.destination(std::net::Ipv6Addr::LOCALHOST.into(), Cmp::NotEqual).for_this_host()
            }
            None => rule.for_this_host(),
        };
        if first == last {
            rule.port(first, Cmp::Equal)
        } else {
            rule.port(first, Cmp::AtLeast).port(last, Cmp::AtMost)
        }
    };
    if forward.host_port == forward.pod_port {
        let last = forward.host_port.saturating_add(forward.count.saturating_sub(1));
        return vec![matching(forward.host_port, last).lead_to(pod, None)];
    }
    (0..forward.count)
        .map(|offset| {
            let (host, pod_port) =
                (forward.host_port.saturating_add(offset), forward.pod_port.saturating_add(offset));
            matching(host, host).lead_to(pod, Some(pod_port))
        })
        .collect()
}

fn source_rules(pod: Address) -> Vec<Rule> {
    let to_pod = || Rule::family(pod.ip.is_ipv6()).destination(pod.ip, Cmp::Equal).was_led();
    let mut rules = vec![to_pod().source_in(pod.ip, pod.prefix).masquerade()];
    if pod.ip.is_ipv4() {
        rules.push(to_pod().loopback(true).masquerade());
    }
    rules
}
