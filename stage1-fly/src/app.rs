//! The only app of a fly pod.

use executor::spec::{InputMode, OutputMode};
use executor::{AppSpec, Identity, SetupError};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use stage1::args::Insecure;
use stage1::input::AppInput;
use stage1::spec::{Limits, Options, Policy};
use stage1::{Context, Error, Pod, Result};

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
    refuse_attaching(&spec)?;
    // It has the streams that rkt has, terminal or not.
    if let Ok(term) = std::env::var("TERM")
        && rustix::termios::isatty(std::io::stdin())
        && app.app.environment.get("TERM").is_none()
    {
        spec.environment.push(("TERM".to_owned(), term));
    }
    Ok(spec)
}

/// Whoever attaches to an app needs somebody to attach to, and none of ours stays.
fn refuse_attaching(spec: &AppSpec) -> Result<()> {
    let streams = [
        ("stdin", matches!(spec.stdin, InputMode::Stream | InputMode::Tty)),
        ("stdout", matches!(spec.stdout, OutputMode::Stream | OutputMode::Tty)),
        ("stderr", matches!(spec.stderr, OutputMode::Stream | OutputMode::Tty)),
    ];
    match streams.iter().find(|(_, needs_supervisor)| *needs_supervisor) {
        None => Ok(()),
        Some((stream, _)) => Err(Error::Refused(format!(
            "The {stream} of app {:?} is for rkt attach, and a pod of the flavor \"fly\" has nobody to attach to: use \
             null, log or interactive, or another stage1",
            spec.name
        ))),
    }
}

/// Where a standard stream leads that is not rkt's own.
pub(crate) fn null() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open("/dev/null", flags, Mode::empty()).step(|| "open /dev/null".to_owned())
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
