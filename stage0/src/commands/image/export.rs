//! `rkt image export`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::commands::Context;
use crate::images;

/// Arguments of `rkt image export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// overwrite output ACI
    #[arg(long)]
    overwrite: bool,

    words: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &ExportArgs) -> Result<ExitCode> {
    let [name, out] = args.words.as_slice() else { bail!("must provide an image and the output file") };
    let out = Path::new(out);
    let image = images::stored(context, name).with_context(|| format!("cannot find image {name:?}"))?;
    write(out, args.overwrite, |file| {
        context
            .store()
            .and_then(|store| Ok(store.export(image.image(), file)?))
            .with_context(|| format!("cannot export image {name:?}"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Puts a file at `out` once `fill` has written all of it; nothing is left otherwise.
pub(crate) fn write(out: &Path, overwrite: bool, fill: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let part = part(out);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&part)
        .with_context(|| format!("unable to open output ACI file {}", out.display()))?;
    let written = fill(&file).and_then(|()| place(&part, out, overwrite));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Where the archive is written until it is whole.
fn part(out: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(out.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    out.with_file_name(name)
}

fn place(part: &Path, out: &Path, overwrite: bool) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags};
    let flags = if overwrite { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
    match rustix::fs::renameat_with(CWD, part, CWD, out, flags) {
        Err(rustix::io::Errno::EXIST) => bail!("output ACI file {} exists (try --overwrite)", out.display()),
        done => done.with_context(|| format!("cannot write {}", out.display())),
    }
}
