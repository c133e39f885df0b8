//! Text that somebody outside chose, made fit for a terminal and a log.

/// The longest text that [`printable`] gives, in characters.
const LONGEST: usize = 512;

/// `text` without anything that a terminal would obey: control and formatting characters become `\u{…}`, line breaks become
/// spaces, and what is longer than 512 characters is cut.
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(LONGEST));
    for (count, character) in text.trim().chars().enumerate() {
        if count == LONGEST {
            clean.push('…');
            break;
        }
        match character {
            '\n' | '\r' | '\t' => clean.push(' '),
            _ if is_control(character) => clean.extend(character.escape_unicode()),
            _ => clean.push(character),
        }
    }
    clean
}

/// Control characters, and those that reorder or hide what stands around them.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A URL as it may be shown and logged: without user, password, query (which may be a signature) and fragment.
pub fn printable_url(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let mut shown = &url[..end];
    let mut scheme = "";
    if let Some((before, rest)) = shown.split_once("://") {
        scheme = before;
        shown = rest;
    }
    let authority_end = shown.find('/').unwrap_or(shown.len());
    let authority = &shown[..authority_end];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = &shown[authority_end..];
    let separator = if scheme.is_empty() { "" } else { "://" };
    printable(&format!("{scheme}{separator}{host}{path}"))
}

/// Host and port (where one is written) of a URL, in lower case: what credentials are looked up by.
pub fn authority(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_obey_nothing_of_it() {
        for (text, clean) in [
            ("plain – text", "plain – text"),
            (" two\nlines\r\n", "two lines"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\u{202e}b\0", "a\\u{202e}b\\u{0}"),
            ("\u{9b}2J", "\\u{9b}2J"),
        ] {
            assert_eq!(printable(text), clean);
        }
        assert_eq!(printable(&"x".repeat(600)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn urls_show_no_secrets() {
        for (url, shown) in [
            ("https://example.com/a.aci", "https://example.com/a.aci"),
            ("https://user:secret@example.com:8443/a?X-Signature=abc#x", "https://example.com:8443/a"),
            ("https://example.com?ac-discovery=1", "https://example.com"),
            ("https://a@b@example.com/x@y", "https://example.com/x@y"),
            ("not a url", "not a url"),
            ("/relative?token=1", "/relative"),
        ] {
            assert_eq!(printable_url(url), shown, "{url}");
        }
    }

    #[test]
    fn authorities() {
        for (url, found) in [
            ("https://Example.com/a", Some("example.com")),
            ("https://example.com:5000?x", Some("example.com:5000")),
            ("http://u:p@[::1]:80/", Some("[::1]:80")),
            ("https:///x", None),
            ("example.com/x", None),
        ] {
            assert_eq!(authority(url).as_deref(), found, "{url}");
        }
    }
}
