//! From an argument vector to one command's arguments.

mod argv;
pub(crate) mod global;
mod help;
pub(crate) mod values;

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, Args, FromArgMatches};

pub(crate) use argv::Style;
use argv::UsageError;
use global::GlobalArgs;

use crate::commands::{Entry, GROUPS, TABLE};
use crate::report;

/// Every failure of rkt itself.
const FAILURE: u8 = 254;
/// No command was given.
const NO_COMMAND: u8 = 2;

/// Runs `rkt` with the arguments of this process.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    if Path::new(&program).file_name() == Some(OsStr::new(image::helper::HELPER_NAME)) {
        return image::helper::helper_main();
    }
    match parse(words.collect()) {
        Ok(Parsed::Command { entry, mut matches }) => run(entry, &mut matches),
        Ok(Parsed::Help(text)) => finish("help", report::print_raw(text).map(|()| ExitCode::SUCCESS), false),
        Ok(Parsed::NoCommand(text)) => {
            report::notice("rkt", "missing command");
            report::text(&text);
            ExitCode::from(NO_COMMAND)
        }
        Err((command, UsageError(message))) => {
            let name = command.split(' ').next_back().unwrap_or_default();
            let subject = if command == "rkt" { String::new() } else { format!(" {command}") };
            report::notice(name, message);
            report::text(&format!("Run \"rkt help{subject}\" for usage.\n"));
            ExitCode::from(FAILURE)
        }
    }
}

fn run(entry: &Entry, matches: &mut clap::ArgMatches) -> ExitCode {
    let name = entry.name();
    let dir_given = matches.value_source("dir") == Some(ValueSource::CommandLine);
    let globals = match GlobalArgs::from_arg_matches_mut(matches) {
        Ok(globals) => globals,
        Err(error) => return finish(name, Err(error.into()), false),
    };
    let context = globals.into_context(dir_given);
    let result = (entry.run)(&context, matches);
    let disk_is_full = result.as_ref().is_err_and(report::is_disk_full);
    let code = finish(name, result, context.debug);
    if disk_is_full && let Ok(data) = context.data_dir() {
        let way_out = "remove what is not needed there, or name another directory (--dir)";
        report::notice(
            name,
            format_args!("no room below {}: rkt gc and rkt image gc {way_out}", data.display()),
        );
    }
    code
}

fn finish(command: &str, result: Result<ExitCode>, debug: bool) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) if report::is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(command, &error, debug);
            ExitCode::from(FAILURE)
        }
    }
}

/// What an argument vector asks for.
enum Parsed {
    Command { entry: &'static Entry, matches: clap::ArgMatches },
    Help(String),
    NoCommand(String),
}

/// A mistake, and the command that it was made with.
type Mistake = (String, UsageError);

fn parse(words: Vec<OsString>) -> Result<Parsed, Mistake> {
    let paths: Vec<&[&str]> = TABLE.iter().map(|entry| entry.path).collect();
    let found =
        argv::locate(words, &paths, std::iter::once_with(globals).chain(TABLE.iter().map(definition)))
            .map_err(|mistake| ("rkt".to_owned(), mistake))?;
    let Some(entry) = find(&found.path) else {
        let text = help_text(&found.path);
        return Ok(if found.help { Parsed::Help(text) } else { Parsed::NoCommand(text) });
    };
    let command = definition(entry);
    let blame = |mistake| (entry.path.join(" "), mistake);
    let arranged = argv::arrange(found, &command, entry.style).map_err(blame)?;
    if arranged.help {
        return Ok(Parsed::Help(help_text(entry.path)));
    }
    let words = std::iter::once(OsString::from("rkt")).chain(arranged.words);
    let matches = command.try_get_matches_from(words).map_err(|error| blame(explain(&error)))?;
    Ok(Parsed::Command { entry, matches })
}

fn find(path: &[&str]) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.path == path)
}

/// The help text of a command, a group of commands, or of rkt.
pub(crate) fn help_text(path: &[&str]) -> String {
    let globals = globals();
    match (find(path), GROUPS.iter().find(|(name, _)| path == [*name])) {
        (Some(entry), _) => {
            let own = normal((entry.define)(clap::Command::new("rkt")));
            help::leaf(entry, &own, &globals)
        }
        (None, Some((name, about))) => help::group(name, about, &globals),
        (None, None) => help::root(&globals),
    }
}

/// The help text of the command that `words` name, which may be shortened.
pub(crate) fn help_for(words: &[String]) -> Result<String> {
    let paths: Vec<&[&str]> = TABLE.iter().map(|entry| entry.path).collect();
    let words = words.iter().map(OsString::from).collect();
    let found = argv::locate(words, &paths, []).map_err(|UsageError(text)| anyhow::anyhow!(text))?;
    Ok(help_text(&found.path))
}

/// The flags that every command takes.
fn globals() -> clap::Command {
    normal(GlobalArgs::augment_args(clap::Command::new("rkt")))
}

/// One command with all flags that it takes.
fn definition(entry: &Entry) -> clap::Command {
    let command = clap::Command::new(entry.name());
    normal((entry.define)(GlobalArgs::augment_args(command)))
}

/// The whole command line as one tree, for what is generated from it: completions and manual pages.
pub fn command() -> clap::Command {
    let globals = GlobalArgs::augment_args(clap::Command::new("rkt"))
        .mut_args(|argument| argument.global(true))
        .version(env!("CARGO_PKG_VERSION"))
        .about("rkt, the application container runner");
    let leaf = |entry: &Entry| {
        let command = clap::Command::new(entry.name()).hide(entry.hidden);
        let usage = format!("rkt {} {}", entry.path.join(" "), entry.usage);
        normal((entry.define)(command))
            .about(entry.about)
            .long_about(entry.description)
            .override_usage(usage.trim_end().to_owned())
    };
    let singles = TABLE.iter().filter(|entry| entry.path.len() == 1).map(leaf);
    let groups = GROUPS.iter().map(|(group, about)| {
        let members = TABLE.iter().filter(|entry| entry.path.len() > 1 && entry.path[0] == *group);
        normal(clap::Command::new(*group)).about(*about).subcommands(members.map(leaf))
    });
    normal(globals).subcommands(singles.chain(groups))
}

/// Gives every flag of `command` rkt's manners: the last of two wins, `--switch=false` works, and
/// paths may be empty.
fn normal(command: clap::Command) -> clap::Command {
    let switch = |argument: clap::Arg, default: &'static str| {
        argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value(default)
            .default_missing_value("true")
            .value_parser(values::boolean)
    };
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .mut_args(|argument| match argument.get_action() {
            ArgAction::SetTrue => switch(argument, "false"),
            ArgAction::SetFalse => switch(argument, "true"),
            _ if argument.get_value_parser().type_id() == TypeId::of::<PathBuf>() => {
                argument.value_parser(OsStringValueParser::new().map(PathBuf::from))
            }
            _ => argument,
        })
}

/// A mistake that clap found, in rkt's words.
fn explain(error: &clap::Error) -> UsageError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let flag = text(ContextKind::InvalidArg);
    let flag = flag.split([' ', '=', '[']).next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue);
    UsageError(match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let cause = std::error::Error::source(error).map(|source| format!(": {source}"));
            format!("invalid argument {value:?} for {flag}{}", cause.unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument => {
            format!("missing argument: {}", text(ContextKind::InvalidArg))
        }
        ErrorKind::UnknownArgument => format!("unexpected argument {:?}", text(ContextKind::InvalidArg)),
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    })
}

#[cfg(test)]
mod tests;
