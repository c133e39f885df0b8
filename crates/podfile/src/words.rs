//! Words of a value: quoting and escapes as in systemd.syntax(7) and systemd.service(5).

use std::ops::Range;

/// One word, unquoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its text.
    pub text: String,
    /// The bytes of the value that it was read from.
    pub range: Range<usize>,
}

/// Why a value cannot be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordError {
    /// Why, as a sentence.
    pub message: String,
    /// The bytes of the value that are meant.
    pub range: Range<usize>,
}

/// Splits `value` at white space. `'…'` and `"…"` keep words together, also within a word; `\` escapes as in C.
///
/// # Errors
/// For a quote that does not end, and an escape that there is not.
pub fn split(value: &str) -> Result<Vec<Word>, WordError> {
    let mut words = Vec::new();
    let mut characters = value.char_indices().peekable();
    while let Some(&(start, first)) = characters.peek() {
        if first.is_whitespace() {
            characters.next();
            continue;
        }
        let mut text = Vec::new();
        let mut quote: Option<(usize, char)> = None;
        let mut end = value.len();
        while let Some(&(at, c)) = characters.peek() {
            if quote.is_none() && c.is_whitespace() {
                end = at;
                break;
            }
            characters.next();
            match (c, quote) {
                ('\\', _) => {
                    let (bytes, length) = escape(&value[at..]).ok_or_else(|| WordError {
                        message: "There is no such escape; write \\\\ for a backslash".to_owned(),
                        range: at..value[at..]
                            .char_indices()
                            .nth(2)
                            .map_or(value.len(), |(next, _)| at + next),
                    })?;
                    text.extend(bytes);
                    while characters.peek().is_some_and(|(next, _)| *next < at + length) {
                        characters.next();
                    }
                }
                ('"' | '\'', None) => quote = Some((at, c)),
                (c, Some((_, open))) if c == open => quote = None,
                (c, _) => text.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        if let Some((at, open)) = quote {
            return Err(WordError {
                message: format!("The quote {open} does not end"),
                range: at..value.len(),
            });
        }
        let text = String::from_utf8(text).ok().filter(|text| !text.contains('\0')).ok_or_else(|| {
            WordError { message: "The escapes of this word give no text".to_owned(), range: start..end }
        })?;
        words.push(Word { text, range: start..end });
    }
    Ok(words)
}

/// What the escape at the beginning of `text` stands for, and its length in bytes.
fn escape(text: &str) -> Option<(Vec<u8>, usize)> {
    let one = |byte: u8| Some((vec![byte], 2));
    let number = |from: usize, digits: usize, radix: u32| {
        let part = text.get(from..from + digits)?;
        let plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        u32::from_str_radix(part, radix).ok().filter(|_| plain)
    };
    let character = |digits: usize| {
        let c = char::from_u32(number(2, digits, 16)?)?;
        Some((c.to_string().into_bytes(), 2 + digits))
    };
    match text.chars().nth(1)? {
        'a' => one(7),
        'b' => one(8),
        'f' => one(12),
        'n' => one(b'\n'),
        'r' => one(b'\r'),
        't' => one(b'\t'),
        'v' => one(11),
        's' => one(b' '),
        c @ ('\\' | '"' | '\'') => one(u8::try_from(c).ok()?),
        'x' => Some((vec![u8::try_from(number(2, 2, 16)?).ok()?], 4)),
        '0'..='3' => Some((vec![u8::try_from(number(1, 3, 8)?).ok()?], 4)),
        'u' => character(4),
        'U' => character(8),
        _ => None,
    }
}

/// A word as [`split`] reads it again.
pub fn quote(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"\"'\\".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    quoted.push_str(&format!("\\x{byte:02x}"));
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        for (value, words) in [
            ("", &[] as &[&str]),
            ("  a  b\tc ", &["a", "b", "c"]),
            (r#"/bin/sh -c 'echo "x y"' "a b"c '' "#, &["/bin/sh", "-c", "echo \"x y\"", "a bc", ""]),
            (r"a\sb \x41\102\n \u00e9 \\", &["a b", "AB\n", "é", "\\"]),
            (r#""a\"b" 'c\'d'"#, &["a\"b", "c'd"]),
            ("ä ö", &["ä", "ö"]),
        ] {
            let found: Vec<String> = split(value).unwrap().into_iter().map(|word| word.text).collect();
            assert_eq!(found, words, "{value}");
        }
        assert_eq!(split("a 'b c'").unwrap()[1].range, 2..7);
    }

    #[test]
    fn what_cannot_be_split() {
        for (value, range, part) in [
            ("a 'b", 2..4, "does not end"),
            (r"a \q", 2..4, "no such escape"),
            (r"\x4", 0..2, "no such escape"),
            (r"a \xff", 2..6, "no text"),
            (r"\000", 0..4, "no text"),
            ("\\", 0..1, "no such escape"),
        ] {
            let error = split(value).unwrap_err();
            assert_eq!(error.range, range, "{value}");
            assert!(error.message.contains(part), "{value}: {}", error.message);
        }
    }

    #[test]
    fn what_is_quoted_is_read_again() {
        for word in ["", "a", "a b", "a\"b'c\\d", "x\n\t\u{7}y", "é ü", "%"] {
            assert_eq!(split(&quote(word)).unwrap()[0].text, word);
        }
    }
}
