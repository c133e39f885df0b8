//! One entry of a tar archive, checked on its own: numbers in range, names without NUL, a sparse map that fits.

use tar_core::parse::ParsedEntry;
use tar_core::{EntryType, SparseEntry};

use super::error::{ArchiveError, Problem};

/// An entry; its content follows it in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path as it stands in the archive.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-uid, set-gid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Extended attributes, names in full. Not filtered.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of content in the archive.
    pub size: u64,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A regular file with holes.
    Sparse {
        /// Its length.
        length: u64,
        /// Where its content goes, in order; the lengths add up to the size of the entry.
        regions: Vec<Region>,
    },
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A hard link to another path of the archive.
    HardLink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A piece of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Where it starts.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// A time: seconds since 1970 and nanoseconds upward from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// Largest device numbers that Linux has.
const MAJOR_MAX: u32 = 0xfff;
const MINOR_MAX: u32 = 0xf_ffff;

impl Entry {
    /// Takes over what the parser found and checks it. `sparse` is the map and length of a sparse file.
    pub(super) fn new(
        parsed: &ParsedEntry<'_>,
        sparse: Option<(Vec<SparseEntry>, u64)>,
    ) -> Result<Entry, ArchiveError> {
        let path = parsed.path.to_vec();
        let refuse = |problem| Err(ArchiveError::entry(&parsed.path, problem));
        let number = |name: &str| ArchiveError::entry(&parsed.path, Problem::Number(name.to_owned()));
        if path.contains(&0) || parsed.link_target.as_ref().is_some_and(|target| target.contains(&0)) {
            return refuse(Problem::Nul);
        }
        let pax = match parsed.pax {
            Some(records) => Pax::read(records).map_err(number)?,
            None => Pax::default(),
        };
        let raw = parsed.header.as_ustar();
        // The parser drops the upper bytes of a binary number of 12 bytes.
        if pax.size.is_none() && !matches!(raw.size, [0..0x80, ..] | [0x80, 0, 0, 0, ..]) {
            return Err(number("size"));
        }
        let mtime = match pax.mtime {
            Some(time) => time,
            None if matches!(
                raw.mtime,
                [0..0x80, ..] | [0x80, 0, 0, 0, ..] | [0xff, 0xff, 0xff, 0xff, ..]
            ) =>
            {
                Time { seconds: parsed.mtime.cast_signed(), nanoseconds: 0 }
            }
            None => return Err(number("time")),
        };
        let id = |value: u64, name| {
            u32::try_from(value).ok().filter(|id| *id != u32::MAX).ok_or_else(|| number(name))
        };
        let device = || {
            let (major, minor) = (parsed.dev_major.unwrap_or(u32::MAX), parsed.dev_minor.unwrap_or(u32::MAX));
            if major > MAJOR_MAX || minor > MINOR_MAX { Err(number("device")) } else { Ok((major, minor)) }
        };
        let target = || match &parsed.link_target {
            Some(target) => Ok(target.to_vec()),
            None => Err(ArchiveError::entry(&parsed.path, Problem::NoTarget)),
        };
        let mut size = parsed.size;
        let kind = match parsed.entry_type {
            EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse if sparse.is_some() => {
                let (map, length) = sparse.unwrap_or_default();
                let total = check_map(&map, length)
                    .ok_or_else(|| ArchiveError::entry(&parsed.path, Problem::SparseMap))?;
                // With a PAX `size`, the parser counts the map of format 1.0 as content.
                if size != total && pax.size.is_none() {
                    return refuse(Problem::SparseMap);
                }
                size = total;
                let regions = map.iter().map(|r| Region { offset: r.offset, length: r.length });
                Kind::Sparse { length, regions: regions.filter(|r| r.length > 0).collect() }
            }
            // Old archives have directories as files whose name ends in a slash.
            EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(target()?),
            EntryType::Link => Kind::HardLink(target()?),
            EntryType::Char => device().map(|(major, minor)| Kind::CharDevice { major, minor })?,
            EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice { major, minor })?,
            EntryType::Fifo => Kind::Fifo,
            other => return refuse(Problem::UnknownType(char::from(other.to_byte()))),
        };
        if !matches!(kind, Kind::File | Kind::Sparse { .. }) && size != 0 {
            return refuse(Problem::Content);
        }
        Ok(Entry {
            kind,
            mode: parsed.mode & 0o7777,
            uid: id(parsed.uid, "owner")?,
            gid: id(parsed.gid, "group")?,
            mtime,
            xattrs: parsed.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
            size,
            path,
        })
    }
}

/// Whether the regions are in order, apart and inside the file; returns the sum of their lengths.
fn check_map(map: &[SparseEntry], length: u64) -> Option<u64> {
    let mut end = 0;
    let mut total = 0u64;
    for region in map {
        if region.offset < end {
            return None;
        }
        end = region.offset.checked_add(region.length)?;
        total = total.checked_add(region.length)?;
    }
    // Offsets in a file are signed.
    (end <= length && length <= i64::MAX as u64).then_some(total)
}

/// What the parser leaves out of extended headers, and the numbers that it would silently skip when they
/// mean nothing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pax {
    size: Option<u64>,
    mtime: Option<Time>,
}

impl Pax {
    /// # Errors
    /// The name of what is wrong.
    fn read(mut records: &[u8]) -> Result<Pax, &'static str> {
        let mut pax = Pax::default();
        while !records.is_empty() {
            let (key, value) = take_record(&mut records).ok_or("extended header")?;
            let value = std::str::from_utf8(value);
            let number = || value.ok().and_then(|text| text.parse::<u64>().ok());
            match key {
                b"size" => pax.size = Some(number().ok_or("size")?),
                b"mtime" => pax.mtime = Some(value.ok().and_then(parse_time).ok_or("time")?),
                b"uid" => drop(number().ok_or("owner")?),
                b"gid" => drop(number().ok_or("group")?),
                b"GNU.sparse.map" => drop(value.map_err(|_| "sparse map")?),
                b"GNU.sparse.name" => {}
                key if key.starts_with(b"GNU.sparse.") => drop(number().ok_or("sparse map")?),
                _ => {}
            }
        }
        Ok(pax)
    }
}

/// Takes the first `LENGTH KEY=VALUE\n` off an extended header. The parser stops in silence where the framing is
/// bad; this does not.
pub(super) fn take_record<'a>(records: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    *records = rest;
    Some((&body[..equals], &body[equals + 1..]))
}

/// Parses seconds since 1970 with sign and fraction, as extended headers have them. Digits beyond the ninth
/// are dropped.
fn parse_time(text: &str) -> Option<Time> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanoseconds: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    if negative {
        // -1.25 is 0.75 after -2.
        let (seconds, nanoseconds) =
            if nanoseconds == 0 { (-seconds, 0) } else { (-seconds - 1, 1_000_000_000 - nanoseconds) };
        return Some(Time { seconds, nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1700000000.5", Some((1_700_000_000, 500_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("1.", Some((1, 0))),
            ("", None),
            ("-", None),
            (".5", None),
            ("1e3", None),
            ("+1", None),
            ("99999999999999999999", None),
        ] {
            let expected = expected.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
            assert_eq!(parse_time(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sparse_maps() {
        let map = |regions: &[(u64, u64)]| -> Vec<SparseEntry> {
            regions.iter().map(|&(offset, length)| SparseEntry { offset, length }).collect()
        };
        for (regions, length, total) in [
            (&[][..], 0, Some(0)),
            (&[(0, 10), (20, 5), (30, 0)], 30, Some(15)),
            (&[(0, 10), (9, 5)], 30, None),
            (&[(20, 5), (0, 5)], 30, None),
            (&[(0, 31)], 30, None),
            (&[(1, u64::MAX)], u64::MAX, None),
            (&[(0, 1)], u64::MAX, None),
        ] {
            assert_eq!(check_map(&map(regions), length), total, "{regions:?}");
        }
    }

    #[test]
    fn extended_headers() {
        let record = |key: &str, value: &str| {
            let body = format!(" {key}={value}\n");
            let len = (body.len() + 1..).find(|len| len.to_string().len() + body.len() == *len).unwrap();
            format!("{len}{body}").into_bytes()
        };
        for (key, value, expected) in [
            ("size", "12", Ok(Pax { size: Some(12), mtime: None })),
            ("size", "12x", Err("size")),
            ("size", "-1", Err("size")),
            ("uid", "18446744073709551616", Err("owner")),
            ("gid", "", Err("group")),
            ("mtime", "x", Err("time")),
            ("GNU.sparse.realsize", "1k", Err("sparse map")),
            ("comment", "anything", Ok(Pax::default())),
        ] {
            assert_eq!(Pax::read(&record(key, value)), expected, "{key}={value}");
        }
        for bad in ["99 size=1\n", "x size=1\n", "9 size=1\nx", "8 size=1\n", "0 size=1\n", "7 size\n"] {
            assert_eq!(Pax::read(bad.as_bytes()), Err("extended header"), "{bad:?}");
        }
    }
}
