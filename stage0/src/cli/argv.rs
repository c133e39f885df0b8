//! The argument vector before clap sees it: which command it names, and which words are flags.
//!
//! ```text
//! rkt [flags] COMMAND [SUBCOMMAND] [flags] [arguments]
//! ```
//!
//! Flags of a command may stand before its name, commands may be shortened to a unique prefix, and in some
//! commands flags end at the first argument. clap does none of these, so the words are put in an order here that
//! it reads as meant: all flags first, then `--`, then the arguments.

use std::ffi::{OsStr, OsString};

use crate::apps::flags::PerApp;

/// A mistake in the arguments, in words for the user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError(pub(crate) String);

fn wrong<T>(message: String) -> Result<T, UsageError> {
    Err(UsageError(message))
}

/// Where flags may stand among a command's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Anywhere before `--`.
    Anywhere,
    /// Before the first argument.
    Leading,
    /// Anywhere between images; those that belong to one image follow it, and `--` … `---` holds words for its
    /// program.
    Images(PerApp),
}

/// Whether the value of a flag may be the next word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// `--flag`, or `--flag=value` when there is one.
    Joined,
    /// `--flag=value` or `--flag value`.
    Separate,
}

/// The flags of some commands.
#[derive(Default)]
struct Flags {
    known: Vec<(String, Value)>,
    /// Flags of one letter, and what they are short for.
    letters: Vec<(char, String)>,
}

impl Flags {
    fn add(&mut self, command: &clap::Command) {
        for argument in command.get_arguments() {
            let separate = argument.get_num_args().is_none_or(|range| range.min_values() > 0)
                && argument.get_action().takes_values();
            let value = if separate { Value::Separate } else { Value::Joined };
            let aliases = argument.get_all_aliases().unwrap_or_default();
            let names = argument.get_long().into_iter().chain(aliases);
            self.known.extend(names.map(|name| (name.to_owned(), value)));
            self.letters.extend(argument.get_short().zip(argument.get_long().map(str::to_owned)));
        }
    }

    fn value_of(&self, name: &str) -> Option<Value> {
        self.known.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// What the flag of one letter is short for, as a word.
    fn spelt_out(&self, letter: char) -> Result<OsString, UsageError> {
        match self.letters.iter().find(|(known, _)| *known == letter) {
            Some((_, name)) => Ok(format!("--{name}").into()),
            None => wrong(format!("unknown shorthand flag in -{letter} (flags start with two dashes)")),
        }
    }
}

/// One word, told apart by its looks.
enum Word<'a> {
    /// `--`
    End,
    /// `--name` or `--name=value`
    Flag { name: &'a str, has_value: bool },
    /// `-h`
    ShortHelp,
    /// `-f`
    Letter(char),
    /// Anything else.
    Plain,
}

fn look_at(word: &OsStr) -> Result<Word<'_>, UsageError> {
    let bytes = word.as_encoded_bytes();
    if bytes == b"--" {
        return Ok(Word::End);
    }
    if bytes.starts_with(b"--") {
        let end = bytes.iter().position(|byte| *byte == b'=');
        let name = &bytes[2..end.unwrap_or(bytes.len())];
        return match std::str::from_utf8(name) {
            Ok(name) if !name.is_empty() && !name.starts_with('-') => {
                Ok(Word::Flag { name, has_value: end.is_some() })
            }
            _ => wrong(format!("bad flag syntax: {}", word.display())),
        };
    }
    match bytes {
        b"-h" => Ok(Word::ShortHelp),
        [b'-', letter] if letter.is_ascii_alphabetic() => Ok(Word::Letter(char::from(*letter))),
        [b'-', _, ..] => {
            wrong(format!("unknown shorthand flag in {} (flags start with two dashes)", word.display()))
        }
        _ => Ok(Word::Plain),
    }
}

/// Where the words of the command are found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// The full names of the command and its subcommand, as far as given.
    pub(crate) path: Vec<&'static str>,
    /// The other words, in their order.
    pub(crate) words: Vec<OsString>,
    /// How many of `words` stood before the end of the command's name.
    pub(crate) leading: usize,
    /// `--help` stood before the end of the command's name.
    pub(crate) help: bool,
}

/// Finds the command that `words` (without the program's name) are about.
///
/// `paths` are all commands. Of `definitions` only as many are made as it takes to know the flags that stand before the
/// command: those of every command come first.
pub(crate) fn locate(
    words: Vec<OsString>,
    paths: &[&'static [&'static str]],
    definitions: impl IntoIterator<Item = clap::Command>,
) -> Result<Located, UsageError> {
    let mut found = Located { path: Vec::new(), words: Vec::new(), leading: 0, help: false };
    let mut definitions = definitions.into_iter();
    let mut flags = Flags::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match look_at(&word)? {
            Word::End => {
                // A command is named after it, or none.
            }
            Word::ShortHelp | Word::Flag { name: "help", .. } => found.help = true,
            // Only a command says what it is short for.
            Word::Letter(letter) => {
                return wrong(format!("unknown shorthand flag in -{letter} (flags start with two dashes)"));
            }
            Word::Flag { name, has_value } => {
                let value = loop {
                    if let Some(value) = flags.value_of(name) {
                        break value;
                    }
                    let Some(more) = definitions.next() else {
                        return wrong(format!("unknown flag: --{name}"));
                    };
                    flags.add(&more);
                };
                let separate = value == Value::Separate && !has_value;
                found.words.push(if separate { join(word, &mut words)? } else { word });
            }
            Word::Plain => {
                found.path.push(complete(&word, &found.path, paths)?);
                if paths.contains(&found.path.as_slice()) {
                    found.leading = found.words.len();
                    found.words.extend(words);
                    return Ok(found);
                }
            }
        }
    }
    found.leading = found.words.len();
    Ok(found)
}

/// The full name of the command that `word` begins, among those that follow `parents`.
fn complete(
    word: &OsStr,
    parents: &[&'static str],
    paths: &[&'static [&'static str]],
) -> Result<&'static str, UsageError> {
    let parent = [&["rkt"], parents].concat().join(" ");
    let unknown = || UsageError(format!("unknown command {:?} for {parent:?}", word.display().to_string()));
    let word = word.to_str().ok_or_else(unknown)?;
    let mut names: Vec<&'static str> =
        paths.iter().filter_map(|path| path.strip_prefix(parents)?.first().copied()).collect();
    names.dedup();
    if let Some(name) = names.iter().find(|name| **name == word) {
        return Ok(name);
    }
    names.retain(|name| !word.is_empty() && name.starts_with(word));
    match names.as_slice() {
        [name] => Ok(name),
        [] => Err(unknown()),
        several => wrong(format!("ambiguous command {word:?} for {parent:?}: {}", several.join(", "))),
    }
}

/// `--flag` and the next word as `--flag=value`, so that a value which looks like a flag stays a value.
fn join(flag: OsString, words: &mut impl Iterator<Item = OsString>) -> Result<OsString, UsageError> {
    let Some(value) = words.next() else {
        return wrong(format!("flag needs an argument: {}", flag.display()));
    };
    let mut joined = flag;
    joined.push("=");
    joined.push(value);
    Ok(joined)
}

/// Words in the order in which clap reads them as meant; the command's own name is not among them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arranged {
    /// Flags, then `--`, then arguments.
    pub(crate) words: Vec<OsString>,
    /// `--help` was among the flags.
    pub(crate) help: bool,
}

/// Sorts the words of `found` for `command`, whose flags stand as `style` says.
pub(crate) fn arrange(found: Located, command: &clap::Command, style: Style) -> Result<Arranged, UsageError> {
    let mut known = Flags::default();
    known.add(command);
    let mut sorter = Sorter { known, flags: Vec::new(), rest: Vec::new(), help: found.help };
    let mut words = found.words.into_iter();
    for _ in 0..found.leading {
        if let Some(word) = words.next() {
            sorter.flags.push(word);
        }
    }
    sorter.check_leading(style)?;
    match style {
        Style::Anywhere | Style::Leading => sorter.plain(words, style == Style::Leading)?,
        Style::Images(per_app) => sorter.images(words, per_app)?,
    }
    let mut words = sorter.flags;
    words.push("--".into());
    words.append(&mut sorter.rest);
    Ok(Arranged { words, help: sorter.help })
}

struct Sorter {
    known: Flags,
    flags: Vec<OsString>,
    rest: Vec<OsString>,
    help: bool,
}

impl Sorter {
    /// The flags that stood before the command's name were checked against all commands: now against this one.
    fn check_leading(&self, style: Style) -> Result<(), UsageError> {
        for word in &self.flags {
            if let Word::Flag { name, .. } = look_at(word)? {
                if self.known.value_of(name).is_none() {
                    return wrong(format!("unknown flag: --{name}"));
                }
                if let Style::Images(per_app) = style
                    && per_app.only_after_image(name)
                {
                    return wrong(format!("--{name} must follow an image"));
                }
            }
        }
        Ok(())
    }

    fn plain(
        &mut self,
        mut words: impl Iterator<Item = OsString>,
        stop_at_first: bool,
    ) -> Result<(), UsageError> {
        while let Some(word) = words.next() {
            match look_at(&word)? {
                Word::End => {
                    self.rest.extend(words);
                    return Ok(());
                }
                Word::ShortHelp | Word::Flag { name: "help", .. } => self.help = true,
                Word::Letter(letter) => self.take_flag(self.known.spelt_out(letter)?, &mut words)?,
                Word::Flag { .. } => self.take_flag(word, &mut words)?,
                Word::Plain => {
                    self.rest.push(word);
                    if stop_at_first {
                        self.rest.extend(words);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn images(
        &mut self,
        mut words: impl Iterator<Item = OsString>,
        per_app: PerApp,
    ) -> Result<(), UsageError> {
        while let Some(word) = words.next() {
            if word == "---" {
                // Ends nothing here; the grammar of images ignores it.
                continue;
            }
            match look_at(&word)? {
                // Before the first image it only says that no flags of the pod follow.
                Word::End if self.rest.is_empty() => {}
                Word::End => {
                    self.rest.push(word);
                    for word in words.by_ref() {
                        let end = word == "---";
                        self.rest.push(word);
                        if end {
                            break;
                        }
                    }
                }
                Word::ShortHelp | Word::Flag { name: "help", .. } => self.help = true,
                Word::Flag { name, .. } if self.rest.is_empty() && per_app.only_after_image(name) => {
                    return wrong(format!("--{name} must follow an image"));
                }
                Word::Flag { name, has_value } if !self.rest.is_empty() && per_app.has(name) => {
                    let separate = self.known.value_of(name) == Some(Value::Separate) && !has_value;
                    self.rest.push(if separate { join(word, &mut words)? } else { word });
                }
                Word::Letter(letter) => self.take_flag(self.known.spelt_out(letter)?, &mut words)?,
                Word::Flag { .. } => self.take_flag(word, &mut words)?,
                Word::Plain => self.rest.push(word),
            }
        }
        Ok(())
    }

    fn take_flag(
        &mut self,
        word: OsString,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), UsageError> {
        let Word::Flag { name, has_value } = look_at(&word)? else { return Ok(()) };
        let Some(value) = self.known.value_of(name) else { return wrong(format!("unknown flag: --{name}")) };
        let separate = value == Value::Separate && !has_value;
        self.flags.push(if separate { join(word, words)? } else { word });
        Ok(())
    }
}
