//! The only app of a fly pod.

use executor::{AppSpec, Identity, SetupError};
use rustix::fd::AsFd;
use stage1::args::Insecure;
use stage1::input::AppInput;
use stage1::spec::{Limits, Options, Policy};
use stage1::{Error, Pod, Result};

/// The app.
///
/// # Errors
/// When the pod has none, or more than one.
pub(crate) fn only(pod: &Pod) -> Result<&AppInput> {
    match pod.apps.as_slice() {
        [app] => Ok(app),
        apps => Err(Error::Refused(format!(
            "A pod of the flavor \"fly\" has exactly one app, and this one has {}; use another stage1",
            apps.len()
        ))),
    }
}

/// The name of its control group, below the pod's.
pub(crate) fn group_name(app: &AppInput) -> String {
    format!("app-{}", app.name())
}

/// What the app is.
pub(crate) fn spec(app: &AppInput, limits: &Limits, warnings: &mut Vec<String>) -> Result<AppSpec> {
    let options = Options {
        policy: Policy::Fly,
        // Nothing is restricted that could be switched off.
        insecure: Insecure::default(),
        interactive: false,
        term: None,
        watchdog_usec: stage1::spec::watchdog(),
        limits,
    };
    let mut spec = stage1::spec::build(app, &options, warnings)?;
    // It has the streams that rkt has, terminal or not.
    if let Ok(term) = std::env::var("TERM")
        && rustix::termios::isatty(std::io::stdin())
        && app.app.environment.get("TERM").is_none()
    {
        spec.environment.push(("TERM".to_owned(), term));
    }
    Ok(spec)
}

/// Who runs.
pub(crate) fn identity(spec: &AppSpec, root: impl AsFd) -> Result<Identity> {
    executor::users::resolve(root.as_fd(), &spec.user, &spec.group, &spec.supplementary_gids)
        .map_err(|source| Error::User { app: spec.name.clone(), source })
}

/// Why the app could not be started, with what is missing when the kernel only says that something is.
pub(crate) fn failure(spec: &AppSpec, root: impl AsFd, error: SetupError) -> Error {
    let source = match error {
        SetupError::Exec { path, errno } => {
            SetupError::Reported(executor::program::explain(root.as_fd(), &path, errno))
        }
        other => other,
    };
    Error::App { app: spec.name.clone(), source }
}
