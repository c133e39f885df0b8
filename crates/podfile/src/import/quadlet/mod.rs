//! Podman's quadlets; see podman-systemd.unit(5).

mod keys;
mod network;
mod protection;
mod storage;

use std::path::Path;
use std::rc::Rc;

use super::output::{Output, line};
use crate::diagnostic::{Diagnostic, Source};
use crate::keys::RESERVED;
use crate::syntax::{self, Assignment, Section};
use crate::value;
use crate::words;

/// One file that is being read.
struct Reader<'a> {
    source: &'a Rc<Source>,
    read: &'a dyn Fn(&str) -> Option<String>,
    output: &'a mut Output,
    notes: &'a mut Vec<Diagnostic>,
    /// Lines of `[App]`.
    app: Vec<String>,
    name: Option<String>,
    entrypoint: Option<Vec<String>>,
    arguments: Option<Vec<String>>,
    health: Option<String>,
    ready: Option<String>,
    /// The only app of its pod: limits of it are the pod's.
    is_alone: bool,
    has_host_network: bool,
    /// `IP=`, which belongs to a network that may come later.
    address: Option<Assignment>,
}

/// What became of one key.
enum Fate {
    Done,
    /// Left out, for a reason.
    Lost(&'static str),
    /// Carried over, but not quite.
    Changed(&'static str),
    /// The value makes no sense.
    Bad(String),
}

type Result<T, E = Fate> = std::result::Result<T, E>;

/// A quadlet `.container` of its own.
pub(super) fn container(
    sections: &[Section],
    source: &Rc<Source>,
    read: &dyn Fn(&str) -> Option<String>,
    output: &mut Output,
    notes: &mut Vec<Diagnostic>,
) {
    output.pod.push("InsecureOptions=image".to_owned());
    handed(sections, output, notes);
    one(sections, source, read, output, notes, true);
}

/// A quadlet `.pod` with its containers.
pub(super) fn pod(
    sections: &[Section],
    source: &Rc<Source>,
    members: &[Rc<Source>],
    read: &dyn Fn(&str) -> Option<String>,
    output: &mut Output,
    notes: &mut Vec<Diagnostic>,
) {
    output.pod.push("InsecureOptions=image".to_owned());
    handed(sections, output, notes);
    let mut reader = Reader::new(source, read, output, notes, false);
    for assignment in assignments(sections, "Pod") {
        let fate = reader.pod_key(assignment).unwrap_or_else(|fate| fate);
        reader.note(assignment, fate);
    }
    reader.place_address();
    for member in members {
        let sections = syntax::parse(member, notes);
        for section in
            sections.iter().filter(|section| ["Unit", "Service", "Install"].contains(&&*section.name))
        {
            for assignment in &section.assignments {
                let text = format!(
                    "{}= of [{}]: the pod has one unit for all its apps",
                    assignment.key, section.name
                );
                if section.name != "Install" {
                    notes.push(Diagnostic::warning(assignment.place.clone(), text));
                }
            }
        }
        one(&sections, member, read, output, notes, false);
    }
}

fn one(
    sections: &[Section],
    source: &Rc<Source>,
    read: &dyn Fn(&str) -> Option<String>,
    output: &mut Output,
    notes: &mut Vec<Diagnostic>,
    is_alone: bool,
) {
    let mut reader = Reader::new(source, read, output, notes, is_alone);
    let is_host = |one: &Assignment| one.key == "Network" && one.value.text == "host";
    reader.has_host_network = assignments(sections, "Container").any(is_host)
        || reader.output.pod.iter().any(|line| line == "Network=host");
    for assignment in assignments(sections, "Container") {
        let fate = reader.container_key(assignment).unwrap_or_else(|fate| fate);
        reader.note(assignment, fate);
    }
    for section in sections.iter().filter(|section| section.name.starts_with("Quadlet")) {
        reader.notes.push(Diagnostic::warning(section.place.clone(), "[Quadlet] has no counterpart"));
    }
    reader.finish();
}

fn assignments<'a>(sections: &'a [Section], name: &'a str) -> impl Iterator<Item = &'a Assignment> {
    sections.iter().filter(move |section| section.name == name).flat_map(|section| &section.assignments)
}

/// What systemd reads is handed on.
fn handed(sections: &[Section], output: &mut Output, notes: &mut Vec<Diagnostic>) {
    for section in sections {
        let lines = match section.name.as_str() {
            "Unit" => &mut output.unit,
            "Service" => &mut output.service,
            "Install" => &mut output.install,
            _ => continue,
        };
        for one in &section.assignments {
            if section.name == "Service"
                && let Some((key, instead)) = RESERVED.iter().find(|(key, _)| *key == one.key)
            {
                let text = format!("{key}= of [Service] is rkt's own in the unit of a pod");
                notes.push(Diagnostic::warning(one.place.clone(), text).hint((*instead).to_owned()));
                continue;
            }
            lines.push(format!("{}={}", one.key, one.value.text));
        }
    }
}

impl<'a> Reader<'a> {
    fn new(
        source: &'a Rc<Source>,
        read: &'a dyn Fn(&str) -> Option<String>,
        output: &'a mut Output,
        notes: &'a mut Vec<Diagnostic>,
        is_alone: bool,
    ) -> Self {
        let stem = Path::new(&source.path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Reader {
            source,
            read,
            output,
            notes,
            app: Vec::new(),
            name: if is_alone { None } else { stem },
            entrypoint: None,
            arguments: None,
            health: None,
            ready: None,
            is_alone,
            has_host_network: false,
            address: None,
        }
    }

    fn note(&mut self, assignment: &Assignment, fate: Fate) {
        let key = &assignment.key;
        let diagnostic = match fate {
            Fate::Done => return,
            Fate::Lost(why) => {
                Diagnostic::warning(assignment.place.clone(), format!("{key}= is not carried over: {why}"))
            }
            Fate::Changed(how) => Diagnostic::warning(assignment.place.clone(), format!("{key}=: {how}")),
            Fate::Bad(message) => Diagnostic::error(assignment.value.whole(), format!("{key}=: {message}")),
        };
        self.notes.push(diagnostic);
    }

    /// A value as it stands in a pod file: specifiers that only Podman's units have are spelt out.
    fn text(&self, assignment: &Assignment) -> String {
        let name =
            Path::new(&self.source.path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = &assignment.value.text;
        text.replace("%h", "/root")
            .replace("%u", "root")
            .replace("%U", "0")
            .replace("%n", &format!("{name}.service"))
    }

    fn words(&self, assignment: &Assignment) -> Result<Vec<String>> {
        let words = words::split(&self.text(assignment)).map_err(|error| Fate::Bad(error.message))?;
        Ok(words.into_iter().map(|word| word.text).collect())
    }

    /// A path of the host: relative ones begin where the quadlet is.
    fn path(&self, text: &str) -> String {
        if text.starts_with('/') || text.starts_with('%') {
            return text.to_owned();
        }
        let directory = Path::new(&self.source.path).parent().unwrap_or(Path::new("/"));
        directory.join(text.trim_start_matches("./")).display().to_string()
    }

    fn is_yes(&self, assignment: &Assignment) -> Result<bool> {
        value::boolean(&assignment.value.text).map_err(|problem| Fate::Bad(problem.message))
    }

    fn push(&mut self, key: &str, text: impl std::fmt::Display) -> Result<Fate> {
        self.app.push(format!("{key}={text}"));
        Ok(Fate::Done)
    }

    fn finish(mut self) {
        self.place_address();
        match (self.entrypoint.take(), self.arguments.take()) {
            (Some(entrypoint), arguments) => {
                self.app.push(line("Exec", entrypoint.into_iter().chain(arguments.unwrap_or_default())));
            }
            (None, Some(arguments)) => self.app.push(line("Command", arguments)),
            (None, None) => {}
        }
        if self.ready.is_some()
            && let Some(command) = &self.health
        {
            self.app.push(format!("ReadyCommand={command}"));
        }
        let name = self.name.take().and_then(|name| appc::AcName::sanitize(&name).ok());
        self.output.apps.push((name.map(|name| name.to_string()), std::mem::take(&mut self.app)));
    }
}
