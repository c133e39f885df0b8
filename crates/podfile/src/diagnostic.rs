//! What is wrong with a pod file, and where.

use std::fmt;
use std::rc::Rc;

/// Characters of a line that are shown beside a message.
const SHOWN: usize = 160;

/// The text of one file and what it is called.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path, for messages.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// A stretch of one line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub source: Rc<Source>,
    /// The line, from 1.
    pub line: usize,
    /// The first character, from 1.
    pub column: usize,
    /// How many characters, from 1.
    pub length: usize,
}

impl Place {
    /// The beginning of a file.
    pub fn start(source: &Rc<Source>) -> Self {
        Place { source: Rc::clone(source), line: 1, column: 1, length: 1 }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The pod does not start.
    Error,
    /// The pod starts, but perhaps not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
///
/// Its text has the place, the message, the line with a caret below what is meant, and a hint:
///
/// ```text
/// /etc/rkt/pods/web.pod:3:1: error: [Pod] has no key Isolatoin=
///   Isolatoin=fly
///   ^^^^^^^^^
///   did you mean Isolation=?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What is wrong, without the place.
    pub message: String,
    /// What could be done.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at `place`.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Error, place, message: message.into(), hint: None }
    }

    /// A warning at `place`.
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(place, message) }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<Option<String>>) -> Self {
        Diagnostic { hint: hint.into(), ..self }
    }

    /// One line: place and message, for a status line.
    pub fn brief(&self) -> String {
        let Place { source, line, column, .. } = &self.place;
        format!("{}:{line}:{column}: {}", source.path, self.message)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { source, line, column, length } = &self.place;
        writeln!(f, "{}:{line}:{column}: {}: {}", source.path, self.severity.as_str(), self.message)?;
        let text = source.text.lines().nth(line - 1).unwrap_or_default();
        // A long line is shown from a little before the place.
        let skipped = if *column > SHOWN { column - SHOWN / 2 } else { 0 };
        let shown: String = text
            .chars()
            .skip(skipped)
            .take(SHOWN)
            .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
            .collect();
        let before = column - 1 - skipped;
        let blank: String = shown.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let caret = "^".repeat((*length).clamp(1, SHOWN.saturating_sub(before).max(1)));
        write!(f, "  {shown}\n  {blank}{caret}")?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

/// The word of `known` that is most like `word`, if one is.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let small = word.to_ascii_lowercase();
    known
        .into_iter()
        .map(|other| (strsim::damerau_levenshtein(&small, &other.to_ascii_lowercase()), other))
        .filter(|(distance, other)| *distance <= 1 + other.len().min(word.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, line: usize, column: usize, length: usize) -> Place {
        let source = Rc::new(Source { path: "web.pod".to_owned(), text: text.to_owned() });
        Place { source, line, column, length }
    }

    #[test]
    fn the_caret_stands_below_what_is_meant() {
        let diagnostic =
            Diagnostic::error(place("[Pod]\n\tNet=nö x\n", 2, 6, 2), "No").hint("try this".to_owned());
        assert_eq!(diagnostic.to_string(), "web.pod:2:6: error: No\n  \tNet=nö x\n  \t    ^^\n  try this");
        assert_eq!(diagnostic.brief(), "web.pod:2:6: No");
    }

    #[test]
    fn long_lines_are_cut() {
        let text = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let shown = Diagnostic::warning(place(&text, 1, 501, 300), "Long").to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "web.pod:1:501: warning: Long");
        assert_eq!(lines[1].chars().nth(lines[2].find('^').unwrap()), Some('x'));
        assert!(lines.iter().all(|line| line.len() <= SHOWN + 2));
        // Past the end of the line and of the file.
        assert!(Diagnostic::error(place("", 9, 400, 0), "Gone").to_string().contains('^'));
    }

    #[test]
    fn near_words() {
        let known = ["Isolation", "Image", "Exec", "User"];
        for (word, near) in [
            ("Isolatoin", Some("Isolation")),
            ("isolation", Some("Isolation")),
            ("Imge", Some("Image")),
            ("Usr", Some("User")),
            ("Nonsense", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), near, "{word}");
        }
    }
}
