//! The manifest of a pod, made of what the command line asks for and what the images say.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use appc::os_arch;
use appc::{
    AcIdentifier, Annotations, App, ExposedPort, ImageId, ImageManifest, Isolator, Mount, PodManifest,
    ResourceValue, RuntimeApp, RuntimeImage, Volume,
};

use super::AppRequest;
use crate::options::environment::PodEnvironment;

/// What the flags say about all apps of the pod.
#[derive(Debug, Default)]
pub(crate) struct PodRequest {
    /// `--volume`
    pub(crate) volumes: Vec<Volume>,
    /// `--mount` before the first image
    pub(crate) mounts: Vec<Mount>,
    /// `--port`
    pub(crate) ports: Vec<ExposedPort>,
    /// `--inherit-env`, `--set-env-file`, `--set-env`
    pub(crate) environment: PodEnvironment,
    /// Of a pod file.
    pub(crate) annotations: BTreeMap<AcIdentifier, String>,
    /// Kernel parameters that a pod file asks for, by name.
    pub(crate) sysctls: BTreeMap<String, String>,
}

/// An image of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImageFacts<'a> {
    /// Its key in the store.
    pub(crate) id: &'a ImageId,
    pub(crate) manifest: &'a ImageManifest,
}

/// The annotation in which a pod says whether apps may be added to it.
const MUTABLE: &str = "coreos.com/rkt/stage1/mutable";
/// The annotations of an app in which it says what its streams are.
const STREAMS: [&str; 3] =
    ["coreos.com/rkt/stage2/stdin", "coreos.com/rkt/stage2/stdout", "coreos.com/rkt/stage2/stderr"];

impl PodRequest {
    /// Checks what can be checked before any image is looked at.
    pub(crate) fn check(&self, apps: &[AppRequest]) -> Result<()> {
        for (at, volume) in self.volumes.iter().enumerate() {
            let twice = self.volumes[..at].iter().any(|other| other.name == volume.name);
            ensure!(!twice, "volume {:?} is given twice", volume.name.as_str());
        }
        let all = self.mounts.iter().chain(apps.iter().flat_map(|app| &app.mounts));
        check_mounts(all, &self.volumes)
    }
}

/// Refuses a mount whose volume there is not.
pub(crate) fn check_mounts<'a>(
    mounts: impl IntoIterator<Item = &'a Mount>,
    volumes: &[Volume],
) -> Result<()> {
    for mount in mounts {
        let known = mount.app_volume.is_some() || volumes.iter().any(|volume| volume.name == mount.volume);
        ensure!(
            known,
            "dangling mount point {:?}: volume {:?} not found (--volume={},kind=host,source=/PATH)",
            mount.path,
            mount.volume.as_str(),
            mount.volume
        );
    }
    Ok(())
}

/// Refuses an image that is not for this host.
pub(crate) fn check_platform(manifest: &ImageManifest) -> Result<()> {
    os_arch::check_runnable(&manifest.labels, os_arch::runnable_on(std::env::consts::ARCH))?;
    Ok(())
}

/// The manifest of a pod of `apps`.
pub(crate) fn generate(pod: PodRequest, apps: &[(AppRequest, ImageFacts<'_>)]) -> Result<PodManifest> {
    let mut manifest = PodManifest::default();
    for (request, image) in apps {
        let app = runtime_app(&pod, request, *image)
            .with_context(|| format!("error setting up image {:?}", request.image))?;
        ensure!(
            manifest.app(app.name.as_str()).is_none(),
            "multiple apps with name {:?}: give each its own --name",
            app.name.as_str()
        );
        manifest.apps.push(app);
    }
    manifest.volumes = pod.volumes;
    manifest.ports = pod.ports;
    for (name, value) in pod.annotations {
        manifest.annotations.set(name, value);
    }
    manifest.annotations.set(MUTABLE.parse()?, "false");
    if !pod.sysctls.is_empty() {
        manifest.isolators.replace(Isolator::Sysctl(pod.sysctls));
    }
    Ok(manifest)
}

/// An app of `image`.
pub(crate) fn runtime_app(
    pod: &PodRequest,
    request: &AppRequest,
    image: ImageFacts<'_>,
) -> Result<RuntimeApp> {
    check_platform(image.manifest)?;
    let mut app = match (&image.manifest.app, &request.exec) {
        (Some(app), _) => app.clone(),
        (None, Some(_)) => App {
            user: rustix::process::getuid().as_raw().to_string(),
            group: rustix::process::getgid().as_raw().to_string(),
            ..App::default()
        },
        (None, None) => bail!("the image has no app section and --exec argument is not provided"),
    };
    override_app(&mut app, request);
    if let Some(arguments) = &request.command {
        app.exec = entrypoint(image.manifest)?;
        app.exec.extend(arguments.iter().chain(request.arguments.iter().flatten()).cloned());
    }
    ensure!(!app.exec.is_empty(), "the image names no program to run and --exec argument is not provided");
    merge_environment(&mut app, pod, request);
    let mut annotations = Annotations::new();
    for (name, value) in &request.annotations {
        annotations.set(name.clone(), value);
    }
    for (name, mode) in STREAMS.iter().zip(&request.streams) {
        if let Some(mode) = mode {
            annotations.set(name.parse()?, mode);
        }
    }
    Ok(RuntimeApp {
        name: request.name.clone().unwrap_or_else(|| image.manifest.app_name()),
        image: RuntimeImage {
            name: Some(image.manifest.name.clone()),
            id: image.id.clone(),
            labels: image.manifest.labels.clone(),
        },
        app: Some(app),
        read_only_root_fs: request.readonly_rootfs,
        mounts: merge_mounts(&pod.mounts, &request.mounts),
        annotations,
    })
}

/// The entrypoint of an image from a registry; empty when it has none.
fn entrypoint(image: &ImageManifest) -> Result<Vec<String>> {
    match image.annotations.get("appc.io/docker/entrypoint") {
        Some(list) => serde_json::from_str(list).context("the image has a malformed entrypoint"),
        None => Ok(Vec::new()),
    }
}

/// Puts what the flags of one image say in place of what it says itself.
fn override_app(app: &mut App, request: &AppRequest) {
    if let Some(exec) = &request.exec {
        app.exec = vec![exec.clone()];
    }
    app.exec.extend(request.arguments.iter().flatten().cloned());
    if let Some(directory) = &request.working_dir {
        app.working_directory = Some(directory.clone());
    }
    if let Some(user) = &request.user {
        app.user.clone_from(user);
    }
    if let Some(group) = &request.group {
        app.group.clone_from(group);
    }
    if let Some(ids) = &request.supplementary_gids {
        app.supplementary_gids.clone_from(ids);
    }
    app.user_annotations.extend(request.user_annotations.clone());
    app.user_labels.extend(request.user_labels.clone());
    let isolators = [
        request.memory.clone().map(|memory| Isolator::Memory(ResourceValue::limited(memory))),
        request.cpu.clone().map(|cpu| Isolator::Cpu(ResourceValue::limited(cpu))),
        request.cpu_shares.map(Isolator::CpuShares),
        request.oom_score_adj.map(Isolator::OomScoreAdj),
        request.caps_retain.map(Isolator::CapabilitiesRetain),
        request.caps_remove.map(Isolator::CapabilitiesRemove),
        request.no_new_privileges.map(Isolator::NoNewPrivileges),
        request.seccomp.clone(),
    ];
    for isolator in isolators.into_iter().flatten() {
        app.isolators.replace(isolator);
    }
}

/// Lowest priority first: rkt's own environment, the image, `--set-env-file`, `--set-env`, `--environment`.
fn merge_environment(app: &mut App, pod: &PodRequest, request: &AppRequest) {
    let PodEnvironment { inherited, from_files, explicit } = &pod.environment;
    for variable in inherited {
        if app.environment.get(&variable.name).is_none() {
            app.environment.set(&variable.name, &variable.value);
        }
    }
    for variable in from_files.iter().chain(explicit).chain(&request.environment) {
        app.environment.set(&variable.name, &variable.value);
    }
}

/// All mounts; one of the app takes the place of one of the pod at the same path.
fn merge_mounts(pod: &[Mount], app: &[Mount]) -> Vec<Mount> {
    let path = |mount: &Mount| mount.path.trim_end_matches('/').to_owned();
    let overridden = |mount: &&Mount| !app.iter().any(|own| path(own) == path(mount));
    pod.iter().filter(overridden).chain(app).cloned().collect()
}

/// Checks a manifest that the user wrote; `image` finds the image of each app.
pub(crate) fn check_given<'a>(
    manifest: &PodManifest,
    mut image: impl FnMut(&RuntimeApp) -> Result<ImageFacts<'a>>,
) -> Result<()> {
    ensure!(!manifest.apps.is_empty(), "the pod manifest has no apps");
    for app in &manifest.apps {
        let facts = image(app)?;
        check_platform(facts.manifest).with_context(|| format!("app {:?}", app.name.as_str()))?;
        let Some(effective) = app.app.as_ref().or(facts.manifest.app.as_ref()) else {
            bail!("app {:?}: no app section in the pod manifest or the image manifest", app.name.as_str());
        };
        ensure!(!effective.exec.is_empty(), "app {:?}: no program to run", app.name.as_str());
        check_mounts(&app.mounts, &manifest.volumes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
