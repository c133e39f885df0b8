//! What both kinds of manifest are checked for.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::app::{App, EnvironmentVariable};
use crate::isolator::Isolator;

/// `acKind` of an image manifest.
pub const IMAGE_KIND: &str = "ImageManifest";
/// `acKind` of a pod manifest.
pub const POD_KIND: &str = "PodManifest";
/// The version of the specification that manifests written by this crate follow.
pub const AC_VERSION: &str = "0.8.11";
/// The most bytes that a manifest may have.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Why a manifest was refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// More than [`MANIFEST_BYTES_MAX`].
    #[error("The manifest has more than {MANIFEST_BYTES_MAX} bytes")]
    TooLong,
    /// Not the JSON of a manifest.
    #[error("The manifest is malformed")]
    Json(#[from] serde_json::Error),
    /// Another kind of manifest.
    #[error("acKind is {found:?}, expected {expected:?}")]
    Kind {
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// A rule of the specification is broken.
    #[error("Manifest field {field}: {rule}")]
    Rule {
        /// The field.
        field: String,
        /// What is wrong with it.
        rule: String,
    },
}

impl ManifestError {
    pub(crate) fn rule(field: &str, rule: &str) -> Self {
        ManifestError::Rule { field: field.to_owned(), rule: rule.to_owned() }
    }
}

pub(crate) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, ManifestError> {
    if json.len() > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLong);
    }
    Ok(serde_json::from_slice(json)?)
}

pub(crate) fn check_kind(found: &str, expected: &'static str) -> Result<(), ManifestError> {
    if found == expected {
        return Ok(());
    }
    Err(ManifestError::Kind { found: found.chars().take(80).collect(), expected })
}

/// Three numbers, and perhaps a pre-release or build part: enough of semver 2.0 to tell a version.
pub(crate) fn check_version(version: &str) -> Result<(), ManifestError> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    if numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u64>().is_ok()) {
        return Ok(());
    }
    Err(ManifestError::rule("acVersion", &format!("{version:?} is no semantic version")))
}

pub(crate) fn check_names<'a>(
    field: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), ManifestError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ManifestError::rule(field, &format!("{name:?} stands there twice")));
        }
    }
    Ok(())
}

pub(crate) fn check_app(field: &str, app: &App) -> Result<(), ManifestError> {
    let named = |part: &str| format!("{field}.{part}");
    let broken = |part: &str, rule: String| Err(ManifestError::Rule { field: named(part), rule });
    for (part, value) in [("user", &app.user), ("group", &app.group)] {
        if value.is_empty() {
            return broken(part, "it is required".to_owned());
        }
    }
    if let Some(directory) = app.working_directory.as_deref().filter(|path| !path.starts_with('/')) {
        return broken("workingDirectory", format!("{directory:?} is not absolute"));
    }
    check_names(&named("environment"), app.environment.iter().map(|variable| variable.name.as_str()))?;
    check_names(&named("mountPoints"), app.mount_points.iter().map(|point| point.name.as_str()))?;
    check_names(&named("ports"), app.ports.iter().map(|port| port.name.as_str()))?;
    for variable in &app.environment {
        if !EnvironmentVariable::is_valid_name(&variable.name) {
            return broken("environment", format!("{:?} cannot name a variable", variable.name));
        }
        if variable.value.contains('\0') {
            return broken("environment", format!("the value of {} contains NUL", variable.name));
        }
    }
    if app.exec.iter().any(|argument| argument.contains('\0')) {
        return broken("exec", "an argument contains NUL".to_owned());
    }
    for point in &app.mount_points {
        if !point.path.starts_with('/') {
            return broken("mountPoints", format!("{:?} is not absolute", point.path));
        }
    }
    for port in &app.ports {
        let last = u32::from(port.port) + u32::from(port.count) - u32::from(port.count > 0);
        if port.port == 0 || port.count == 0 || last > u32::from(u16::MAX) {
            return broken("ports", format!("{} leaves the range 1 to 65535", port.name));
        }
    }
    for (at, handler) in app.event_handlers.iter().enumerate() {
        if handler.exec.is_empty() {
            return broken("eventHandlers", "exec is empty".to_owned());
        }
        if app.event_handlers[..at].iter().any(|other| other.name == handler.name) {
            return broken("eventHandlers", format!("{:?} stands there twice", handler.name));
        }
    }
    if app.isolators.iter().filter(|isolator| isolator.is_seccomp_set()).count() > 1 {
        return broken("isolators", "there is more than one seccomp set".to_owned());
    }
    if app.isolators.iter().filter(|isolator| isolator.is_capability_set()).count() > 1 {
        return broken("isolators", "there is more than one capability set".to_owned());
    }
    check_names(&named("isolators"), app.isolators.iter().map(Isolator::name))
}
