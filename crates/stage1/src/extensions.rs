//! What an app asks for by annotations that rkt has added to the specification; see [`appc::extension`].

use std::str::FromStr;

use appc::ValueError;
use appc::extension::{PIDS_LIMIT, PidsLimit, RESTART, RLIMITS, ResourceLimits, RestartPolicy};
use executor::AppSpec;
use executor::spec::{Restart, Rlimit, RlimitKind};

use crate::input::AppInput;
use crate::spec::{Options, Policy};
use crate::{Error, Result};

/// Applies them to `spec`; what cannot be applied and may be left out is told to `warnings`.
///
/// # Errors
/// For a value that cannot be read.
pub(crate) fn apply(
    app: &AppInput,
    options: &Options<'_>,
    spec: &mut AppSpec,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if let Some(ResourceLimits(limits)) = annotation(app, RLIMITS)? {
        spec.rlimits = limits
            .iter()
            .filter_map(|limit| {
                let resource = RlimitKind::named(limit.resource)?;
                Some(Rlimit { resource, soft: limit.soft, hard: limit.hard })
            })
            .collect();
    }
    spec.cgroup.pids = annotation(app, PIDS_LIMIT)?.map(|PidsLimit(number)| number);
    spec.restart = match annotation(app, RESTART)? {
        None | Some(RestartPolicy::No) => Restart::No,
        Some(RestartPolicy::OnFailure) => Restart::OnFailure,
        Some(RestartPolicy::Always) => Restart::Always,
    };
    if options.policy == Policy::Fly && spec.restart != Restart::No {
        warnings.push(format!(
            "app {:?}: {RESTART} has no effect in this stage1: nobody stays to start it again; set Restart= of the unit",
            app.name()
        ));
        spec.restart = Restart::No;
    }
    Ok(())
}

fn annotation<T: FromStr<Err = ValueError>>(app: &AppInput, name: &str) -> Result<Option<T>> {
    let read = |text: &str| {
        text.parse().map_err(|error| {
            Error::Refused(format!("App {:?} has the annotation {name}: {error}", app.name()))
        })
    };
    app.runtime.annotations.get(name).map(read).transpose()
}
