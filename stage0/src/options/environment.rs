//! `--set-env`, `--set-env-file`, `--inherit-env`: variables for all apps of a pod.

use std::path::PathBuf;

use anyhow::{Context, Result};
use appc::value::parse_environment_file;
use appc::{Environment, EnvironmentVariable};

/// Variables for all apps.
#[derive(Debug, clap::Args)]
pub(crate) struct EnvironmentArgs {
    /// inherit all environment variables not set by apps
    #[arg(long)]
    inherit_env: bool,

    /// environment variable to set for all the apps in the form key=value, this will be overridden by --environment
    #[arg(long, value_name = "KEY=VALUE")]
    set_env: Vec<String>,

    /// path to an environment variables file
    #[arg(long, value_name = "FILE")]
    set_env_file: Vec<PathBuf>,
}

/// What the flags of a pod say, lowest priority first.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodEnvironment {
    /// Of rkt's own environment: fills what an image leaves open.
    pub(crate) inherited: Environment,
    pub(crate) from_files: Environment,
    pub(crate) explicit: Environment,
}

impl EnvironmentArgs {
    /// Whether any of the flags was given.
    pub(crate) fn any(&self) -> bool {
        self.inherit_env || !self.set_env.is_empty() || !self.set_env_file.is_empty()
    }

    /// Reads the files and parses the rest.
    pub(crate) fn load(&self) -> Result<PodEnvironment> {
        let mut explicit = Environment::new();
        for assignment in &self.set_env {
            let variable = assignment.parse().context("--set-env")?;
            explicit.add(variable).context("--set-env")?;
        }
        let mut from_files = Environment::new();
        for path in &self.set_env_file {
            let failed = || format!("Cannot use environment file {:?}", path.display().to_string());
            let text = std::fs::read_to_string(path).with_context(failed)?;
            for variable in parse_environment_file(&text).with_context(failed)?.0 {
                from_files.add(variable).with_context(failed)?;
            }
        }
        let inherited = if self.inherit_env { inherited() } else { Environment::new() };
        Ok(PodEnvironment { inherited, from_files, explicit })
    }
}

/// rkt's own environment, as far as it can stand in a manifest.
pub(crate) fn inherited() -> Environment {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some(EnvironmentVariable { name: name.into_string().ok()?, value: value.into_string().ok()? })
    };
    let own = std::env::vars_os().filter_map(text);
    Environment(own.filter(|variable| EnvironmentVariable::is_valid_name(&variable.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_flags() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let args = |set_env: &[&str], set_env_file: Vec<PathBuf>| EnvironmentArgs {
            inherit_env: false,
            set_env: set_env.iter().map(|one| (*one).to_owned()).collect(),
            set_env_file,
        };
        let (one, two) = (file("one", "# comment\nA=1\n"), file("two", "B=2\n"));
        let loaded = args(&["C=3", "D="], vec![one.clone(), two]).load().unwrap();
        let names = |environment: &Environment| {
            environment.iter().map(|variable| variable.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&loaded.from_files), ["A", "B"]);
        assert_eq!(names(&loaded.explicit), ["C", "D"]);

        assert!(args(&["A=1", "A=2"], vec![]).load().is_err());
        assert!(args(&[], vec![one.clone(), one]).load().is_err());
        let missing = args(&[], vec![dir.path().join("missing")]).load().unwrap_err();
        assert!(format!("{missing:#}").contains("missing"), "{missing:#}");
    }
}
