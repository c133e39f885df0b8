//! Reads the words about images.
//!
//! The words come sorted (see `cli`): flags of the pod are gone, each flag of an image has its value behind `=`, and
//! what stands between `--` and `---` is untouched.

use anyhow::{Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::AppRequest;
use super::flags::{PerApp, define};
use crate::report;

/// The words of `run` and `prepare`: images with flags and arguments.
#[derive(Debug)]
pub(crate) struct AppWords {
    words: Vec<String>,
}

/// The words of `fetch`: images with `--signature` alone.
#[derive(Debug)]
pub(crate) struct ImageWords {
    words: Vec<String>,
}

macro_rules! words {
    ($type:ident, $per_app:expr) => {
        impl Args for $type {
            fn augment_args(command: Command) -> Command {
                let words = clap::Arg::new("images").num_args(0..).action(clap::ArgAction::Append);
                define(command, $per_app).arg(words)
            }

            fn augment_args_for_update(command: Command) -> Command {
                Self::augment_args(command)
            }
        }

        impl FromArgMatches for $type {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                let words = matches.get_many("images").unwrap_or_default().cloned().collect();
                Ok(Self { words })
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }

        impl $type {
            /// What the words ask for.
            pub(crate) fn parse(&self, command: &str) -> Result<Vec<AppRequest>> {
                parse(&self.words, $per_app, command)
            }
        }
    };
}

words!(AppWords, PerApp::All);
words!(ImageWords, PerApp::Signature);

fn parse(words: &[String], per_app: PerApp, command: &str) -> Result<Vec<AppRequest>> {
    let mut apps: Vec<AppRequest> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "---" => {}
            "--" => {
                if per_app != PerApp::All {
                    bail!("app arguments unsupported");
                }
                let Some(app) = apps.last_mut() else {
                    bail!("an image is required before any app arguments");
                };
                if app.arguments.is_some() {
                    bail!("only one set of app arguments allowed per image");
                }
                app.arguments = Some(words.by_ref().take_while(|word| *word != "---").cloned().collect());
            }
            flag if flag.starts_with("--") => {
                let (name, value) = match flag[2..].split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (&flag[2..], None),
                };
                let Some(known) = per_app.find(name) else { bail!("unknown flag: --{name}") };
                if let Some(instead) = known.replacement() {
                    report::notice(command, format_args!("--{name} has been deprecated, use --{instead}"));
                }
                let Some(app) = apps.last_mut() else { bail!("--{name} must follow an image") };
                known.apply(app, value)?;
            }
            image => apps.push(AppRequest { image: image.to_owned(), ..AppRequest::default() }),
        }
    }
    Ok(apps)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn parse(words: &[&str]) -> Result<Vec<AppRequest>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        super::parse(&words, PerApp::All, "run")
    }

    fn shape(words: &[&str]) -> Vec<(String, Option<Vec<String>>)> {
        parse(words).unwrap().into_iter().map(|app| (app.image, app.arguments)).collect()
    }

    #[test]
    fn images_and_their_arguments() {
        let app = |image: &str, arguments: Option<&[&str]>| {
            let arguments = arguments.map(|list| list.iter().map(|one| (*one).to_owned()).collect());
            (image.to_owned(), arguments)
        };
        for (words, apps) in [
            (&[] as &[&str], vec![]),
            (&["a"], vec![app("a", None)]),
            (&["a", "b"], vec![app("a", None), app("b", None)]),
            (&["a", "--"], vec![app("a", Some(&[]))]),
            (&["a", "--", "x", "--flag"], vec![app("a", Some(&["x", "--flag"]))]),
            (
                &["a", "--", "x", "---", "b", "--", "--", "y", "---"],
                vec![app("a", Some(&["x"])), app("b", Some(&["--", "y"]))],
            ),
            (&["a", "---", "b"], vec![app("a", None), app("b", None)]),
            (&["a", "--exec=/x", "--", "--exec=/y"], vec![app("a", Some(&["--exec=/y"]))]),
        ] {
            assert_eq!(shape(words), apps, "{words:?}");
        }
    }

    #[test]
    fn flags_bind_to_the_image_before() {
        let apps =
            parse(&["a", "--exec=/x", "b", "--user=u", "--exec=/y", "--readonly-rootfs=false"]).unwrap();
        assert_eq!(apps[0].exec.as_deref(), Some("/x"));
        assert_eq!(apps[0].user, None);
        assert_eq!(apps[1].exec.as_deref(), Some("/y"));
        assert_eq!(apps[1].user.as_deref(), Some("u"));
        assert!(!apps[1].readonly_rootfs);
    }

    #[test]
    fn old_spellings_mean_the_same() {
        let apps = parse(&["a", "--cap-retain=CAP_KILL", "--oom-score-adjust=7"]).unwrap();
        assert_eq!(apps[0].caps_retain, Some("CAP_KILL".parse().unwrap()));
        assert_eq!(apps[0].oom_score_adj, Some(7));
    }

    #[test]
    fn mistakes_are_named() {
        for (words, part) in [
            (&["--exec=/x"] as &[&str], "--exec must follow an image"),
            (&["--", "x"], "an image is required before any app arguments"),
            (&["a", "--", "x", "---", "--", "y"], "only one set of app arguments allowed per image"),
            (&["a", "--exec=/x", "--exec=/y"], "--exec specified multiple times for the same image"),
            (
                &["a", "--signature=s", "--signature=t"],
                "--signature specified multiple times for the same image",
            ),
            (&["a", "--colour=red"], "unknown flag: --colour"),
            (&["a", "--exec"], "flag needs an argument: --exec"),
            (&["a", "--name=Bad Name"], "invalid argument \"Bad Name\" for --name"),
            (&["a", "--memory=1k"], "at least 4096 bytes"),
            (&["a", "--cpu-shares=1"], "from 2 to 262144"),
            (&["a", "--oom-score-adj=2000"], "from -1000 to 1000"),
            (&["a", "--caps-retain=CAP_NONSENSE"], "CAP_NONSENSE"),
            (&["a", "--caps-retain=CAP_KILL", "--caps-remove=CAP_KILL"], "exclude each other"),
            (&["a", "--seccomp=chmod"], "mode is missing"),
            (&["a", "--environment=X"], "is not KEY=VALUE"),
            (&["a", "--environment=X=1", "--environment=X=2"], "is there more than once"),
            (&["a", "--annotation=no-value"], "must be NAME=VALUE"),
            (&["a", "--mount=volume=v"], "--mount"),
            (&["a", "--supplementary-gids=1,x"], "\"x\" is no group id"),
            (&["a", "--working-dir=relative"], "absolute path"),
            (&["a", "--readonly-rootfs=perhaps"], "must be true or false"),
            (&["a", "--user="], "must be a name, a number or a path"),
        ] {
            let error = format!("{:#}", parse(words).unwrap_err());
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }

    #[test]
    fn fetch_takes_signatures_alone() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            super::parse(&words, PerApp::Signature, "fetch")
        };
        assert_eq!(parse(&["a", "--signature=s", "b"]).unwrap()[0].signature, Some("s".into()));
        assert_eq!(parse(&["a", "--exec=/x"]).unwrap_err().to_string(), "unknown flag: --exec");
        assert_eq!(parse(&["a", "--", "x"]).unwrap_err().to_string(), "app arguments unsupported");
    }
}
