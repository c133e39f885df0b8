//! The `app` object of an image manifest, which is also the override in a pod manifest.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::{ManifestError, Rule};
use crate::json::{At, Read, deserialize_by_read};
use crate::{AcName, Isolators, Port};

/// How to run an image (specification, "Image Manifest Schema", `app`).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// The argument vector; may be empty, then the user must give an executable.
    pub exec: Vec<String>,
    /// What to run before and after `exec`; at most one of each kind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_handlers: Vec<EventHandler>,
    /// Name or number of a user, or an absolute path whose owner is meant. Never empty in a parsed manifest.
    pub user: String,
    /// Name or number of a group, or an absolute path whose group is meant. Never empty in a parsed manifest.
    pub group: String,
    /// Further groups by number.
    #[serde(rename = "supplementaryGIDs", skip_serializing_if = "Vec::is_empty")]
    pub supplementary_gids: Vec<u32>,
    /// Absolute path to run in; `/` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Environment variables.
    #[serde(skip_serializing_if = "Environment::is_empty")]
    pub environment: Environment,
    /// Where the app expects volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    /// Ports the app listens on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Limits and privileges.
    #[serde(skip_serializing_if = "Isolators::is_empty")]
    pub isolators: Isolators,
    /// Free-form metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_annotations: BTreeMap<String, String>,
    /// Free-form metadata meant for grouping.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_labels: BTreeMap<String, String>,
}

impl App {
    /// The arguments to run before (or after) `exec`, if any.
    pub fn event_handler(&self, kind: EventHandlerKind) -> Option<&[String]> {
        self.event_handlers.iter().find(|handler| handler.name == kind).map(|handler| handler.exec.as_slice())
    }

    /// The mount point called `name`.
    pub fn mount_point(&self, name: &str) -> Option<&MountPoint> {
        self.mount_points.iter().find(|point| point.name == *name)
    }

    /// The port called `name`.
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.name == *name)
    }
}

impl Read for App {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let app = Self {
            exec: at.arguments("exec")?,
            event_handlers: at.or_default("eventHandlers")?,
            user: at.required_text("user")?.to_owned(),
            group: at.required_text("group")?.to_owned(),
            supplementary_gids: at.or_default("supplementaryGIDs")?,
            working_directory: at.optional("workingDirectory")?.filter(|path: &String| !path.is_empty()),
            environment: at.or_default("environment")?,
            mount_points: at.or_default("mountPoints")?,
            ports: at.or_default("ports")?,
            isolators: at.or_default("isolators")?,
            user_annotations: at.or_default("userAnnotations")?,
            user_labels: at.or_default("userLabels")?,
        };
        for (field, text) in [
            ("user", Some(&app.user)),
            ("group", Some(&app.group)),
            ("workingDirectory", app.working_directory.as_ref()),
        ] {
            text.map_or(Ok(()), |text| at.check_no_nul(field, text))?;
        }
        if let Some(path) = app.working_directory.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(at.field_error("workingDirectory", Rule::NotAbsolute(path.clone())));
        }
        for (field, names) in [
            (
                "eventHandlers",
                app.event_handlers.iter().map(|handler| handler.name.as_str()).collect::<Vec<_>>(),
            ),
            ("mountPoints", app.mount_points.iter().map(|point| point.name.as_str()).collect()),
            ("ports", app.ports.iter().map(|port| port.name.as_str()).collect()),
        ] {
            if let Some(list) = at.field(field) {
                check_unique(&list, names)?;
            }
        }
        Ok(app)
    }
}

/// Checks that no name comes twice in the list at `at`.
pub(crate) fn check_unique<'a>(
    at: &At<'_>,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), ManifestError> {
    let mut seen = HashSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(at.error(Rule::Duplicate(name.to_owned()))),
        None => Ok(()),
    }
}

/// The environment of an app: variables of unique names, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Environment(pub Vec<EnvironmentVariable>);

impl Environment {
    /// An empty environment.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of the variable `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|variable| variable.name == name).map(|variable| variable.value.as_str())
    }

    /// Gives `name` the value `value`, in place when it is there already.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|variable| variable.name == name) {
            Some(variable) => variable.value = value,
            None => self.0.push(EnvironmentVariable { name, value }),
        }
    }

    /// The variables in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, EnvironmentVariable> {
        self.0.iter()
    }

    /// The number of variables.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no variable.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Environment {
    type Item = &'a EnvironmentVariable;
    type IntoIter = std::slice::Iter<'a, EnvironmentVariable>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<EnvironmentVariable> for Environment {
    fn from_iter<I: IntoIterator<Item = EnvironmentVariable>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl Read for Environment {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        let environment = Self(Vec::read(at)?);
        check_unique(&at, environment.iter().map(|variable| variable.name.as_str()))?;
        Ok(environment)
    }
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct EnvironmentVariable {
    /// The name: `^[A-Za-z_][A-Za-z_0-9.-]*$`.
    pub name: String,
    /// The value, any text without NUL.
    pub value: String,
}

impl EnvironmentVariable {
    /// The rule for names, as a part of a sentence.
    pub(crate) const NAME_RULE: &'static str =
        "is not a valid name of an environment variable (it must match ^[A-Za-z_][A-Za-z_0-9.-]*$)";

    /// Whether `name` is a valid name of a variable.
    pub fn is_valid_name(name: &str) -> bool {
        name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    }
}

impl Read for EnvironmentVariable {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let name = at.required_text("name")?.to_owned();
        if !Self::is_valid_name(&name) {
            return Err(at.field_error("name", Rule::Form { rule: Self::NAME_RULE, found: name }));
        }
        let value: String = at.or_default("value")?;
        at.check_no_nul("value", &value)?;
        Ok(Self { name, value })
    }
}

/// A place in an app's file system where it expects a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// The name; a pod's volume of the same name belongs here.
    pub name: AcName,
    /// The path in the app's file system.
    pub path: String,
    /// Whether the app only needs to read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Read for MountPoint {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        Ok(Self {
            name: at.parsed("name")?,
            path: at.required_path("path")?,
            read_only: at.or_default("readOnly")?,
        })
    }
}

/// When an event handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventHandlerKind {
    /// Before the app starts; its failure fails the app.
    PreStart,
    /// After the app has stopped.
    PostStop,
}

impl EventHandlerKind {
    /// The word in the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreStart => "pre-start",
            Self::PostStop => "post-stop",
        }
    }
}

impl fmt::Display for EventHandlerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for EventHandlerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A command to run around an app's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventHandler {
    /// When.
    pub name: EventHandlerKind,
    /// The argument vector.
    pub exec: Vec<String>,
}

impl Read for EventHandler {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let name = match at.required_text("name")? {
            "pre-start" => EventHandlerKind::PreStart,
            "post-stop" => EventHandlerKind::PostStop,
            other => {
                let rule = Rule::OneOf { allowed: "\"pre-start\", \"post-stop\"", found: other.to_owned() };
                return Err(at.field_error("name", rule));
            }
        };
        let exec = at.arguments("exec")?;
        if exec.is_empty() {
            return Err(at.field_error("exec", Rule::Required));
        }
        Ok(Self { name, exec })
    }
}

deserialize_by_read!(App, Environment, EnvironmentVariable, MountPoint, EventHandler);
