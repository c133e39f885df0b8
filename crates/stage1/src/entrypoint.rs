//! From the name of the program to the function that does it, and from its error to what people read.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use crate::args::{App, AppOperation, Attach, Enter, Gc, Run, Signal, Stop};
use crate::{Error, Result};

/// The exit code of everything that failed.
const FAILED: u8 = 254;

/// What a stage1 can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrypoint {
    /// Start the pod.
    Run,
    /// Run a command in an app.
    Enter,
    /// Clean up after the pod.
    Gc,
    /// End the pod.
    Stop,
    /// Send a signal to an app.
    Signal,
    /// Connect to streams of an app.
    Attach,
    /// Change the apps of a mutable pod.
    App(AppOperation),
}

impl Entrypoint {
    /// The one that the program `name` (a path, or not) is called for.
    pub fn from_name(name: &OsStr) -> Option<Self> {
        match Path::new(name).file_name()?.to_str()? {
            "run" | "init" => Some(Entrypoint::Run),
            "enter" => Some(Entrypoint::Enter),
            "gc" => Some(Entrypoint::Gc),
            "stop" => Some(Entrypoint::Stop),
            "signal" => Some(Entrypoint::Signal),
            "attach" => Some(Entrypoint::Attach),
            "app_add" => Some(Entrypoint::App(AppOperation::Add)),
            "app_start" => Some(Entrypoint::App(AppOperation::Start)),
            "app_stop" => Some(Entrypoint::App(AppOperation::Stop)),
            "app_rm" => Some(Entrypoint::App(AppOperation::Remove)),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Entrypoint::Run => "run",
            Entrypoint::Enter => "enter",
            Entrypoint::Gc => "gc",
            Entrypoint::Stop => "stop",
            Entrypoint::Signal => "signal",
            Entrypoint::Attach => "attach",
            Entrypoint::App(AppOperation::Add) => "app add",
            Entrypoint::App(AppOperation::Start) => "app start",
            Entrypoint::App(AppOperation::Stop) => "app stop",
            Entrypoint::App(AppOperation::Remove) => "app rm",
        }
    }
}

/// What a stage1 does for each entrypoint.
#[derive(Debug, Clone, Copy)]
pub struct Flavor {
    /// Its name: `nspawn`, `fly`, `kvm`.
    pub name: &'static str,
    /// Becomes the pod. Returns only when that fails.
    pub run: fn(&Run) -> Result<std::convert::Infallible>,
    /// Runs a command in an app and returns its exit status.
    pub enter: fn(&Enter) -> Result<u8>,
    /// Cleans up.
    pub gc: fn(&Gc) -> Result<()>,
    /// Ends the pod.
    pub stop: fn(&Stop) -> Result<()>,
    /// Sends a signal to the program of an app.
    pub signal: fn(&Signal) -> Result<()>,
    /// What only a stage1 with a supervisor in the pod can do.
    pub supervised: Option<Supervised>,
}

/// What a stage1 does by asking the supervisor of the pod.
#[derive(Debug, Clone, Copy)]
pub struct Supervised {
    /// Connects to streams of an app and returns an exit status.
    pub attach: fn(&Attach) -> Result<u8>,
    /// Adds, starts, stops or removes an app of a mutable pod.
    pub app: fn(&App) -> Result<()>,
}

/// All of a stage1's `main`.
pub fn main(flavor: &Flavor) -> std::process::ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let debug = arguments.iter().take_while(|argument| *argument != "--").any(|argument| {
        matches!(argument.to_str(), Some("--debug" | "-debug" | "--debug=true" | "-debug=true"))
    });
    let Some(entrypoint) = Entrypoint::from_name(&name) else {
        let error = Error::Refused(format!(
            "This is a part of rkt (stage1-{}), which rkt itself starts as run, enter, gc or stop, and not as {name:?}",
            flavor.name,
        ));
        complain("stage1", &error, debug);
        return FAILED.into();
    };
    match dispatch(flavor, entrypoint, arguments) {
        Ok(status) => status.into(),
        Err(error) => {
            complain(entrypoint.name(), &error, debug);
            if entrypoint == Entrypoint::Run {
                tell_unit(&error);
            }
            FAILED.into()
        }
    }
}

fn dispatch(flavor: &Flavor, entrypoint: Entrypoint, arguments: Vec<OsString>) -> Result<u8> {
    match entrypoint {
        Entrypoint::Run => match (flavor.run)(&Run::parse(arguments)?)? {},
        Entrypoint::Enter => (flavor.enter)(&Enter::parse(arguments)?),
        Entrypoint::Gc => (flavor.gc)(&Gc::parse(arguments)?).map(|()| 0),
        Entrypoint::Stop => (flavor.stop)(&Stop::parse(arguments)?).map(|()| 0),
        Entrypoint::Signal => (flavor.signal)(&Signal::parse(arguments)?).map(|()| 0),
        Entrypoint::Attach => (supervised(flavor, entrypoint)?.attach)(&Attach::parse(arguments)?),
        Entrypoint::App(operation) => {
            (supervised(flavor, entrypoint)?.app)(&App::parse(operation, arguments)?).map(|()| 0)
        }
    }
}

fn supervised(flavor: &Flavor, entrypoint: Entrypoint) -> Result<&Supervised> {
    let cannot = || Error::Refused(format!("stage1-{} cannot do {:?}", flavor.name, entrypoint.name()));
    flavor.supervised.as_ref().ok_or_else(cannot)
}

/// Tells people what may be wrong, and goes on.
pub fn warn(text: &str) {
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
}

/// Puts the reason into the status of the unit that waits for us, if one does.
fn tell_unit(error: &Error) {
    let Ok(Some(notifier)) = systemd::notify::Notifier::from_environment() else { return };
    let line: String = chain(error).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // Who does not listen does not want to know.
    let _ = notifier.send(&format!("STATUS={line}"));
}

fn complain(command: &str, error: &Error, debug: bool) {
    let _ = std::io::stderr().lock().write_all(message(command, error, debug).as_bytes());
}

/// What failed and the innermost cause; with `debug` every cause, one a line.
fn message(command: &str, error: &Error, debug: bool) -> String {
    if !debug {
        return format!("{command}: {}\n", chain(error));
    }
    let mut text = format!("{command}: {error}\n");
    for (depth, cause) in std::iter::successors(error.source(), |&cause| cause.source()).enumerate() {
        text.push_str(&format!("{:indent$}└─{cause}\n", "", indent = depth * 2 + 2));
    }
    text
}

/// An error and its innermost cause, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let innermost = std::iter::successors(error.source(), |&cause| cause.source()).last();
    match innermost {
        Some(cause) => format!("{error}: {}", without_number(&cause.to_string())),
        None => error.to_string(),
    }
}

/// An error of the system without its number.
fn without_number(text: &str) -> &str {
    text.rfind(" (os error").map_or(text, |end| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_decides() {
        for (name, entrypoint) in [
            ("/var/lib/rkt/pods/run/x/stage1/rootfs/init", Some(Entrypoint::Run)),
            ("stage1/rootfs/run", Some(Entrypoint::Run)),
            ("gc", Some(Entrypoint::Gc)),
            ("/enter", Some(Entrypoint::Enter)),
            ("./stop", Some(Entrypoint::Stop)),
            ("app_rm", Some(Entrypoint::App(AppOperation::Remove))),
            ("stage1-fly", None),
            ("", None),
        ] {
            assert_eq!(Entrypoint::from_name(OsStr::new(name)), entrypoint, "{name}");
        }
    }

    #[test]
    fn errors_are_one_line_unless_debugging() {
        let source = std::io::Error::from_raw_os_error(2);
        let error = Error::Step { step: "open the volume \"data\"".to_owned(), source };
        let short = message("run", &error, false);
        assert_eq!(short, "run: Cannot open the volume \"data\": No such file or directory\n");
        let long = message("run", &error, true);
        assert_eq!(
            long,
            "run: Cannot open the volume \"data\"\n  └─No such file or directory (os error 2)\n"
        );
        let plain = message("stop", &Error::Refused("No".to_owned()), false);
        assert_eq!(plain, "stop: No\n");
    }
}
