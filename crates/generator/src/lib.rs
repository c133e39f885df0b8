//! What `rkt-pod-generator` does; see systemd.generator(7).
//!
//! ```text
//! root/{etc,run,usr/lib}/rkt/pods/*.pod  ──►  DIRECTORY/rkt-pod@*.service.d/10-rkt-pod.conf, …
//! ```
//!
//! A pure function of two handles of directories. It writes nowhere else, starts nothing, and asks nobody: systemd runs
//! generators early in the boot, in a sandbox, and again at each `daemon-reload`. A pod file with mistakes gets its units too, so that
//! starting them says what is wrong.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use podfile::unit::{self, Entry, Tree};
use podfile::{Directories, Found, HostFacts, PodName, Specifiers};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Writes the units of all pods below `root` into `output`. Returns what is worth telling, a line each.
pub fn generate(root: OwnedFd, output: BorrowedFd<'_>) -> Vec<String> {
    let directories = Directories::usual(root);
    let (names, errors) = directories.list();
    let mut messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let mut owners: BTreeMap<String, PodName> = BTreeMap::new();
    for name in names.into_iter().filter(|name| !name.is_template()) {
        let tree = match units(&directories, &name, &mut messages) {
            Ok(tree) => tree,
            Err(error) => {
                messages.push(error);
                continue;
            }
        };
        let taken = tree.keys().find_map(|path| owners.get(path).map(|owner| (path, owner)));
        if let Some((path, owner)) = taken {
            messages.push(format!("Pod {name} would write {path}, which is pod {owner}'s"));
            continue;
        }
        for (path, entry) in &tree {
            if let Err(errno) = write(output, path, entry) {
                messages.push(format!("Cannot write {path} of pod {name}: {}", std::io::Error::from(errno)));
            }
        }
        owners.extend(tree.into_keys().map(|path| (path, name.clone())));
    }
    messages
}

fn units(directories: &Directories, name: &PodName, messages: &mut Vec<String>) -> Result<Tree, String> {
    let (main, drop_ins) = match directories.find(name).map_err(|error| error.to_string())? {
        Found::Masked(_) => return Ok(unit::mask(name)),
        Found::File(main, drop_ins) => (main, drop_ins),
    };
    // What a unit is made of does not depend on the host.
    let specifiers = Specifiers { name: name.clone(), host: HostFacts::default() };
    let mut outcome = podfile::read(&main, &drop_ins, &specifiers);
    let tree = unit::units(&outcome.file, &mut outcome.diagnostics);
    messages.extend(outcome.diagnostics.iter().map(podfile::Diagnostic::brief));
    Ok(tree)
}

/// Writes one entry: all of it or nothing.
fn write(output: BorrowedFd<'_>, path: &str, entry: &Entry) -> Result<(), Errno> {
    let (directory, name) = match path.split_once('/') {
        None => (None, path),
        Some((directory, name)) => (Some(make_directory(output, directory)?), name),
    };
    let directory = directory.as_ref().map_or(output, |directory| directory.as_fd());
    let temporary = format!(".#{name}");
    let made = match make(directory, &temporary, entry) {
        // What one left that was killed.
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(directory, &temporary, AtFlags::empty())?;
            make(directory, &temporary, entry)
        }
        made => made,
    };
    made?;
    rustix::fs::renameat(directory, &temporary, directory, name)
}

/// Makes one entry where nothing is.
fn make(directory: BorrowedFd<'_>, name: &str, entry: &Entry) -> Result<(), Errno> {
    match entry {
        Entry::Link(target) => rustix::fs::symlinkat(target, directory, name),
        Entry::File(text) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644))?;
            let written = std::fs::File::from(file).write_all(text.as_bytes());
            written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
    }
}

fn make_directory(output: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(output, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(output, name, flags, Mode::empty())
}
