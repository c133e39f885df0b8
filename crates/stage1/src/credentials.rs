//! Credentials of the unit, for apps that may read them; see systemd.exec(5), "Credentials".
//!
//! ```text
//! $CREDENTIALS_DIRECTORY/NAME  ──►  /run/credentials/APP/NAME in the app, a ramfs of its own: 0400, the app's user's
//! ```
//!
//! They are copied into memory that is never swapped, and stand in no environment, argument or file of a disk.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use executor::AppSpec;
use executor::spec::MountPoint;
use rustix::fs::{Dir, Gid, Mode, OFlags, Uid};
use rustix::mount::MountFlags;
use sys::mount::{self, Attributes};

use crate::error::Context;
use crate::input::AppInput;
use crate::{Error, Result};

/// The annotation of an app that names the credentials that it gets, with spaces between; `*` stands for all.
const ANNOTATION: &str = "coreos.com/rkt/stage2/credentials";
/// Where systemd tells us that they are, and we tell the app.
const VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// The most that one credential has, in bytes; systemd's own limit.
const LARGEST: u64 = 1 << 20;

/// Gives `app`, whose root is `root`, its credentials. `shift` is added to the numbers of its user and group, where those of
/// the pod are others than the host's.
///
/// # Errors
/// For one that it is to have and the unit does not.
pub fn provide(app: &AppInput, spec: &mut AppSpec, root: BorrowedFd<'_>, shift: u32) -> Result<()> {
    let Some(wanted) = app.runtime.annotations.get(ANNOTATION) else { return Ok(()) };
    let source = std::env::var_os(VARIABLE);
    let all = wanted.trim() == "*";
    let mut names: Vec<String> =
        if all { Vec::new() } else { wanted.split_whitespace().map(str::to_owned).collect() };
    if names.is_empty() && !all {
        return Ok(());
    }
    let Some(source) = source else {
        return match names.first() {
            None => Ok(()),
            Some(name) => Err(Error::Refused(format!(
                "App {:?} is to have the credential {name:?}, but the unit has none (LoadCredential=)",
                app.name()
            ))),
        };
    };
    let step = || format!("open the credentials of the unit at {}", Path::new(&source).display());
    let source = sys::path::open_directory(Path::new(&source)).step(step)?;
    if all {
        for entry in Dir::read_from(&source).step(step)? {
            let name = entry.step(step)?.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push(name);
            }
        }
    }
    let identity = executor::users::resolve(root, &spec.user, &spec.group, &[])
        .map_err(|source| Error::User { app: spec.name.clone(), source })?;
    let owner = (Uid::from_raw(identity.uid + shift), Gid::from_raw(identity.gid + shift));
    let path = directory(app);
    let step = || format!("give app {:?} its credentials", app.name());
    let place =
        sys::path::create_dir_all_in_root(root, Path::new(&path), Mode::from_raw_mode(0o755)).step(step)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount::filesystem(place.as_fd(), "ramfs", flags, "mode=0500").step(step)?;
    // The handle of before is below the mount.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mounted = sys::path::open_in_root(root, Path::new(&path), flags, Mode::empty()).step(step)?;
    for name in &names {
        copy(source.as_fd(), mounted.as_fd(), name, owner)
            .step(|| format!("give app {:?} the credential {name:?}", app.name()))?;
    }
    rustix::fs::fchown(&mounted, Some(owner.0), Some(owner.1)).step(step)?;
    let read_only = Attributes { read_only: Some(true), ..Attributes::default() };
    mount::set_attributes(mounted.as_fd(), &read_only, false).step(step)?;
    tell(spec, &path);
    spec.mounts.push(MountPoint { path, read_only: true, device: false });
    Ok(())
}

/// Tells a command that comes into `app`, whose root is `root`, where the app's credentials are, if it has any.
pub fn find(app: &AppInput, spec: &mut AppSpec, root: BorrowedFd<'_>) {
    let path = directory(app);
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let has = app.runtime.annotations.get(ANNOTATION).is_some();
    if has && sys::path::open_in_root(root, Path::new(&path), flags, Mode::empty()).is_ok() {
        tell(spec, &path);
    }
}

fn directory(app: &AppInput) -> String {
    format!("/run/credentials/{}", app.name())
}

fn tell(spec: &mut AppSpec, path: &str) {
    spec.environment.retain(|(name, _)| name != VARIABLE);
    spec.environment.push((VARIABLE.to_owned(), path.to_owned()));
}

fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &str, owner: (Uid, Gid)) -> std::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = sys::path::open_beneath(from, Path::new(name), flags, Mode::empty())?;
    let mut content = Vec::new();
    File::from(file).take(LARGEST + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return Err(std::io::Error::other("it has more than a mebibyte"));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(to, name, flags, Mode::RUSR)?;
    File::from(made.try_clone()?).write_all(&content)?;
    rustix::fs::fchown(&made, Some(owner.0), Some(owner.1))?;
    Ok(())
}
