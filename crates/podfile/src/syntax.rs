//! The syntax of unit files; see systemd.syntax(7).
//!
//! ```text
//! # a comment, also with ;
//! [Section]
//! Key=value \
//!     that goes on; comments between its lines do not count
//! ```
//!
//! What is read here has places, and no meaning yet: that is for [`crate::keys`].

use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Place, Source};

/// The longest file.
pub const SIZE_MAX: u64 = 1 << 20;

/// One `[Section]` with what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The first word between the brackets.
    pub name: String,
    /// The second word, if there is one.
    pub argument: Option<String>,
    /// The header.
    pub place: Place,
    /// What is assigned, in its order.
    pub assignments: Vec<Assignment>,
}

/// One `Key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What stands before `=`.
    pub key: String,
    /// Where that is.
    pub place: Place,
    /// What stands behind, with its lines joined by spaces, as systemd does.
    pub value: Value,
}

/// The text of a value, which knows where each part of it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The text, without white space at its ends.
    pub text: String,
    source: Rc<Source>,
    /// From which byte on a line of the file follows: line, and column of its first character.
    pieces: Vec<(usize, usize, usize)>,
}

impl Value {
    /// The place of `length` bytes from `start` on, cut at the end of a line.
    pub fn place(&self, start: usize, length: usize) -> Place {
        let start = start.min(self.text.len());
        let next = self.pieces.partition_point(|(byte, ..)| *byte <= start);
        let (byte, line, column) = self.pieces[next.saturating_sub(1)];
        let end = self.pieces.get(next).map_or(self.text.len(), |(byte, ..)| *byte);
        let count = |from: usize, to: usize| self.text.get(from..to).map_or(0, |text| text.chars().count());
        Place {
            source: Rc::clone(&self.source),
            line,
            column: column + count(byte, start),
            length: count(start, (start + length).min(end)).max(1),
        }
    }

    /// The place of all of it.
    pub fn whole(&self) -> Place {
        self.place(0, self.text.len())
    }
}

/// Reads a file. What cannot be read is told to `diagnostics` and left out.
pub fn parse(source: &Rc<Source>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut lines = source
        .text
        .split('\n')
        .enumerate()
        .map(|(index, line)| Line { number: index + 1, text: line.strip_suffix('\r').unwrap_or(line) });
    while let Some(line) = lines.next() {
        let text = line.text.trim();
        if text.is_empty() || is_comment(text) {
            continue;
        }
        if text.starts_with('[') {
            match header(source, line) {
                Ok(section) => sections.push(section),
                Err(diagnostic) => diagnostics.push(diagnostic),
            }
            continue;
        }
        let Some(equals) = line.text.find('=') else {
            diagnostics.push(
                Diagnostic::error(line.place(source, line.text), "There is no = in this line")
                    .hint("a line is [Section], Key=value, or a comment that begins with #".to_owned()),
            );
            // A line that goes on is one mistake, not several.
            value(source, line, 0, &mut lines);
            continue;
        };
        let key = line.text[..equals].trim();
        let place = line.place(source, if key.is_empty() { "=" } else { key });
        let value = value(source, line, equals + 1, &mut lines);
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if key.is_empty() || !key.chars().all(good) {
            diagnostics.push(Diagnostic::error(place, format!("{key:?} cannot be a key")));
            continue;
        }
        match sections.last_mut() {
            Some(section) => section.assignments.push(Assignment { key: key.to_owned(), place, value }),
            None => diagnostics.push(
                Diagnostic::error(place, format!("{key}= stands before the first [Section]"))
                    .hint("the file begins with [Pod]".to_owned()),
            ),
        }
    }
    sections
}

fn is_comment(text: &str) -> bool {
    text.starts_with(['#', ';'])
}

/// One line of a file.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl Line<'_> {
    /// The place of `part`, which is a part of the line.
    fn place(self, source: &Rc<Source>, part: &str) -> Place {
        let part = part.trim();
        let start = self.text.find(part).unwrap_or(0);
        Place {
            source: Rc::clone(source),
            line: self.number,
            column: self.text[..start].chars().count() + 1,
            length: part.chars().count().max(1),
        }
    }
}

fn header(source: &Rc<Source>, line: Line<'_>) -> Result<Section, Diagnostic> {
    let text = line.text.trim();
    let place = line.place(source, text);
    let bad = |message: &str| Err(Diagnostic::error(place.clone(), message));
    let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return bad("The header of the section does not end in ]");
    };
    if inner.contains(['[', ']']) || inner.chars().any(char::is_control) {
        return bad("The header of the section has brackets or control characters in it");
    }
    let mut words = inner.split_whitespace();
    let Some(name) = words.next() else { return bad("The section has no name") };
    let argument = words.next().map(|word| word.trim_matches('"').to_owned());
    if words.next().is_some() {
        return bad("The header of the section has more than two words");
    }
    Ok(Section { name: name.to_owned(), argument, place, assignments: Vec::new() })
}

/// Reads a value that begins in `line` at the byte `from`, with the lines on which it goes on.
fn value<'a>(
    source: &Rc<Source>,
    line: Line<'a>,
    from: usize,
    lines: &mut impl Iterator<Item = Line<'a>>,
) -> Value {
    let mut text = String::new();
    let mut pieces = Vec::new();
    let mut current = Some((line, from));
    while let Some((line, from)) = current.take() {
        let part = &line.text[from..];
        let indent = if pieces.is_empty() { part.len() - part.trim_start().len() } else { 0 };
        pieces.push((text.len(), line.number, line.text[..from + indent].chars().count() + 1));
        let part = &part[indent..];
        // Two backslashes are one that is meant.
        let backslashes = part.len() - part.trim_end_matches('\\').len();
        let Some(part) = part.strip_suffix('\\').filter(|_| backslashes % 2 == 1) else {
            text.push_str(part);
            break;
        };
        text.push_str(part);
        text.push(' ');
        current = lines.find(|line| !is_comment(line.text.trim_start())).map(|line| (line, 0));
    }
    text.truncate(text.trim_end().len());
    Value { text, source: Rc::clone(source), pieces }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Section>, Vec<String>) {
        let source = Rc::new(Source { path: "f".to_owned(), text: text.to_owned() });
        let mut diagnostics = Vec::new();
        let sections = parse(&source, &mut diagnostics);
        (sections, diagnostics.iter().map(Diagnostic::brief).collect())
    }

    #[test]
    fn sections_and_assignments() {
        let (sections, problems) =
            read("# c\n\n[Pod]\nA = b c \n ; c\nB=\n[App web]\r\nC-D=x=y\r\n[App \"db\"]\n");
        assert!(problems.is_empty(), "{problems:?}");
        let shown: Vec<_> = sections
            .iter()
            .map(|section| {
                let all = section.assignments.iter().map(|one| format!("{}={}", one.key, one.value.text));
                (section.name.as_str(), section.argument.as_deref(), all.collect::<Vec<_>>().join("|"))
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("Pod", None, "A=b c|B=".to_owned()),
                ("App", Some("web"), "C-D=x=y".to_owned()),
                ("App", Some("db"), String::new())
            ]
        );
    }

    #[test]
    fn values_go_on_and_know_their_places() {
        let (sections, problems) =
            read("[Pod]\nExec=/bin/a \\\n# a comment\n  ; another\n\t--long \\\n  last\nNext=1\n");
        assert!(problems.is_empty(), "{problems:?}");
        let value = &sections[0].assignments[0].value;
        assert_eq!(value.text, "/bin/a  \t--long    last");
        for (word, line, column) in [("/bin/a", 2, 6), ("--long", 5, 2), ("last", 6, 3)] {
            let place = value.place(value.text.find(word).unwrap(), word.len());
            assert_eq!((place.line, place.column, place.length), (line, column, word.len()), "{word}");
        }
        assert_eq!(sections[0].assignments[1].key, "Next");
        // The last line of the file goes on.
        assert_eq!(read("[Pod]\nA=b\\").0[0].assignments[0].value.text, "b");
        assert_eq!(read("[Pod]\nA=\\\n\nB=c").0[0].assignments.len(), 2);
    }

    #[test]
    fn each_mistake_has_its_place() {
        let (sections, problems) = read(
            "Early=1\n[Pod\n[]\n[a b c]\n[a[b]]\n[Pod]\nnonsense\n  =x\nä=1\nfoo bar=1\nwrong \\\n goes on=2\nGood=1\n",
        );
        assert_eq!(
            problems,
            [
                "f:1:1: Early= stands before the first [Section]",
                "f:2:1: The header of the section does not end in ]",
                "f:3:1: The section has no name",
                "f:4:1: The header of the section has more than two words",
                "f:5:1: The header of the section has brackets or control characters in it",
                "f:7:1: There is no = in this line",
                "f:8:3: \"\" cannot be a key",
                "f:9:1: \"ä\" cannot be a key",
                "f:10:1: \"foo bar\" cannot be a key",
                "f:11:1: There is no = in this line",
            ]
        );
        assert_eq!(sections[0].assignments.len(), 1);
    }
}
