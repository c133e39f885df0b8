//! Messages to the kernel about its network.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

const REQUEST: u16 = 0x1;
const ERROR: u16 = 0x2;
const NESTED: u16 = 0x8000;

/// Flags of a message that makes something.
pub const CREATE: u16 = 0x400;
/// Flags of a message that puts something behind what is there.
pub const APPEND: u16 = 0x800;

/// Attributes, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// An attribute of bytes.
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A name, with the zero at its end.
    pub fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// A number in the order of the network, as nf_tables wants all of them.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Attributes in an attribute.
    pub fn nest(self, kind: u16, inner: &Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }
}

/// A message: its type, flags, what precedes the attributes, and these.
pub fn message(kind: u16, flags: u16, sequence: u32, header: &[u8], attributes: &Attributes) -> Vec<u8> {
    let length = 16 + header.len() + attributes.0.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | REQUEST).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(header);
    bytes.extend(&attributes.0);
    bytes
}

/// Sends `bytes` to the kernel's part for `protocol` (NETLINK_ROUTE, which is number 0, without one): messages of which the
/// one numbered `last` asks for an answer. Waits for the first failure or that answer.
pub fn exchange(protocol: Option<Protocol>, bytes: &[u8], last: u32) -> Result<(), Errno> {
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    // A pod may forward many ports at once. Root may have a larger buffer; if not, sending says so.
    let size = bytes.len().max(1 << 16) * 2;
    let _ = rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, size);
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, bytes, SendFlags::empty(), &kernel)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (_, length) = match rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty()) {
            Err(Errno::INTR) => continue,
            received => received?,
        };
        for (sequence, code) in answers(buffer.get(..length).unwrap_or_default()) {
            if code != 0 {
                return Err(Errno::from_raw_os_error(-code));
            }
            if sequence == last {
                return Ok(());
            }
        }
    }
}

/// The acknowledgements among messages from the kernel: of which message, and the (negative) error.
fn answers(mut bytes: &[u8]) -> Vec<(u32, i32)> {
    let mut answers = Vec::new();
    let four =
        |bytes: &[u8], at: usize| bytes.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
    while let Some(length) = four(bytes, 0).map(u32::from_ne_bytes) {
        let length = usize::try_from(length).unwrap_or(usize::MAX).max(16);
        let kind = bytes.get(4..6).and_then(|two| <[u8; 2]>::try_from(two).ok()).map(u16::from_ne_bytes);
        if let (Some(ERROR), Some(sequence), Some(code)) = (kind, four(bytes, 8), four(bytes, 16)) {
            answers.push((u32::from_ne_bytes(sequence), i32::from_ne_bytes(code)));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    answers
}

/// Asks for an acknowledgement of a message.
pub const WITH_ACK: u16 = 0x4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let attributes = Attributes::default().text(1, "ab").nest(2, &Attributes::default().number(3, 5));
        let mut expected: Vec<u8> = Vec::new();
        for part in [
            &7_u16.to_ne_bytes()[..],
            &1_u16.to_ne_bytes(),
            b"ab\0\0",
            &12_u16.to_ne_bytes(),
            &0x8002_u16.to_ne_bytes(),
            &8_u16.to_ne_bytes(),
            &3_u16.to_ne_bytes(),
            &[0, 0, 0, 5],
        ] {
            expected.extend(part);
        }
        assert_eq!(attributes.0, expected);
    }

    #[test]
    fn finds_the_answers() {
        let error = |sequence: u32, code: i32| {
            message(ERROR, 0, sequence, &code.to_ne_bytes(), &Attributes::default())
        };
        let mut bytes = error(1, 0);
        bytes.extend(message(7, 0, 9, &[0; 4], &Attributes::default()));
        bytes.extend(error(2, -17));
        assert_eq!(answers(&bytes), [(1, 0), (2, -17)]);
        assert_eq!(answers(&bytes[..5]), []);
    }
}
