//! Pods and their apps as `list` and `status` show them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use appc::{PodManifest, RuntimeApp, VolumeKind};
use pod::{NetInfo, Pod, Pods, State};
use serde::Serialize;

/// A pod for programs. Field names and their order are an interface.
#[derive(Debug, Serialize)]
pub(crate) struct PodView {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<NetInfo>,
    /// The same as in `apps`; old scripts read it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    app_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    apps: Vec<AppView>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<i64>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_labels: BTreeMap<String, String>,
}

/// An app of a pod for programs.
#[derive(Debug, Serialize)]
pub(crate) struct AppView {
    name: String,
    state: AppState,
    /// Nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<i64>,
    /// Nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<i64>,
    /// Nanoseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    image_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<MountView>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_labels: BTreeMap<String, String>,
}

/// A volume at a path of an app.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MountView {
    name: String,
    container_path: String,
    host_path: String,
    read_only: bool,
}

/// What an app does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AppState {
    Unknown,
    Created,
    Running,
    Exited,
}

/// The annotation of a pod whose apps come and go while it runs.
pub(crate) const MUTABLE: &str = "coreos.com/rkt/stage1/mutable";

impl PodView {
    /// Reads everything that there is to show.
    pub(crate) fn read(pods: &Pods, pod: &Pod) -> Result<Self> {
        let json = pod.dir.manifest_json()?;
        let manifest = if json.is_some() { Some(pod.dir.manifest()?) } else { None };
        let times = Times::read(pod)?;
        let directory = pods.path(pod.place, pod.uuid);
        let mut apps = Vec::new();
        for app in manifest.iter().flat_map(|manifest| &manifest.apps) {
            let mutable =
                manifest.as_ref().and_then(|manifest| manifest.annotations.get(MUTABLE)) == Some("true");
            let mut view = AppView::read(pod, app, &times, mutable)?;
            view.mounts = manifest.iter().flat_map(|manifest| mounts(manifest, app, &directory)).collect();
            apps.push(view);
        }
        let (user_annotations, user_labels) = match manifest {
            Some(manifest) => (manifest.user_annotations, manifest.user_labels),
            None => (BTreeMap::new(), BTreeMap::new()),
        };
        Ok(Self {
            name: pod.uuid.to_string(),
            state: pod.state.as_str(),
            networks: networks(pod)?,
            app_names: apps.iter().map(|app| app.name.clone()).collect(),
            apps,
            created_at: times.created.and_then(seconds),
            started_at: times.started.and_then(seconds),
            user_annotations,
            user_labels,
        })
    }
}

/// The times of a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// When it was made.
    pub(crate) created: Option<SystemTime>,
    /// When it was started.
    pub(crate) started: Option<SystemTime>,
}

impl Times {
    pub(crate) fn read(pod: &Pod) -> Result<Self> {
        let started = if pod.state.was_started() { pod.dir.started()? } else { None };
        Ok(Self { created: pod.dir.created()?, started })
    }
}

/// The networks of a pod: one that was never started has none yet.
pub(crate) fn networks(pod: &Pod) -> Result<Vec<NetInfo>> {
    if !pod.state.was_started() {
        return Ok(Vec::new());
    }
    Ok(pod.dir.networks()?)
}

/// `NAME:ip4=ADDRESS`, joined by commas; `NAME:ip6=ADDRESS` follows where there is one.
pub(crate) fn networks_text(networks: &[NetInfo]) -> String {
    let mut texts = Vec::new();
    for net in networks {
        if !net.ip.is_empty() || net.ip6.is_empty() {
            texts.push(format!("{}:ip4={}", net.net_name, net.ip));
        }
        if !net.ip6.is_empty() {
            texts.push(format!("{}:ip6={}", net.net_name, net.ip6));
        }
    }
    texts.join(", ")
}

impl PodView {
    /// Its apps.
    pub(crate) fn apps(&self) -> &[AppView] {
        &self.apps
    }
}

impl AppView {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it does, in one word.
    pub(crate) fn state(&self) -> &'static str {
        match self.state {
            AppState::Unknown => "unknown",
            AppState::Created => "created",
            AppState::Running => "running",
            AppState::Exited => "exited",
        }
    }

    /// One `key=value` a line.
    pub(crate) fn lines(&self) -> String {
        let time = |nanoseconds: i64| {
            let nanoseconds = u64::try_from(nanoseconds).unwrap_or_default();
            crate::show::time_full(UNIX_EPOCH + std::time::Duration::from_nanos(nanoseconds))
        };
        let mut lines = vec![
            format!("name={}", self.name),
            format!("state={}", self.state()),
            format!("image_id={}", self.image_id),
        ];
        for (key, value) in [
            ("created_at", self.created_at),
            ("started_at", self.started_at),
            ("finished_at", self.finished_at),
        ] {
            lines.extend(value.map(|value| format!("{key}={}", time(value))));
        }
        lines.extend(self.exit_code.map(|code| format!("exit_code={code}")));
        if !self.mounts.is_empty() {
            let mounts: Vec<String> = self
                .mounts
                .iter()
                .map(|mount| {
                    format!("{}:{}:(read_only:{})", mount.host_path, mount.container_path, mount.read_only)
                })
                .collect();
            lines.push(format!("mounts={}", mounts.join(",")));
        }
        for (key, map) in [("user_annotations", &self.user_annotations), ("user_labels", &self.user_labels)] {
            if !map.is_empty() {
                let pairs: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{value}")).collect();
                lines.push(format!("{key}={}", pairs.join(",")));
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }
    fn read(pod: &Pod, app: &RuntimeApp, times: &Times, mutable: bool) -> Result<Self> {
        let name = app.name.as_str();
        let exit = if pod.state.was_started() { pod.dir.exit_status(name)? } else { None };
        let (created, started) = match mutable {
            true => (pod.dir.app_created(name)?, pod.dir.app_started(name)?),
            false => (times.created, times.started),
        };
        let state = match mutable {
            true => mutable_state(pod.state, created.is_some(), started.is_some(), exit.is_some()),
            false => immutable_state(pod.state, exit.is_some()),
        };
        // Without a record of its end it ended at some time before the pod was marked.
        let marked = matches!(pod.state, State::ExitedGarbage | State::ExitedDeleting);
        let finished = match exit {
            Some(exit) => Some(exit.finished),
            None if marked => pod.dir.renamed()?,
            None => None,
        };
        let of_app = app.app.as_ref();
        Ok(Self {
            name: name.to_owned(),
            state,
            created_at: created.and_then(nanoseconds),
            started_at: started.and_then(nanoseconds),
            finished_at: finished.and_then(nanoseconds),
            exit_code: exit.map(|exit| exit.code),
            image_id: app.image.id.to_string(),
            mounts: Vec::new(),
            user_annotations: of_app.map(|app| app.user_annotations.clone()).unwrap_or_default(),
            user_labels: of_app.map(|app| app.user_labels.clone()).unwrap_or_default(),
        })
    }
}

fn immutable_state(pod: State, ended: bool) -> AppState {
    if ended {
        return AppState::Exited;
    }
    match pod {
        State::Prepared => AppState::Created,
        State::Running => AppState::Running,
        State::Exited | State::ExitedGarbage | State::ExitedDeleting | State::Garbage | State::Deleting => {
            AppState::Exited
        }
        State::Embryo | State::Preparing | State::AbortedPrepare => AppState::Unknown,
    }
}

fn mutable_state(pod: State, created: bool, started: bool, ended: bool) -> AppState {
    match (ended, started, created) {
        (true, _, _) => AppState::Exited,
        _ if pod.has_exited() => AppState::Exited,
        (_, true, _) => AppState::Running,
        (_, _, true) => AppState::Created,
        _ => AppState::Unknown,
    }
}

/// The volumes of an app: those mounted by name of the volume, then those that match a mount point.
fn mounts(manifest: &PodManifest, app: &RuntimeApp, pod: &Path) -> Vec<MountView> {
    let explicit = app.mounts.iter().map(|mount| {
        let own = mount.app_volume.as_ref();
        (mount.volume.as_str(), mount.path.as_str(), own, false)
    });
    let points = app.app.iter().flat_map(|app| &app.mount_points);
    let matching = points
        .filter(|point| !app.mounts.iter().any(|mount| mount.path == point.path))
        .map(|point| (point.name.as_str(), point.path.as_str(), None, point.read_only));
    explicit
        .chain(matching)
        .filter_map(|(name, path, own, read_only)| {
            let volume = own.or_else(|| manifest.volume(name))?;
            let host_path = match &volume.kind {
                VolumeKind::Host { source, .. } => source.clone(),
                VolumeKind::Empty { .. } => pod.join("sharedVolumes").join(name).display().to_string(),
            };
            Some(MountView {
                name: name.to_owned(),
                container_path: path.to_owned(),
                host_path,
                read_only: volume.kind.read_only().unwrap_or(read_only),
            })
        })
        .collect()
}

fn seconds(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok()?.as_secs().try_into().ok()
}

fn nanoseconds(time: SystemTime) -> Option<i64> {
    time.duration_since(UNIX_EPOCH).ok()?.as_nanos().try_into().ok()
}

#[cfg(test)]
mod tests;
