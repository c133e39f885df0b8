//! From a pod file to what `rkt run` makes of its flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use appc::extension::{PIDS_LIMIT, RESTART, RLIMITS};
use appc::value::parse_environment_file;
use appc::{AcIdentifier, AcName, CapabilitySet, Environment, Mount, Volume, VolumeKind};
use podfile::pod::{EnvironmentFile, Pull, Ready, Restart};
use podfile::{App, AppSettings, Isolation, Pod, PodFile};

use crate::apps::AppRequest;
use crate::apps::manifest::PodRequest;
use crate::insecure::{Insecure, InsecureOption};
use crate::launch::RunRequest;
use crate::options::dns::DnsArgs;
use crate::options::environment::{PodEnvironment, inherited};
use crate::options::pod::PodSource;
use crate::options::pull::PullPolicy;
use crate::options::runtime::Ipc;
use crate::options::stage1::Stage1Choice;

/// The annotation of an app that tells by sd_notify(3) when it is ready.
const NOTIFY: &str = "appc.io/executor/supports-systemd-notify";
/// The annotation of an app that names the sockets of the unit that it gets.
const SOCKETS: &str = "coreos.com/rkt/stage2/sockets";
/// The annotation of an app that names the credentials that it gets.
const CREDENTIALS: &str = "coreos.com/rkt/stage2/credentials";
/// The annotation of an app that has the number of the signal that asks it to end.
const STOP_SIGNAL: &str = "coreos.com/rkt/stage2/stop-signal";
/// The annotation of a pod that tells how long apps may take to end, in milliseconds.
const STOP_TIMEOUT: &str = "coreos.com/rkt/stage1/stop-timeout-ms";

/// What a pod file asks for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) source: PodSource,
    pub(crate) stage1: Option<Stage1Choice>,
    pub(crate) overlay: bool,
    pub(crate) private_users: bool,
    pub(crate) run: RunRequest,
}

/// What `file` asks for. Reads the files with variables that it names.
pub(crate) fn request(file: &PodFile) -> Result<Request> {
    let pod = &file.pod;
    let dns = DnsArgs {
        dns: pod.dns.clone(),
        dns_domain: pod.dns_domain.clone(),
        dns_opt: pod.dns_options.clone(),
        dns_search: pod.dns_search.clone(),
        hosts_entry: pod.hosts.clone(),
    };
    let run = RunRequest {
        mutable: false,
        register: false,
        net: pod.network(),
        names: dns.parse()?,
        hostname: pod.hostname.clone(),
        interactive: false,
        ipc: pod.ipc.map(|ipc| match ipc {
            podfile::pod::Ipc::Private => Ipc::Private,
            podfile::pod::Ipc::Parent => Ipc::Parent,
        }),
    };
    Ok(Request {
        source: source(file)?,
        stage1: stage1(pod),
        overlay: pod.overlay.unwrap_or(true),
        // No user of a machine is one of the host.
        private_users: pod.private_users == Some(true) && pod.isolation != Some(Isolation::Kvm),
        run,
    })
}

/// The safeguards that the file gives up.
pub(crate) fn insecure(pod: &Pod) -> Result<Insecure> {
    let words = pod.insecure.iter().flat_map(|word| word.split(','));
    let words: Result<Vec<InsecureOption>, _> = words.map(str::parse).collect();
    Ok(words.map_err(anyhow::Error::msg).context("InsecureOptions=")?.into_iter().collect())
}

/// The stage1 that the file names.
pub(crate) fn stage1(pod: &Pod) -> Option<Stage1Choice> {
    if let Some(isolation) = pod.isolation {
        return Some(Stage1Choice::FromDir(format!("stage1-{}.aci", isolation.as_str())));
    }
    let text = pod.stage1.clone()?;
    Some(match text.as_str() {
        hash if hash.starts_with("sha512-") => Stage1Choice::Hash(text),
        path if path.starts_with('/') => Stage1Choice::Path(text.into()),
        url if url.contains("://") => Stage1Choice::Url(text),
        _ => Stage1Choice::Name(text),
    })
}

/// The manifest that takes the place of the apps.
pub(crate) fn manifest(file: &PodFile) -> Option<PathBuf> {
    let directory = Path::new(&file.path).parent().unwrap_or(Path::new("/"));
    file.pod.manifest.as_ref().map(|path| directory.join(path))
}

fn source(file: &PodFile) -> Result<PodSource> {
    let pod = &file.pod;
    if let Some(path) = manifest(file) {
        return Ok(PodSource::Manifest(path));
    }
    let mut annotations = pod.annotations.clone();
    if let Some(time) = pod.stop_timeout {
        annotations.insert(STOP_TIMEOUT.parse()?, time.as_millis().to_string());
    }
    let request = PodRequest {
        volumes: pod.volumes.clone(),
        mounts: pod.mounts.clone(),
        ports: pod.ports.clone(),
        environment: PodEnvironment {
            inherited: if pod.pass_environment == Some(true) { inherited() } else { Environment::new() },
            from_files: variables(&pod.environment_files, &[])?,
            explicit: variables(&[], &pod.environment)?,
        },
        annotations,
        sysctls: pod.sysctls.clone(),
    };
    let pull = match pod.pull {
        None | Some(Pull::New) => PullPolicy::New,
        Some(Pull::Never) => PullPolicy::Never,
        Some(Pull::Update) => PullPolicy::Update,
    };
    let app = |app: &App| self::app(pod, app).with_context(|| format!("App {:?}", app.name.as_str()));
    let apps = file.apps.iter().map(app).collect::<Result<Vec<AppRequest>>>()?;
    request.check(&apps)?;
    Ok(PodSource::Images { pod: request, apps, pull })
}

fn app(pod: &Pod, App { name, image, settings }: &App) -> Result<AppRequest> {
    let mut annotations = settings.annotations.clone();
    annotate(&mut annotations, NOTIFY, settings.ready.map(|ready| (ready == Ready::Notify).to_string()))?;
    annotate(&mut annotations, SOCKETS, settings.sockets.as_ref().map(|names| names.join(" ")))?;
    let credentials = settings.credentials.as_ref().map_or_else(|| "*".to_owned(), |names| names.join(" "));
    annotate(&mut annotations, CREDENTIALS, Some(credentials))?;
    annotate(
        &mut annotations,
        STOP_SIGNAL,
        settings.stop_signal.as_ref().map(|signal| signal.number.to_string()),
    )?;
    annotate(&mut annotations, PIDS_LIMIT, settings.pids_limit.map(|limit| limit.to_string()))?;
    let ulimits = Some(settings.ulimits.join(",")).filter(|limits| !limits.is_empty());
    annotate(&mut annotations, RLIMITS, ulimits)?;
    let restart = Restart::ALL.iter().find(|(_, policy)| settings.restart == Some(*policy));
    annotate(&mut annotations, RESTART, restart.map(|(word, _)| (*word).to_owned()))?;
    let kept = capabilities(pod, settings);
    let mut exec = settings.exec.iter();
    let program = exec.next().cloned();
    let arguments: Vec<String> = exec.chain(&settings.args).cloned().collect();
    Ok(AppRequest {
        image: image.clone(),
        image_id: settings.image_id.clone(),
        signature: settings.signature.as_ref().map(PathBuf::from),
        name: Some(name.clone()),
        exec: program,
        command: settings.command.clone(),
        arguments: Some(arguments),
        user: settings.user.clone(),
        group: settings.group.clone(),
        supplementary_gids: Some(settings.supplementary_groups.clone()).filter(|groups| !groups.is_empty()),
        working_dir: settings.working_directory.clone(),
        readonly_rootfs: settings.read_only.unwrap_or(false),
        mounts: mounts(settings)?,
        environment: variables(&settings.environment_files, &settings.environment)?,
        annotations,
        user_annotations: settings.user_annotations.clone(),
        user_labels: settings.labels.clone(),
        memory: settings.memory.clone(),
        cpu: settings.cpu.clone(),
        cpu_shares: settings.cpu_shares,
        oom_score_adj: settings.oom_score_adjust,
        caps_retain: kept.filter(|kept| !kept.is_empty()),
        // A set to retain cannot be empty.
        caps_remove: kept.filter(|kept| kept.is_empty()).map(|_| CapabilitySet::ALL),
        seccomp: settings.seccomp.clone(),
        no_new_privileges: settings.no_new_privileges,
        streams: settings.streams.clone(),
    })
}

fn annotate(
    annotations: &mut BTreeMap<AcIdentifier, String>,
    name: &str,
    value: Option<String>,
) -> Result<()> {
    if let Some(value) = value {
        annotations.insert(name.parse()?, value);
    }
    Ok(())
}

/// Variables of files and of the pod file, later ones over earlier ones.
fn variables(files: &[EnvironmentFile], explicit: &[appc::EnvironmentVariable]) -> Result<Environment> {
    let mut environment = Environment::new();
    for EnvironmentFile { path, optional } in files {
        let failed = || format!("Cannot use environment file {path:?}");
        let text = match std::fs::read_to_string(path) {
            Err(error) if *optional && error.kind() == std::io::ErrorKind::NotFound => continue,
            text => text.with_context(failed)?,
        };
        for variable in parse_environment_file(&text).with_context(failed)?.0 {
            environment.set(&variable.name, &variable.value);
        }
    }
    for variable in explicit {
        environment.set(&variable.name, &variable.value);
    }
    Ok(environment)
}

/// `Mount=`, `Bind=` and `Tmpfs=`. The latter two have volumes of the app's own.
fn mounts(settings: &AppSettings) -> Result<Vec<Mount>> {
    let mut mounts = settings.mounts.clone();
    let mut add = |kind: &str, path: &str, volume: VolumeKind| -> Result<()> {
        let name: AcName = format!("{kind}-{}", mounts.len()).parse()?;
        let own = Volume { name: name.clone(), kind: volume };
        mounts.push(Mount { volume: name, path: path.to_owned(), app_volume: Some(own) });
        Ok(())
    };
    for bind in &settings.binds {
        let (source, read_only) = (bind.source.clone(), Some(bind.read_only));
        add("bind", &bind.target, VolumeKind::Host { source, read_only, recursive: bind.recursive })?;
    }
    for tmpfs in &settings.tmpfs {
        let (mode, uid, gid) = (tmpfs.mode, tmpfs.uid, tmpfs.gid);
        add("tmpfs", &tmpfs.target, VolumeKind::Empty { read_only: Some(false), mode, uid, gid })?;
    }
    Ok(mounts)
}

/// What the app keeps; `None` leaves it to the image and the wall.
fn capabilities(pod: &Pod, settings: &AppSettings) -> Option<CapabilitySet> {
    let AppSettings { capabilities, add_capabilities, drop_capabilities, .. } = settings;
    if (capabilities, add_capabilities, drop_capabilities) == (&None, &None, &None) {
        return None;
    }
    // A chroot takes nothing away by itself.
    let usual =
        if pod.isolation == Some(Isolation::Fly) { CapabilitySet::ALL } else { CapabilitySet::DEFAULT };
    let (added, dropped) = (add_capabilities.unwrap_or_default(), drop_capabilities.unwrap_or_default());
    // What is added by name stays when all are dropped.
    let base = capabilities.unwrap_or(usual).difference(dropped);
    Some(base.union(added))
}

/// Reads and checks the manifest that takes the place of the apps.
pub(crate) fn read_manifest(path: &Path) -> Result<appc::PodManifest> {
    let cannot = || format!("Cannot use the pod manifest {}", path.display());
    let json = std::fs::read(path).with_context(cannot)?;
    let manifest = appc::PodManifest::parse(&json).with_context(cannot)?;
    if manifest.apps.is_empty() {
        bail!("The pod manifest {} has no apps", path.display());
    }
    Ok(manifest)
}
