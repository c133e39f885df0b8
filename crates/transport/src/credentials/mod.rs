//! What rkt gives a server to be let in, and where it finds that.
//!
//! | for | looked up in, first match wins |
//! |---|---|
//! | a URL | `auth.d/*.json` of kind `auth`, by host (with its port where the URL has one) |
//! | a registry | `auth.d/*.json` of kind `dockerAuth`; then `$REGISTRY_AUTH_FILE` when set, or else podman's `auth.json` (`$XDG_RUNTIME_DIR/containers`, then `$XDG_CONFIG_HOME/containers`) and docker's `config.json` (`$DOCKER_CONFIG`, `~/.docker`); in each of these files first the entry or helper for the repository or registry, then the general helper |
//!
//! All of it happens in `rkt`, also the running of helpers (`docker-credential-NAME`): the worker gets what one request needs,
//! and secrets of `aws` never leave, only signatures made with them do.

mod aws;
mod config;
mod docker;
mod helper;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::message::Credentials;
use crate::reference::Reference;
use crate::text::{authority, printable};

/// Everything that is configured, read once.
#[derive(Debug, Default)]
pub struct Lookup {
    domains: BTreeMap<String, Secret>,
    registries: BTreeMap<String, Basic>,
    /// Contents of the files of docker and podman, in the order of precedence.
    files: Vec<docker::Config>,
    unreadable: Vec<PathBuf>,
}

/// User and password.
#[derive(Clone, PartialEq, Eq)]
struct Basic {
    user: String,
    password: String,
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Basic({}, …)", self.user)
    }
}

impl From<&Basic> for Credentials {
    fn from(basic: &Basic) -> Self {
        Self::Basic { user: basic.user.clone(), password: basic.password.clone() }
    }
}

/// What a domain of `auth.d` is given.
#[derive(Clone, PartialEq, Eq)]
enum Secret {
    Basic(Basic),
    Bearer(String),
    Aws(aws::Keys),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic(basic) => basic.fmt(f),
            Self::Bearer(_) => f.write_str("Bearer(…)"),
            Self::Aws(_) => f.write_str("Aws(…)"),
        }
    }
}

/// What is wrong with the configuration of credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory cannot be read.
    #[error("Cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file says something that makes no sense.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What. Never holds a secret.
        problem: String,
    },
    /// A helper does not do its work.
    #[error("The credential helper {helper}, which {} names for {}, fails: {}", path.display(), printable(server), printable(problem))]
    Helper {
        /// Its program.
        helper: String,
        /// The file that names it.
        path: PathBuf,
        /// For which server.
        server: String,
        /// What went wrong.
        problem: String,
    },
}

impl Lookup {
    /// Reads `auth.d` below each of `roots`, of which later ones win, and the files that `environment` leads to.
    ///
    /// What this user may not read is left out and listed in [`unreadable`](Self::unreadable): a member of the group may
    /// fetch public images though the administrator keeps the passwords to himself.
    pub fn load(roots: &[&Path], environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let mut lookup = Self::default();
        for root in roots {
            lookup.read_root(&root.join("auth.d"))?;
        }
        for path in docker::files(environment) {
            if let Some(text) = lookup.read_file(&path)? {
                lookup.files.push(docker::Config::parse(&path, &text)?);
            }
        }
        Ok(lookup)
    }

    /// Files that this user may not read.
    pub fn unreadable(&self) -> &[PathBuf] {
        &self.unreadable
    }

    /// What the host of `url` is given for it.
    pub fn for_url(&self, url: &str) -> Option<Credentials> {
        let authority = authority(url)?;
        let without_port = authority.strip_suffix(":443");
        let secret = self.domains.get(&authority).or_else(|| self.domains.get(without_port?))?;
        match secret {
            Secret::Basic(basic) => Some(basic.into()),
            Secret::Bearer(token) => Some(Credentials::Bearer(token.clone())),
            Secret::Aws(keys) => keys.sign(url, jiff::Timestamp::now()).map(Credentials::Headers),
        }
    }

    /// What the registry of `reference` is given for it.
    pub fn for_registry(&self, reference: &Reference) -> Result<Option<Credentials>, Error> {
        for name in names(reference) {
            if let Some(basic) = self.registries.get(name) {
                return Ok(Some(basic.into()));
            }
        }
        for file in &self.files {
            if let Some(credentials) = file.find(reference, &helper::run)? {
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }

    fn read_root(&mut self, directory: &Path) -> Result<(), Error> {
        let read = |source| Error::Read { path: directory.to_owned(), source };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unreadable.push(directory.to_owned());
                return Ok(());
            }
            Err(error) => return Err(read(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let entry = entry.map_err(read)?;
            let is_file = entry.file_type().map_err(read)?.is_file();
            if is_file && entry.path().extension().is_some_and(|extension| extension == "json") {
                paths.push(entry.path());
            }
        }
        paths.sort();
        let mut root = config::Root::default();
        for path in paths {
            if let Some(text) = self.read_file(&path)? {
                root.add(&path, &text)?;
            }
        }
        self.domains.extend(root.domains);
        self.registries.extend(root.registries);
        Ok(())
    }

    /// The content of a file. None when there is none, or none for us.
    fn read_file(&mut self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        match std::fs::read(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unreadable.push(path.to_owned());
                Ok(None)
            }
            Err(source) => Err(Error::Read { path: path.to_owned(), source }),
        }
    }
}

/// The names by which people know the registry of `reference`.
fn names(reference: &Reference) -> Vec<&str> {
    if reference.is_default_registry() {
        vec!["registry-1.docker.io", "docker.io", "index.docker.io"]
    } else {
        vec![reference.registry()]
    }
}

#[cfg(test)]
mod tests;
