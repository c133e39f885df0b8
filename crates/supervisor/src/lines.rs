//! From bytes to log lines, by the rules of journald: a line ends with a newline or NUL, is cut when it is too long,
//! and may begin with its priority as `<3>`.

/// Longer lines are cut into several; journald's own limit.
pub(crate) const LINE_MAX: usize = 48 * 1024;

/// The priority of lines that name none: informational.
pub(crate) const DEFAULT_PRIORITY: u8 = 6;

/// Collects bytes until they make a line.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    pending: Vec<u8>,
}

impl LineBuffer {
    /// Takes more bytes and hands out the lines that are whole now.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        let mut pieces = bytes.split(|&byte| byte == b'\n' || byte == 0).peekable();
        while let Some(mut piece) = pieces.next() {
            let ends = pieces.peek().is_some();
            while self.pending.len() + piece.len() > LINE_MAX {
                let (head, rest) = piece.split_at(LINE_MAX - self.pending.len());
                self.pending.extend(head);
                piece = rest;
                self.hand_out(&mut line);
            }
            if ends && self.pending.is_empty() {
                // The usual case, without a copy.
                line(piece);
            } else {
                self.pending.extend(piece);
                if ends {
                    self.hand_out(&mut line);
                }
            }
        }
    }

    /// Hands out what has come without an end.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.pending.is_empty() {
            self.hand_out(&mut line);
        }
    }

    fn hand_out(&mut self, line: &mut impl FnMut(&[u8])) {
        line(&self.pending);
        // Memory goes back: there is one buffer for each stream, and most never need it again.
        self.pending = Vec::new();
    }
}

/// Takes the priority off the front of a line.
pub(crate) fn priority(line: &[u8]) -> (u8, &[u8]) {
    match line {
        [b'<', digit @ b'0'..=b'7', b'>', text @ ..] => (digit - b'0', text),
        _ => (DEFAULT_PRIORITY, line),
    }
}

/// Reads a message of syslog(3): `<PRI>Mon _d hh:mm:ss TEXT`. Gives facility, priority and text.
pub(crate) fn syslog(message: &[u8]) -> (u8, u8, &[u8]) {
    const USER: u8 = 1;
    let message = message.trim_ascii_end();
    let parsed = message.strip_prefix(b"<").and_then(|rest| {
        let end = rest.iter().take(4).position(|&byte| byte == b'>')?;
        let number: u8 = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        Some((number >> 3, number & 7, &rest[end + 1..]))
    });
    let (facility, priority, text) = parsed.unwrap_or((USER, DEFAULT_PRIORITY, message));
    let is_stamp = |stamp: &[u8]| {
        let shape = b"Aaa dd dd:dd:dd ";
        stamp.iter().zip(shape).all(|(&byte, &kind)| match kind {
            b'A' => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            b'd' => byte.is_ascii_digit() || byte == b' ',
            other => byte == other,
        })
    };
    match text.split_at_checked(16) {
        Some((stamp, text)) if is_stamp(stamp) => (facility, priority, text),
        _ => (facility, priority, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            buffer.feed(chunk, |line| lines.push(line.to_vec()));
        }
        lines.push(b"|".to_vec());
        buffer.finish(|line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn framing() {
        type Case<'a> = (&'a [&'a [u8]], &'a [&'a [u8]]);
        let cases: [Case<'_>; 7] = [
            (&[b"a\nb\n"], &[b"a", b"b", b"|"]),
            (&[b"a", b"b\nc", b"\n"], &[b"ab", b"c", b"|"]),
            (&[b"no end"], &[b"|", b"no end"]),
            (&[b"\n\n"], &[b"", b"", b"|"]),
            (&[b"a\0b\xff\xfe\x1b[0m\n"], &[b"a", b"b\xff\xfe\x1b[0m", b"|"]),
            (&[b"a\r\n"], &[b"a\r", b"|"]),
            (&[], &[b"|"]),
        ];
        for (chunks, wanted) in cases {
            assert_eq!(lines(chunks), wanted, "{chunks:?}");
        }
    }

    #[test]
    fn long_lines_are_cut() {
        let long = vec![b'x'; 2 * LINE_MAX + 5];
        let mut whole = long.clone();
        whole.push(b'\n');
        let by_one = lines(&[&whole]);
        assert_eq!(by_one.iter().map(Vec::len).collect::<Vec<_>>(), [LINE_MAX, LINE_MAX, 5, 1]);
        let pieces: Vec<&[u8]> = whole.chunks(1000).collect();
        assert_eq!(lines(&pieces), by_one);
        let exact = vec![b'y'; LINE_MAX];
        assert_eq!(lines(&[&exact, b"\n"]).iter().map(Vec::len).collect::<Vec<_>>(), [LINE_MAX, 1]);
    }

    #[test]
    fn priorities() {
        for (line, wanted) in [
            (&b"<3>disk on fire"[..], (3, &b"disk on fire"[..])),
            (b"<8>no", (6, b"<8>no")),
            (b"<3", (6, b"<3")),
            (b"plain", (6, b"plain")),
            (b"<0>", (0, b"")),
        ] {
            assert_eq!(priority(line), wanted);
        }
    }

    #[test]
    fn syslog_messages() {
        for (message, wanted) in [
            (&b"<86>Nov 24 19:04:01 sshd[7]: hello\n"[..], (10, 6, &b"sshd[7]: hello"[..])),
            (b"<11>Nov  4 19:04:01 x: y", (1, 3, b"x: y")),
            (b"<13>bare", (1, 5, b"bare")),
            (b"nothing", (1, 6, b"nothing")),
            (b"<999>n", (1, 6, b"<999>n")),
            (b"", (1, 6, b"")),
        ] {
            assert_eq!(syslog(message), wanted);
        }
    }
}
