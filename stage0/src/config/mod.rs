//! Configuration: JSON documents in up to three roots.
//!
//! ```text
//! /usr/lib/rkt  (system)  ─┐
//! /etc/rkt      (local)    ├─ auth.d/*.json    kinds auth, dockerAuth
//! --user-config (user)    ─┘  paths.d/*.json   kind  paths
//!                             stage1.d/*.json  kind  stage1
//!                             fetch.d/*.json   kind  fetch
//!                             images.d/*.json  kind  imageLimits
//! ```
//!
//! A later root overrides an earlier one per key: a domain, a registry, a path, the stage1's name with its version,
//! the stage1's location, a limit of downloads. The same key twice in one root is an error. Only regular files count, links are not
//! followed.

mod document;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
pub(crate) use document::Document;
use document::{Auth, Basic, Content, Fetch, ImageLimits, Kind};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// Where configuration is looked for.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    pub(crate) system: PathBuf,
    pub(crate) local: PathBuf,
    pub(crate) user: Option<PathBuf>,
}

/// What all roots say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// Credentials by domain.
    pub(crate) auth: BTreeMap<String, Auth>,
    /// Credentials by registry.
    pub(crate) docker_auth: BTreeMap<String, Basic>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) stage1_images: Option<PathBuf>,
    /// Name and version, always together.
    pub(crate) stage1_name: Option<(String, String)>,
    /// A path or a URL.
    pub(crate) stage1_location: Option<String>,
    /// What a download may cost.
    pub(crate) fetch: Fetch,
    /// What an image may cost.
    pub(crate) image_limits: ImageLimits,
}

/// The directories of a root and the kinds that may stand in each.
const DIRECTORIES: [(&str, &[Kind]); 5] = [
    ("auth.d", &[Kind::Auth, Kind::DockerAuth]),
    ("paths.d", &[Kind::Paths]),
    ("stage1.d", &[Kind::Stage1]),
    ("fetch.d", &[Kind::Fetch]),
    ("images.d", &[Kind::ImageLimits]),
];

impl Config {
    /// Reads all roots.
    pub(crate) fn load(roots: &Roots) -> Result<Self> {
        let mut merged = Self::default();
        for root in [Some(&roots.system), Some(&roots.local), roots.user.as_ref()].into_iter().flatten() {
            merged.override_with(read_root(root)?);
        }
        Ok(merged)
    }

    fn override_with(&mut self, later: Self) {
        self.auth.extend(later.auth);
        self.docker_auth.extend(later.docker_auth);
        self.data = later.data.or(self.data.take());
        self.stage1_images = later.stage1_images.or(self.stage1_images.take());
        self.stage1_name = later.stage1_name.or(self.stage1_name.take());
        self.stage1_location = later.stage1_location.or(self.stage1_location.take());
        self.fetch.stall_timeout = later.fetch.stall_timeout.or(self.fetch.stall_timeout);
        self.fetch.retries = later.fetch.retries.or(self.fetch.retries);
        self.fetch.max_bytes = later.fetch.max_bytes.or(self.fetch.max_bytes);
        self.image_limits.override_with(&later.image_limits);
    }

    /// The documents that, put in one root, give this configuration.
    pub(crate) fn documents(&self) -> Vec<Document<'_>> {
        let auth = self.auth.iter().map(|(domain, auth)| Content::Auth { domains: [domain], auth });
        let docker = self
            .docker_auth
            .iter()
            .map(|(registry, credentials)| Content::DockerAuth { registries: [registry], credentials });
        let paths =
            Content::Paths { data: self.data.as_deref(), stage1_images: self.stage1_images.as_deref() };
        let (name, version) =
            self.stage1_name.as_ref().map(|(name, version)| (name.as_str(), version.as_str())).unzip();
        let stage1 = Content::Stage1 { name, version, location: self.stage1_location.as_deref() };
        let fetch = Some(Content::Fetch(&self.fetch)).filter(|_| self.fetch != Fetch::default());
        let limits = Some(&self.image_limits).filter(|limits| **limits != ImageLimits::default());
        let limits = limits.map(Content::ImageLimits);
        let rest = [paths, stage1].into_iter().chain(fetch).chain(limits);
        auth.chain(docker).chain(rest).map(Document::new).collect()
    }
}

fn read_root(root: &Path) -> Result<Config> {
    let mut config = Config::default();
    for (name, kinds) in DIRECTORIES {
        let directory = root.join(name);
        let mut names = match std::fs::read_dir(&directory) {
            Ok(entries) => entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<std::io::Result<Vec<_>>>()
                .with_context(|| format!("Cannot list {}", directory.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("Cannot list {}", directory.display()));
            }
        };
        names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "json"));
        names.sort();
        for name in names {
            let path = directory.join(name);
            let cannot = || format!("Cannot read configuration file {}", path.display());
            if let Some(text) = read_regular(&path).with_context(cannot)? {
                document::parse(&text, kinds, &mut config).with_context(cannot)?;
            }
        }
    }
    Ok(config)
}

/// The content of the regular file `path`; `None` for anything else.
fn read_regular(path: &Path) -> Result<Option<Vec<u8>>> {
    // NONBLOCK: a FIFO must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        // What the administrator keeps from this user (passwords, say) is not for him.
        Err(Errno::ACCESS) => return Ok(None),
        Err(error) => bail!(error),
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let mut text = Vec::new();
    let mut file = file;
    file.read_to_end(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    fn failure(files: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), files);
        let error = read_root(dir.path()).unwrap_err();
        error.chain().last().unwrap().to_string()
    }

    #[test]
    fn later_roots_override_per_key() {
        let dir = tempfile::tempdir().unwrap();
        let basic = |domain: &str, user: &str| {
            format!(
                r#"{{"rktKind":"auth","rktVersion":"v1","domains":["{domain}"],"type":"basic","credentials":{{"user":"{user}","password":"p"}}}}"#
            )
        };
        write(
            dir.path(),
            &[
                ("system/auth.d/a.json", &basic("a.example", "vendor")),
                ("system/auth.d/b.json", &basic("b.example", "vendor")),
                (
                    "system/paths.d/p.json",
                    r#"{"rktKind":"paths","rktVersion":"v1","data":"/srv/rkt","stage1-images":"/opt/s"}"#,
                ),
                (
                    "system/stage1.d/s.json",
                    r#"{"rktKind":"stage1","rktVersion":"v1","name":"example.com/s","version":"1.0","location":"/opt/s1.aci"}"#,
                ),
                ("local/auth.d/b.json", &basic("b.example", "admin")),
                ("local/auth.d/readme.txt", "not read"),
                ("local/paths.d/p.json", r#"{"rktKind":"paths","rktVersion":"v1","data":"/data"}"#),
                (
                    "user/stage1.d/s.json",
                    r#"{"rktKind":"stage1","rktVersion":"v1","location":"https://example.com/s.aci"}"#,
                ),
            ],
        );
        std::os::unix::fs::symlink("b.json", dir.path().join("local/auth.d/link.json")).unwrap();
        let roots = Roots {
            system: dir.path().join("system"),
            local: dir.path().join("local"),
            user: Some(dir.path().join("user")),
        };
        let config = Config::load(&roots).unwrap();
        assert_eq!(
            serde_json::to_string(&config.documents()).unwrap(),
            concat!(
                r#"[{"rktVersion":"v1","rktKind":"auth","domains":["a.example"],"type":"basic","credentials":{"user":"vendor","password":"p"}},"#,
                r#"{"rktVersion":"v1","rktKind":"auth","domains":["b.example"],"type":"basic","credentials":{"user":"admin","password":"p"}},"#,
                r#"{"rktVersion":"v1","rktKind":"paths","data":"/data","stage1-images":"/opt/s"},"#,
                r#"{"rktVersion":"v1","rktKind":"stage1","name":"example.com/s","version":"1.0","location":"https://example.com/s.aci"}]"#
            )
        );
    }

    #[test]
    fn nothing_configured_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let roots = Roots { system: missing.clone(), local: missing, user: None };
        assert_eq!(Config::load(&roots).unwrap(), Config::default());
    }

    #[test]
    fn the_same_key_twice_in_one_root_is_refused() {
        let docker = r#"{"rktKind":"dockerAuth","rktVersion":"v1","registries":["quay.io"],"credentials":{"user":"u","password":"p"}}"#;
        assert_eq!(
            failure(&[("auth.d/1.json", docker), ("auth.d/2.json", docker)]),
            "credentials for registry \"quay.io\" are set twice"
        );
        let paths = r#"{"rktKind":"paths","rktVersion":"v1","data":"/x"}"#;
        assert_eq!(failure(&[("paths.d/1.json", paths), ("paths.d/2.json", paths)]), "\"data\" is set twice");
    }

    #[test]
    fn a_kind_in_the_wrong_directory_is_refused() {
        let paths = r#"{"rktKind":"paths","rktVersion":"v1","data":"/x"}"#;
        assert_eq!(
            failure(&[("auth.d/p.json", paths)]),
            "a document of kind \"paths\" does not belong in this directory"
        );
    }
}
