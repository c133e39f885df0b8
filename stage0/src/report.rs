//! How results, notices and errors reach the user.
//!
//! Results go to stdout; everything else goes to stderr behind the name of what speaks (`run: …`, `image: …`).

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use anyhow::Result;

/// Nobody reads our stdout any more: a reason to end, none to complain.
#[derive(Debug)]
struct ReaderGone;

impl Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nobody reads the output")
    }
}

impl std::error::Error for ReaderGone {}

/// Prints `text` and a line end to stdout.
pub(crate) fn print(text: impl Display) -> Result<()> {
    print_raw(format_args!("{text}\n"))
}

/// Prints `text` as it is to stdout.
pub(crate) fn print_raw(text: impl Display) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(output_error)
}

fn output_error(error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => anyhow::Error::new(error).context("Writing to stdout"),
    }
}

/// Prints `PREFIX: TEXT` to stderr. A stderr that is gone is nobody's concern.
pub(crate) fn notice(prefix: &str, text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{prefix}: {text}");
}

/// Prints `text` as it is to stderr.
pub(crate) fn text(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints an error of `command`: outermost and innermost text, or with `debug` the whole chain.
pub(crate) fn error(command: &str, error: &anyhow::Error, debug: bool) {
    text(&render(command, error, debug));
}

/// Whether `error` says that nobody reads our output any more.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    error.is::<ReaderGone>()
}

/// Whether `error` comes from a file system that has no room.
pub(crate) fn is_disk_full(error: &anyhow::Error) -> bool {
    // A helper process says it in words.
    let words = ["No space left on device", "Disk quota exceeded"];
    error.chain().any(|cause| words.iter().any(|words| cause.to_string().contains(words)))
}

fn render(command: &str, error: &anyhow::Error, debug: bool) -> String {
    let mut levels: Vec<String> = error.chain().map(ToString::to_string).collect();
    // What wraps an error without a word of its own says the same text twice.
    levels.dedup();
    if debug && levels.len() > 1 {
        let mut text = format!("{command}: {}\n", levels[0]);
        for (depth, level) in levels[1..].iter().enumerate() {
            text.push_str(&format!("{}└─{level}\n", "  ".repeat(depth + 1)));
        }
        return text;
    }
    match levels.as_slice() {
        [outer, .., inner] => format!("{command}: {outer}: {inner}\n"),
        [only] => format!("{command}: {only}\n"),
        [] => format!("{command}: failed\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn outermost_and_innermost_unless_debugging() {
        let deep =
            Err::<(), _>(anyhow!("no space left")).context("Writing a layer").context("Importing app.aci");
        let deep = deep.unwrap_err();
        assert_eq!(render("fetch", &deep, false), "fetch: Importing app.aci: no space left\n");
        assert_eq!(
            render("fetch", &deep, true),
            "fetch: Importing app.aci\n  └─Writing a layer\n    └─no space left\n"
        );
        let flat = anyhow!("cannot run as unprivileged user");
        assert_eq!(render("run", &flat, false), "run: cannot run as unprivileged user\n");
        assert_eq!(render("run", &flat, true), "run: cannot run as unprivileged user\n");
    }

    #[test]
    fn a_closed_pipe_is_told_apart() {
        assert!(is_reader_gone(&output_error(ErrorKind::BrokenPipe.into())));
        assert!(!is_reader_gone(&output_error(ErrorKind::StorageFull.into())));
        assert!(!is_reader_gone(&anyhow!("other")));
    }
}
