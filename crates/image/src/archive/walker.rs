//! Walks over the entries of a tar stream, in bounded memory.

use tar_core::HEADER_SIZE;
use tar_core::parse::{self, ParseError, ParseEvent, Parser};

use super::entry::{Entry, take_record};
use super::error::{ArchiveError, quoted};
use crate::limits::{Limit, Limits};

/// A source of bytes that lends what it has, as `BufRead` does, with our errors.
pub trait Feed {
    /// The next bytes; empty at the end only.
    fn fill(&mut self) -> Result<&[u8], ArchiveError>;
    /// Marks `count` of them as used.
    fn consume(&mut self, count: usize);
}

impl Feed for &[u8] {
    fn fill(&mut self) -> Result<&[u8], ArchiveError> {
        Ok(self)
    }

    fn consume(&mut self, count: usize) {
        *self = &self[count..];
    }
}

/// Regions that one sparse file may have.
const SPARSE_REGIONS: usize = 10_000;

/// Bytes of headers of one entry beyond its extended headers: the headers themselves and a sparse map.
const HEADER_SLACK: usize = 1 << 20;

/// The entries of an archive, one after the other.
pub struct Walker<F> {
    feed: F,
    parser: Parser,
    limits: Limits,
    /// Header bytes that reach over what the feed lends at once, from `used` on.
    joined: Vec<u8>,
    used: usize,
    /// Content of the present entry not yet read, and the padding after it.
    content: u64,
    padding: u64,
    entries: u64,
    last: Vec<u8>,
    /// Whether the end of the stream after an entry is the end of the archive too.
    open_end: bool,
}

impl<F> std::fmt::Debug for Walker<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walker").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// What one look at the headers gave.
enum Step {
    More(usize),
    Skip(usize),
    Entry(usize, Box<Entry>),
    End(usize),
}

impl<F: Feed> Walker<F> {
    /// Starts at the beginning of an uncompressed archive.
    pub fn new(feed: F, limits: &Limits) -> Self {
        let mut parser = Parser::new(parse::Limits {
            max_metadata_size: limits.metadata,
            max_path_len: Some(limits.path),
            max_sparse_entries: SPARSE_REGIONS,
            ..parse::Limits::default()
        });
        // The numbers it would skip are checked by `Entry`; it knows no times before 1970.
        parser.set_ignore_pax_errors(true);
        Walker {
            feed,
            parser,
            limits: limits.clone(),
            joined: Vec::new(),
            used: 0,
            content: 0,
            padding: 0,
            entries: 0,
            last: Vec::new(),
            open_end: false,
        }
    }

    /// Takes an archive that stops after an entry for whole, also without the padding of its content and the blocks of zeros that should
    /// follow. Only for archives whose digest is known, so that nothing can be cut off: umoci writes such layers.
    #[must_use]
    pub fn with_open_end(mut self) -> Self {
        self.open_end = true;
        self
    }

    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Goes on to the next entry, past what is left of the content of the present one. At the end of the
    /// archive the stream is read to its own end, and only zeros may come.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.skip()?;
        loop {
            match self.step()? {
                Step::More(wanted) => self.join(wanted)?,
                Step::Skip(count) => self.consume(count),
                Step::Entry(count, entry) => {
                    self.consume(count);
                    self.entries += 1;
                    if self.entries > self.limits.entries {
                        return Err(ArchiveError::limit(
                            Limit::Entries,
                            self.limits.entries,
                            Some(&entry.path),
                        ));
                    }
                    self.content = entry.size;
                    self.padding = entry.size.next_multiple_of(HEADER_SIZE as u64) - entry.size;
                    self.last.clone_from(&entry.path);
                    return Ok(Some(*entry));
                }
                Step::End(count) => {
                    self.consume(count);
                    self.drain()?;
                    return Ok(None);
                }
            }
        }
    }

    /// Lends the next bytes of the present entry's content; empty when there are no more. Say with
    /// [`Walker::consume_content`] how many were used.
    pub fn content(&mut self) -> Result<&[u8], ArchiveError> {
        if self.content == 0 {
            return Ok(&[]);
        }
        let left = usize::try_from(self.content).unwrap_or(usize::MAX);
        if self.used < self.joined.len() {
            let available = &self.joined[self.used..];
            return Ok(&available[..available.len().min(left)]);
        }
        let available = self.feed.fill()?;
        if available.is_empty() {
            return Err(ArchiveError::Truncated { place: format!("in {}", quoted(&self.last)) });
        }
        Ok(&available[..available.len().min(left)])
    }

    /// Marks `count` bytes of the content as used.
    pub fn consume_content(&mut self, count: usize) {
        self.content -= count as u64;
        self.consume(count);
    }

    fn skip(&mut self) -> Result<(), ArchiveError> {
        if self.open_end {
            self.skip_content()?;
            let at_end = self.used == self.joined.len() && self.feed.fill()?.is_empty();
            if at_end {
                self.padding = 0;
            }
        }
        self.content += std::mem::take(&mut self.padding);
        self.skip_content()
    }

    fn skip_content(&mut self) -> Result<(), ArchiveError> {
        loop {
            let count = self.content()?.len();
            if count == 0 {
                return Ok(());
            }
            self.consume_content(count);
        }
    }

    /// Parses headers from the bytes at hand, without using them up.
    fn step(&mut self) -> Result<Step, ArchiveError> {
        let input =
            if self.used < self.joined.len() { &self.joined[self.used..] } else { self.feed.fill()? };
        if input.is_empty() && self.entries == 0 && self.last.is_empty() {
            return Err(ArchiveError::Empty);
        }
        if input.is_empty() && self.open_end {
            return Ok(Step::End(0));
        }
        let event = self.parser.parse(input).map_err(|error| explain(&error, &self.last, &self.limits))?;
        match event {
            ParseEvent::NeedData { min_bytes } => {
                // It may ask for no more than it has; doubling keeps a long map from being read over and over.
                let more = if min_bytes > input.len() {
                    min_bytes
                } else {
                    input.len() + input.len() / 2 + HEADER_SIZE
                };
                Ok(Step::More(more))
            }
            ParseEvent::Entry { consumed, entry } => {
                Ok(Step::Entry(consumed, Box::new(Entry::new(&entry, None)?)))
            }
            ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
                Ok(Step::Entry(consumed, Box::new(Entry::new(&entry, Some((sparse_map, real_size)))?)))
            }
            ParseEvent::GlobalExtensions { consumed, pax_data } => {
                // The parser drops an entry's own extended header that stands before a global one.
                let alone = HEADER_SIZE + pax_data.len().next_multiple_of(HEADER_SIZE);
                if consumed != alone || !is_harmless(pax_data) {
                    let detail = "a global extended header that changes the entries after it".to_owned();
                    return Err(ArchiveError::Header { after: quoted(&self.last), detail });
                }
                Ok(Step::Skip(consumed))
            }
            ParseEvent::End { consumed } => Ok(Step::End(consumed)),
        }
    }

    /// Gathers at least `wanted` bytes in `joined`.
    fn join(&mut self, wanted: usize) -> Result<(), ArchiveError> {
        let most = usize::try_from(self.limits.metadata).unwrap_or(usize::MAX) + HEADER_SLACK;
        if wanted > most {
            return Err(ArchiveError::limit(Limit::Metadata, self.limits.metadata, Some(&self.last)));
        }
        self.joined.drain(..self.used);
        self.used = 0;
        while self.joined.len() < wanted {
            let available = self.feed.fill()?;
            if available.is_empty() {
                return Err(if self.entries == 0 && self.joined.len() < HEADER_SIZE {
                    ArchiveError::NotAnArchive
                } else if self.entries == 0 {
                    ArchiveError::Truncated { place: "in its first header".to_owned() }
                } else {
                    ArchiveError::Truncated { place: format!("after {}", quoted(&self.last)) }
                });
            }
            let count = available.len().min(wanted - self.joined.len());
            self.joined.extend_from_slice(&available[..count]);
            self.feed.consume(count);
        }
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        if self.used < self.joined.len() {
            self.used += count;
            if self.used == self.joined.len() {
                self.joined.clear();
                self.used = 0;
            }
        } else {
            self.feed.consume(count);
        }
    }

    /// Reads the rest of the stream: zeros that fill the last record.
    fn drain(&mut self) -> Result<(), ArchiveError> {
        if self.joined[self.used..].iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::TrailingData);
        }
        loop {
            let rest = self.feed.fill()?;
            if rest.is_empty() {
                return Ok(());
            }
            if rest.iter().any(|byte| *byte != 0) {
                return Err(ArchiveError::TrailingData);
            }
            let count = rest.len();
            self.feed.consume(count);
        }
    }
}

/// Whether a global extended header has nothing that would change entries: git writes a `comment`, for one.
fn is_harmless(mut records: &[u8]) -> bool {
    while !records.is_empty() {
        match take_record(&mut records) {
            Some((b"comment" | b"charset", _)) => {}
            _ => return false,
        }
    }
    true
}

fn explain(error: &ParseError, last: &[u8], limits: &Limits) -> ArchiveError {
    match error {
        ParseError::PathTooLong { .. } => ArchiveError::limit(Limit::Path, limits.path, Some(last)),
        ParseError::MetadataTooLarge { .. } | ParseError::TooManyPendingEntries { .. } => {
            ArchiveError::limit(Limit::Metadata, limits.metadata, Some(last))
        }
        ParseError::TooManySparseEntries { .. } => {
            ArchiveError::limit(Limit::SparseRegions, SPARSE_REGIONS as u64, Some(last))
        }
        ParseError::Header(_) if last.is_empty() => ArchiveError::NotAnArchive,
        other => ArchiveError::Header { after: quoted(last), detail: other.to_string() },
    }
}
