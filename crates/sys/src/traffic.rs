//! Traffic control: packets that arrive at one interface leave by another; see tc-u32(8) and tc-mirred(8).

use crate::Result;
use crate::netlink::{Attributes, CREATE, WITH_ACK, exchange, message};

const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;
const EXCLUSIVE: u16 = 0x200;
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
/// Where an interface keeps what looks at arriving packets (TC_H_INGRESS), and its number.
const INGRESS: u32 = 0xffff_fff1;
const ARRIVING: u32 = 0xffff_0000;

/// Sends everything that arrives at interface `from` out of interface `to` of the same namespace, before this host's own network, a
/// bridge or a socket of it hears of it. Sockets that see all packets (`tcpdump`) still do.
///
/// # Errors
/// `ENOENT` when the kernel lacks `sch_ingress`, `cls_u32` or `act_mirred`; it loads them where they are modules.
pub fn redirect(from: u32, to: u32) -> Result<()> {
    let qdisc = Attributes::default().text(KIND, "ingress");
    tell(NEW_QDISC, &header(from, ARRIVING, INGRESS, 0), &qdisc)?;
    let filter = Attributes::default().text(KIND, "u32").nest(OPTIONS, &everything_to(to));
    tell(NEW_FILTER, &header(from, 0, ARRIVING, ALL_FIRST), &filter)
}

fn tell(kind: u16, header: &[u8], attributes: &Attributes) -> Result<()> {
    exchange(None, &message(kind, CREATE | EXCLUSIVE | WITH_ACK, 1, header, attributes), 1)
}

/// The first in order (1), for every protocol (ETH_P_ALL, 3, in the order of the network).
const ALL_FIRST: u32 = 1 << 16 | 3_u16.to_be() as u32;

/// `struct tcmsg`: family, padding, interface, handle, parent, and what kind of message it is about.
fn header(index: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let numbers = [0, index, handle, parent, info];
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// A u32 filter with one key that fits all packets, and what it does: redirect and be done with the packet.
fn everything_to(to: u32) -> Attributes {
    const SELECTOR: u16 = 5;
    const ACTIONS: u16 = 7;
    const FIRST: u16 = 1;
    const ACTION_KIND: u16 = 1;
    const ACTION_OPTIONS: u16 = 2;
    const MIRRED: u16 = 2;
    const TERMINAL: u8 = 1;
    const KEYS: u8 = 1;
    const STOLEN: u32 = 4;
    const REDIRECT_OUT: u32 = 1;
    // struct tc_u32_sel: flags, shift, number of keys, and offsets and masks that are all zero; then a struct tc_u32_key: no bit counts.
    let mut selector = vec![0; 32];
    selector[0] = TERMINAL;
    selector[2] = KEYS;
    // struct tc_mirred: index, capabilities, what becomes of the packet here, two counts; direction, interface.
    let parameters: Vec<u8> =
        [0, 0, STOLEN, 0, 0, REDIRECT_OUT, to].iter().flat_map(|number: &u32| number.to_ne_bytes()).collect();
    let action = Attributes::default()
        .text(ACTION_KIND, "mirred")
        .nest(ACTION_OPTIONS, &Attributes::default().bytes(MIRRED, &parameters));
    Attributes::default()
        .bytes(SELECTOR, &selector)
        .nest(ACTIONS, &Attributes::default().nest(FIRST, &action))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `tc filter add dev … parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev …` says it.
    #[test]
    fn sizes_are_those_of_the_kernel() {
        assert_eq!(header(7, ARRIVING, INGRESS, 0).len(), 20);
        assert_eq!(
            ALL_FIRST.to_ne_bytes(),
            if cfg!(target_endian = "little") { [0, 3, 1, 0] } else { [0, 1, 0, 3] }
        );
        let length = message(NEW_FILTER, 0, 1, &header(7, 0, ARRIVING, ALL_FIRST), &everything_to(9)).len();
        // Headers of message and filter; the selector; then actions, the first, its kind, its options, the parameters.
        assert_eq!(length, 16 + 20 + (4 + 32) + 4 + 4 + (4 + 8) + 4 + (4 + 28));
    }
}
