//! The apps: what each is, their volumes, and what the supervisor and other entrypoints read of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use executor::AppSpec;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use stage1::args::Run;
use stage1::attach;
use stage1::spec::{Limits, Options, Policy};
use stage1::sysctls::Parameters;
use stage1::volumes::Rules;
use stage1::{Context, Error, Pod, Result, warn};
use supervisor::PodSpec;

/// Says what each app is to the executor. `limits` tells whether groups of apps can have them. Limits of the whole pod
/// are not looked at: see [`stage1::pod_limits`].
///
/// # Errors
/// For what cannot be done; what can be left out is told on standard error.
pub fn specs(pod: &Pod, run: &Run, limits: &Limits) -> Result<Vec<AppSpec>> {
    let term = std::env::var("TERM").ok();
    let options = Options {
        policy: Policy::Contained,
        insecure: run.insecure,
        interactive: run.interactive,
        term: term.as_deref(),
        watchdog_usec: stage1::spec::watchdog(),
        limits,
    };
    let mut warnings = Vec::new();
    let specs = pod.apps.iter().map(|app| stage1::spec::build(app, &options, &mut warnings)).collect();
    warnings.iter().for_each(|warning| warn(warning));
    specs
}

/// How volumes are planned for pods with a supervisor.
pub const VOLUMES: Rules = Rules { recursive: true, implicit: true };

/// Mounts the volumes in the roots of the apps, and notes in `specs` what stands where.
///
/// # Errors
/// Those of [`stage1::volumes::plan`] and [`stage1::attach`].
pub fn mount_volumes(pod: &Pod, specs: &mut [AppSpec]) -> Result<()> {
    let mut warnings = Vec::new();
    let users = attach::Users::of(&pod.current.dir)?;
    for (app, spec) in pod.apps.iter().zip(specs) {
        let planned = stage1::volumes::plan(&pod.manifest, app, VOLUMES, &mut warnings)?;
        let root = app_root(pod, app.name())?;
        if !planned.is_empty() {
            let opened = attach::open(&planned, &pod.current.dir, None, root.as_fd(), users.as_ref())?;
            spec.mounts = attach::attach(app.name(), root.as_fd(), &opened)?;
        }
        stage1::credentials::provide(app, spec, root.as_fd(), users.as_ref().map_or(0, |users| users.first))?;
    }
    warnings.iter().for_each(|warning| warn(warning));
    Ok(())
}

/// Makes what is missing in the roots of apps that a machine will use. See [`executor::make_places`].
///
/// # Errors
/// Its own.
pub fn make_places(pod: &Pod, specs: &[AppSpec]) -> Result<()> {
    for spec in specs {
        let root = app_root(pod, &spec.name)?;
        let made = executor::make_places(root.as_fd(), spec);
        made.map_err(|failed| Error::App { app: spec.name.clone(), source: failed.into() })?;
    }
    Ok(())
}

/// Refuses volumes that are devices: a machine does not have those of the host.
///
/// # Errors
/// For the first of them.
pub fn refuse_devices(specs: &[AppSpec]) -> Result<()> {
    for spec in specs {
        if let Some(mount) = spec.mounts.iter().find(|mount| mount.device) {
            return Err(Error::Refused(format!(
                "The volume at {} of app {:?} is a device of the host, which a machine does not have: use stage1-nspawn",
                mount.path, spec.name
            )));
        }
    }
    Ok(())
}

pub(crate) fn app_root(pod: &Pod, app: &str) -> Result<OwnedFd> {
    Ok(pod.current.dir.open_directory(&format!("stage1/rootfs/opt/stage2/{app}/rootfs"))?)
}

/// Writes what other entrypoints and other programs read. Returns what the supervisor has to know: it sets `sysctls`, and `hostname` if there
/// is one.
///
/// # Errors
/// When a file cannot be written.
pub fn write_files(
    pod: &Pod,
    run: &Run,
    specs: &[AppSpec],
    sysctls: &Parameters,
    flavor: &str,
    hostname: Option<String>,
) -> Result<PodSpec> {
    let dir = &pod.current.dir;
    for spec in specs {
        let path = format!("stage1/rootfs/rkt/env/{}", spec.name);
        dir.write(&path, stage1::spec::environment_file(spec).as_bytes())?;
    }
    let pod_spec = PodSpec {
        uuid: run.uuid.to_string(),
        hostname,
        sysctls: sysctls.clone(),
        apps: specs.to_vec(),
        stop_grace_ms: stage1::spec::stop_grace_ms(&pod.manifest),
        mutable: run.mutable,
        mounts_on_host: flavor == "kvm",
        console_is_journal: systemd::journal::stdout_is_journal(),
        debug: run.debug,
    };
    stage1::runtime_config::write(pod, run)?;
    pod.current.write_flavor(flavor)?;
    Ok(pod_spec)
}

/// Writes `spec` where a supervisor in a container reads it.
///
/// # Errors
/// When the file cannot be written.
pub fn write_spec(pod: &Pod, run: &Run, spec: &PodSpec) -> Result<()> {
    let dir = &pod.current.dir;
    let json = serde_json::to_vec(spec).map_err(io::Error::from).step(|| "write the apps".to_owned())?;
    dir.write(&format!("stage1/rootfs{}", supervisor::pod::POD_SPEC_PATH), &json)?;
    if let Some((first, _)) = run.private_users {
        // The supervisor is no root of the host's.
        let root = dir.open_directory("stage1/rootfs")?;
        let file = Path::new(supervisor::pod::POD_SPEC_PATH);
        sys::path::open_in_root(root.as_fd(), file, OFlags::RDONLY, Mode::empty())
            .and_then(|file| {
                rustix::fs::fchown(&file, Some(Uid::from_raw(first)), Some(Gid::from_raw(first)))
            })
            .step(|| "hand the apps to the supervisor".to_owned())?;
    }
    Ok(())
}
