//! `--stage1-*`: which stage1 a pod gets.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

/// Flags that choose a stage1; at most one may be given.
#[derive(Debug, clap::Args)]
pub(crate) struct Stage1Args {
    /// URL to an image to use as stage1
    #[arg(long, value_name = "URL")]
    stage1_url: Vec<String>,

    /// absolute or relative path to an image to use as stage1
    #[arg(long, value_name = "FILE")]
    stage1_path: Vec<PathBuf>,

    /// name of an image to use as stage1
    #[arg(long, value_name = "NAME[:VERSION]")]
    stage1_name: Vec<String>,

    /// hash of an image to use as stage1
    #[arg(long, value_name = "HASH")]
    stage1_hash: Vec<String>,

    /// filename of a stage1 image in the stage1 images directory
    #[arg(long, value_name = "FILE")]
    stage1_from_dir: Vec<String>,
}

/// The stage1 that a flag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage1Choice {
    Url(String),
    Path(PathBuf),
    Name(String),
    Hash(String),
    FromDir(String),
}

impl Stage1Args {
    /// The stage1 asked for; `None` leaves it to the configuration.
    pub(crate) fn parse(&self) -> Result<Option<Stage1Choice>> {
        let given: Vec<(&str, Vec<Stage1Choice>)> = vec![
            ("--stage1-url", self.stage1_url.iter().cloned().map(Stage1Choice::Url).collect()),
            ("--stage1-path", self.stage1_path.iter().cloned().map(Stage1Choice::Path).collect()),
            ("--stage1-name", self.stage1_name.iter().cloned().map(Stage1Choice::Name).collect()),
            ("--stage1-hash", self.stage1_hash.iter().cloned().map(Stage1Choice::Hash).collect()),
            ("--stage1-from-dir", self.stage1_from_dir.iter().cloned().map(Stage1Choice::FromDir).collect()),
        ];
        let mut chosen: Option<(&str, Stage1Choice)> = None;
        for (flag, choices) in given {
            for choice in choices {
                match &chosen {
                    Some((other, _)) if *other == flag => bail!("{flag} already used"),
                    Some((other, _)) => bail!("flags {other} and {flag} are mutually exclusive"),
                    None => chosen = Some((flag, choice)),
                }
            }
        }
        if let Some((flag, Stage1Choice::FromDir(name))) = &chosen {
            ensure!(!name.is_empty() && !name.contains('/'), "{flag}: {name:?} is no file name");
        }
        Ok(chosen.map(|(_, choice)| choice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn parse(flags: &[&str]) -> Result<Option<Stage1Choice>> {
        let command = Stage1Args::augment_args(clap::Command::new("run"));
        let words = std::iter::once("run").chain(flags.iter().copied());
        Stage1Args::from_arg_matches(&command.try_get_matches_from(words)?)?.parse()
    }

    #[test]
    fn one_at_most() {
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&["--stage1-path=a.aci"]).unwrap(), Some(Stage1Choice::Path("a.aci".into())));
        assert_eq!(
            parse(&["--stage1-from-dir=s.aci"]).unwrap(),
            Some(Stage1Choice::FromDir("s.aci".to_owned()))
        );
        for (flags, message) in [
            (
                ["--stage1-path=a", "--stage1-name=b"],
                "flags --stage1-path and --stage1-name are mutually exclusive",
            ),
            (["--stage1-hash=a", "--stage1-hash=b"], "--stage1-hash already used"),
            (["--stage1-from-dir=a/b", "--debug"], "--stage1-from-dir: \"a/b\" is no file name"),
        ] {
            let flags: Vec<&str> = flags.into_iter().filter(|flag| *flag != "--debug").collect();
            assert_eq!(parse(&flags).unwrap_err().to_string(), message);
        }
    }
}
