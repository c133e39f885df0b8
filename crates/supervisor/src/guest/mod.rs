//! Process 1 of a guest: the program `supervisor` as `/init` of an initramfs.
//!
//! ```text
//! modules ─► port "rkt.control" ─► Hello ─► Start ─► root from the host ──┬─► supervisor, process 1 of a pid namespace
//!                                                                        └─► Link: its streams and calls, to its end
//! ```
//! It does what systemd-nspawn does for a container, and passes on what would be descriptors there. The supervisor knows no
//! difference. Nothing of an image runs here or is read here.

mod image;
mod listeners;
mod network;
mod port;
mod relay;
mod root;
mod system;

use std::process::ExitCode;

use rustix::system::RebootCommand;

use crate::link::{Link, Report, Side};

pub use port::NAME as PORT;
pub use root::TAG;

type Error = Box<dyn std::error::Error>;

/// Whether this process is the first of a machine, and not of a pod.
pub fn is_first() -> bool {
    std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == "/init")
}

/// Runs the pod of this machine and ends with it.
pub fn main() -> ExitCode {
    let failed = match system::prepare().and_then(|options| port::open(&options)) {
        Ok(port) => {
            let mut link = Link::new(port, Side::Guest);
            let ended = relay::run(&mut link).map_err(|error| error.to_string());
            let report = match &ended {
                Ok(status) => Report::Exited { status: *status },
                Err(message) => Report::Failed { message: message.clone() },
            };
            relay::last_word(&mut link, &report);
            ended.err()
        }
        Err(error) => Some(error.to_string()),
    };
    if let Some(message) = failed {
        system::complain(&message);
    }
    // The host ends the machine as soon as it has heard the last word.
    let _ = rustix::system::reboot(RebootCommand::PowerOff);
    ExitCode::FAILURE
}
