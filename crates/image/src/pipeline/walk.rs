//! Goes over the entries of an archive, and says what belongs where by what the archive is taken for.

use std::io::Read;

use super::Content;
use crate::archive::aci::{Layout, Place, normalise};
use crate::archive::layer::{self, Change};
use crate::archive::{ArchiveError, Entry, Feed, Kind, Problem, Walker, parts};
use crate::decompress::Decompressor;
use crate::limits::{Limit, Limits};
use crate::unpack::{Unpacked, Unpacker};

/// What the walk saw.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) entries: u64,
    pub(super) unpacked: Unpacked,
    pub(super) manifest: String,
}

pub(super) fn walk(
    content: Content,
    feed: impl Feed,
    mut unpacker: Option<Unpacker>,
    limits: &Limits,
) -> Result<Walked, ArchiveError> {
    let walker = Walker::new(feed, limits);
    // The digest of a layer is checked by whoever asked; that of an image is only found here.
    let mut walker = if content == Content::Layer { walker.with_open_end() } else { walker };
    let manifest = match content {
        Content::Image => image(&mut walker, unpacker.as_mut(), limits)?,
        Content::Layer => layer(&mut walker, unpacker.as_mut(), limits).map(|()| String::new())?,
        Content::Parts => all_parts(&mut walker, unpacker.as_mut(), limits).map(|()| String::new())?,
    };
    let unpacked = unpacker.map_or(Ok(Unpacked::default()), Unpacker::finish)?;
    Ok(Walked { entries: walker.entries(), unpacked, manifest })
}

fn image<F: Feed>(
    walker: &mut Walker<F>,
    mut unpacker: Option<&mut Unpacker>,
    limits: &Limits,
) -> Result<String, ArchiveError> {
    let mut layout = Layout::default();
    let mut manifest = String::new();
    while let Some(mut entry) = walker.next_entry()? {
        let path = normalise(&entry.path, limits)?;
        match layout.place(&entry, &path)? {
            Place::Top => {}
            Place::Manifest => manifest = read_manifest(&entry, walker, limits)?,
            Place::Root(inside) => {
                if let Kind::HardLink(target) = &entry.kind {
                    entry.kind = Kind::HardLink(Layout::link_target(&entry, target, limits)?);
                }
                if let Some(unpacker) = &mut unpacker {
                    unpacker.put(&entry, inside, walker)?;
                }
            }
        }
    }
    layout.finish()?;
    Ok(manifest)
}

fn layer<F: Feed>(
    walker: &mut Walker<F>,
    mut unpacker: Option<&mut Unpacker>,
    limits: &Limits,
) -> Result<(), ArchiveError> {
    while let Some(mut entry) = walker.next_entry()? {
        match (layer::change(&mut entry, limits)?, &mut unpacker) {
            (Change::Put(path), Some(unpacker)) => unpacker.put(&entry, &path, walker)?,
            (Change::Remove(path), Some(unpacker)) => unpacker.white_out(&path)?,
            (Change::Empty(path), Some(unpacker)) => unpacker.make_opaque(&path)?,
            (Change::Nothing, _) | (_, None) => {}
        }
    }
    Ok(())
}

fn all_parts<F: Feed>(
    walker: &mut Walker<F>,
    mut unpacker: Option<&mut Unpacker>,
    limits: &Limits,
) -> Result<(), ArchiveError> {
    while let Some(mut entry) = walker.next_entry()? {
        let path = parts::part(&mut entry, limits)?;
        if let (Some(path), Some(unpacker)) = (path, &mut unpacker) {
            unpacker.put(&entry, &path, walker)?;
        }
    }
    Ok(())
}

/// The manifest of the App Container image `source`, which is read up to there only.
pub fn manifest(source: impl Read, limits: &Limits) -> Result<String, ArchiveError> {
    let decompressor = Decompressor::new(source, limits.decoder_memory)?;
    let mut walker = Walker::new(
        Stream { decompressor, buffer: vec![0; 64 << 10], from: 0, to: 0, size: 0, limit: limits.unpacked },
        limits,
    );
    let mut layout = Layout::default();
    while let Some(entry) = walker.next_entry()? {
        let path = normalise(&entry.path, limits)?;
        if layout.place(&entry, &path)? == Place::Manifest {
            return read_manifest(&entry, &mut walker, limits);
        }
    }
    Err(ArchiveError::NoManifest)
}

/// A decompressor as the walker wants it, without threads.
struct Stream<R: Read> {
    decompressor: Decompressor<R>,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    size: u64,
    limit: u64,
}

impl<R: Read> Feed for Stream<R> {
    fn fill(&mut self) -> Result<&[u8], ArchiveError> {
        if self.from == self.to {
            self.from = 0;
            self.to = self.decompressor.fill(&mut self.buffer)?;
            self.size += self.to as u64;
            if self.size > self.limit {
                return Err(ArchiveError::limit(Limit::Unpacked, self.limit, None));
            }
        }
        Ok(&self.buffer[self.from..self.to])
    }

    fn consume(&mut self, count: usize) {
        self.from += count;
    }
}

fn read_manifest<F: Feed>(
    entry: &Entry,
    walker: &mut Walker<F>,
    limits: &Limits,
) -> Result<String, ArchiveError> {
    if entry.size > limits.manifest {
        return Err(ArchiveError::limit(Limit::Manifest, limits.manifest, Some(&entry.path)));
    }
    let mut manifest = Vec::new();
    loop {
        let content = walker.content()?;
        if content.is_empty() {
            return String::from_utf8(manifest)
                .map_err(|_| ArchiveError::entry(&entry.path, Problem::NotText));
        }
        manifest.extend_from_slice(content);
        let count = content.len();
        walker.consume_content(count);
    }
}
