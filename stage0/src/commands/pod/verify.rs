//! `rkt pod verify`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use podfile::{Diagnostic, Directories, Place, PodName, Severity, Source};
use serde::Serialize;

use super::Context;
use crate::pod_file::{self, request};
use crate::report;

/// Arguments of `rkt pod verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// output format: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: String,

    files: Vec<String>,
}

/// One mistake, as `--format=json` prints it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    length: usize,
    severity: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl<'a> From<&'a Diagnostic> for Row<'a> {
    fn from(one: &'a Diagnostic) -> Self {
        let Place { source, line, column, length } = &one.place;
        Row {
            file: &source.path,
            line: *line,
            column: *column,
            length: *length,
            severity: one.severity.as_str(),
            message: &one.message,
            hint: one.hint.as_deref(),
        }
    }
}

/// Exit code 1 when a file has errors.
pub(crate) fn run(context: &Context, args: &VerifyArgs) -> Result<ExitCode> {
    ensure!(
        ["text", "json"].contains(&args.format.as_str()),
        "--format: must be text or json, not {:?}",
        args.format
    );
    let mut diagnostics = Vec::new();
    let mut failed = false;
    let mut verify = |directories: &Directories, name: &PodName| match self::verify(directories, name) {
        Ok(found) => diagnostics.extend(found),
        Err(error) => {
            failed = true;
            report::error("verify", &error, context.debug);
        }
    };
    if args.files.is_empty() {
        let directories = pod_file::directories(context)?;
        let (names, errors) = directories.list();
        names.iter().for_each(|name| verify(&directories, name));
        if let Some(error) = errors.into_iter().next() {
            return Err(error.into());
        }
    }
    for file in &args.files {
        let (directories, name) = locate(context, file)?;
        verify(&directories, &name);
    }
    if args.format == "json" {
        let rows: Vec<Row<'_>> = diagnostics.iter().map(Row::from).collect();
        report::print(serde_json::to_string(&rows)?)?;
    } else {
        for one in &diagnostics {
            report::print(one)?;
        }
    }
    let is_bad = failed || diagnostics.iter().any(|one| one.severity == Severity::Error);
    Ok(if is_bad { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// What is wrong with one pod. Masked ones are fine.
fn verify(directories: &Directories, name: &PodName) -> Result<Vec<Diagnostic>> {
    if let podfile::Found::Masked(_) = directories.find(name)? {
        return Ok(Vec::new());
    }
    let outcome = pod_file::read(directories, name)?;
    let mut diagnostics = outcome.diagnostics;
    let start = || {
        let source = Source { path: outcome.file.path.clone(), text: String::new() };
        Place::start(&source.into())
    };
    if let Some(path) = request::manifest(&outcome.file)
        && let Err(error) = request::read_manifest(&path)
    {
        diagnostics.push(Diagnostic::error(start(), format!("{error:#}")));
    }
    if let Err(error) = request::insecure(&outcome.file.pod) {
        diagnostics.push(Diagnostic::error(start(), format!("{error:#}")));
    }
    Ok(diagnostics)
}

/// The directory and the name that an argument means: the path of a file, or the name of a pod.
fn locate(context: &Context, argument: &str) -> Result<(Directories, PodName)> {
    if !argument.contains('/') && !argument.ends_with(".pod") {
        return Ok((pod_file::directories(context)?, argument.parse()?));
    }
    let path = std::path::absolute(argument).with_context(|| format!("Cannot use {argument:?}"))?;
    let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".pod"));
    let (Some(name), Some(directory)) = (name, path.parent().and_then(Path::to_str)) else {
        bail!("{argument:?} is no pod file: its name must end in .pod");
    };
    let directories = Directories::new(pod_file::root()?, [directory]).of_anybody();
    Ok((directories, name.parse()?))
}
