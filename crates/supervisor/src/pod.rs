//! What a pod is, as a stage1 tells it to the supervisor: `/rkt/apps.json` in the stage1's root, or a part of the order to start.

use std::collections::BTreeMap;

use executor::AppSpec;
use executor::spec::is_default;
use serde::{Deserialize, Serialize};

/// Where the supervisor finds its [`PodSpec`], in its own root.
pub const POD_SPEC_PATH: &str = "/rkt/apps.json";

/// Everything the supervisor must know about its pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodSpec {
    /// The pod's UUID, for journal entries.
    pub uuid: String,
    /// Set as host name when there is one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hostname: Option<String>,
    /// Kernel parameters of the pod's namespaces, by name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    /// The apps in the order of their start. The root of each is `/opt/stage2/NAME/rootfs`.
    pub apps: Vec<AppSpec>,
    /// How long apps may take to end after SIGTERM, in milliseconds, before they are killed.
    #[serde(default = "grace")]
    pub stop_grace_ms: u64,
    /// A mutable pod lives on without apps, and when one fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mutable: bool,
    /// Volumes are mounted on the host, which shares them with the machine that this is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mounts_on_host: bool,
    /// The console is the journal, which has the lines of apps already.
    #[serde(default, skip_serializing_if = "is_default")]
    pub console_is_journal: bool,
    /// Messages about every step on the console.
    #[serde(default, skip_serializing_if = "is_default")]
    pub debug: bool,
}

fn grace() -> u64 {
    10_000
}

/// Why a [`PodSpec`] cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PodSpecError {
    /// It is no JSON of this shape.
    #[error("It cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// An app's name that is no ACName: it could not name files and cgroups.
    #[error("{0:?} cannot be the name of an app")]
    Name(String),
    /// Two apps of one name.
    #[error("There are two apps called {0:?}")]
    Twice(String),
}

/// Whether an app can be called so.
///
/// # Errors
/// When it cannot: the name is no ACName.
pub fn check_name(name: &str) -> Result<(), PodSpecError> {
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if name.split('-').all(is_plain) { Ok(()) } else { Err(PodSpecError::Name(name.to_owned())) }
}

impl PodSpec {
    /// Reads that of this pod.
    pub(crate) fn read() -> Result<Self, String> {
        let text =
            std::fs::read(POD_SPEC_PATH).map_err(|error| format!("Cannot read {POD_SPEC_PATH}: {error}"))?;
        Self::parse(&text).map_err(|error| format!("Cannot use {POD_SPEC_PATH}: {error}"))
    }

    /// Reads and checks a spec.
    pub fn parse(json: &[u8]) -> Result<Self, PodSpecError> {
        let spec: PodSpec = serde_json::from_slice(json)?;
        for (index, app) in spec.apps.iter().enumerate() {
            check_name(&app.name)?;
            if spec.apps[..index].iter().any(|other| other.name == app.name) {
                return Err(PodSpecError::Twice(app.name.clone()));
            }
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(names: &[&str]) -> PodSpec {
        PodSpec {
            uuid: "uuid".to_owned(),
            hostname: None,
            sysctls: BTreeMap::new(),
            apps: names.iter().map(|name| AppSpec::new(name, &["/bin/true"])).collect(),
            stop_grace_ms: 10_000,
            mutable: false,
            mounts_on_host: false,
            console_is_journal: false,
            debug: false,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let pod = pod(&["web", "db-2"]);
        assert_eq!(PodSpec::parse(&serde_json::to_vec(&pod).unwrap()).unwrap(), pod);
    }

    #[test]
    fn fields_with_a_default_may_be_missing() {
        let json = r#"{"uuid":"u","apps":[{"name":"a","exec":["/x"],"user":"0","group":"0"}]}"#;
        let pod = PodSpec::parse(json.as_bytes()).unwrap();
        assert_eq!(pod.apps, [AppSpec::new("a", &["/x"])]);
        assert_eq!(pod.stop_grace_ms, 10_000);
    }

    #[test]
    fn bad_specs() {
        for names in [&["../x"][..], &[""], &["A"], &["a/b"], &["a-"], &["a", "b", "a"]] {
            let json = serde_json::to_vec(&pod(names)).unwrap();
            let error = PodSpec::parse(&json).unwrap_err().to_string();
            let name = names.last().unwrap();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
        for json in [&b"{}"[..], b"[", br#"{"uuid":"u","apps":[],"what":1}"#] {
            assert!(matches!(PodSpec::parse(json), Err(PodSpecError::Malformed(_))));
        }
    }
}
