//! `rkt enter`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use appc::PodManifest;
use pod::{Pod, Pods, State};
use rustix::process::Pid;

use super::Context;
use crate::entrypoint::{Entrypoint, Operation};
use crate::report;

/// Arguments of `rkt enter`.
#[derive(Debug, clap::Args)]
pub(crate) struct EnterArgs {
    /// name of the app to enter within the specified pod
    #[arg(long)]
    app: Option<String>,

    uuid: Option<String>,

    command: Vec<OsString>,
}

/// What is run when nothing else is asked for.
const DEFAULT_COMMAND: &str = "/bin/bash";

pub(crate) fn run(context: &Context, args: &EnterArgs) -> Result<ExitCode> {
    context.require_root()?;
    let uuid = args.uuid.as_deref().context("missing UUID: name the pod to enter")?;
    let pods = context.pods()?;
    let mut pod = pods.find(uuid)?;
    ensure!(pod.state == State::Running, "pod \"{}\" is not running: it is {}", pod.uuid, pod.state);
    let manifest = pod.dir.manifest()?;
    let app = choose_app(&manifest, args.app.as_deref())?.to_owned();
    let enter = Entrypoint::find(context, &pod.dir, pods.path(pod.place, pod.uuid), Operation::Enter)?;
    let pid = wait_for_process_one(pods, &mut pod)?;

    let mut words: Vec<OsString> = vec![
        format!("--pid={}", pid.as_raw_nonzero()).into(),
        format!("--appname={app}").into(),
        "--".into(),
    ];
    if args.command.is_empty() {
        report::notice("enter", format_args!("no command specified, assuming {DEFAULT_COMMAND:?}"));
        words.push(DEFAULT_COMMAND.into());
    }
    words.extend(args.command.iter().cloned());
    Err(enter.execute(&words))
}

/// The app called `name`, or the only one.
pub(crate) fn choose_app<'a>(manifest: &'a PodManifest, name: Option<&'a str>) -> Result<&'a str> {
    let names = || manifest.apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, manifest.apps.as_slice()) {
        (_, []) => bail!("the pod has no apps"),
        (Some(name), _) => match manifest.app(name) {
            Some(app) => Ok(app.name.as_str()),
            None => bail!("the pod has no app {name:?}: it has {}", names()),
        },
        (None, [only]) => Ok(only.name.as_str()),
        (None, _) => bail!("the pod has several apps, choose one with --app: {}", names()),
    }
}

const NAP: Duration = Duration::from_millis(100);
/// For how long the only child of the recorded parent may still be a helper that sets the container up.
const NAPS_UNTIL_CERTAIN: u32 = 10;

fn wait_for_process_one(pods: &Pods, pod: &mut Pod) -> Result<Pid> {
    let mut naps = 0;
    loop {
        if let Some(process) = pod.dir.process_one()?
            && (process.certain || naps >= NAPS_UNTIL_CERTAIN)
        {
            return Ok(process.pid);
        }
        std::thread::sleep(NAP);
        naps += 1;
        let uuid = pod.uuid;
        let there = pods.refresh(pod)?;
        ensure!(there && pod.state == State::Running, "pod \"{uuid}\" is not running any more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(names: &[&str]) -> PodManifest {
        let apps: Vec<String> =
            names.iter().map(|name| format!(r#"{{"name":"{name}","image":{{"id":"sha512-aa"}}}}"#)).collect();
        let json = format!(r#"{{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{}]}}"#, apps.join(","));
        PodManifest::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn chooses_the_app() {
        for (names, asked, chosen) in [
            (&["web"][..], None, Ok("web")),
            (&["web"], Some("web"), Ok("web")),
            (&["web", "db"], Some("db"), Ok("db")),
            (&["web"], Some("db"), Err("the pod has no app \"db\": it has web")),
            (&["web", "db"], None, Err("the pod has several apps, choose one with --app: web, db")),
            (&[], None, Err("the pod has no apps")),
        ] {
            let manifest = manifest(names);
            let got = choose_app(&manifest, asked).map_err(|error| error.to_string());
            assert_eq!(got, chosen.map_err(str::to_owned), "{names:?}");
        }
    }
}
