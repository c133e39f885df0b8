//! Help texts in rkt's own layout, made from the same definitions that parse the arguments.

use std::any::TypeId;
use std::fmt::Write;

use crate::commands::{Entry, TABLE};
use crate::show::align;

/// What `rkt help` shows.
pub(crate) fn root(globals: &clap::Command) -> String {
    let mut text = String::new();
    section(&mut text, "NAME", &["rkt - rkt, the application container runner"]);
    section(&mut text, "USAGE", &["rkt [command]"]);
    section(&mut text, "VERSION", &[env!("CARGO_PKG_VERSION")]);
    commands(&mut text, &[]);
    section(
        &mut text,
        "DESCRIPTION",
        &[
            "A CLI for running app containers on Linux.",
            "",
            "To get the help on any specific command, run \"rkt help command\".",
        ],
    );
    flags(&mut text, "GLOBAL OPTIONS", globals);
    align(&text)
}

/// What `rkt help GROUP` shows for commands that have subcommands.
pub(crate) fn group(name: &str, about: &str, globals: &clap::Command) -> String {
    let mut text = String::new();
    section(&mut text, "NAME", &[&format!("{name} - {about}")]);
    section(&mut text, "USAGE", &[&format!("rkt {name} [command]")]);
    commands(&mut text, &[name]);
    flags(&mut text, "GLOBAL OPTIONS", globals);
    align(&text)
}

/// What `rkt help COMMAND` shows; `own` has the flags of the command alone.
pub(crate) fn leaf(entry: &Entry, own: &clap::Command, globals: &clap::Command) -> String {
    let name = entry.path.join(" ");
    let mut text = String::new();
    section(&mut text, "NAME", &[&format!("{name} - {}", entry.about)]);
    section(&mut text, "USAGE", &[format!("rkt {name} {}", entry.usage).trim_end()]);
    if !entry.description.is_empty() {
        section(&mut text, "DESCRIPTION", &entry.description.lines().collect::<Vec<_>>());
    }
    flags(&mut text, "OPTIONS", own);
    flags(&mut text, "GLOBAL OPTIONS", globals);
    align(&text)
}

fn section(text: &mut String, title: &str, lines: &[&str]) {
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{title}:");
    for line in lines {
        let indent = if line.is_empty() { "" } else { "\t" };
        let _ = writeln!(text, "{indent}{line}");
    }
}

fn commands(text: &mut String, under: &[&str]) {
    text.push_str("\nCOMMANDS:\n");
    for entry in TABLE.iter().filter(|entry| !entry.hidden) {
        if let Some(rest) = entry.path.strip_prefix(under) {
            let _ = writeln!(text, "\t{}\t{}", rest.join(" "), entry.about);
        }
    }
}

fn flags(text: &mut String, title: &str, command: &clap::Command) {
    let mut shown: Vec<&clap::Arg> =
        command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_long().is_some()).collect();
    if shown.is_empty() {
        return;
    }
    shown.sort_by_key(|argument| argument.get_long());
    let _ = writeln!(text, "\n{title}:");
    for argument in shown {
        let _ = writeln!(text, "      --{}\t{}", flag(argument), help(argument));
    }
}

/// `name=DEFAULT`, with brackets where the value may be left out and quotes where plain text is empty.
fn flag(argument: &clap::Arg) -> String {
    let name = argument.get_long().unwrap_or_default();
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let mut value = defaults.join(",");
    if value.is_empty() && argument.get_value_parser().type_id() == TypeId::of::<String>() {
        value = "\"\"".to_owned();
    }
    if argument.get_num_args().is_some_and(|range| range.min_values() == 0) {
        format!("{name}[={value}]")
    } else {
        format!("{name}={value}")
    }
}

fn help(argument: &clap::Arg) -> String {
    argument.get_help().map(|help| help.to_string().replace('\n', " ")).unwrap_or_default()
}
