//! `rkt status`.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use pod::{Pod, PodUuid, State};

use super::Context;
use super::list::Format;
use crate::cli::values;
use crate::pod_args::{PodArgs, one_if_unreadable};
use crate::pod_view::{self, PodView, Times};
use crate::{report, show};

/// Arguments of `rkt status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// choose the output format, allowed format includes 'json', 'json-pretty'. If empty, then the result is
    /// printed as key value pairs
    #[arg(long, default_value = "")]
    format: Format,

    /// toggle waiting for the pod to exit, with a timeout if a duration is given
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    wait: Wait,

    /// toggle waiting until the pod is ready, with a timeout if a duration is given
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    wait_ready: Wait,

    #[command(flatten)]
    pods: PodArgs,
}

/// How long to wait for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    No,
    Forever,
    For(Duration),
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match values::boolean(text) {
            Ok(true) => Ok(Self::Forever),
            Ok(false) => Ok(Self::No),
            Err(_) => values::duration(text).map(Self::For),
        }
    }
}

/// Between two looks at a pod.
const NAP: Duration = Duration::from_millis(100);
/// Between two looks at one that waits for `run-prepared`.
const NAP_PREPARED: Duration = Duration::from_secs(1);

pub(crate) fn run(context: &Context, args: &StatusArgs) -> Result<ExitCode> {
    let uuid = match args.pods.uuid() {
        Ok(uuid) => uuid,
        Err(error) => return one_if_unreadable("status", error, context.debug),
    };
    let pods = context.pods()?;
    let mut pod = pods.find(&uuid)?;
    let uuid = pod.uuid;
    let removed = || format!("pod \"{uuid}\" was removed while it was waited for");
    args.wait_ready.until("become ready", uuid, || {
        if pod.state == State::Running && pod.dir.is_ready()? {
            return Ok(None);
        }
        // One that exits is waited for as well: only the time ends this.
        ensure!(pods.refresh(&mut pod)?, removed());
        Ok(Some(NAP))
    })?;
    args.wait.until("exit", uuid, || {
        ensure!(pods.refresh(&mut pod)?, removed());
        Ok(match pod.state {
            state if state.is_finished() => None,
            State::Prepared => Some(NAP_PREPARED),
            _ => Some(NAP),
        })
    })?;
    match args.format {
        Format::Text => report::print_raw(text(&pod)?)?,
        format => {
            let view = PodView::read(pods, &pod)?;
            report::print(show::json(&view, format == Format::JsonPretty)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Wait {
    /// Calls `look` until it answers `None`; else it answers how long to sleep before the next time.
    fn until(
        self,
        what: &str,
        uuid: PodUuid,
        mut look: impl FnMut() -> Result<Option<Duration>>,
    ) -> Result<()> {
        let end = match self {
            Wait::No => return Ok(()),
            Wait::Forever => None,
            Wait::For(time) => Instant::now().checked_add(time),
        };
        while let Some(nap) = look()? {
            let nap = match end.map(|end| end.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => bail!("timeout: pod \"{uuid}\" did not {what} in time"),
                Some(left) => nap.min(left),
                None => nap,
            };
            std::thread::sleep(nap);
        }
        Ok(())
    }
}

/// One `key=value` a line.
fn text(pod: &Pod) -> Result<String> {
    let times = Times::read(pod)?;
    let mut lines = vec![format!("state={}", pod.state)];
    lines.extend(times.created.map(|time| format!("created={}", show::time_full(time))));
    lines.extend(times.started.map(|time| format!("started={}", show::time_full(time))));
    if pod.state.was_started() {
        lines.push(format!("networks={}", pod_view::networks_text(&pod_view::networks(pod)?)));
        // While it starts, its parent can have helpers for children: then the pid is not known yet.
        if let Ok(Some(process)) = pod.dir.process_one() {
            lines.push(format!("pid={}", process.pid.as_raw_nonzero()));
        }
        lines.push(format!("exited={}", pod.state.has_exited()));
        if pod.state.has_exited() && pod.dir.manifest_json()?.is_some() {
            for app in &pod.dir.manifest()?.apps {
                let exit = pod.dir.exit_status(app.name.as_str())?;
                lines.extend(exit.map(|exit| format!("app-{}={}", app.name, exit.code)));
            }
        }
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pod::Place;
    use pod::Pods;

    #[test]
    fn waits_are_truth_values_or_times() {
        for (given, wait) in [
            ("true", Wait::Forever),
            ("false", Wait::No),
            ("0", Wait::No),
            ("1", Wait::Forever),
            ("2m", Wait::For(Duration::from_secs(120))),
        ] {
            assert_eq!(given.parse(), Ok(wait), "{given}");
        }
        assert!("soon".parse::<Wait>().is_err());
    }

    #[test]
    fn waiting_ends_with_its_time() {
        let uuid = PodUuid::random().unwrap();
        Wait::No.until("exit", uuid, || unreachable!("nothing is looked at")).unwrap();
        let mut looks = 0;
        let result = Wait::For(Duration::from_millis(20)).until("exit", uuid, || {
            looks += 1;
            Ok(Some(Duration::from_millis(8)))
        });
        assert!((3..6).contains(&looks), "{looks}");
        assert_eq!(result.unwrap_err().to_string(), format!("timeout: pod \"{uuid}\" did not exit in time"));
        let mut naps = 3;
        Wait::Forever
            .until("exit", uuid, || {
                naps -= 1;
                Ok((naps > 0).then_some(Duration::ZERO))
            })
            .unwrap();
        assert_eq!(naps, 0);
    }

    #[test]
    fn lines() {
        let data = tempfile::tempdir().unwrap();
        for place in Place::ALL {
            std::fs::create_dir_all(data.path().join("pods").join(place.directory())).unwrap();
        }
        let pods = Pods::open(data.path()).unwrap();
        let mut held = pods.create().unwrap();
        let uuid = held.uuid;
        let manifest = br#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{"name":"web","image":{"id":"sha512-aa"}},{"name":"db","image":{"id":"sha512-aa"}}]}"#;
        held.dir.write_manifest(manifest).unwrap();
        let keys = |pod: &Pod| -> Vec<String> {
            text(pod)
                .unwrap()
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| match key {
                    "created" | "started" => key.to_owned(),
                    _ => format!("{key}={value}"),
                })
                .collect()
        };
        assert_eq!(keys(&pods.get(uuid).unwrap().unwrap()), ["state=preparing", "created"]);
        pods.start(&mut held).unwrap();
        held.dir.write("pid", b"1234").unwrap();
        held.dir.create_directory("stage1/rootfs/rkt/status").unwrap();
        held.dir.write("stage1/rootfs/rkt/status/db", b"3").unwrap();
        assert_eq!(
            keys(&pods.get(uuid).unwrap().unwrap()),
            ["state=running", "created", "started", "networks=", "pid=1234", "exited=false"]
        );
        drop(held);
        assert_eq!(
            keys(&pods.get(uuid).unwrap().unwrap()),
            ["state=exited", "created", "started", "networks=", "pid=1234", "exited=true", "app-db=3"]
        );
    }
}
