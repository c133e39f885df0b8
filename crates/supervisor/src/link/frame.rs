//! Frames of the link.
//!
//! ```text
//! frame = length (4 bytes, big endian: all that follows) kind (1) number (4, big endian) payload
//!
//! kind        number   payload
//! 1 notice    0        JSON
//! 2 open      call     none                                       host to guest
//! 3 message   call     count (1), then for each descriptor: stream (4), flow (1); JSON
//! 4 closed    call     none
//! 5 data      stream   bytes; of a stream of datagrams: one of them
//! 6 end       stream   none: nothing more comes
//! 7 gone      stream   none: nothing more is taken
//! 8 credit    stream   bytes (4)
//! 9 window    stream   rows (2), columns (2)
//! 10 join     call     stream (4): from here on the connection itself is a stream           host to guest
//! 11 connect  stream   listener (4), user (4), group (4): somebody has connected to a socket    host to guest
//! ```

use super::stream::Flow;
use crate::control::WindowSize;

/// The longest frame of a guest: a message of the control socket and what surrounds it.
pub const LENGTH_MAX: usize = (1 << 20) + 64;

/// The longest frame of the host: an order to start, with all of the pod's apps.
pub const ORDER_MAX: usize = 16 << 20;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// JSON of an order or a report.
    Notice(Vec<u8>),
    /// Somebody calls the supervisor.
    Open(u32),
    /// A message of a call.
    Message {
        /// The call.
        call: u32,
        /// The streams of its descriptors, as whoever sends the frame sees them.
        streams: Vec<(u32, Flow)>,
        /// The message.
        json: Vec<u8>,
    },
    /// A call is over.
    Closed(u32),
    /// Bytes of a stream.
    Data(u32, Vec<u8>),
    /// A stream has been read to its end.
    End(u32),
    /// A stream is not written to any more.
    Gone(u32),
    /// So many bytes more may be sent.
    Credit(u32, u32),
    /// The terminal of a stream has a new size.
    Window(u32, WindowSize),
    /// A call goes on as a stream of bytes.
    Join {
        /// The call.
        call: u32,
        /// The stream.
        stream: u32,
    },
    /// Somebody has connected to a socket of the host.
    Connect {
        /// The stream of the connection.
        stream: u32,
        /// The number of the socket.
        listener: u32,
        /// Who has connected, by user and group.
        peer: (u32, u32),
    },
}

impl Frame {
    /// Appends the frame to `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend([0; 4]);
        let mut head = |kind: u8, number: u32| {
            bytes.push(kind);
            bytes.extend(number.to_be_bytes());
        };
        match self {
            Frame::Notice(json) => {
                head(1, 0);
                bytes.extend(json);
            }
            Frame::Open(call) => head(2, *call),
            Frame::Message { call, streams, json } => {
                head(3, *call);
                // Three travel with a message at most.
                bytes.push(u8::try_from(streams.len()).unwrap_or(u8::MAX));
                for (stream, flow) in streams {
                    bytes.extend(stream.to_be_bytes());
                    bytes.push(flow.to_byte());
                }
                bytes.extend(json);
            }
            Frame::Closed(call) => head(4, *call),
            Frame::Data(stream, data) => {
                head(5, *stream);
                bytes.extend(data);
            }
            Frame::End(stream) => head(6, *stream),
            Frame::Gone(stream) => head(7, *stream),
            Frame::Credit(stream, count) => {
                head(8, *stream);
                bytes.extend(count.to_be_bytes());
            }
            Frame::Window(stream, size) => {
                head(9, *stream);
                bytes.extend(size.rows.to_be_bytes());
                bytes.extend(size.columns.to_be_bytes());
            }
            Frame::Join { call, stream } => {
                head(10, *call);
                bytes.extend(stream.to_be_bytes());
            }
            Frame::Connect { stream, listener, peer: (user, group) } => {
                head(11, *stream);
                [listener, user, group].into_iter().for_each(|number| bytes.extend(number.to_be_bytes()));
            }
        }
        let length = u32::try_from(bytes.len() - start - 4).unwrap_or(u32::MAX);
        bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Takes the next whole frame, of at most `longest` bytes, off the front of `bytes`; `None` while there is none.
    ///
    /// # Errors
    /// When what is there cannot become one.
    pub fn decode(bytes: &mut Vec<u8>, longest: usize) -> Result<Option<Frame>, Malformed> {
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Malformed)?;
        if !(5..=longest).contains(&length) {
            return Err(Malformed);
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let frame = Self::parse(body)?;
        bytes.drain(..4 + length);
        Ok(Some(frame))
    }

    fn parse(body: &[u8]) -> Result<Frame, Malformed> {
        let [kind, a, b, c, d, payload @ ..] = body else { return Err(Malformed) };
        let number = u32::from_be_bytes([*a, *b, *c, *d]);
        let empty = |frame| if payload.is_empty() { Ok(frame) } else { Err(Malformed) };
        match kind {
            1 => Ok(Frame::Notice(payload.to_vec())),
            2 => empty(Frame::Open(number)),
            3 => Self::message(number, payload),
            4 => empty(Frame::Closed(number)),
            5 => Ok(Frame::Data(number, payload.to_vec())),
            6 => empty(Frame::End(number)),
            7 => empty(Frame::Gone(number)),
            8 => {
                let count = payload.try_into().map_err(|_| Malformed)?;
                Ok(Frame::Credit(number, u32::from_be_bytes(count)))
            }
            9 => {
                let &[a, b, c, d] = payload else { return Err(Malformed) };
                let (rows, columns) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                Ok(Frame::Window(number, WindowSize { rows, columns }))
            }
            10 => {
                let stream = payload.try_into().map_err(|_| Malformed)?;
                Ok(Frame::Join { call: number, stream: u32::from_be_bytes(stream) })
            }
            11 => {
                let (words, []) = payload.as_chunks::<4>() else { return Err(Malformed) };
                let &[listener, user, group] = words else { return Err(Malformed) };
                let peer = (u32::from_be_bytes(user), u32::from_be_bytes(group));
                Ok(Frame::Connect { stream: number, listener: u32::from_be_bytes(listener), peer })
            }
            _ => Err(Malformed),
        }
    }

    fn message(call: u32, payload: &[u8]) -> Result<Frame, Malformed> {
        let (&count, rest) = payload.split_first().ok_or(Malformed)?;
        let count = usize::from(count);
        let (descriptors, json) = rest.split_at_checked(count * 5).ok_or(Malformed)?;
        let streams = descriptors
            .chunks_exact(5)
            .map(|chunk| {
                let &[a, b, c, d, flow] = chunk else { return Err(Malformed) };
                let flow = Flow::from_byte(flow).ok_or(Malformed)?;
                Ok((u32::from_be_bytes([a, b, c, d]), flow))
            })
            .collect::<Result<_, _>>()?;
        Ok(Frame::Message { call, streams, json: json.to_vec() })
    }
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The other side of the link sends what is no frame")]
pub struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Notice(b"{}".to_vec()),
            Frame::Open(7),
            Frame::Message { call: 7, streams: Vec::new(), json: b"{\"a\":1}".to_vec() },
            Frame::Message {
                call: 7,
                streams: vec![(2, Flow::Read), (4, Flow::Write), (6, Flow::Both)],
                json: b"x".to_vec(),
            },
            Frame::Closed(7),
            Frame::Data(u32::MAX, vec![0; 4096]),
            Frame::Data(1, Vec::new()),
            Frame::End(1),
            Frame::Gone(1),
            Frame::Credit(1, 1 << 20),
            Frame::Window(1, WindowSize { rows: 24, columns: 80 }),
            Frame::Join { call: 7, stream: 8 },
            Frame::Connect { stream: 8, listener: 1, peer: (1000, 100) },
        ]
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let mut bytes = Vec::new();
        frames().iter().for_each(|frame| frame.encode(&mut bytes));
        for size in [1, 3, 4096, bytes.len()] {
            let (mut input, mut found) = (Vec::new(), Vec::new());
            for chunk in bytes.chunks(size) {
                input.extend(chunk);
                while let Some(frame) = Frame::decode(&mut input, LENGTH_MAX).unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found, frames());
            assert!(input.is_empty());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [
            &b"\xff\xff\xff\xff"[..],
            b"\0\0\0\0",
            b"\0\0\0\x04\x01\0\0\0",
            b"\0\0\0\x05\0\0\0\0\0",
            b"\0\0\0\x05\x0b\0\0\0\0",
            b"\0\0\0\x12\x0b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\0\0\0\x05\x0c\0\0\0\0",
            b"\0\0\0\x06\x02\0\0\0\0x",
            b"\0\0\0\x08\x08\0\0\0\0xyz",
            b"\0\0\0\x05\x03\0\0\0\0",
            b"\0\0\0\x06\x03\0\0\0\0\x01",
            b"\0\0\0\x0b\x03\0\0\0\0\x01\0\0\0\0\x09",
            b"\0\0\0\x07\x09\0\0\0\0xx",
        ] {
            assert_eq!(Frame::decode(&mut bytes.to_vec(), LENGTH_MAX), Err(Malformed), "{bytes:?}");
        }
    }
}
