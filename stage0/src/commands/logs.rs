//! `rkt logs`: what the journal has of a pod.
//!
//! | how the pod was started | what its entries are known by |
//! |---|---|
//! | its output is the journal | the control group of the writer: the pod's own, with its name in it; for `fly` in a service, the start of that |
//! | its output is a terminal or a pipe | `RKT_POD` and `RKT_APP`, which the supervisor writes, as root |
//!
//! Fields that begin with `_` are journald's own findings, so nobody but root can put lines into the log of a pod.

use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use appc::PodManifest;
use pod::{Pod, PodUuid, Pods};

use super::Context;
use crate::pod_args::{PodArgs, one_if_unreadable};

/// Arguments of `rkt logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    /// name of the app whose lines are shown; without one, those of all apps and of the pod itself are
    #[arg(long)]
    app: Option<String>,

    /// go on with new lines until the pod has ended (also: -f)
    #[arg(long, short = 'f')]
    follow: bool,

    /// choose the output format: 'json', 'json-pretty', 'cat' (the bare lines) or another one of journalctl's. If
    /// empty, a line begins with its time and its app
    #[arg(long, default_value = "")]
    format: String,

    /// show only that many lines, the newest
    #[arg(long, value_name = "NUMBER")]
    lines: Option<u32>,

    /// show only what is not older than a time, as journalctl understands it (example: '--since=-1h')
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    #[command(flatten)]
    pods: PodArgs,
}

const JOURNALCTL: &str = "journalctl";
/// Between two looks at whether the pod still runs.
const NAP: Duration = Duration::from_millis(200);
/// How long journalctl takes at most to show what the journal has.
const FAREWELL: Duration = Duration::from_millis(500);

pub(crate) fn run(context: &Context, args: &LogsArgs) -> Result<ExitCode> {
    let uuid = match args.pods.uuid() {
        Ok(uuid) => uuid,
        Err(error) => return one_if_unreadable("logs", error, context.debug),
    };
    let pods = context.pods()?;
    let mut pod = pods.find(&uuid)?;
    ensure!(pod.state.was_started(), "pod \"{}\" has no log: it is {}", pod.uuid, pod.state);
    if pod.dir.read("output")?.is_some_and(|text| text == b"inherited") {
        bail!(
            "pod \"{}\" has no log: its app writes to where rkt itself wrote, which was not the journal. Start it as a \
             unit, or with a stage1 that has a supervisor",
            pod.uuid
        );
    }
    let mut command = Command::new(JOURNALCTL);
    command.args(["--quiet", "--no-pager", "--all"]).arg(format!("--output={}", format(&args.format)?));
    command.args(args.lines.map(|lines| format!("--lines={lines}")));
    let created = pod.dir.created()?.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let since = args.since.clone().or(created.map(|time| format!("@{}", time.as_secs())));
    command.args(since.map(|since| format!("--since={since}")));
    let follow = args.follow && !pod.state.has_exited();
    if follow {
        command.arg("--follow");
        if args.lines.is_none() {
            command.arg("--no-tail");
        }
    }
    command.args(matches(&pod, args.app.as_deref())?);
    if follow {
        return self::follow(pods, &mut pod, command);
    }
    sync();
    let error = command.exec();
    Err(missing(error.kind())).with_context(|| error.to_string())
}

/// The name that journalctl has for a format.
fn format(name: &str) -> Result<&str> {
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    ensure!(plain, "--format: {name:?} is no output format");
    Ok(match name {
        "" => "short",
        name => name,
    })
}

/// Shows new lines until the pod has ended.
fn follow(pods: &Pods, pod: &mut Pod, mut command: Command) -> Result<ExitCode> {
    let mut journalctl = command.spawn().map_err(|error| missing(error.kind()))?;
    loop {
        if let Some(status) = journalctl.try_wait().context("Cannot wait for journalctl")? {
            return Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(254)).unwrap_or(254)));
        }
        if !pods.refresh(pod)? || pod.state.has_exited() {
            break;
        }
        std::thread::sleep(NAP);
    }
    sync();
    std::thread::sleep(FAREWELL);
    end(journalctl);
    Ok(ExitCode::SUCCESS)
}

fn end(mut journalctl: Child) {
    let pid = i32::try_from(journalctl.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself: its reader is gone.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let _ = journalctl.wait();
}

/// Lets journald write down what it has been told. Only root can ask for that; others may miss the last lines of a pod
/// that has just ended.
fn sync() {
    if rustix::process::geteuid().is_root() {
        let silent = Stdio::null;
        let _ = Command::new(JOURNALCTL).arg("--sync").stdout(silent()).stderr(silent()).status();
    }
}

fn missing(kind: ErrorKind) -> anyhow::Error {
    match kind {
        ErrorKind::NotFound => {
            anyhow::anyhow!("journalctl is not installed: the log of a pod is in systemd's journal")
        }
        kind => anyhow::Error::new(std::io::Error::from(kind)).context("Cannot run journalctl"),
    }
}

/// What journalctl is to look for: alternatives, joined by `+`.
fn matches(pod: &Pod, app: Option<&str>) -> Result<Vec<String>> {
    let manifest = pod.dir.manifest()?;
    // An app that was removed from the pod has left lines behind.
    if let Some(app) = app.filter(|app| manifest.app(app).is_none()) {
        let is_mutable = manifest.annotations.get(crate::pod_view::MUTABLE) == Some("true");
        ensure!(is_mutable, "the pod has no app {app:?}");
    }
    let group = pod.dir.subcgroup()?;
    let root = pod.dir.private_users()?.map_or(0, |(first, _)| first);
    let mut terms = terms(pod.uuid, root, group.as_deref(), &manifest, app);
    // A fly pod of a service has no group of its own, and the journal does not know that of a writer that ended at once.
    let names = manifest.apps.iter().map(|app| app.name.as_str());
    let identifiers: Vec<String> = names
        .filter(|name| app.is_none_or(|app| app == *name))
        .map(|name| format!("SYSLOG_IDENTIFIER={name}"))
        .collect();
    if let (Some(invocation), [_, ..]) = (invocation(pod)?, identifiers.as_slice()) {
        terms.extend(["+".to_owned(), format!("_SYSTEMD_INVOCATION_ID={invocation}")]);
        terms.extend(identifiers);
    }
    Ok(terms)
}

/// Which start of its service a pod belongs to that is all of it.
fn invocation(pod: &Pod) -> Result<Option<String>> {
    let text = pod.dir.read("output")?.unwrap_or_default();
    let id = text.strip_prefix(b"invocation ").and_then(|id| std::str::from_utf8(id).ok());
    Ok(id.filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit())).map(str::to_owned))
}

/// `root` is the host's number of the pod's root.
fn terms(
    uuid: PodUuid,
    root: u32,
    group: Option<&str>,
    manifest: &PodManifest,
    app: Option<&str>,
) -> Vec<String> {
    let mut terms = vec![format!("RKT_POD={uuid}"), format!("_UID={root}")];
    terms.extend(app.map(|app| format!("RKT_APP={app}")));
    // Without its name the group could be one that others stand in as well.
    let escaped = uuid.as_str().replace('-', "\\x2d");
    let Some(group) = group.filter(|group| group.contains(uuid.as_str()) || group.contains(&escaped)) else {
        return terms;
    };
    let below = |group: &str| format!("_SYSTEMD_CGROUP=/{}", group.trim_start_matches('/'));
    let of_app = |app: &str| [format!("{group}/payload/app-{app}"), format!("{group}/app-{app}")];
    let shared =
        ["", "/payload", "/supervisor", "/payload/supervisor"].map(|end| below(&format!("{group}{end}")));
    terms.push("+".to_owned());
    match app {
        None => {
            terms.extend(shared);
            let apps = manifest.apps.iter().flat_map(|app| of_app(app.name.as_str()));
            terms.extend(apps.map(|group| below(&group)));
        }
        Some(app) => {
            terms.extend(of_app(app).map(|group| below(&group)));
            // A writer that has ended is taken for whoever opened the stream.
            terms.extend(["+".to_owned(), format!("SYSLOG_IDENTIFIER={app}")]);
            terms.extend(shared);
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        assert_eq!(format("").unwrap(), "short");
        assert_eq!(format("json").unwrap(), "json");
        assert!(format("json --file=/x").is_err());
    }

    #[test]
    fn entries_are_matched_by_what_only_root_can_write() {
        let uuid: PodUuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap();
        let json = r#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{"name":"web","image":{"id":"sha512-aa"}}]}"#;
        let manifest = PodManifest::parse(json.as_bytes()).unwrap();
        let plain = format!("RKT_POD={uuid} _UID=0");
        assert_eq!(terms(uuid, 0, None, &manifest, None).join(" "), plain);
        // A group that says nothing of the pod is not looked at.
        assert_eq!(terms(uuid, 0, Some("system.slice/a.service"), &manifest, None).join(" "), plain);
        let group = format!("system.slice/a.service/pod-{uuid}");
        let all = terms(uuid, 7, Some(&group), &manifest, None).join(" ");
        assert!(all.starts_with(&format!("RKT_POD={uuid} _UID=7 + _SYSTEMD_CGROUP=/{group} ")), "{all}");
        assert!(all.contains(&format!("_SYSTEMD_CGROUP=/{group}/payload/app-web")), "{all}");
        let web = terms(uuid, 0, Some(&group), &manifest, Some("web")).join(" ");
        let own = format!(
            "RKT_APP=web + _SYSTEMD_CGROUP=/{group}/payload/app-web _SYSTEMD_CGROUP=/{group}/app-web"
        );
        assert!(web.contains(&format!("{own} + SYSLOG_IDENTIFIER=web _SYSTEMD_CGROUP=/{group}")), "{web}");
    }
}
