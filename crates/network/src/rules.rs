//! Rules of nf_tables, expression by expression.

use std::net::IpAddr;

use sys::netlink::Attributes;

const REGISTER: u32 = 1;
const SECOND_REGISTER: u32 = 2;
const VERDICT_REGISTER: u32 = 0;

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cmp {
    Equal = 0,
    NotEqual = 1,
    AtMost = 3,
    AtLeast = 5,
}

/// A rule: conditions, and at the end what is done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rule {
    expressions: Attributes,
    v6: bool,
}

impl Rule {
    /// For packets of IPv4 or IPv6.
    pub(crate) fn family(v6: bool) -> Self {
        const KEY_FAMILY: u32 = 15;
        let rule = Rule { v6, ..Rule::default() };
        rule.meta(KEY_FAMILY).compare(Cmp::Equal, &[if v6 { 10 } else { 2 }])
    }

    pub(crate) fn expressions(&self) -> &Attributes {
        &self.expressions
    }

    /// For packets of a protocol above IP.
    pub(crate) fn protocol(self, number: u8) -> Self {
        const KEY_PROTOCOL: u32 = 16;
        self.meta(KEY_PROTOCOL).compare(Cmp::Equal, &[number])
    }

    /// For packets that come in through an interface.
    pub(crate) fn arriving_at(self, name: &str) -> Self {
        const KEY_IN_NAME: u32 = 6;
        let mut padded = name.as_bytes().to_vec();
        padded.resize(16, 0);
        self.meta(KEY_IN_NAME).compare(Cmp::Equal, &padded)
    }

    /// For packets to this address, or to others.
    pub(crate) fn destination(self, ip: IpAddr, how: Cmp) -> Self {
        self.address(false).compare(how, &octets(ip))
    }

    /// For packets from the network of an address.
    pub(crate) fn source_in(self, ip: IpAddr, prefix: u8) -> Self {
        let ip = octets(ip);
        let mask = mask(ip.len(), prefix);
        let network: Vec<u8> = ip.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
        self.address(true).bits(&mask).compare(Cmp::Equal, &network)
    }

    /// For packets from or to an address of 127.0.0.0/8.
    pub(crate) fn loopback(self, source: bool) -> Self {
        self.address(source).bits(&[255, 0, 0, 0]).compare(Cmp::Equal, &[127, 0, 0, 0])
    }

    /// For packets to any address of this host.
    pub(crate) fn for_this_host(self) -> Self {
        const RESULT_TYPE: u32 = 3;
        const OF_DESTINATION: u32 = 2;
        const LOCAL: u32 = 2;
        let fib = Attributes::default().number(1, REGISTER).number(2, RESULT_TYPE).number(3, OF_DESTINATION);
        self.expression("fib", &fib).compare(Cmp::Equal, &LOCAL.to_ne_bytes())
    }

    /// For packets to a port.
    pub(crate) fn port(self, port: u16, how: Cmp) -> Self {
        const TRANSPORT: u32 = 2;
        self.payload(TRANSPORT, 2, 2).compare(how, &port.to_be_bytes())
    }

    /// For packets of a connection that some rule led elsewhere.
    pub(crate) fn was_led(self) -> Self {
        const KEY_STATUS: u32 = 2;
        const DESTINATION_CHANGED: u32 = 1 << 5;
        let ct = Attributes::default().number(1, REGISTER).number(2, KEY_STATUS);
        let bit = DESTINATION_CHANGED.to_ne_bytes();
        self.expression("ct", &ct).bits(&bit).compare(Cmp::NotEqual, &[0; 4])
    }

    /// Leads the connection to another address, and another port if there is one.
    pub(crate) fn lead_to(self, ip: IpAddr, port: Option<u16>) -> Self {
        const DESTINATION: u32 = 1;
        let family = if self.v6 { 10 } else { 2 };
        let mut nat = Attributes::default().number(1, DESTINATION).number(2, family).number(3, REGISTER);
        let mut rule = self.immediate(REGISTER, &octets(ip));
        if let Some(port) = port {
            rule = rule.immediate(SECOND_REGISTER, &port.to_be_bytes());
            nat = nat.number(5, SECOND_REGISTER);
        }
        rule.expression("nat", &nat)
    }

    /// Gives the connection the address of this host as its source.
    pub(crate) fn masquerade(self) -> Self {
        self.expression("masq", &Attributes::default())
    }

    /// Drops the packet.
    pub(crate) fn drop(self) -> Self {
        let code = Attributes::default().number(1, 0);
        let verdict = Attributes::default().nest(2, &code);
        self.expression("immediate", &Attributes::default().number(1, VERDICT_REGISTER).nest(2, &verdict))
    }

    fn address(self, source: bool) -> Self {
        const NETWORK: u32 = 1;
        let (offset, length) = match (self.v6, source) {
            (false, true) => (12, 4),
            (false, false) => (16, 4),
            (true, true) => (8, 16),
            (true, false) => (24, 16),
        };
        self.payload(NETWORK, offset, length)
    }

    fn payload(self, base: u32, offset: u32, length: u32) -> Self {
        let data =
            Attributes::default().number(1, REGISTER).number(2, base).number(3, offset).number(4, length);
        self.expression("payload", &data)
    }

    fn meta(self, key: u32) -> Self {
        self.expression("meta", &Attributes::default().number(1, REGISTER).number(2, key))
    }

    fn compare(self, how: Cmp, value: &[u8]) -> Self {
        let data = Attributes::default().number(1, REGISTER).number(2, how as u32).nest(3, &value_of(value));
        self.expression("cmp", &data)
    }

    fn bits(self, mask: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).unwrap_or_default();
        let data = Attributes::default()
            .number(1, REGISTER)
            .number(2, REGISTER)
            .number(3, length)
            .nest(4, &value_of(mask))
            .nest(5, &value_of(&vec![0; mask.len()]));
        self.expression("bitwise", &data)
    }

    fn immediate(self, register: u32, value: &[u8]) -> Self {
        self.expression("immediate", &Attributes::default().number(1, register).nest(2, &value_of(value)))
    }

    fn expression(mut self, name: &str, data: &Attributes) -> Self {
        let expression = Attributes::default().text(1, name).nest(2, data);
        self.expressions = self.expressions.nest(1, &expression);
        self
    }
}

fn value_of(bytes: &[u8]) -> Attributes {
    Attributes::default().bytes(1, bytes)
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn mask(length: usize, prefix: u8) -> Vec<u8> {
    let byte = |index: usize| {
        let bits = usize::from(prefix).saturating_sub(index * 8).min(8);
        u8::MAX.checked_shl(8 - u32::try_from(bits).unwrap_or(0)).unwrap_or(0)
    };
    (0..length).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        for (length, prefix, bytes) in [
            (4, 24, vec![255, 255, 255, 0]),
            (4, 0, vec![0; 4]),
            (4, 32, vec![255; 4]),
            (4, 20, vec![255, 255, 240, 0]),
        ] {
            assert_eq!(mask(length, prefix), bytes, "{prefix}");
        }
        assert_eq!(mask(16, 64), [[255; 8], [0; 8]].concat());
    }
}
