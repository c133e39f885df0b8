//! `rkt attach`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use pod::State;

use super::Context;
use super::enter::choose_app;
use crate::entrypoint::{Entrypoint, Operation};

/// Arguments of `rkt attach`.
#[derive(Debug, clap::Args)]
pub(crate) struct AttachArgs {
    /// name of the app to attach to
    #[arg(long)]
    app: Option<String>,

    /// what to attach to: 'list' says what there is, 'auto' is all of that, 'tty', 'tty-in', 'tty-out', or some of
    /// 'stdin', 'stdout', 'stderr' with commas between them
    #[arg(long, default_value = "auto")]
    mode: Mode,

    uuid: Vec<String>,
}

/// What is to be connected.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    List,
    Auto,
    /// These, by the names that the stage1 has for them.
    Streams(Vec<&'static str>),
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut streams = Vec::new();
        for word in text.split(',') {
            match word {
                "list" if text == word => return Ok(Self::List),
                "" | "auto" if text == word => return Ok(Self::Auto),
                "tty" => streams.extend(["tty-in", "tty-out"]),
                _ => match ["stdin", "stdout", "stderr", "tty-in", "tty-out"]
                    .into_iter()
                    .find(|name| *name == word)
                {
                    Some(name) => streams.push(name),
                    None => {
                        return Err(
                            "must be list, auto, tty, tty-in, tty-out or some of stdin,stdout,stderr"
                                .to_owned(),
                        );
                    }
                },
            }
        }
        let of_tty = streams.iter().filter(|name| name.starts_with("tty")).count();
        if of_tty > 0 && of_tty < streams.len() {
            return Err("a terminal and single streams exclude each other".to_owned());
        }
        Ok(Self::Streams(streams))
    }
}

pub(crate) fn run(context: &Context, args: &AttachArgs) -> Result<ExitCode> {
    context.require_root()?;
    let [uuid] = args.uuid.as_slice() else { bail!("must provide exactly one pod UUID") };
    let pods = context.pods()?;
    let pod = pods.find(uuid)?;
    ensure!(pod.state == State::Running, "pod \"{}\" is not running: it is {}", pod.uuid, pod.state);
    let manifest = pod.dir.manifest()?;
    let app = choose_app(&manifest, args.app.as_deref())?;
    let attach = Entrypoint::find(context, &pod.dir, pods.path(pod.place, pod.uuid), Operation::Attach)?;
    Err(attach.execute(&words(&args.mode, app, context.debug)))
}

/// What the stage1 is told.
fn words(mode: &Mode, app: &str, debug: bool) -> Vec<OsString> {
    let mut words = match mode {
        Mode::List => vec!["--action=list".to_owned()],
        Mode::Auto => vec!["--action=auto-attach".to_owned()],
        Mode::Streams(wanted) => {
            let streams = ["tty-in", "tty-out", "stdin", "stdout", "stderr"];
            let flags = streams.iter().map(|name| format!("--{name}={}", wanted.contains(name)));
            std::iter::once("--action=custom-attach".to_owned()).chain(flags).collect()
        }
    };
    words.extend([format!("--app={app}"), format!("--debug={debug}")]);
    words.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (text, mode) in [
            ("list", Ok(Mode::List)),
            ("auto", Ok(Mode::Auto)),
            ("tty", Ok(Mode::Streams(vec!["tty-in", "tty-out"]))),
            ("tty-out", Ok(Mode::Streams(vec!["tty-out"]))),
            ("stdin,stderr", Ok(Mode::Streams(vec!["stdin", "stderr"]))),
            ("tty,stdin", Err("exclude each other")),
            ("list,stdin", Err("must be list")),
            ("stdin,", Err("must be list")),
        ] {
            match (text.parse::<Mode>(), mode) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{text}"),
                (Err(got), Err(wanted)) => assert!(got.contains(wanted), "{text}: {got}"),
                (got, wanted) => panic!("{text}: {got:?} instead of {wanted:?}"),
            }
        }
    }

    #[test]
    fn the_stage1_is_told_every_stream() {
        let text = |mode| {
            let words = words(&mode, "web", false);
            words.iter().map(|word| word.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(Mode::List), "--action=list --app=web --debug=false");
        assert_eq!(
            text(Mode::Streams(vec!["stdin", "stdout"])),
            "--action=custom-attach --tty-in=false --tty-out=false --stdin=true --stdout=true --stderr=false --app=web \
             --debug=false"
        );
    }
}
