//! Which pods a command is about.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};

use crate::report;

/// The file of `--uuid-file` cannot be read: `stop` and `status` have an exit code of its own for that.
#[derive(Debug)]
pub(crate) struct UnreadableUuidFile(PathBuf);

impl fmt::Display for UnreadableUuidFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unable to read the UUID file {:?}", self.0.display().to_string())
    }
}

/// Arguments of a command about pods.
#[derive(Debug, clap::Args)]
pub(crate) struct PodArgs {
    /// read pod UUID from file instead of argument
    #[arg(long)]
    uuid_file: Option<PathBuf>,

    uuids: Vec<String>,
}

impl PodArgs {
    /// The names of pods, or the beginnings of such: one at least.
    pub(crate) fn uuids(&self) -> Result<Vec<String>> {
        match (&self.uuid_file, self.uuids.as_slice()) {
            (None, []) => bail!("missing UUID: name a pod, or give --uuid-file=FILE"),
            (None, uuids) => Ok(uuids.to_vec()),
            (Some(file), []) => {
                let text = std::fs::read_to_string(file).with_context(|| UnreadableUuidFile(file.clone()))?;
                Ok(vec![text.trim().to_owned()])
            }
            (Some(_), _) => bail!("UUID arguments and --uuid-file exclude each other: use one of them"),
        }
    }

    /// The name of the only pod, or its beginning.
    pub(crate) fn uuid(&self) -> Result<String> {
        let mut uuids = self.uuids()?;
        ensure!(uuids.len() == 1, "one UUID is expected, not {}", uuids.len());
        Ok(uuids.remove(0))
    }
}

/// Exit code 1 for a UUID file that cannot be read; any other error goes on.
pub(crate) fn one_if_unreadable(command: &str, error: anyhow::Error, debug: bool) -> Result<ExitCode> {
    if error.is::<UnreadableUuidFile>() {
        report::error(command, &error, debug);
        return Ok(ExitCode::from(1));
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(uuid_file: Option<PathBuf>, uuids: &[&str]) -> PodArgs {
        PodArgs { uuid_file, uuids: uuids.iter().map(|&uuid| uuid.to_owned()).collect() }
    }

    #[test]
    fn arguments_or_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("uuid");
        std::fs::write(&file, "  abc\n").unwrap();
        assert_eq!(args(None, &["a", "b"]).uuids().unwrap(), ["a", "b"]);
        assert_eq!(args(Some(file.clone()), &[]).uuid().unwrap(), "abc");
        assert!(args(None, &[]).uuids().is_err());
        assert!(args(None, &["a", "b"]).uuid().is_err());
        let both = args(Some(file), &["a"]).uuids().unwrap_err();
        assert!(!both.is::<UnreadableUuidFile>());
        let missing = args(Some(dir.path().join("none")), &[]).uuids().unwrap_err();
        assert!(missing.is::<UnreadableUuidFile>());
        assert_eq!(one_if_unreadable("stop", missing, false).unwrap(), ExitCode::from(1));
    }
}
