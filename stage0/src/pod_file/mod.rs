//! Pods that have a file: finding it, and what it asks for.

pub(crate) mod pins;
pub(crate) mod request;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use podfile::{Directories, Found, HostFacts, Outcome, PodName, Specifiers};

use crate::context::Context;

/// Where the UUIDs of pods stand that have a file and run, or ran last: `NAME.uuid`.
const RUNNING: &str = "/run/rkt/units";

/// The directories of pod files.
pub(crate) fn directories(context: &Context) -> Result<Directories> {
    let path = |path: &Path| path.join("pods").display().to_string();
    let paths = [path(&context.roots.local), "run/rkt/pods".to_owned(), path(&context.roots.system)];
    Ok(Directories::new(root()?, paths))
}

/// The host's root.
pub(crate) fn root() -> Result<std::os::fd::OwnedFd> {
    sys::path::open_directory(Path::new("/")).context("Cannot open /")
}

/// Reads the file of a pod, right or wrong.
pub(crate) fn read(directories: &Directories, name: &PodName) -> Result<Outcome> {
    match directories.find(name)? {
        Found::File(main, drop_ins) => {
            let specifiers = Specifiers { name: name.clone(), host: host_facts() };
            let mut outcome = podfile::read(&main, &drop_ins, &specifiers);
            // What only the units need.
            podfile::unit::units(&outcome.file, &mut outcome.diagnostics);
            Ok(outcome)
        }
        Found::Masked(path) => bail!("Pod {name} is masked by {path}"),
    }
}

/// What specifiers say about this host.
fn host_facts() -> HostFacts {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let names = rustix::system::uname();
    HostFacts {
        hostname: names.nodename().to_string_lossy().into_owned(),
        machine_id: text("/etc/machine-id"),
        boot_id: text("/proc/sys/kernel/random/boot_id").replace('-', ""),
        kernel: names.release().to_string_lossy().into_owned(),
    }
}

/// The file that has the UUID of the pod that runs, or ran last.
pub(crate) fn uuid_file(name: &PodName) -> std::path::PathBuf {
    Path::new(RUNNING).join(format!("{name}.uuid"))
}

/// The file that says what the start of the pod waits for, while it does.
pub(crate) fn waiting_file(name: &PodName) -> std::path::PathBuf {
    uuid_file(name).with_extension("waiting")
}

/// The UUID of the pod that runs.
pub(crate) fn running(name: &PodName) -> Result<String> {
    let path = uuid_file(name);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("Pod {name} does not run: cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}
