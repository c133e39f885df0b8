//! One configuration document: its kinds, and the rules of each.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::Config;

/// What a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Auth,
    DockerAuth,
    Paths,
    Stage1,
    Fetch,
    ImageLimits,
}

/// What the layers of an image may cost; what is absent has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageLimits {
    /// Bytes of one uncompressed archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unpacked_bytes: Option<u64>,
    /// Uncompressed bytes for each compressed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compression_ratio: Option<u64>,
    /// Files, directories and others in one archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entries: Option<u64>,
}

impl ImageLimits {
    /// What `later` sets holds.
    pub(crate) fn override_with(&mut self, later: &Self) {
        self.unpacked_bytes = later.unpacked_bytes.or(self.unpacked_bytes);
        self.compression_ratio = later.compression_ratio.or(self.compression_ratio);
        self.entries = later.entries.or(self.entries);
    }
}

/// A user and a password, neither empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Basic {
    user: String,
    password: String,
}

/// How to identify to one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "credentials", rename_all = "lowercase")]
pub(crate) enum Auth {
    Basic(Basic),
    Oauth {
        token: String,
    },
    Aws {
        #[serde(rename = "accessKeyID")]
        access_key_id: String,
        #[serde(rename = "secretAccessKey")]
        secret_access_key: String,
        #[serde(rename = "awsRegion", default, skip_serializing_if = "String::is_empty")]
        region: String,
    },
}

/// What a download may cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Fetch {
    /// How long a server may be silent, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stall_timeout: Option<u64>,
    /// How often a request that failed for the moment is made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retries: Option<u32>,
    /// The largest archive or layer, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<u64>,
}

/// A document as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    #[serde(rename = "rktVersion")]
    version: &'static str,
    #[serde(rename = "rktKind")]
    kind: &'static str,
    #[serde(flatten)]
    content: Content<'a>,
}

/// The fields of a document that its kind asks for.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Content<'a> {
    Auth {
        domains: [&'a str; 1],
        #[serde(flatten)]
        auth: &'a Auth,
    },
    DockerAuth {
        registries: [&'a str; 1],
        credentials: &'a Basic,
    },
    Paths {
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a Path>,
        #[serde(rename = "stage1-images", skip_serializing_if = "Option::is_none")]
        stage1_images: Option<&'a Path>,
    },
    Stage1 {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        location: Option<&'a str>,
    },
    Fetch(&'a Fetch),
    ImageLimits(&'a ImageLimits),
}

impl<'a> Document<'a> {
    pub(crate) fn new(content: Content<'a>) -> Self {
        let kind = match content {
            Content::Auth { .. } => "auth",
            Content::DockerAuth { .. } => "dockerAuth",
            Content::Paths { .. } => "paths",
            Content::Stage1 { .. } => "stage1",
            Content::Fetch(_) => "fetch",
            Content::ImageLimits(_) => "imageLimits",
        };
        Self { version: "v1", kind, content }
    }
}

impl Auth {
    fn check(&self) -> Result<()> {
        match self {
            Auth::Basic(basic) => basic.check(),
            Auth::Oauth { token } => not_empty("token", token),
            Auth::Aws { access_key_id, secret_access_key, .. } => {
                not_empty("accessKeyID", access_key_id)?;
                not_empty("secretAccessKey", secret_access_key)
            }
        }
    }
}

impl Basic {
    fn check(&self) -> Result<()> {
        not_empty("user", &self.user)?;
        not_empty("password", &self.password)
    }
}

fn not_empty(name: &str, value: &str) -> Result<()> {
    ensure!(!value.is_empty(), "{name:?} is empty");
    Ok(())
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "rktKind", default)]
    kind: String,
    #[serde(rename = "rktVersion", default)]
    version: String,
}

#[derive(Deserialize)]
struct AuthFields {
    #[serde(default)]
    domains: Vec<String>,
    #[serde(flatten)]
    auth: Auth,
}

#[derive(Deserialize)]
struct DockerAuthFields {
    #[serde(default)]
    registries: Vec<String>,
    credentials: Basic,
}

#[derive(Deserialize)]
struct PathsFields {
    #[serde(default)]
    data: PathBuf,
    #[serde(rename = "stage1-images", default)]
    stage1_images: PathBuf,
}

#[derive(Deserialize)]
struct Stage1Fields {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    location: String,
}

/// Adds what the document `text` says to `config`, which has what the root's other documents said.
pub(crate) fn parse(text: &[u8], allowed: &[Kind], config: &mut Config) -> Result<()> {
    let header: Header = serde_json::from_slice(text)?;
    ensure!(!header.kind.is_empty(), "\"rktKind\" is missing");
    ensure!(!header.version.is_empty(), "\"rktVersion\" is missing");
    let kind = match (header.kind.as_str(), header.version.as_str()) {
        ("auth", "v1") => Kind::Auth,
        ("dockerAuth", "v1") => Kind::DockerAuth,
        ("paths", "v1") => Kind::Paths,
        ("stage1", "v1") => Kind::Stage1,
        ("fetch", "v1") => Kind::Fetch,
        ("imageLimits", "v1") => Kind::ImageLimits,
        (kind, version) => bail!("kind {kind:?} in version {version:?} is not known"),
    };
    ensure!(
        allowed.contains(&kind),
        "a document of kind {:?} does not belong in this directory",
        header.kind
    );
    match kind {
        Kind::Auth => auth(serde_json::from_slice(text)?, config),
        Kind::DockerAuth => docker_auth(serde_json::from_slice(text)?, config),
        Kind::Paths => paths(serde_json::from_slice(text)?, config),
        Kind::Stage1 => stage1(serde_json::from_slice(text)?, config),
        Kind::Fetch => fetch(&serde_json::from_slice(text)?, &mut config.fetch),
        Kind::ImageLimits => image_limits(&serde_json::from_slice(text)?, config),
    }
}

fn image_limits(limits: &ImageLimits, config: &mut Config) -> Result<()> {
    let slots = |limits: &ImageLimits| {
        [
            ("unpackedBytes", limits.unpacked_bytes),
            ("compressionRatio", limits.compression_ratio),
            ("entries", limits.entries),
        ]
    };
    for ((name, new), (_, old)) in slots(limits).into_iter().zip(slots(&config.image_limits)) {
        ensure!(new != Some(0), "{name:?} is 0");
        ensure!(new.is_none() || old.is_none(), "{name:?} is set twice");
    }
    config.image_limits.override_with(limits);
    Ok(())
}

fn auth(fields: AuthFields, config: &mut Config) -> Result<()> {
    ensure!(!fields.domains.is_empty(), "no domains are given");
    fields.auth.check().context("Bad credentials")?;
    for domain in fields.domains {
        not_empty("domains", &domain)?;
        ensure!(!config.auth.contains_key(&domain), "credentials for domain {domain:?} are set twice");
        config.auth.insert(domain, fields.auth.clone());
    }
    Ok(())
}

fn docker_auth(fields: DockerAuthFields, config: &mut Config) -> Result<()> {
    ensure!(!fields.registries.is_empty(), "no registries are given");
    fields.credentials.check().context("Bad credentials")?;
    for registry in fields.registries {
        not_empty("registries", &registry)?;
        ensure!(
            !config.docker_auth.contains_key(&registry),
            "credentials for registry {registry:?} are set twice"
        );
        config.docker_auth.insert(registry, fields.credentials.clone());
    }
    Ok(())
}

fn paths(fields: PathsFields, config: &mut Config) -> Result<()> {
    set_path("data", fields.data, &mut config.data)?;
    set_path("stage1-images", fields.stage1_images, &mut config.stage1_images)
}

fn set_path(name: &str, path: PathBuf, slot: &mut Option<PathBuf>) -> Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    ensure!(path.is_absolute(), "{name:?} must be an absolute path, not {:?}", path.display().to_string());
    ensure!(slot.is_none(), "{name:?} is set twice");
    *slot = Some(path);
    Ok(())
}

fn stage1(fields: Stage1Fields, config: &mut Config) -> Result<()> {
    let Stage1Fields { name, version, location } = fields;
    ensure!(
        name.is_empty() == version.is_empty(),
        "\"name\" and \"version\" of a stage1 are given together or not at all"
    );
    ensure!(
        !name.is_empty() || !location.is_empty(),
        "neither \"name\" nor \"location\" of a stage1 is given"
    );
    if !name.is_empty() {
        ensure!(config.stage1_name.is_none(), "name and version of the stage1 are set twice");
        config.stage1_name = Some((name, version));
    }
    if !location.is_empty() {
        check_location(&location)?;
        ensure!(config.stage1_location.is_none(), "the location of the stage1 is set twice");
        config.stage1_location = Some(location);
    }
    Ok(())
}

fn fetch(fields: &Fetch, fetch: &mut Fetch) -> Result<()> {
    ensure!(fields.stall_timeout != Some(0), "\"stallTimeout\" is in seconds, 1 at least");
    set_once("stallTimeout", fields.stall_timeout, &mut fetch.stall_timeout)?;
    set_once("retries", fields.retries, &mut fetch.retries)?;
    set_once("maxBytes", fields.max_bytes, &mut fetch.max_bytes)
}

fn set_once<T>(name: &str, value: Option<T>, slot: &mut Option<T>) -> Result<()> {
    ensure!(value.is_none() || slot.is_none(), "{name:?} is set twice");
    *slot = value.or(slot.take());
    Ok(())
}

fn check_location(location: &str) -> Result<()> {
    let scheme = location.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("file" | "http" | "https" | "docker") => Ok(()),
        Some(other) => bail!("the location of the stage1 has the unknown scheme {other:?}"),
        None if Path::new(location).is_absolute() => Ok(()),
        None => {
            bail!(
                "default stage1 image location is either a relative path or a URL without scheme: {location:?}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Kind; 6] =
        [Kind::Auth, Kind::DockerAuth, Kind::Paths, Kind::Stage1, Kind::Fetch, Kind::ImageLimits];

    #[test]
    fn broken_documents_name_the_fault() {
        for (text, message) in [
            (r"{}", "\"rktKind\" is missing"),
            (r#"{"rktKind":"auth"}"#, "\"rktVersion\" is missing"),
            (r#"{"rktKind":"auth","rktVersion":"v2"}"#, "kind \"auth\" in version \"v2\" is not known"),
            (
                r#"{"rktKind":"auth","rktVersion":"v1","type":"basic","credentials":{"user":"u","password":"p"}}"#,
                "no domains are given",
            ),
            (
                r#"{"rktKind":"auth","rktVersion":"v1","domains":["d"],"type":"basic","credentials":{"user":"","password":"p"}}"#,
                "\"user\" is empty",
            ),
            (
                r#"{"rktKind":"auth","rktVersion":"v1","domains":["d"],"type":"oauth","credentials":{"token":""}}"#,
                "\"token\" is empty",
            ),
            (
                r#"{"rktKind":"dockerAuth","rktVersion":"v1","registries":["r"],"credentials":{"user":"u","password":""}}"#,
                "\"password\" is empty",
            ),
            (
                r#"{"rktKind":"paths","rktVersion":"v1","data":"rel"}"#,
                "\"data\" must be an absolute path, not \"rel\"",
            ),
            (
                r#"{"rktKind":"stage1","rktVersion":"v1","name":"n"}"#,
                "\"name\" and \"version\" of a stage1 are given together or not at all",
            ),
            (
                r#"{"rktKind":"stage1","rktVersion":"v1"}"#,
                "neither \"name\" nor \"location\" of a stage1 is given",
            ),
            (r#"{"rktKind":"imageLimits","rktVersion":"v1","entries":0}"#, "\"entries\" is 0"),
            (
                r#"{"rktKind":"stage1","rktVersion":"v1","location":"s.aci"}"#,
                "default stage1 image location is either a relative path or a URL without scheme: \"s.aci\"",
            ),
            (
                r#"{"rktKind":"stage1","rktVersion":"v1","location":"ftp://h/s.aci"}"#,
                "the location of the stage1 has the unknown scheme \"ftp\"",
            ),
            (
                r#"{"rktKind":"fetch","rktVersion":"v1","stallTimeout":0}"#,
                "\"stallTimeout\" is in seconds, 1 at least",
            ),
        ] {
            let error = parse(text.as_bytes(), &ALL, &mut Config::default()).unwrap_err();
            assert_eq!(error.chain().last().unwrap().to_string(), message, "{text}");
        }
    }

    #[test]
    fn every_way_to_identify() {
        for (kind, credentials) in [
            ("basic", r#"{"user":"u","password":"p"}"#),
            ("oauth", r#"{"token":"t"}"#),
            ("aws", r#"{"accessKeyID":"a","secretAccessKey":"s"}"#),
            ("aws", r#"{"accessKeyID":"a","secretAccessKey":"s","awsRegion":"r"}"#),
        ] {
            let text = format!(
                r#"{{"rktVersion":"v1","rktKind":"auth","domains":["d"],"type":"{kind}","credentials":{credentials}}}"#
            );
            let mut config = Config::default();
            parse(text.as_bytes(), &ALL, &mut config).unwrap();
            assert_eq!(serde_json::to_string(&config.documents()[0]).unwrap(), text);
        }
    }
}
