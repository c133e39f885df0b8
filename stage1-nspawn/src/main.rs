//! stage1 that runs a pod in a container built by the host's systemd-nspawn.
//!
//! ```text
//! run ──exec──► systemd-nspawn ──► supervisor, process 1 of the container ──► the apps
//! ```
//! systemd-nspawn makes namespaces, `/proc`, `/sys`, `/dev` and the cgroup split, and registers the machine. Everything
//! about the apps is done before it (volumes) or by the supervisor inside.

#![forbid(unsafe_code)]

mod capabilities;
mod cgroup;
mod command;
mod gc;
mod host;
mod run;

use supervised::app::app;
use supervised::attach::attach;
use supervised::enter::enter;
use supervised::signal::signal;
use supervised::stop::stop;

const FLAVOR: stage1::Flavor = stage1::Flavor {
    name: "nspawn",
    run: run::run,
    enter,
    gc: gc::gc,
    stop,
    signal,
    supervised: Some(stage1::Supervised { attach, app }),
};

fn main() -> std::process::ExitCode {
    stage1::main(&FLAVOR)
}
