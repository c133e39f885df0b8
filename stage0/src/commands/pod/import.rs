//! `rkt pod import`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use podfile::import::{self, Imported};
use podfile::{Severity, Source};

use super::Context;
use crate::report;

/// Arguments of `rkt pod import`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    file: String,
}

/// Where units are looked for by name.
const UNITS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Exit code 1 when something could not be read.
pub(crate) fn run(_: &Context, args: &ImportArgs) -> Result<ExitCode> {
    let path = locate(&args.file)?;
    let main = read(&path)?;
    let members =
        if path.extension().is_some_and(|kind| kind == "pod") { members(&path)? } else { Vec::new() };
    let Imported { text, notes } =
        import::import(&main, &members, &|path| std::fs::read_to_string(path).ok());
    for note in &notes {
        report::text(&format!("{note}\n"));
    }
    tell_of_drop_ins(&main.path);
    members.iter().for_each(|member| tell_of_drop_ins(&member.path));
    report::print_raw(text)?;
    let is_bad = notes.iter().any(|note| note.severity == Severity::Error);
    Ok(if is_bad { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Nothing is left out in silence.
fn tell_of_drop_ins(file: &str) {
    let directory = format!("{file}.d");
    let is_drop_in = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|kind| kind == "conf"))
    };
    if std::fs::read_dir(&directory).is_ok_and(|mut entries| entries.any(is_drop_in)) {
        let text =
            format!("the drop-ins in {directory} are not carried over: put what they say into {file} first");
        report::notice("import", text);
    }
}

/// The path of a file, or of the unit of this name.
fn locate(file: &str) -> Result<PathBuf> {
    if file.contains('/') || Path::new(file).exists() {
        return std::path::absolute(file).with_context(|| format!("Cannot use {file:?}"));
    }
    let name = if file.contains('.') { file.to_owned() } else { format!("{file}.service") };
    match UNITS.iter().map(|directory| Path::new(directory).join(&name)).find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => bail!("there is no {name} here, nor in {}", UNITS.join(", ")),
    }
}

fn read(path: &Path) -> Result<Rc<Source>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("Cannot read {}", path.display()))?;
    Ok(Rc::new(Source { path: path.display().to_string(), text }))
}

/// The containers beside a quadlet `.pod` that say they are of it, by name.
fn members(pod: &Path) -> Result<Vec<Rc<Source>>> {
    let directory = pod.parent().unwrap_or(Path::new("/"));
    let wanted = format!("Pod={}", pod.file_name().unwrap_or_default().to_string_lossy());
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("Cannot list {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "container"));
    paths.sort();
    let sources = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    Ok(sources.into_iter().filter(|source| source.text.lines().any(|line| line.trim() == wanted)).collect())
}
