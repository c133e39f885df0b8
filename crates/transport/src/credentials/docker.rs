//! `config.json` of docker and `auth.json` of podman.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine;
use serde::Deserialize;

use super::{Error, names};
use crate::message::Credentials;
use crate::reference::Reference;

/// What docker calls its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Runs a helper: program, file that names it, server. None when the helper knows nothing of the server.
pub(super) type RunHelper<'a> = &'a dyn Fn(&str, &Path, &str) -> Result<Option<Credentials>, Error>;

/// The files that there may be, in the order of precedence.
pub(super) fn files(environment: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(only) = path("REGISTRY_AUTH_FILE") {
        return vec![only];
    }
    let home = path("HOME");
    let below_home = |place: &str| home.as_ref().map(|home| home.join(place));
    let containers = |directory: PathBuf| directory.join("containers/auth.json");
    [
        path("XDG_RUNTIME_DIR").map(containers),
        path("XDG_CONFIG_HOME").or_else(|| below_home(".config")).map(containers),
        path("DOCKER_CONFIG")
            .or_else(|| below_home(".docker"))
            .map(|directory| directory.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One of these files.
#[derive(Debug)]
pub(super) struct Config {
    path: PathBuf,
    auths: BTreeMap<String, Entry>,
    helpers: BTreeMap<String, String>,
    general_helper: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry(…)")
    }
}

impl Config {
    /// Reads one. Fields that are not about credentials are none of our business.
    pub(super) fn parse(path: &Path, text: &[u8]) -> Result<Self, Error> {
        let document: Document = serde_json::from_slice(text).map_err(|error| Error::Content {
            path: path.to_owned(),
            problem: format!("not valid at line {}", error.line()),
        })?;
        let normal = |(key, entry): (String, Entry)| (normalize(&key), entry);
        Ok(Self {
            path: path.to_owned(),
            auths: document.auths.into_iter().map(normal).collect(),
            helpers: document.cred_helpers,
            general_helper: document.creds_store.filter(|helper| !helper.is_empty()),
        })
    }

    /// What it has for `reference`.
    pub(super) fn find(
        &self,
        reference: &Reference,
        run: RunHelper<'_>,
    ) -> Result<Option<Credentials>, Error> {
        // An empty name switches the general helper off for that registry.
        for name in names(reference) {
            match self.helpers.get(name).map(String::as_str) {
                Some("") => return self.entry(reference),
                Some(helper) => {
                    if let Some(found) = run(helper, &self.path, server(name))? {
                        return Ok(Some(found));
                    }
                }
                None => {}
            }
        }
        if let Some(found) = self.entry(reference)? {
            return Ok(Some(found));
        }
        match &self.general_helper {
            Some(helper) => run(helper, &self.path, server(reference.registry())),
            None => Ok(None),
        }
    }

    /// The entry for the repository, or for the nearest of its parents: podman keeps such.
    fn entry(&self, reference: &Reference) -> Result<Option<Credentials>, Error> {
        let content = |problem: &str| Error::Content { path: self.path.clone(), problem: problem.to_owned() };
        for registry in names(reference) {
            let mut place = format!("{registry}/{}", reference.repository());
            loop {
                if let Some(entry) = self.auths.get(&place)
                    && let Some(found) = entry.credentials().map_err(|problem| {
                        content(&format!("the entry for {place} cannot be read: {problem}"))
                    })?
                {
                    return Ok(Some(found));
                }
                match place.rfind('/') {
                    Some(slash) => place.truncate(slash),
                    None => break,
                }
            }
        }
        Ok(None)
    }
}

impl Entry {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credentials::Identity(token)));
        }
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credentials::Bearer(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let decoded = base64::engine::general_purpose::STANDARD
                .decode(auth.trim())
                .map_err(|_| "auth is not base64")?;
            let text = String::from_utf8(decoded).map_err(|_| "auth is not UTF-8 text")?;
            let (user, password) = text.split_once(':').ok_or("auth has no colon")?;
            return Ok(Some(Credentials::Basic {
                user: user.to_owned(),
                password: password.trim_end_matches('\0').to_owned(),
            }));
        }
        match (given(&self.username), given(&self.password)) {
            (Some(user), Some(password)) => Ok(Some(Credentials::Basic { user, password })),
            _ => Ok(None),
        }
    }
}

/// How a helper wants to hear of a registry.
fn server(registry: &str) -> &str {
    match registry {
        "registry-1.docker.io" | "docker.io" | "index.docker.io" => DOCKER_HUB,
        other => other,
    }
}

/// A key of `auths` as host and path: docker once wrote whole URLs.
fn normalize(key: &str) -> String {
    let Some((_, rest)) = key.split_once("://") else {
        return key.trim_end_matches('/').to_ascii_lowercase();
    };
    rest.split('/').next().unwrap_or_default().to_ascii_lowercase()
}
