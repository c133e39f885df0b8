//! Where pod files are looked for.
//!
//! ```text
//! /etc/rkt/pods       the administrator's       NAME.pod, NAME.pod.d/*.conf
//! /run/rkt/pods       for this boot             a link to /dev/null, or an empty file, masks
//! /usr/lib/rkt/pods   the vendor's              db@.pod is a template, db@one.pod -> db@.pod an instance
//! ```
//!
//! A file in an earlier directory hides one of the same name in a later one; so it is with each drop-in. Drop-ins of a template
//! are those of its instances too.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::diagnostic::Source;
use crate::name::PodName;
use crate::syntax::SIZE_MAX;

/// The usual directories, first ones first, relative to the root.
pub const USUAL: [&str; 3] = ["etc/rkt/pods", "run/rkt/pods", "usr/lib/rkt/pods"];

/// The directories that are looked in.
#[derive(Debug)]
pub struct Directories {
    root: OwnedFd,
    /// Relative to the root.
    paths: Vec<String>,
    /// Whether what anybody may write counts.
    of_anybody: bool,
    /// The names in each of the paths, once they have been listed: most pods have no drop-ins to look for.
    listed: RefCell<BTreeMap<String, BTreeSet<String>>>,
}

/// A pod that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Its file, and its drop-ins in the order in which they count.
    File(Rc<Source>, Vec<Rc<Source>>),
    /// It must not run: the path of the mask.
    Masked(String),
}

/// Why a pod cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No file has its name.
    #[error("There is no {file} in {directories}{hint}")]
    Missing {
        /// The name of the file.
        file: String,
        /// Where it was looked for.
        directories: String,
        /// What could be meant, as the rest of the sentence.
        hint: String,
    },
    /// A file, or directory, is there and cannot be read.
    #[error("Cannot read {path}: {problem}")]
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        problem: String,
    },
}

/// What stands at a path.
enum Content {
    Text(String),
    Mask,
    Nothing,
}

impl Directories {
    /// Those at `paths` below `root`, first ones first.
    pub fn new<P: Into<String>>(root: OwnedFd, paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter().map(Into::into).map(|path| path.trim_matches('/').to_owned()).collect();
        Directories { root, paths, of_anybody: false, listed: RefCell::default() }
    }

    /// The same, but for files that others than root may have written: to look at, not to run.
    #[must_use]
    pub fn of_anybody(self) -> Self {
        Directories { of_anybody: true, ..self }
    }

    /// The usual ones of the host whose `/` is `root`.
    pub fn usual(root: OwnedFd) -> Self {
        Self::new(root, USUAL)
    }

    /// Every pod that has a file, templates too, by name, and what keeps a directory from being listed. Files whose names
    /// are none are left out.
    pub fn list(&self) -> (Vec<PodName>, Vec<SearchError>) {
        let mut names = BTreeSet::new();
        let mut errors = Vec::new();
        for path in &self.paths {
            match self.entries(path) {
                Ok(entries) => {
                    names.extend(
                        entries
                            .iter()
                            .filter_map(|entry| entry.strip_suffix(".pod")?.parse::<PodName>().ok()),
                    );
                    self.listed.borrow_mut().insert(path.clone(), entries.into_iter().collect());
                }
                Err(error) => errors.push(error),
            }
        }
        (names.into_iter().collect(), errors)
    }

    /// Finds a pod and reads its files.
    pub fn find(&self, name: &PodName) -> Result<Found, SearchError> {
        for directory in self.paths.iter().filter(|directory| self.may_have(directory, &name.file())) {
            let path = format!("{directory}/{}", name.file());
            match self.content(&path)? {
                Content::Nothing => continue,
                Content::Mask | Content::Text(_) if self.directory(directory)?.is_none() => continue,
                Content::Mask => return Ok(Found::Masked(format!("/{path}"))),
                Content::Text(text) => {
                    let main = Rc::new(Source { path: format!("/{path}"), text });
                    return Ok(Found::File(main, self.drop_ins(name)?));
                }
            }
        }
        Err(self.missing(name))
    }

    fn missing(&self, name: &PodName) -> SearchError {
        let exists = |name: &PodName| {
            self.paths.iter().find(|path| {
                let path = format!("{path}/{}", name.file());
                sys::path::open_in_root(self.root.as_fd(), Path::new(&path), OFlags::PATH, Mode::empty())
                    .is_ok()
            })
        };
        let near = || {
            let (names, _) = self.list();
            let near = crate::diagnostic::nearest(name.as_str(), names.iter().map(PodName::as_str))?;
            Some(format!("; did you mean {near}?"))
        };
        let hint = name.template().and_then(|template| {
            let directory = exists(&template)?;
            let (template, file) = (template.file(), name.file());
            let first = self.paths.first()?;
            Some(format!(". There is a template of it: ln -s /{directory}/{template} /{first}/{file} makes this instance"))
        });
        SearchError::Missing {
            file: name.file(),
            directories: self.paths.iter().map(|path| format!("/{path}")).collect::<Vec<_>>().join(", "),
            hint: hint.or_else(near).unwrap_or_default(),
        }
    }

    /// The drop-ins of a pod: of its template first, each name once.
    fn drop_ins(&self, name: &PodName) -> Result<Vec<Rc<Source>>, SearchError> {
        let mut found: BTreeMap<String, Option<Rc<Source>>> = BTreeMap::new();
        for owner in std::iter::once(name.clone()).chain(name.template()) {
            let name = format!("{}.d", owner.file());
            for directory in self.paths.iter().filter(|directory| self.may_have(directory, &name)) {
                let directory = format!("{directory}/{name}");
                for entry in self.entries(&directory)? {
                    if !entry.ends_with(".conf") || entry.starts_with('.') || found.contains_key(&entry) {
                        continue;
                    }
                    let path = format!("{directory}/{entry}");
                    let source = match self.content(&path)? {
                        Content::Nothing => continue,
                        Content::Mask => None,
                        Content::Text(text) => Some(Rc::new(Source { path: format!("/{path}"), text })),
                    };
                    found.insert(entry, source);
                }
            }
        }
        Ok(found.into_values().flatten().collect())
    }

    /// Whether a directory has `name`, as far as it has been listed.
    fn may_have(&self, directory: &str, name: &str) -> bool {
        self.listed.borrow().get(directory).is_none_or(|names| names.contains(name))
    }

    /// The names in a directory; none when it is not there.
    fn entries(&self, path: &str) -> Result<Vec<String>, SearchError> {
        let failed = |errno: Errno| unreadable(path, errno);
        let Some(directory) = self.directory(path)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory).map_err(failed)? {
            if let Ok(name) = entry.map_err(failed)?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Opens a directory; `None` when it is not there.
    fn directory(&self, path: &str) -> Result<Option<OwnedFd>, SearchError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match sys::path::open_in_root(self.root.as_fd(), Path::new(path), flags, Mode::empty()) {
            Ok(directory) => {
                let stat = rustix::fs::fstat(&directory).map_err(|errno| unreadable(path, errno))?;
                if !self.of_anybody {
                    check_owner(path, &stat)?;
                }
                Ok(Some(directory))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(unreadable(path, errno)),
        }
    }

    fn content(&self, path: &str) -> Result<Content, SearchError> {
        content(self.root.as_fd(), path, self.of_anybody)
    }
}

/// What stands at `path` below `root`.
fn content(root: BorrowedFd<'_>, path: &str, of_anybody: bool) -> Result<Content, SearchError> {
    let failed = |errno: Errno| unreadable(path, errno);
    let problem =
        |problem: &str| SearchError::Unreadable { path: format!("/{path}"), problem: problem.to_owned() };
    // Not to wait for somebody who writes into a pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match sys::path::open_in_root(root, Path::new(path), flags, Mode::empty()) {
        Ok(file) => file,
        // A root that is only looked at may have no /dev/null.
        Err(Errno::NOENT) if is_link_to_null(root, path) => return Ok(Content::Mask),
        Err(Errno::NOENT) => {
            let link = sys::path::open_in_root(
                root,
                Path::new(path),
                OFlags::PATH | OFlags::NOFOLLOW,
                Mode::empty(),
            );
            return match link {
                Ok(_) => Err(problem("it is a link to a file that is not there")),
                Err(_) => Ok(Content::Nothing),
            };
        }
        Err(errno) => return Err(failed(errno)),
    };
    let stat = rustix::fs::fstat(&file).map_err(failed)?;
    let null = rustix::fs::makedev(1, 3);
    if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == null {
        return Ok(Content::Mask);
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(problem("it is no regular file"));
    }
    if !of_anybody {
        check_owner(path, &stat)?;
    }
    // Room for all of it and one more byte, so that the end shows with the second call.
    let size = u64::try_from(stat.st_size).unwrap_or(0).min(SIZE_MAX) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let read = std::fs::File::from(file).take(SIZE_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| problem(&error.to_string()))?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(problem("it is larger than one mebibyte"));
    }
    if bytes.is_empty() {
        return Ok(Content::Mask);
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Content::Text(text)),
        _ => Err(problem("it is no text in UTF-8")),
    }
}

/// What a pod file says runs as root: nobody else may have written it.
fn check_owner(path: &str, stat: &Stat) -> Result<(), SearchError> {
    let problem = if stat.st_uid != 0 && stat.st_uid != rustix::process::geteuid().as_raw() {
        "it belongs to a user who is not root (chown root)"
    } else if stat.st_mode & 0o022 != 0 {
        "others than its owner may write to it, and what it says runs as root (chmod go-w)"
    } else {
        return Ok(());
    };
    Err(SearchError::Unreadable { path: format!("/{path}"), problem: problem.to_owned() })
}

/// Whether a link leads to `/dev/null`.
fn is_link_to_null(root: BorrowedFd<'_>, path: &str) -> bool {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let Ok(link) = sys::path::open_in_root(root, Path::new(path), flags, Mode::empty()) else { return false };
    rustix::fs::readlinkat(&link, "", Vec::new()).is_ok_and(|target| target.as_bytes() == b"/dev/null")
}

fn unreadable(path: &str, errno: Errno) -> SearchError {
    let problem = std::io::Error::from(errno).to_string();
    SearchError::Unreadable { path: format!("/{path}"), problem }
}

#[cfg(test)]
mod tests;
