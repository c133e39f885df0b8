//! The little of URLs that image strings need.

use super::ReferenceProblem;

/// Splits the scheme off: a letter, then letters, digits, `+`, `-` and `.`, up to a colon. The scheme comes in lowercase.
pub(super) fn scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let mut bytes = scheme.bytes();
    let valid = bytes.next()?.is_ascii_alphabetic()
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    valid.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// What stands before a query or a fragment.
pub(super) fn path(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

/// Undoes the escaping of a path.
pub(super) fn unescape_path(text: &str) -> Result<String, ReferenceProblem> {
    unescape(text, false)
}

/// Undoes the escaping of a part of a query, where `+` is a space.
pub(super) fn unescape_query(text: &str) -> Result<String, ReferenceProblem> {
    unescape(text, true)
}

/// Replaces each `%XX` by its byte.
fn unescape(text: &str, plus_is_space: bool) -> Result<String, ReferenceProblem> {
    let wrong = || ReferenceProblem::Escape(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    let digit = |byte: Option<u8>| {
        byte.and_then(|byte| char::from(byte).to_digit(16)).and_then(|d| u8::try_from(d).ok())
    };
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let (high, low) =
                    (digit(rest.next()).ok_or_else(wrong)?, digit(rest.next()).ok_or_else(wrong)?);
                bytes.push(high << 4 | low);
            }
            b'+' if plus_is_space => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or_else(wrong)
}

/// Text as it may stand anywhere in a URL.
pub(super) fn escape(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}
