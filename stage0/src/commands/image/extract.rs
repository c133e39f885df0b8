//! `rkt image extract` and `rkt image render`: the files of an image in a directory.
//!
//! The directory is made beside its place under another name, and gets its own when everything is in it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::commands::Context;
use crate::images::{self, StoredImage};

/// Arguments of `rkt image extract` and `rkt image render`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExtractArgs {
    /// overwrite output directory
    #[arg(long)]
    overwrite: bool,

    /// extract rootfs only
    #[arg(long)]
    rootfs_only: bool,

    words: Vec<String>,
}

/// The files of the image alone.
pub(crate) fn run(context: &Context, args: &ExtractArgs) -> Result<ExitCode> {
    write(context, args, |image, target| Ok(context.store()?.extract(image.image(), target.as_fd())?))
}

/// As [`ExtractArgs`], of another command.
#[derive(Debug, clap::Args)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    extract: ExtractArgs,
}

/// The files of the image and of those that it depends on.
pub(crate) fn render(context: &Context, args: &RenderArgs) -> Result<ExitCode> {
    write(context, &args.extract, |image, target| {
        let tree = context.store()?.render(image.image())?;
        Ok(image::copy_tree(&tree, target.as_fd())?)
    })
}

fn write(
    context: &Context,
    args: &ExtractArgs,
    fill: impl Fn(&StoredImage, &OwnedFd) -> Result<()>,
) -> Result<ExitCode> {
    let [name, out] = args.words.as_slice() else { bail!("must provide an image and the output directory") };
    context.require_root()?;
    let out = Path::new(out);
    let image = images::stored(context, name).with_context(|| format!("cannot find image {name:?}"))?;
    let last = out.file_name().with_context(|| format!("will not write to {}", out.display()))?;
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = sys::path::open_directory(parent)
        .with_context(|| format!("cannot open the directory {}", parent.display()))?;
    let exists = rustix::fs::statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    ensure!(args.overwrite || !exists, "output directory {} exists (try --overwrite)", out.display());
    let part = format!(".rkt-extract-{}", std::process::id());
    let written = fill_new(&parent, &part, &image, args.rootfs_only, fill)
        .with_context(|| format!("cannot write the image {name:?} to {}", out.display()))
        .and_then(|()| {
            place(&parent, &part, last, exists).with_context(|| format!("cannot write {}", out.display()))
        });
    // After an exchange it is what was there before.
    let removed = image::remove_tree(parent.as_fd(), &*part);
    written?;
    removed.with_context(|| {
        format!("cannot remove what was in {} before, now {part} beside it", out.display())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn fill_new(
    parent: &OwnedFd,
    part: &str,
    image: &StoredImage,
    rootfs_only: bool,
    fill: impl Fn(&StoredImage, &OwnedFd) -> Result<()>,
) -> Result<()> {
    let top = make(parent, part)?;
    if rootfs_only {
        return fill(image, &top);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&top, "manifest", flags, Mode::from_raw_mode(0o644))?;
    std::io::Write::write_all(&mut std::fs::File::from(file), &image.manifest_json())?;
    fill(image, &make(&top, "rootfs")?)
}

fn make(parent: &OwnedFd, name: &str) -> Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

fn place(parent: &OwnedFd, part: &str, last: &std::ffi::OsStr, exists: bool) -> Result<(), Errno> {
    let flags = if exists { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    rustix::fs::renameat_with(parent, part, parent, last, flags)
}
