//! Deleting one pod, as `gc` and `rm` do it.

use anyhow::{Context as _, Result};
use pod::{Held, Place, Pod, Pods};

use crate::context::Context;
use crate::entrypoint::{Entrypoint, Operation};
use crate::metadata;
use crate::report;

/// In a pod directory: networks that the pod has joined and not left yet.
const NETWORKS: &str = "net/attachments";

/// What became of a marked pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is gone.
    Deleted,
    /// Another process is at it.
    InUse,
}

/// Takes the lock of a marked pod and deletes it; `command` speaks.
///
/// # Errors
/// When something of the pod is left. A stage1 that fails to clean up is told of, and the rest is deleted; unless
/// what it could not leave are networks.
pub(crate) fn delete(context: &Context, pods: &Pods, pod: Pod, command: &str) -> Result<Outcome> {
    let uuid = pod.uuid;
    let held = match pods.hold(pod) {
        Ok(held) => held,
        Err(pod::Error::Busy(_) | pod::Error::Gone(_)) => return Ok(Outcome::InUse),
        Err(error) => return Err(error.into()),
    };
    if let Err(error) = metadata::unregister(&held.dir, uuid) {
        // It is forgotten with the next start of the service.
        report::error(
            command,
            &error.context("Cannot take the pod out of the metadata service"),
            context.debug,
        );
    }
    // A pod that never ran left nothing outside of its directory.
    if held.place == Place::ExitedGarbage
        && let Err(error) = clean_up_outside(context, pods, &held)
    {
        let error = error.context(format!("problem performing stage1 GC on \"{uuid}\""));
        // Addresses and rules of the host that are still the pod's would be so for ever.
        if held.dir.exists(NETWORKS)? {
            let path = pods.path(held.place, uuid);
            return Err(error.context(format!(
                "pod \"{uuid}\" is kept, to leave its networks with the next gc (to give them up, remove {})",
                path.join(NETWORKS).display()
            )));
        }
        report::error(command, &error, context.debug);
    }
    pods.remove(held).with_context(|| format!("unable to remove pod \"{uuid}\""))?;
    Ok(Outcome::Deleted)
}

fn clean_up_outside(context: &Context, pods: &Pods, held: &Held) -> Result<()> {
    let path = pods.path(held.place, held.uuid);
    let gc = Entrypoint::find(context, &held.dir, path, Operation::Gc)?;
    let mut args = Vec::new();
    if context.debug {
        args.push("--debug".into());
    }
    if gc.interface_version >= 5 {
        let mut flag = std::ffi::OsString::from("--local-config=");
        flag.push(&context.roots.local);
        args.push(flag);
    }
    args.push(held.uuid.as_str().into());
    gc.run(&args)
}
