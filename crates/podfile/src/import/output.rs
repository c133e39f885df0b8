//! The pod file that is being written.

use std::fmt::Write;

use crate::words::quote;

/// Lines by section.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) pod: Vec<String>,
    /// The name of each app, if it has one, and its lines.
    pub(super) apps: Vec<(Option<String>, Vec<String>)>,
    pub(super) unit: Vec<String>,
    pub(super) service: Vec<String>,
    pub(super) install: Vec<String>,
}

impl Output {
    pub(super) fn text(&self, from: &str) -> String {
        let mut text = format!("# Made by rkt pod import from {from}\n");
        let mut section = |header: String, lines: &[String]| {
            if !lines.is_empty() {
                let _ = write!(text, "\n[{header}]\n{}\n", lines.join("\n"));
            }
        };
        section("Pod".to_owned(), &self.pod);
        for (name, lines) in &self.apps {
            section(name.as_ref().map_or_else(|| "App".to_owned(), |name| format!("App {name}")), lines);
        }
        for (name, lines) in [("Unit", &self.unit), ("Service", &self.service), ("Install", &self.install)] {
            section(name.to_owned(), lines);
        }
        text
    }
}

/// `KEY=WORD WORD…` with words quoted as needed. Percent signs are as the source has them.
pub(super) fn line<W: AsRef<str>>(key: &str, words: impl IntoIterator<Item = W>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| quote(word.as_ref())).collect();
    format!("{key}={}", words.join(" "))
}
