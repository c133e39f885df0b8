//! `rkt gc`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use pod::{Error, Place, Pod, PodUuid, Pods, State};

use super::Context;
use crate::cli::values;
use crate::collect::{self, Outcome};
use crate::report;

/// Arguments of `rkt gc`.
#[derive(Debug, clap::Args)]
pub(crate) struct GcArgs {
    /// duration to wait before expiring prepared pods
    #[arg(long, default_value = "24h0m0s", value_parser = values::duration)]
    expire_prepared: Duration,

    /// duration to wait before discarding inactive pods from garbage
    #[arg(long, default_value = "30m0s", value_parser = values::duration)]
    grace_period: Duration,

    /// if set to true, only marks exited pods as garbage, deferring the deletion to a later gc
    #[arg(long)]
    mark_only: bool,
}

pub(crate) fn run(context: &Context, args: &GcArgs) -> Result<ExitCode> {
    context.require_root()?;
    let collector = Collector::new(context)?;
    let mut failed = collector.mark()?;
    if !args.mark_only {
        failed |= collector.expire(args.expire_prepared)?;
        failed |= collector.delete(args.grace_period)?;
        collector.sweep_networks()?;
        collector.sweep_store();
    }
    Ok(if failed { ExitCode::from(254) } else { ExitCode::SUCCESS })
}

/// Marks the pod `uuid`, if it has ended, and no other.
pub(crate) fn mark_one(context: &Context, uuid: PodUuid) -> Result<()> {
    let collector = Collector::new(context)?;
    collector.pods.get(uuid)?.map_or(Ok(()), |pod| collector.mark_if_exited(pod))
}

/// One run. Each step tells whether a pod gave trouble; that keeps no other pod from being dealt with.
struct Collector<'a> {
    context: &'a Context,
    pods: &'a Pods,
    now: SystemTime,
}

impl<'a> Collector<'a> {
    fn new(context: &'a Context) -> Result<Self> {
        Ok(Self { context, pods: context.pods()?, now: SystemTime::now() })
    }

    /// Calls `step` for each pod that stands in `place`.
    fn each(&self, place: Place, step: impl Fn(Pod) -> Result<()>) -> Result<bool> {
        let mut failed = false;
        for (uuid, place) in self.pods.walk(&[place])? {
            let result = match self.pods.get_from(uuid, place) {
                // One that moved on is not ours any more.
                Ok(Some(pod)) if pod.place == place => step(pod),
                Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = result {
                failed = true;
                report::error("gc", &error, self.context.debug);
            }
        }
        Ok(failed)
    }

    /// Marks what exited, and what was given up before it ran.
    fn mark(&self) -> Result<bool> {
        let exited = self.each(Place::Run, |pod| self.mark_if_exited(pod))?;
        let aborted = self.each(Place::Prepare, |pod| match pod.state {
            State::AbortedPrepare => self.move_to_garbage(pod, "failed prepare"),
            _ => Ok(()),
        })?;
        let embryos = self.each(Place::Embryo, |pod| {
            // Its maker locks it before anything else: one that can be locked has none any more.
            let uuid = pod.uuid;
            match self.pods.hold(pod).and_then(|mut held| self.pods.discard(&mut held)) {
                Ok(()) => report::notice("gc", format_args!("moving failed prepare \"{uuid}\" to garbage")),
                Err(Error::Busy(_) | Error::Gone(_)) => {}
                Err(error) => return Err(error.into()),
            }
            Ok(())
        })?;
        Ok(exited | aborted | embryos)
    }

    /// Marks a pod that has ended. Its ports lead to the host again.
    fn mark_if_exited(&self, pod: Pod) -> Result<()> {
        if pod.state != State::Exited {
            return Ok(());
        }
        let released = network::ports::release(pod.uuid);
        self.move_to_garbage(pod, "pod")?;
        Ok(released?)
    }

    /// Marks pods that were prepared long ago and never ran.
    fn expire(&self, age: Duration) -> Result<bool> {
        self.each(Place::Prepared, |pod| {
            if is_older(pod.dir.renamed()?, age, self.now) {
                self.move_to_garbage(pod, "expired prepared pod")?;
            }
            Ok(())
        })
    }

    fn move_to_garbage(&self, mut pod: Pod, what: &str) -> Result<()> {
        let uuid = pod.uuid;
        match self.pods.mark(&mut pod) {
            Ok(()) => report::notice("gc", format_args!("moving {what} \"{uuid}\" to garbage")),
            Err(Error::Gone(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Deletes marked pods; those that ran stay for the grace period.
    fn delete(&self, grace: Duration) -> Result<bool> {
        let exited = self.each(Place::ExitedGarbage, |pod| {
            if is_older(pod.dir.renamed()?, grace, SystemTime::now()) {
                return self.delete_one(pod);
            }
            let grace = duration_text(grace);
            let text = format!("pod \"{}\" not removed: still within grace period ({grace})", pod.uuid);
            report::notice("gc", text);
            Ok(())
        })?;
        let never_ran = self.each(Place::Garbage, |pod| self.delete_one(pod))?;
        Ok(exited | never_ran)
    }

    /// Has plugins let go of what no pod has any more. One that cannot is told of, and keeps nobody from anything.
    fn sweep_networks(&self) -> Result<()> {
        let Context { roots, debug, .. } = self.context;
        for error in network::collect(self.context.data_dir()?, &roots.local, *debug) {
            report::notice("gc", format_args!("networks: {}", error.chain()));
        }
        Ok(())
    }

    /// Removes what a killed fetch has left. What keeps it from that keeps no pod from being collected.
    fn sweep_store(&self) {
        let swept = self.context.store().and_then(|store| Ok(store.remove_leftovers()?));
        if let Err(error) = swept {
            report::notice("gc", format_args!("store: {error:#}"));
        }
    }

    fn delete_one(&self, pod: Pod) -> Result<()> {
        if matches!(pod.state, State::ExitedDeleting | State::Deleting) {
            return Ok(());
        }
        let uuid = pod.uuid;
        report::print(format_args!("Garbage collecting pod \"{uuid}\""))?;
        match collect::delete(self.context, self.pods, pod, "gc")? {
            Outcome::Deleted => {}
            Outcome::InUse => {
                self.context
                    .progress("gc", format_args!("pod \"{uuid}\" is being deleted by another process"));
            }
        }
        Ok(())
    }
}

/// Whether `age` has passed since `time` at `now`. What has no time, or one in the future, is as good as new.
fn is_older(time: Option<SystemTime>, age: Duration, now: SystemTime) -> bool {
    time.and_then(|time| now.duration_since(time).ok()).is_some_and(|passed| passed >= age)
}

/// `1h30m0s`: whole seconds with the units that are needed, and all smaller ones.
fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let fraction = format!("{:09}", duration.subsec_nanos());
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let seconds = format!("{}{dot}{fraction}s", seconds % 60);
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        for (millis, text) in [
            (0, "0s"),
            (1_800_000, "30m0s"),
            (86_400_000, "24h0m0s"),
            (5_400_000, "1h30m0s"),
            (1_500, "1.5s"),
            (61_001, "1m1.001s"),
        ] {
            assert_eq!(duration_text(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn selects_by_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds));
        let minutes = |count: u64| Duration::from_secs(count * 60);
        for (time, age, older) in [
            (ago(1799), minutes(30), false),
            (ago(1800), minutes(30), true),
            (ago(1), Duration::ZERO, true),
            (ago(0), Duration::ZERO, true),
            (now.checked_add(minutes(5)), Duration::ZERO, false),
            (None, Duration::ZERO, false),
        ] {
            assert_eq!(is_older(time, age, now), older, "{time:?} {age:?}");
        }
    }
}
