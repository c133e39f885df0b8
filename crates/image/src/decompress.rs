//! Reads a stream that may be compressed: gzip, bzip2, xz and zstd are told apart by their first bytes.
//!
//! This is the only place that knows the decompression libraries. Memory is bounded: a stream that wants a
//! larger window than allowed is refused before the window is allocated. Streams of several members or frames
//! are one stream, as the command-line tools have it.

use std::cell::RefCell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

/// Bytes read from the source at once.
const BUFFER: usize = 128 << 10;

/// Bytes that tell the formats apart.
const HEAD: usize = 6;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip, RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// Tells the format from the first bytes of a stream; [`Compression::Plain`] when none is recognised.
    pub fn detect(head: &[u8]) -> Compression {
        match head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            // A frame, or a skippable frame before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::Plain,
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Compression::Plain => "plain",
            Compression::Gzip => "gzip",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        })
    }
}

/// Why no more could be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The source failed.
    #[error("Cannot read")]
    Read(#[source] io::Error),
    /// The stream ends in the middle.
    #[error("The {0} stream is cut off; fetch or copy the file again")]
    Truncated(Compression),
    /// The stream is damaged.
    #[error("The {format} stream is damaged ({detail}); fetch or copy the file again")]
    Corrupt {
        /// The format.
        format: Compression,
        /// What the decoder says.
        detail: String,
    },
    /// The window is larger than allowed.
    #[error("The {format} stream needs more than {limit} bytes of memory")]
    Memory {
        /// The format.
        format: Compression,
        /// The limit in bytes.
        limit: u64,
    },
}

/// A stream of uncompressed bytes.
pub struct Decompressor<R: Read> {
    decoder: Decoder<R>,
    format: Compression,
    state: Rc<RefCell<SourceState>>,
    memory: u64,
}

enum Decoder<R: Read> {
    Plain(Input<R>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Input<R>>>),
    Bzip2(bzip2::bufread::MultiBzDecoder<Input<R>>),
    Xz(Box<lzma_rust2::XzReader<Input<R>>>),
    Zstd(zstd::stream::read::Decoder<'static, Input<R>>),
}

type Input<R> = BufReader<Source<R>>;

/// What the source did, seen from outside the decoder that owns it.
#[derive(Debug, Default)]
struct SourceState {
    taken: u64,
    failed: Option<io::Error>,
}

/// The source, counted; its errors are kept apart from the decoder's.
struct Source<R> {
    /// The first bytes, already taken to recognise the format.
    head: io::Cursor<Vec<u8>>,
    inner: R,
    state: Rc<RefCell<SourceState>>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let from_head = self.head.read(buffer)?;
        if from_head > 0 {
            return Ok(from_head);
        }
        loop {
            match self.inner.read(buffer) {
                Ok(count) => {
                    self.state.borrow_mut().taken += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.state.borrow_mut().failed = Some(error);
                    return Err(io::Error::other("the source failed"));
                }
            }
        }
    }
}

impl<R: Read> std::fmt::Debug for Decompressor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("format", &self.format).finish_non_exhaustive()
    }
}

impl<R: Read> Decompressor<R> {
    /// Looks at the beginning of `source` and starts to decompress. `memory` bounds the decoder's window in
    /// bytes: xz counts its whole decoder, zstd rounds down to a power of two.
    pub fn new(source: R, memory: u64) -> Result<Self, DecompressError> {
        let state = Rc::new(RefCell::new(SourceState::default()));
        let mut source = Source { head: io::Cursor::default(), inner: source, state: Rc::clone(&state) };
        let mut head = Vec::with_capacity(HEAD);
        while head.len() < HEAD {
            let mut more = [0; HEAD];
            match source.read(&mut more[head.len()..]) {
                Ok(0) => break,
                Ok(count) => {
                    let from = head.len();
                    head.extend_from_slice(&more[from..from + count]);
                }
                Err(error) => return Err(DecompressError::Read(source.state.take().failed.unwrap_or(error))),
            }
        }
        let format = Compression::detect(&head);
        source.head = io::Cursor::new(head);
        let input = BufReader::with_capacity(BUFFER, source);
        let decoder = match format {
            Compression::Plain => Decoder::Plain(input),
            Compression::Gzip => Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
            Compression::Bzip2 => Decoder::Bzip2(bzip2::bufread::MultiBzDecoder::new(input)),
            Compression::Xz => {
                let kib = u32::try_from(memory / 1024).unwrap_or(u32::MAX);
                Decoder::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, kib)))
            }
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(input).map_err(DecompressError::Read)?;
                decoder.window_log_max(memory.max(1 << 10).ilog2().min(31)).map_err(DecompressError::Read)?;
                Decoder::Zstd(decoder)
            }
        };
        Ok(Decompressor { decoder, format, state, memory })
    }

    /// The format that was recognised.
    pub fn format(&self) -> Compression {
        self.format
    }

    /// Bytes taken from the source so far.
    pub fn taken(&self) -> u64 {
        self.state.borrow().taken
    }

    /// Fills `buffer` as far as the stream goes; returns less than its length at the end only.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, DecompressError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = match &mut self.decoder {
                Decoder::Plain(decoder) => decoder.read(&mut buffer[filled..]),
                Decoder::Gzip(decoder) => decoder.read(&mut buffer[filled..]),
                Decoder::Bzip2(decoder) => decoder.read(&mut buffer[filled..]),
                Decoder::Xz(decoder) => decoder.read(&mut buffer[filled..]),
                Decoder::Zstd(decoder) => decoder.read(&mut buffer[filled..]),
            };
            match read {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => return Err(self.explain(&error)),
            }
        }
        Ok(filled)
    }

    fn explain(&self, error: &io::Error) -> DecompressError {
        if let Some(failed) = self.state.borrow_mut().failed.take() {
            return DecompressError::Read(failed);
        }
        let format = self.format;
        let detail = error.to_string();
        match error.kind() {
            io::ErrorKind::UnexpectedEof => DecompressError::Truncated(format),
            io::ErrorKind::OutOfMemory => DecompressError::Memory { format, limit: self.memory },
            // libzstd's text for a window beyond the limit; the crate gives no code.
            _ if detail.contains("too much memory") => DecompressError::Memory { format, limit: self.memory },
            _ => DecompressError::Corrupt { format, detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn compressed(command: &[&str], data: &[u8]) -> Vec<u8> {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let data = data.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&data));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    fn decompressed(data: &[u8], memory: u64) -> Result<(Compression, Vec<u8>), DecompressError> {
        let mut decompressor = Decompressor::new(data, memory)?;
        let mut out = vec![0; 1 << 20];
        let mut all = Vec::new();
        loop {
            let count = decompressor.fill(&mut out)?;
            all.extend_from_slice(&out[..count]);
            if count < out.len() {
                assert_eq!(decompressor.taken(), data.len() as u64);
                return Ok((decompressor.format(), all));
            }
        }
    }

    /// Compressible, but not trivially.
    fn sample(len: u32) -> Vec<u8> {
        let mut state = 1u32;
        (0..len)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (if i % 3 == 0 { state >> 24 } else { i >> 8 }).to_le_bytes()[0]
            })
            .collect()
    }

    const TOOLS: [(&[&str], Compression); 5] = [
        (&["cat"], Compression::Plain),
        (&["gzip", "-c"], Compression::Gzip),
        (&["bzip2", "-c"], Compression::Bzip2),
        (&["xz", "-c"], Compression::Xz),
        (&["zstd", "-qc", "--check"], Compression::Zstd),
    ];
    const MEMORY: u64 = 128 << 20;

    #[test]
    fn reads_what_the_tools_write() {
        for len in [0, 1, 5, 100_000, 3 << 20] {
            let data = sample(len);
            for (tool, format) in TOOLS {
                let (found, out) = decompressed(&compressed(tool, &data), MEMORY).unwrap();
                assert_eq!(found, format);
                assert!(out == data, "{format} {len}");
            }
        }
    }

    #[test]
    fn joined_streams_are_one() {
        let data = sample(100_000);
        for (tool, format) in TOOLS {
            let mut twice = compressed(tool, &data);
            twice.extend_from_slice(&compressed(tool, &data));
            let (_, out) = decompressed(&twice, MEMORY).unwrap();
            assert!(out == [data.clone(), data.clone()].concat(), "{format}");
        }
    }

    #[test]
    fn a_cut_stream_is_truncated() {
        let data = sample(50_000);
        for (tool, format) in &TOOLS[1..] {
            let whole = compressed(tool, &data);
            for cut in (6..whole.len()).step_by(401).chain([whole.len() - 1]) {
                let error = decompressed(&whole[..cut], MEMORY).unwrap_err();
                assert!(
                    matches!(error, DecompressError::Truncated(f) if f == *format),
                    "{format} {cut}: {error:?}"
                );
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_the_same() {
        let data = sample(20_000);
        for (tool, format) in &TOOLS[1..] {
            let whole = compressed(tool, &data);
            for at in (0..whole.len()).step_by(211) {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << (at % 8);
                match decompressed(&damaged, MEMORY) {
                    Err(_) => {}
                    // Bytes that say nothing of the content: gzip's time and system, the padding of bzip2.
                    Ok((found, out)) => {
                        assert!(found == Compression::Plain || out == data, "{format} {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn trailing_garbage_is_an_error() {
        for (tool, format) in &TOOLS[1..] {
            let mut data = compressed(tool, b"content");
            data.extend_from_slice(b"garbage!");
            assert!(decompressed(&data, MEMORY).is_err(), "{format}");
        }
    }

    #[test]
    fn windows_are_bounded() {
        let data = sample(3 << 20);
        for tool in [&["xz", "-c", "--lzma2=dict=16MiB"][..], &["zstd", "-qc", "--ultra", "-22", "--long=24"]]
        {
            let stream = compressed(tool, &data);
            assert!(decompressed(&stream, 64 << 20).is_ok(), "{tool:?}");
            let error = decompressed(&stream, 1 << 20).unwrap_err();
            assert!(
                matches!(error, DecompressError::Memory { limit, .. } if limit == 1 << 20),
                "{tool:?} {error:?}"
            );
        }
    }

    #[test]
    fn a_failing_source_is_not_a_damaged_stream() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        for (tool, format) in TOOLS {
            let whole = compressed(tool, &sample(5000));
            for cut in [0, 3, 6, 100] {
                let source = whole[..cut.min(whole.len() - 1)].chain(Failing);
                let mut out = [0; 8192];
                match Decompressor::new(source, MEMORY).and_then(|mut d| d.fill(&mut out)) {
                    Err(DecompressError::Read(cause)) => assert_eq!(cause.raw_os_error(), Some(5)),
                    other => panic!("{format} {cut} {other:?}"),
                }
            }
        }
    }
}
