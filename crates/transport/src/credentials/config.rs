//! `auth.d/*.json`: the documents `auth` and `dockerAuth`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{Basic, Error, Secret, aws};

/// What the documents of one root say.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) domains: BTreeMap<String, Secret>,
    pub(super) registries: BTreeMap<String, Basic>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    rkt_kind: String,
    rkt_version: String,
}

#[derive(Deserialize)]
struct Auth {
    domains: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
    credentials: serde_json::Value,
}

#[derive(Deserialize)]
struct DockerAuth {
    registries: Vec<String>,
    credentials: UserPassword,
}

#[derive(Deserialize)]
struct UserPassword {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Aws {
    #[serde(rename = "accessKeyID", default)]
    access_key_id: String,
    #[serde(default)]
    secret_access_key: String,
    #[serde(default)]
    aws_region: Option<String>,
}

impl Root {
    /// Adds one document.
    ///
    /// # Errors
    /// Also when a domain or registry has been named in this root before.
    pub(super) fn add(&mut self, path: &Path, text: &[u8]) -> Result<(), Error> {
        let content = |problem: String| Error::Content { path: path.to_owned(), problem };
        self.add_document(text).map_err(content)
    }

    fn add_document(&mut self, text: &[u8]) -> Result<(), String> {
        // serde's messages would quote the value, which may be a secret.
        let unreadable = |error: serde_json::Error| format!("not valid at line {}", error.line());
        let kind: Kind = serde_json::from_slice(text).map_err(|error| {
            format!("rktKind and rktVersion are missing, or it is no JSON, at line {}", error.line())
        })?;
        match (kind.rkt_kind.as_str(), kind.rkt_version.as_str()) {
            ("auth", "v1") => {
                let auth: Auth = serde_json::from_slice(text).map_err(unreadable)?;
                let secret = secret(&auth.kind, auth.credentials)?;
                named("domains", auth.domains, &secret, &mut self.domains)
            }
            ("dockerAuth", "v1") => {
                let auth: DockerAuth = serde_json::from_slice(text).map_err(unreadable)?;
                let basic = basic(auth.credentials)?;
                named("registries", auth.registries, &basic, &mut self.registries)
            }
            (kind, version) => Err(format!("auth.d takes no document of kind {kind} and version {version}")),
        }
    }
}

/// Enters `value` under each of `keys`.
fn named<V: Clone>(
    field: &str,
    keys: Vec<String>,
    value: &V,
    into: &mut BTreeMap<String, V>,
) -> Result<(), String> {
    if keys.is_empty() {
        return Err(format!("{field} is empty"));
    }
    for key in keys {
        if key.is_empty() {
            return Err(format!("an entry of {field} is empty"));
        }
        if into.insert(key.to_ascii_lowercase(), value.clone()).is_some() {
            return Err(format!("credentials for {key} are given twice"));
        }
    }
    Ok(())
}

fn secret(kind: &str, credentials: serde_json::Value) -> Result<Secret, String> {
    match kind {
        "basic" => Ok(Secret::Basic(basic(fields(credentials)?)?)),
        "oauth" => {
            let Token { token } = fields(credentials)?;
            if token.is_empty() { Err("the token is empty".to_owned()) } else { Ok(Secret::Bearer(token)) }
        }
        "aws" => {
            let Aws { access_key_id, secret_access_key, aws_region } = fields(credentials)?;
            if access_key_id.is_empty() || secret_access_key.is_empty() {
                return Err("accessKeyID or secretAccessKey is empty".to_owned());
            }
            let region = aws_region.filter(|region| !region.is_empty());
            Ok(Secret::Aws(aws::Keys { id: access_key_id, secret: secret_access_key, region }))
        }
        other => Err(format!("unknown type {other}: basic, oauth and aws are known")),
    }
}

fn fields<T: serde::de::DeserializeOwned>(credentials: serde_json::Value) -> Result<T, String> {
    serde_json::from_value(credentials)
        .map_err(|_| "credentials does not have the fields of its type".to_owned())
}

fn basic(credentials: UserPassword) -> Result<Basic, String> {
    let UserPassword { user, password } = credentials;
    if user.is_empty() || password.is_empty() {
        return Err("user or password is empty".to_owned());
    }
    Ok(Basic { user, password })
}
