//! What the user sees while something is fetched.
//!
//! On a terminal each download has a line with a bar, drawn anew as it grows. Elsewhere there are plain lines: one when a
//! download has gone on for a while, and one at its end.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use transport::Event;
use transport::text::{printable, printable_url};

use crate::context::Context;
use crate::{report, show};

/// How often lines are drawn anew on a terminal.
const DRAW: Duration = Duration::from_millis(100);
/// How often a plain line is printed.
const LINE: Duration = Duration::from_secs(10);
/// Characters of a bar.
const WIDTH: usize = 25;

/// Downloads that are under way together.
#[derive(Debug)]
pub(crate) struct Progress {
    bars: Vec<Bar>,
    style: Style,
    /// How many lines stand on the terminal.
    drawn: usize,
    last: Instant,
    debug: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Quiet,
    Lines,
    Bars,
}

/// One download.
#[derive(Debug, Default)]
struct Bar {
    label: String,
    received: u64,
    total: Option<u64>,
    started: bool,
}

impl Progress {
    /// Shows downloads that the user knows by these labels.
    pub(crate) fn new(context: &Context, labels: impl IntoIterator<Item = String>) -> Self {
        let style = if std::io::stderr().is_terminal() { Style::Bars } else { Style::Lines };
        let bars = labels.into_iter().map(|label| Bar { label: printable_url(&label), ..Bar::default() });
        Self { bars: bars.collect(), style, drawn: 0, last: Instant::now(), debug: context.debug }
    }

    /// Shows nothing but what goes wrong.
    pub(crate) fn quiet(context: &Context) -> Self {
        Self { style: Style::Quiet, ..Self::new(context, []) }
    }

    /// News of the download `index`.
    pub(crate) fn event(&mut self, index: usize, event: &Event) {
        match event {
            Event::Started { resumed_from, total, .. } => {
                if let Some(bar) = self.bars.get_mut(index) {
                    (bar.received, bar.total, bar.started) = (*resumed_from, *total, true);
                }
                if *resumed_from > 0 && self.debug {
                    self.say(&format!("going on after {}", show::size(*resumed_from)));
                }
                self.show(false);
            }
            Event::Progress { received, total } => {
                if let Some(bar) = self.bars.get_mut(index) {
                    (bar.received, bar.total) = (*received, *total);
                }
                self.show(false);
            }
            Event::Retrying { failure, wait_ms } => {
                let seconds = wait_ms.div_ceil(1000);
                self.say(&format!("{failure}; trying again in {seconds} s"));
            }
            Event::CredentialsWithheld { host } => {
                let host = printable(host);
                self.say(&format!(
                    "the credentials for {host} are held back: the connection is not encrypted"
                ));
            }
            Event::Redirected { to } => {
                if self.debug {
                    self.say(&format!("redirected to {}", printable_url(to)));
                }
            }
        }
    }

    /// A download is complete.
    pub(crate) fn done(&mut self, index: usize) {
        if let Some(bar) = self.bars.get_mut(index) {
            bar.received = bar.total.unwrap_or(bar.received);
            if self.style == Style::Lines && bar.started {
                report::notice("image", bar.text());
            }
        }
        self.show(true);
    }

    /// All is over, well or not.
    pub(crate) fn end(&mut self) {
        self.show(true);
        self.drawn = 0;
    }

    /// A line of words, above the bars.
    fn say(&mut self, text: &str) {
        self.wipe();
        report::notice("image", text);
        self.show(true);
    }

    fn show(&mut self, now: bool) {
        let pause = if self.style == Style::Bars { DRAW } else { LINE };
        if !now && self.last.elapsed() < pause {
            return;
        }
        match self.style {
            Style::Quiet => return,
            Style::Lines if now => return,
            Style::Lines => {
                for bar in self.bars.iter().filter(|bar| bar.is_under_way()) {
                    report::notice("image", bar.text());
                }
            }
            Style::Bars => {
                self.wipe();
                let lines: Vec<String> =
                    self.bars.iter().filter(|bar| bar.started).map(|bar| bar.drawing() + "\n").collect();
                self.drawn = lines.len();
                report::text(&lines.concat());
            }
        }
        self.last = Instant::now();
    }

    fn wipe(&mut self) {
        if self.drawn > 0 {
            report::text(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }
}

impl Bar {
    fn is_under_way(&self) -> bool {
        self.started && self.total.is_none_or(|total| self.received < total)
    }

    fn amount(&self) -> String {
        match self.total {
            Some(total) => format!("{}/{}", show::size(self.received), show::size(total)),
            None => show::size(self.received),
        }
    }

    fn text(&self) -> String {
        format!("downloading {}: {}", self.label, self.amount())
    }

    fn drawing(&self) -> String {
        let filled = match self.total {
            Some(total) if total > 0 => {
                let share = u128::from(self.received.min(total)) * WIDTH as u128 / u128::from(total);
                usize::try_from(share).unwrap_or(WIDTH)
            }
            _ => 0,
        };
        let bar = format!("{}{}", "=".repeat(filled), " ".repeat(WIDTH - filled));
        // One line each, or the count of lines is wrong.
        let label: String = self.label.chars().rev().take(36).collect::<Vec<_>>().into_iter().rev().collect();
        format!("{label} [{bar}] {}", self.amount())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill() {
        let bar = |received, total| Bar { label: "x".to_owned(), received, total, started: true };
        for (received, total, drawing) in [
            (0, Some(100), format!("x [{}] 0B/100B", " ".repeat(25))),
            (50, Some(100), format!("x [{}{}] 50B/100B", "=".repeat(12), " ".repeat(13))),
            (200, Some(100), format!("x [{}] 200B/100B", "=".repeat(25))),
            (7, None, format!("x [{}] 7B", " ".repeat(25))),
            (0, Some(0), format!("x [{}] 0B/0B", " ".repeat(25))),
        ] {
            assert_eq!(bar(received, total).drawing(), drawing);
        }
    }
}
