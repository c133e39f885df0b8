//! A D-Bus connection that blocks: no threads, no runtime.
//!
//! The encoding is zbus's. Its connections are not used, for two reasons: they start threads, and a process with threads
//! cannot change its mount namespace any more; and they refuse what systemd sends on its private socket, where
//! the sender of a message is `org.freedesktop.systemd1` and no unique name. What is left to do here is little:
//!
//! ```text
//! ours    NUL "AUTH EXTERNAL " hex(uid) CRLF "BEGIN" CRLF, then messages at once
//! theirs  "OK " guid CRLF, then messages
//!
//! message = endian 'l', type, flags, version 1, body length, serial, [(field, variant)], padding to 8, body
//! ```

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use zbus::wire::serialized::{Context, Data};
use zbus::wire::{Endian, to_bytes};
use zbus::{DynamicType, Signature, Type, Variant};

/// Where the system bus is, unless `DBUS_SYSTEM_BUS_ADDRESS` says otherwise.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// The largest message that we read. The standard allows 128 MiB; what we ask for has a few hundred bytes.
const LARGEST: usize = 1024 * 1024;

/// The part of a header that has a fixed size, up to the length of the fields.
const FIXED: usize = 16;

type Header<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Variant<'a>)>);

/// Types of messages.
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Numbers of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// What goes wrong in a conversation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// There is no conversation.
    #[error("{0}")]
    Connection(#[from] io::Error),
    /// The peer sends what makes no sense.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The answer to a call is an error.
    #[error("{name}: {text}")]
    Answer {
        /// `org.freedesktop.DBus.Error.AccessDenied`, say.
        name: String,
        /// What it says to people.
        text: String,
    },
}

impl From<zbus::Error> for Fault {
    fn from(error: zbus::Error) -> Self {
        Fault::Malformed(error.to_string())
    }
}

type Result<T> = std::result::Result<T, Fault>;

/// Whose method a call is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method<'a> {
    pub(crate) destination: &'a str,
    pub(crate) path: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) member: &'a str,
}

/// One message that came in.
#[derive(Debug)]
pub(crate) struct Message {
    kind: u8,
    interface: String,
    member: String,
    error_name: String,
    reply_to: u32,
    signature: Signature,
    body: Data<'static, 'static>,
}

impl Message {
    /// Whether it is this signal.
    pub(crate) fn is_signal(&self, interface: &str, member: &str) -> bool {
        self.kind == SIGNAL && self.interface == interface && self.member == member
    }

    /// What it carries.
    pub(crate) fn body<'a, T: serde::Deserialize<'a> + Type>(&'a self) -> Result<T> {
        let (have, want) = (self.signature.to_string(), T::SIGNATURE.to_string());
        if arguments(&have) != arguments(&want) {
            return Err(Fault::Malformed(format!("a body of type {have} where {want} belongs")));
        }
        Ok(self.body.deserialize()?.0)
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: UnixStream,
    serial: u32,
    deadline: Instant,
    /// Came in while something else was waited for.
    waiting: VecDeque<Message>,
    /// Read and not yet taken apart.
    input: Vec<u8>,
}

impl Connection {
    /// Connects to the system bus. All of the conversation must be over by `deadline`.
    pub(crate) fn system(deadline: Instant) -> Result<Self> {
        let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|_| SYSTEM_BUS.to_owned());
        let mut last =
            io::Error::new(io::ErrorKind::Unsupported, format!("no usable address in {address:?}"));
        for address in address.split(';').filter_map(parse_address) {
            match UnixStream::connect_addr(&address?) {
                Ok(socket) => {
                    let mut connection = Connection::authenticate(socket, deadline)?;
                    connection.start(&HELLO, &())?;
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// Connects to a peer that is no bus.
    pub(crate) fn peer(path: &str, deadline: Instant) -> Result<Self> {
        Connection::authenticate(UnixStream::connect(path)?, deadline)
    }

    fn authenticate(mut socket: UnixStream, deadline: Instant) -> Result<Self> {
        let uid: String = rustix::process::geteuid()
            .as_raw()
            .to_string()
            .bytes()
            .map(|digit| format!("{digit:02x}"))
            .collect();
        socket.write_all(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes())?;
        let mut connection =
            Connection { socket, serial: 0, deadline, waiting: VecDeque::new(), input: Vec::new() };
        let end = loop {
            if let Some(end) = connection.input.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            if connection.input.len() > LARGEST {
                return Err(Fault::Malformed("endless answer to the authentication".to_owned()));
            }
            connection.fill()?;
        };
        let answer: Vec<u8> = connection.input.drain(..end + 2).collect();
        if answer.starts_with(b"OK ") {
            return Ok(connection);
        }
        let answer = String::from_utf8_lossy(&answer).trim().to_owned();
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("authentication: {answer}")).into())
    }

    /// Sends a call and does not wait; the number is what the answer will refer to.
    pub(crate) fn start<B>(&mut self, method: &Method<'_>, body: &B) -> Result<u32>
    where
        B: serde::Serialize + DynamicType,
    {
        self.serial += 1;
        let bytes = encode(method, self.serial, body)?;
        self.socket.write_all(&bytes)?;
        Ok(self.serial)
    }

    /// Waits for the answer to a call.
    pub(crate) fn answer(&mut self, serial: u32) -> Result<Message> {
        loop {
            let message = self.read()?;
            match message.kind {
                METHOD_RETURN if message.reply_to == serial => return Ok(message),
                ERROR if message.reply_to == serial => {
                    let text = message.body::<(String,)>().map(|(text,)| text).unwrap_or_default();
                    return Err(Fault::Answer { name: message.error_name, text });
                }
                SIGNAL => self.waiting.push_back(message),
                _ => {}
            }
        }
    }

    /// The next signal.
    pub(crate) fn signal(&mut self) -> Result<Message> {
        loop {
            match self.waiting.pop_front() {
                Some(message) => return Ok(message),
                None => {
                    let message = self.read()?;
                    if message.kind == SIGNAL {
                        return Ok(message);
                    }
                }
            }
        }
    }

    fn read(&mut self) -> Result<Message> {
        loop {
            if let Some((message, length)) = decode(&self.input)? {
                self.input.drain(..length);
                return Ok(message);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                self.input.extend_from_slice(&buffer[..length]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }
}

/// The first call on a bus.
const HELLO: Method<'static> = Method {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
};

/// Asks the bus for signals.
pub(crate) const ADD_MATCH: Method<'static> = Method { member: "AddMatch", ..HELLO };

/// One address of `DBUS_SYSTEM_BUS_ADDRESS`; `None` for other ways of transport than unix sockets.
fn parse_address(address: &str) -> Option<io::Result<SocketAddr>> {
    address.strip_prefix("unix:")?.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        match key {
            "path" => Some(SocketAddr::from_pathname(unescape(value))),
            "abstract" => Some(SocketAddr::from_abstract_name(unescape(value))),
            _ => None,
        }
    })
}

/// `%XX` stands for a byte.
fn unescape(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii() => {
                plain.push(byte.into());
                plain.push_str(&part[2..]);
            }
            _ => {
                plain.push('%');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// A message carries the types of its arguments one after the other, not as a structure.
fn arguments(signature: &str) -> &str {
    signature.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(signature)
}

/// Adds one field to a header: a string, an object path or a signature.
fn push_field(bytes: &mut Vec<u8>, number: u8, kind: u8, text: &str) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(&[number, 1, kind, 0]);
    // All of these are short: names of ours, and signatures have 255 bytes at most.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend_from_slice(if kind == b'g' { &length[..1] } else { &length });
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

fn encode<B>(method: &Method<'_>, serial: u32, body: &B) -> Result<Vec<u8>>
where
    B: serde::Serialize + DynamicType,
{
    let body_context = Context::new(Endian::Little, 0);
    let signature = body.signature();
    let encoded = if signature == Signature::Unit { None } else { Some(to_bytes(body_context, body)?) };
    let body: &[u8] = encoded.as_ref().map_or(&[], |data| data.bytes());
    let body_length = u32::try_from(body.len()).map_err(|_| Fault::Malformed("too long".to_owned()))?;
    let mut bytes = vec![b'l', METHOD_CALL, 0, 1];
    bytes.extend_from_slice(&body_length.to_le_bytes());
    bytes.extend_from_slice(&serial.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    push_field(&mut bytes, PATH, b'o', method.path);
    push_field(&mut bytes, INTERFACE, b's', method.interface);
    push_field(&mut bytes, MEMBER, b's', method.member);
    push_field(&mut bytes, DESTINATION, b's', method.destination);
    if encoded.is_some() {
        push_field(&mut bytes, SIGNATURE, b'g', arguments(&signature.to_string()));
    }
    let fields_length =
        u32::try_from(bytes.len() - FIXED).map_err(|_| Fault::Malformed("too long".to_owned()))?;
    bytes[FIXED - 4..FIXED].copy_from_slice(&fields_length.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// The first message of `input` and its length; `None` when it is not all there.
fn decode(input: &[u8]) -> Result<Option<(Message, usize)>> {
    let Some(fixed) = input.first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let endian = match fixed[0] {
        b'l' => Endian::Little,
        b'B' => Endian::Big,
        other => return Err(Fault::Malformed(format!("byte order {other}"))),
    };
    let number = |at: usize| {
        let bytes = [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
        let value = match endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        };
        usize::try_from(value).ok().filter(|&value| value <= LARGEST)
    };
    let (Some(body_length), Some(fields_length)) = (number(4), number(12)) else {
        return Err(Fault::Malformed("too long".to_owned()));
    };
    let body_start = (FIXED + fields_length).next_multiple_of(8);
    let length = body_start + body_length;
    let Some(bytes) = input.get(..length) else {
        return Ok(None);
    };
    let header = Data::new(bytes[..FIXED + fields_length].to_vec(), Context::new(endian, 0));
    let (header, _): (Header<'_>, usize) = header.deserialize()?;
    let (_, kind, _, _, _, _, fields) = header;
    let mut message = Message {
        kind,
        interface: String::new(),
        member: String::new(),
        error_name: String::new(),
        reply_to: 0,
        signature: Signature::Unit,
        body: Data::new(bytes[body_start..].to_vec(), Context::new(endian, 0)),
    };
    for (field, value) in fields {
        match (field, value) {
            (INTERFACE, Variant::Str(text)) => text.as_str().clone_into(&mut message.interface),
            (MEMBER, Variant::Str(text)) => text.as_str().clone_into(&mut message.member),
            (ERROR_NAME, Variant::Str(text)) => text.as_str().clone_into(&mut message.error_name),
            (REPLY_SERIAL, Variant::U32(serial)) => message.reply_to = serial,
            (SIGNATURE, Variant::Signature(signature)) => message.signature = signature,
            _ => {}
        }
    }
    Ok(Some((message, length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::ObjectPath;

    /// What a peer would send: a call, turned into the wanted type.
    fn message(kind: u8, body: &(impl serde::Serialize + DynamicType)) -> Vec<u8> {
        let method = Method { destination: "a.b", path: "/p", interface: "i.f", member: "Gone" };
        let mut bytes = encode(&method, 7, body).unwrap();
        bytes[1] = kind;
        bytes
    }

    #[test]
    fn reads_what_it_writes() {
        let body = (3_u32, ObjectPath::try_from("/job/1").unwrap(), "x.scope", "done");
        let bytes = message(SIGNAL, &body);
        for short in 0..bytes.len() {
            assert!(decode(&bytes[..short]).unwrap().is_none(), "{short}");
        }
        let mut two = bytes.clone();
        two.extend_from_slice(b"l\x01");
        let (read, length) = decode(&two).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        assert!(read.is_signal("i.f", "Gone") && !read.is_signal("i.f", "New"));
        let (id, job, _, result): (u32, ObjectPath<'_>, &str, &str) = read.body().unwrap();
        assert_eq!((id, job.as_str(), result), (3, "/job/1", "done"));
        assert!(read.body::<(u32,)>().is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [
            b"x\x01\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0".as_slice(),
            b"l\x01\0\x01\xff\xff\xff\xff\0\0\0\x01\0\0\0\0",
            b"l\x01\0\x01\0\0\0\0\x01\0\0\0\xff\xff\xff\x7f",
            b"l\x02\0\x01\0\0\0\0\x01\0\0\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn holds_a_conversation() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let peer = std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            let length = theirs.read(&mut buffer).unwrap();
            assert!(buffer[..length].starts_with(b"\0AUTH EXTERNAL 3"), "{:?}", &buffer[..length]);
            theirs.write_all(b"OK 0123456789\r\n").unwrap();
            let length = theirs.read(&mut buffer).unwrap();
            assert!(length > 16);
            // A signal comes before the answer, in two pieces.
            let signal = message(SIGNAL, &("first",));
            theirs.write_all(&signal[..20]).unwrap();
            theirs.write_all(&signal[20..]).unwrap();
            let fields = vec![
                (REPLY_SERIAL, Variant::from(1_u32)),
                (ERROR_NAME, Variant::from("org.x.Refused")),
                // As systemd does on its private socket.
                (7, Variant::from("org.freedesktop.systemd1")),
                (SIGNATURE, Variant::Signature(Signature::try_from("s").unwrap())),
            ];
            let body = to_bytes(Context::new(Endian::Little, 0), "no").unwrap();
            let header: Header<'_> = (b'l', ERROR, 0, 1, 7, 9, fields);
            let mut bytes = to_bytes(Context::new(Endian::Little, 0), &header).unwrap().bytes().to_vec();
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes.extend_from_slice(body.bytes());
            theirs.write_all(&bytes).unwrap();
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut connection = Connection::authenticate(ours, deadline).unwrap();
        let serial = connection.start(&ADD_MATCH, &("type='signal'",)).unwrap();
        let refused = connection.answer(serial).unwrap_err();
        assert_eq!(refused.to_string(), "org.x.Refused: no");
        assert_eq!(connection.signal().unwrap().body::<(String,)>().unwrap().0, "first");
        assert!(matches!(connection.signal(), Err(Fault::Connection(_))));
        peer.join().unwrap();
    }

    #[test]
    fn a_silent_peer_is_not_waited_for() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let error = Connection::authenticate(ours, Instant::now() + Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, Fault::Connection(error) if error.kind() == io::ErrorKind::TimedOut));
    }

    #[test]
    fn addresses_of_unix_sockets() {
        let path =
            |address| parse_address(address).unwrap().unwrap().as_pathname().map(std::path::Path::to_owned);
        assert_eq!(path("unix:path=/run/bus"), Some("/run/bus".into()));
        assert_eq!(path("unix:guid=12,path=/run/a%20b"), Some("/run/a b".into()));
        let name = parse_address("unix:abstract=bus").unwrap().unwrap();
        assert_eq!(name.as_abstract_name(), Some(b"bus".as_slice()));
        assert!(parse_address("tcp:host=localhost").is_none());
        assert!(parse_address("unix:tmpdir=/tmp").is_none());
        assert_eq!(unescape("%zz%4"), "%zz%4");
    }
}
