//! `rkt list`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Result;
use appc::{AcIdentifier, AcName, ImageId};
use pod::{Glance, Place, Pod, PodUuid, Pods};
use serde::Deserialize;

use super::Context;
use super::version::APPC_VERSION;
use crate::pod_view::{self, PodView, Times};
use crate::{report, show};

/// Arguments of `rkt list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// choose the output format, allowed format includes 'json', 'json-pretty'. If empty, then the result is
    /// printed as key value pairs
    #[arg(long, default_value = "")]
    format: Format,

    /// use long output format
    #[arg(long)]
    full: bool,

    /// suppress a legend with the list
    #[arg(long)]
    no_legend: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// JSON on one line.
    Json,
    /// JSON with indentation.
    JsonPretty,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "json-pretty" => Ok(Self::JsonPretty),
            _ => Err("must be json or json-pretty".to_owned()),
        }
    }
}

/// A pod that could not be read whole.
type Broken = (PodUuid, anyhow::Error);

pub(crate) fn run(context: &Context, args: &ListArgs) -> Result<ExitCode> {
    let pods = context.pods()?;
    let mut broken = Vec::new();
    match args.format {
        Format::Text => report::print_raw(table(pods, args, &mut broken)?)?,
        format => {
            let views = each(pods, &mut broken, |pod| match PodView::read(pods, pod) {
                Ok(view) => (Some(view), None),
                Err(error) => (None, Some(error)),
            })?;
            report::print(show::json(&views, format == Format::JsonPretty)?)?;
        }
    }
    if !broken.is_empty() {
        report::text(&broken_report(&broken));
    }
    Ok(ExitCode::SUCCESS)
}

/// How many pods keep one thread busy for so long that a second one is worth its start.
const PODS_PER_THREAD: usize = 64;
const THREADS_MAX: usize = 4;

/// What `step` makes of each pod, in the order of their names; keeps what went wrong.
fn each<T: Send>(
    pods: &Pods,
    broken: &mut Vec<Broken>,
    step: impl Fn(&Pod) -> (Option<T>, Option<anyhow::Error>) + Sync,
) -> Result<Vec<T>> {
    let names = pods.walk(&Place::LISTED)?;
    let survey = pods.survey(names.len());
    let look = |glance: &Glance<'_>, &(uuid, place): &(PodUuid, Place)| {
        let (made, error) = match glance.get_from(uuid, place) {
            Ok(Some(pod)) if Place::LISTED.contains(&pod.place) => step(&pod),
            // Gone in the meantime, or given up before it ran.
            Ok(_) => (None, None),
            Err(error) => (None, Some(error.into())),
        };
        (made, error.map(|error| (uuid, error)))
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = names.len().div_ceil(PODS_PER_THREAD).clamp(1, processors.min(THREADS_MAX));
    let size = names.len().div_ceil(threads).max(1);
    let look_at_all = |chunk: &[(PodUuid, Place)]| -> Result<Vec<_>> {
        let glance = survey.glance()?;
        Ok(chunk.iter().map(|name| look(&glance, name)).collect())
    };
    let results = std::thread::scope(|scope| {
        let mut chunks = names.chunks(size);
        let first = chunks.next().unwrap_or_default();
        let others: Vec<_> = chunks.map(|chunk| scope.spawn(|| look_at_all(chunk))).collect();
        let mut results = look_at_all(first)?;
        for other in others {
            // A panic ends the process (`panic = "abort"`): nobody is left to join then.
            results.extend(other.join().unwrap_or_else(|_| Ok(Vec::new()))?);
        }
        anyhow::Ok(results)
    })?;
    let mut all = Vec::with_capacity(results.len());
    for (made, error) in results {
        all.extend(made);
        broken.extend(error);
    }
    Ok(all)
}

/// What the table shows of a pod manifest: with many pods, reading all of it would take most of the time.
#[derive(Debug, Deserialize)]
struct Listed<'a> {
    #[serde(borrow, default)]
    apps: Vec<ListedApp<'a>>,
}

#[derive(Debug, Deserialize)]
struct ListedApp<'a> {
    name: AcName,
    #[serde(borrow)]
    image: ListedImage<'a>,
}

#[derive(Debug, Deserialize)]
struct ListedImage<'a> {
    name: Option<AcIdentifier>,
    id: ImageId,
    #[serde(borrow, default)]
    labels: Vec<ListedLabel<'a>>,
}

#[derive(Debug, Deserialize)]
struct ListedLabel<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

fn table(pods: &Pods, args: &ListArgs, broken: &mut Vec<Broken>) -> Result<String> {
    let mut text = String::new();
    if !args.no_legend {
        text.push_str("UUID\tAPP\tIMAGE NAME\t");
        text.push_str(if args.full { "IMAGE ID\t" } else { "" });
        text.push_str("STATE\tCREATED\tSTARTED\tNETWORKS\n");
    }
    let rows = each(pods, broken, |pod| match rows_of(pod, args.full) {
        Ok((rows, error)) => (Some(rows), error),
        Err(error) => (None, Some(error)),
    })?;
    text.extend(rows);
    Ok(show::align(&text))
}

/// The rows of a pod. One with a manifest that cannot be read is shown as far as it is known.
fn rows_of(pod: &Pod, full: bool) -> Result<(String, Option<anyhow::Error>)> {
    let json = pod.dir.manifest_json()?;
    let (apps, error) = match json.as_deref().map(serde_json::from_slice::<Listed<'_>>) {
        Some(Ok(listed)) => (listed.apps, None),
        Some(Err(error)) => {
            (Vec::new(), Some(anyhow::Error::new(error).context("Cannot read the pod manifest")))
        }
        None => (Vec::new(), None),
    };
    let networks = pod_view::networks_text(&pod_view::networks(pod)?);
    let mut text = String::new();
    rows(&mut text, full, pod, &apps, Times::read(pod)?, &networks);
    Ok((text, error))
}

fn rows(text: &mut String, full: bool, pod: &Pod, apps: &[ListedApp<'_>], times: Times, networks: &str) {
    let when = |time: Option<SystemTime>| match (time, full) {
        (None, _) => String::new(),
        (Some(time), true) => show::time_full(time),
        (Some(time), false) => show::time_ago(time),
    };
    let uuid = if full { pod.uuid.as_str() } else { pod.uuid.short() };
    let of_pod = format!("\t{}\t{}\t{}\t{networks}\n", pod.state, when(times.created), when(times.started));
    if apps.is_empty() {
        text.push_str(uuid);
        text.push_str(if full { "\t-\t-\t-" } else { "\t-\t-" });
        text.push_str(&of_pod);
    }
    for (at, app) in apps.iter().enumerate() {
        let first = at == 0;
        let _ = write!(text, "{}\t{}\t{}", if first { uuid } else { "" }, app.name, image_name(pod, app));
        if full {
            let _ = write!(text, "\t{}", app.image.id.as_str().get(..19).unwrap_or(app.image.id.as_str()));
        }
        text.push_str(if first { &of_pod } else { "\t\t\t\t\n" });
    }
}

/// The image's name and version. The pod manifest has them when rkt wrote it; else the image manifest does.
fn image_name(pod: &Pod, app: &ListedApp<'_>) -> String {
    let with_version = |name: &str, version: Option<&str>| match version {
        Some(version) => format!("{name}:{version}"),
        None => name.to_owned(),
    };
    match &app.image.name {
        Some(name) if !app.image.labels.is_empty() => {
            let version = app.image.labels.iter().find(|label| label.name == "version");
            with_version(name.as_str(), version.map(|label| label.value.as_ref()))
        }
        _ => match pod.dir.image_manifest(app.name.as_str()) {
            Ok(Some(manifest)) => with_version(manifest.name.as_str(), manifest.version()),
            Ok(None) | Err(_) => "--".to_owned(),
        },
    }
}

fn broken_report(broken: &[Broken]) -> String {
    let line = "-".repeat(40);
    let mut text = format!("{} error(s) encountered when listing pods:\n{line}\n", broken.len());
    for (uuid, error) in broken {
        let _ = write!(text, "pod \"{uuid}\": {error:#}\n{line}\n");
    }
    let _ = write!(text, "misc:\n\tappc version: {APPC_VERSION}\n{line}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        data: tempfile::TempDir,
        pods: Pods,
    }

    const WEB: &str = r#"{"name":"web","image":{"name":"example.com/web","id":"sha512-aabbccddeeff0011","labels":[{"name":"version","value":"1.2"}]}}"#;
    const DB: &str = r#"{"name":"db","image":{"id":"sha512-00112233445566"}}"#;

    impl Fixture {
        fn new() -> Self {
            let data = tempfile::tempdir().unwrap();
            for place in Place::ALL {
                std::fs::create_dir_all(data.path().join("pods").join(place.directory())).unwrap();
            }
            let pods = Pods::open(data.path()).unwrap();
            Self { data, pods }
        }

        fn put(&self, place: Place, uuid: &str, apps: Option<&str>) {
            let path = self.data.path().join("pods").join(place.directory()).join(uuid);
            std::fs::create_dir(&path).unwrap();
            if let Some(apps) = apps {
                let json = format!(r#"{{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{apps}]}}"#);
                std::fs::write(path.join("pod"), json).unwrap();
            }
            let created = std::fs::File::create(path.join("pod-created")).unwrap();
            created.set_modified(SystemTime::now() - std::time::Duration::from_secs(125)).unwrap();
        }

        fn table(&self, full: bool, no_legend: bool) -> (String, Vec<Broken>) {
            let mut broken = Vec::new();
            let args = ListArgs { format: Format::Text, full, no_legend };
            (table(&self.pods, &args, &mut broken).unwrap(), broken)
        }
    }

    const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
    const B: &str = "bbbbbbbb-0000-4000-8000-000000000002";

    #[test]
    fn the_table() {
        let fixture = Fixture::new();
        assert_eq!(
            fixture.table(false, false).0,
            "UUID\tAPP\tIMAGE NAME\tSTATE\tCREATED\tSTARTED\tNETWORKS\n"
        );
        assert_eq!(fixture.table(false, true).0, "");
        fixture.put(Place::Run, B, Some(&format!("{WEB},{DB}")));
        fixture.put(Place::Prepare, A, None);
        fixture.put(Place::Garbage, "cccccccc-0000-4000-8000-000000000003", None);
        let (text, broken) = fixture.table(false, false);
        assert_eq!(
            text,
            "UUID\t\tAPP\tIMAGE NAME\t\tSTATE\t\tCREATED\t\tSTARTED\tNETWORKS\n\
             aaaaaaaa\t-\t-\t\t\taborted prepare\t2 minutes ago\t\t\n\
             bbbbbbbb\tweb\texample.com/web:1.2\texited\t\t2 minutes ago\t\t\n\
             \t\tdb\t--\t\t\t\t\t\t\t\t\n"
        );
        assert!(broken.is_empty());
        let (text, _) = fixture.table(true, true);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split('\t').filter(|cell| !cell.is_empty()).collect()).collect();
        assert_eq!(lines[0][..4], [A, "-", "-", "-"]);
        assert_eq!(lines[1][..4], [B, "web", "example.com/web:1.2", "sha512-aabbccddeeff"]);
        assert_eq!(lines[2], ["db", "--", "sha512-001122334455"]);
    }

    #[test]
    fn names_from_the_image_manifest() {
        let fixture = Fixture::new();
        fixture.put(Place::Prepared, A, Some(DB));
        let pod = fixture.pods.find(A).unwrap();
        let image = br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/db","labels":[{"name":"version","value":"9"}]}"#;
        pod.dir.write_image_manifest("db", image).unwrap();
        assert!(fixture.table(false, true).0.contains("\texample.com/db:9\t"));
    }

    #[test]
    fn broken_pods_are_told_of() {
        let fixture = Fixture::new();
        fixture.put(Place::Run, A, Some("{"));
        fixture.put(Place::Run, B, Some(DB));
        let (text, broken) = fixture.table(false, true);
        assert!(
            text.starts_with("aaaaaaaa\t-\t-\texited\t") && text.contains("bbbbbbbb\tdb\t--\texited\t"),
            "{text}"
        );
        let report = broken_report(&broken);
        let line = "-".repeat(40);
        assert!(
            report.starts_with(&format!("1 error(s) encountered when listing pods:\n{line}\npod \"{A}\": "))
        );
        assert!(report.ends_with(&format!("\n{line}\nmisc:\n\tappc version: 0.8.11\n{line}\n")), "{report}");
    }
}
