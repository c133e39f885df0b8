//! The `app` object that image and pod manifests share; appc specification, "Image Manifest Schema".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::isolator::Isolator;
use crate::name::{AcIdentifier, AcName};

/// A label: `version`, `os` and `arch` have a meaning of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub name: AcIdentifier,
    /// Its value.
    pub value: String,
}

/// An annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// Its name.
    pub name: AcIdentifier,
    /// Its value.
    pub value: String,
}

/// A variable of an app's environment; names match `^[A-Za-z_][A-Za-z_0-9.-]*$`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl EnvironmentVariable {
    /// Whether `name` may name a variable.
    pub fn is_valid_name(name: &str) -> bool {
        let first = name.bytes().next();
        first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    }
}

/// A place in an app's file system where a volume belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// The name that volumes are matched by.
    pub name: AcName,
    /// The absolute path.
    pub path: String,
    /// Whether the app needs no writing there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// A port, or `count` ports in a row, that an app listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// The name that port forwarding refers to.
    pub name: AcName,
    /// `tcp` or `udp`; others are kept.
    pub protocol: String,
    /// The first port.
    pub port: u16,
    /// How many there are.
    #[serde(default = "one")]
    pub count: u16,
    /// Whether the socket is handed to the app.
    #[serde(default)]
    pub socket_activated: bool,
}

fn one() -> u16 {
    1
}

/// When an event handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Before the app starts; its failure is the app's.
    PreStart,
    /// After the app has ended.
    PostStop,
}

/// A program that runs at an event in the life of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventHandler {
    /// When.
    pub name: Event,
    /// What: program and arguments.
    pub exec: Vec<String>,
}

/// What runs, as whom, with what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// Program and arguments.
    #[serde(default)]
    pub exec: Vec<String>,
    /// At most one for each event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_handlers: Vec<EventHandler>,
    /// A name, a number, or an absolute path whose owner is meant.
    pub user: String,
    /// As `user`, for the group.
    pub group: String,
    /// Further groups.
    #[serde(rename = "supplementaryGIDs", default, skip_serializing_if = "Vec::is_empty")]
    pub supplementary_gids: Vec<u32>,
    /// Absolute; `/` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Unique names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<EnvironmentVariable>,
    /// Unique names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    /// Unique names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// What the app may use and do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub isolators: Vec<Isolator>,
    /// Free text of the user's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_annotations: BTreeMap<String, String>,
    /// Free text of the user's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_labels: BTreeMap<String, String>,
}
