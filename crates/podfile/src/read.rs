//! From sections to a [`PodFile`]: which key goes where, what fits together.

mod checks;

use std::rc::Rc;

use appc::AcName;

use crate::diagnostic::{Diagnostic, Place, Source, nearest};
use crate::keys::{APP, HANDED, Key, POD, RESERVED};
use crate::pod::{App, AppSettings, Handed, Isolation, Pod, PodFile};
use crate::specifier::Specifiers;
use crate::syntax::{self, Assignment, Section};

/// What was read, with everything that is wrong. There is a pod even then: as much of it as could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The pod.
    pub file: PodFile,
    /// What is wrong with it, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
}

impl Outcome {
    /// Whether the pod can run.
    pub fn is_good(&self) -> bool {
        self.errors().next().is_none()
    }

    /// What keeps it from running.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|one| one.severity == crate::diagnostic::Severity::Error)
    }
}

/// Reads the file `main` of a pod and its drop-ins, later ones over earlier ones.
pub fn read(main: &Rc<Source>, drop_ins: &[Rc<Source>], specifiers: &Specifiers) -> Outcome {
    let mut reader = Reader {
        specifiers,
        pod: Pod::default(),
        apps: Vec::new(),
        handed: Handed::default(),
        places: Vec::new(),
        diagnostics: Vec::new(),
    };
    for (index, source) in std::iter::once(main).chain(drop_ins).enumerate() {
        let sections = syntax::parse(source, &mut reader.diagnostics);
        for section in sections {
            reader.section(section, index > 0);
        }
    }
    reader.finish(main)
}

/// An app that is being read.
#[derive(Debug)]
struct Draft {
    /// `[App NAME]`
    header: Option<AcName>,
    place: Place,
    settings: AppSettings,
    /// A drop-in was the first to speak of it.
    is_added: bool,
}

#[derive(Debug)]
struct Reader<'a> {
    specifiers: &'a Specifiers,
    pod: Pod,
    apps: Vec<Draft>,
    handed: Handed,
    /// Where the keys of `[Pod]` were last assigned, for what is found out later.
    places: Vec<(&'static str, Place)>,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn error(&mut self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.diagnostics.push(Diagnostic::error(place, message).hint(hint));
    }

    fn section(&mut self, section: Section, is_drop_in: bool) {
        let name = section.name.as_str();
        if let (Some(argument), true) = (&section.argument, name != "App") {
            self.error(section.place.clone(), format!("[{name}] takes no name, but has {argument:?}"), None);
        }
        match name {
            "Pod" => {
                for assignment in &section.assignments {
                    let Some(key) = self.find(POD, "Pod", assignment) else { continue };
                    self.places.push((key.name, assignment.place.clone()));
                    let mut pod = std::mem::take(&mut self.pod);
                    self.assign(key, &mut pod, assignment);
                    self.pod = pod;
                }
            }
            "App" => {
                let Some(index) = self.app(&section, is_drop_in) else { return };
                let mut settings = std::mem::take(&mut self.apps[index].settings);
                for assignment in &section.assignments {
                    let Some(key) = self.find(APP, "App", assignment) else { continue };
                    self.assign(key, &mut settings, assignment);
                }
                self.apps[index].settings = settings;
            }
            "Service" => {
                for assignment in section.assignments {
                    match RESERVED.iter().find(|(key, _)| *key == assignment.key) {
                        Some((key, instead)) => self.error(
                            assignment.place,
                            format!("{key}= of [Service] is rkt's own in the unit of a pod"),
                            Some((*instead).to_owned()),
                        ),
                        None => self.handed.service.push(assignment),
                    }
                }
            }
            "Unit" => self.handed.unit.extend(section.assignments),
            "Install" => self.handed.install.extend(section.assignments),
            "Socket" => self.handed.socket.extend(section.assignments),
            _ if name.starts_with("X-") => {}
            _ => {
                let known = ["Pod", "App"].into_iter().chain(HANDED);
                let hint = nearest(name, known).map(|near| format!("did you mean [{near}]?")).or_else(|| {
                    Some("there are [Pod], [App], [Unit], [Service], [Socket] and [Install]".to_owned())
                });
                self.error(section.place, format!("There is no section [{name}]"), hint);
            }
        }
    }

    /// The key that an assignment is for.
    fn find<T>(
        &mut self,
        table: &'static [Key<T>],
        section: &str,
        assignment: &Assignment,
    ) -> Option<&'static Key<T>> {
        let name = assignment.key.as_str();
        let found = table.iter().find(|key| key.name == name);
        if found.is_none() && !name.starts_with("X-") {
            let elsewhere = match section {
                "Pod" => APP.iter().find(|key| key.name == name).map(|_| "[App]"),
                _ => POD.iter().find(|key| key.name == name).map(|_| "[Pod]"),
            };
            let hint = match (elsewhere, nearest(name, table.iter().map(|key| key.name))) {
                (Some(other), _) => Some(format!("it is a key of {other}")),
                (None, Some(near)) => Some(format!("did you mean {near}=?")),
                (None, None) => None,
            };
            self.error(assignment.place.clone(), format!("[{section}] has no key {name}="), hint);
        }
        found
    }

    fn assign<T>(&mut self, key: &Key<T>, section: &mut T, assignment: &Assignment) {
        let value = &assignment.value;
        if value.text.is_empty() {
            return (key.reset)(section);
        }
        let expanded = if key.is_raw { Ok(value.text.clone()) } else { self.specifiers.expand(&value.text) };
        let text = match expanded {
            Ok(text) => text,
            Err(at) => {
                let letter: String = value.text[at..].chars().take(2).collect();
                let hint = "write %% for a percent sign".to_owned();
                return self.error(value.place(at, 2), format!("There is no specifier {letter}"), Some(hint));
            }
        };
        if let Err(problem) = (key.set)(section, &text) {
            let place = match problem.range.filter(|_| text == value.text) {
                Some(range) => value.place(range.start, range.len()),
                None => value.whole(),
            };
            let hint = problem.hint.or_else(|| Some(format!("the syntax is {}={}", key.name, key.syntax)));
            self.error(place, format!("{}=: {}", key.name, problem.message), hint);
        }
    }

    /// The app that a section is about, made when it is new.
    fn app(&mut self, section: &Section, is_drop_in: bool) -> Option<usize> {
        let name = match section.argument.as_deref().map(str::parse::<AcName>) {
            None => None,
            Some(Ok(name)) => Some(name),
            Some(Err(error)) => {
                self.error(section.place.clone(), format!("[App]: {error}"), None);
                return None;
            }
        };
        let known = |draft: &Draft| draft.header.as_ref().or(draft.settings.name.as_ref()) == name.as_ref();
        let found = match &name {
            Some(_) => self.apps.iter().position(known).or_else(|| {
                // The only app of a pod may be called by the name that it gets.
                let default = default_name(self.specifiers.name.prefix());
                (self.apps.len() == 1 && self.apps[0].header.is_none() && name == default).then_some(0)
            }),
            None if is_drop_in && self.apps.len() > 1 => {
                let hint = "[App NAME] says which one is meant".to_owned();
                self.error(section.place.clone(), "The pod has several apps", Some(hint));
                return None;
            }
            None if is_drop_in => self.apps.first().map(|_| 0),
            None => None,
        };
        Some(found.unwrap_or_else(|| {
            self.apps.push(Draft {
                header: name,
                place: section.place.clone(),
                settings: AppSettings::default(),
                is_added: is_drop_in,
            });
            self.apps.len() - 1
        }))
    }

    /// The place of the last assignment to a key of `[Pod]`.
    fn place(&self, key: &str, main: &Rc<Source>) -> Place {
        let last = self.places.iter().rev().find(|(name, _)| *name == key);
        last.map_or_else(|| Place::start(main), |(_, place)| place.clone())
    }

    fn finish(mut self, main: &Rc<Source>) -> Outcome {
        let apps = self.finish_apps(main);
        self.check_pod(main, &apps);
        let file = PodFile {
            name: self.specifiers.name.clone(),
            path: main.path.clone(),
            pod: self.pod,
            apps,
            handed: self.handed,
        };
        Outcome { file, diagnostics: self.diagnostics }
    }

    fn finish_apps(&mut self, main: &Rc<Source>) -> Vec<App> {
        let drafts = std::mem::take(&mut self.apps);
        if self.pod.manifest.is_some() {
            if let Some(draft) = drafts.first() {
                self.error(draft.place.clone(), "A pod with Manifest= cannot have sections [App]", None);
            }
            self.refuse_what_the_manifest_says(main);
            return Vec::new();
        }
        if drafts.is_empty() {
            let hint = "a section [App] with Image= says what runs".to_owned();
            self.error(Place::start(main), "The pod has no app", Some(hint));
        }
        let several = drafts.len() > 1;
        let names: Vec<String> = drafts
            .iter()
            .filter(|draft| !draft.is_added)
            .filter_map(|draft| draft.header.as_ref().map(ToString::to_string))
            .collect();
        let mut apps: Vec<App> = Vec::new();
        for draft in drafts {
            let Draft { header, place, mut settings, is_added } = draft;
            let default = || if several { None } else { default_name(self.specifiers.name.prefix()) };
            let name = settings.name.take().or_else(|| header.clone()).or_else(default);
            let Some(name) = name else {
                let hint = "[App NAME] names it".to_owned();
                self.error(place, "Each app of a pod with several needs a name", Some(hint));
                continue;
            };
            if apps.iter().any(|app| app.name == name) {
                self.error(place, format!("There are two apps called {:?}", name.as_str()), None);
                continue;
            }
            let image = settings.image.take().or_else(|| settings.image_id.as_ref().map(ToString::to_string));
            let Some(image) = image else {
                let near = nearest(name.as_str(), names.iter().map(String::as_str)).filter(|_| is_added);
                let hint = near.map_or_else(
                    || "Image= names it, as in Image=docker://nginx".to_owned(),
                    |near| format!("did you mean [App {near}]?"),
                );
                self.error(place, format!("App {:?} has no image", name.as_str()), Some(hint));
                continue;
            };
            self.check_app(&settings, &place);
            apps.push(App { name, image, settings });
        }
        apps
    }
}

impl Pod {
    /// The networks that the pod joins.
    pub fn network(&self) -> appc::NetList {
        let all: Vec<_> = self.network.iter().flat_map(|list| list.0.iter().cloned()).collect();
        if !all.is_empty() {
            return appc::NetList(all);
        }
        let word = if self.isolation == Some(Isolation::Fly) { "host" } else { "default" };
        appc::NetList(vec![appc::value::NetRequest { name: word.to_owned(), arguments: Vec::new() }])
    }
}

/// The name of the only app of a pod.
fn default_name(prefix: &str) -> Option<AcName> {
    AcName::sanitize(prefix).ok()
}

#[cfg(test)]
mod tests;
