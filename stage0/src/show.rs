//! Texts for people: columns, times, sizes.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// How far apart columns stand at least, and what their width is a multiple of.
const PADDING: usize = 1;
const TAB_WIDTH: usize = 8;

/// Aligns the tab-separated cells of `text` with more tabs, so that columns line up on a terminal.
///
/// A column is a run of neighbouring lines that have a cell there; the last cell of a line belongs to none.
/// Scripts cut these lines at tabs: the layout is Go's `text/tabwriter` with tabs as padding, which no crate offers.
pub(crate) fn align(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    let mut widths: Vec<Vec<usize>> = vec![Vec::new(); lines.len()];
    for start in 0..lines.len() {
        for column in widths[start].len()..lines[start].len() - 1 {
            let block = lines[start..].iter().take_while(|line| line.len() > column + 1);
            let (mut count, mut width) = (0, 0);
            for line in block {
                count += 1;
                width = width.max(line[column].chars().count());
            }
            let width = (width + PADDING).next_multiple_of(TAB_WIDTH);
            widths[start..start + count].iter_mut().for_each(|line| line.push(width));
        }
    }
    for (line, widths) in lines.iter().zip(&widths) {
        for (cell, width) in line.iter().zip(widths) {
            out.push_str(cell);
            let tabs = (width - cell.chars().count()).div_ceil(TAB_WIDTH);
            out.extend(std::iter::repeat_n('\t', tabs));
        }
        out.push_str(line[line.len() - 1]);
        out.push('\n');
    }
    out
}

/// `2006-01-02 15:04:05.999 -0700 MST`, in the time zone of this machine.
pub(crate) fn time_full(time: SystemTime) -> String {
    time_full_in(time, TimeZone::system())
}

fn time_full_in(time: SystemTime, zone: TimeZone) -> String {
    let Ok(timestamp) = Timestamp::try_from(time) else { return String::new() };
    let zoned = timestamp.to_zoned(zone);
    let seconds = zoned.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let fraction = format!("{:03}", zoned.subsec_nanosecond() / 1_000_000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{seconds}{dot}{fraction} {}", zoned.strftime("%z %Z"))
}

/// How long ago `time` was, in words: `2 minutes ago`.
pub(crate) fn time_ago(time: SystemTime) -> String {
    let now = SystemTime::now();
    match now.duration_since(time) {
        Ok(passed) => distance(passed, "ago"),
        Err(ahead) => distance(ahead.duration(), "from now"),
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 12 * MONTH;

fn distance(length: Duration, direction: &str) -> String {
    let seconds = length.as_secs();
    if seconds == 0 {
        return "now".to_owned();
    }
    let (count, unit) = match seconds {
        ..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        DAY..WEEK => (seconds / DAY, "day"),
        WEEK..MONTH => (seconds / WEEK, "week"),
        MONTH..YEAR => (seconds / MONTH, "month"),
        _ if seconds < YEAR + 6 * MONTH => (1, "year"),
        _ if seconds < 2 * YEAR => (2, "year"),
        _ if seconds < 37 * YEAR => (seconds / YEAR, "year"),
        _ => return format!("a long while {direction}"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} {direction}")
}

/// A size in powers of 1024 with at most one decimal: `9.2MiB`, `44MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 10 {
        return format!("{bytes}B");
    }
    let mut unit = 0;
    let mut divisor: u128 = 1;
    while u128::from(bytes) >= divisor * 1024 {
        divisor *= 1024;
        unit += 1;
    }
    // Tenths, rounded half up.
    let tenths = (u128::from(bytes) * 20 + divisor) / (2 * divisor);
    let name = UNITS[unit];
    if tenths < 100 {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    } else {
        // Whole numbers round half to even, as Go prints floats.
        let (whole, rest) = (tenths / 10, tenths % 10);
        let up = rest > 5 || (rest == 5 && whole % 2 == 1);
        format!("{}{name}", whole + u128::from(up))
    }
}

/// `value` as JSON, on one line or with tabs as indentation.
pub(crate) fn json(value: &impl Serialize, pretty: bool) -> Result<String> {
    if !pretty {
        return Ok(serde_json::to_string(value)?);
    }
    let mut text = Vec::new();
    let layout = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, layout))?;
    Ok(String::from_utf8(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_with_tabs() {
        let text = "UUID\tAPP\tIMAGE NAME\tSTATE\n5cdc19cd\trkt\ttest/rkt\texited\n\tb\tc\t\n";
        assert_eq!(
            align(text),
            "UUID\t\tAPP\tIMAGE NAME\tSTATE\n5cdc19cd\trkt\ttest/rkt\texited\n\t\tb\tc\t\t\n"
        );
    }

    #[test]
    fn a_column_ends_where_a_line_lacks_it() {
        assert_eq!(align("NAME:\n\ta\tb\n\nx\n"), "NAME:\n\ta\tb\n\nx\n");
        assert_eq!(align(""), "");
    }

    #[test]
    fn a_cell_of_seven_fits_one_tab_and_of_eight_does_not() {
        assert_eq!(align("1234567\tx\n"), "1234567\tx\n");
        assert_eq!(align("12345678\tx\n1\ty\n"), "12345678\tx\n1\t\ty\n");
    }

    #[test]
    fn full_times() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (millis, text) in [
            (1_500_000_000_000, "2017-07-14 04:40:00 +0200 +02"),
            (1_500_000_000_120, "2017-07-14 04:40:00.12 +0200 +02"),
            (1_500_000_000_005, "2017-07-14 04:40:00.005 +0200 +02"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(time_full_in(time, zone.clone()), text);
        }
        let start = SystemTime::UNIX_EPOCH;
        assert_eq!(time_full_in(start, TimeZone::UTC), "1970-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn distances() {
        for (seconds, text) in [
            (0, "now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (119, "1 minute ago"),
            (120, "2 minutes ago"),
            (3 * HOUR, "3 hours ago"),
            (DAY, "1 day ago"),
            (15 * DAY, "2 weeks ago"),
            (45 * DAY, "1 month ago"),
            (13 * MONTH, "1 year ago"),
            (20 * MONTH, "2 years ago"),
            (5 * YEAR, "5 years ago"),
            (40 * YEAR, "a long while ago"),
        ] {
            assert_eq!(distance(Duration::from_secs(seconds), "ago"), text, "{seconds}");
        }
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (9, "9B"),
            (10, "10B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (9_646_900, "9.2MiB"),
            (46_137_344, "44MiB"),
            (1_717_986_918, "1.6GiB"),
            (u64::MAX, "16EiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }
}
