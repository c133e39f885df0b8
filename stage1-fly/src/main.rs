//! stage1 that runs one app in a chroot of the host.
//!
//! There is a mount namespace around the app and nothing else. The app becomes the process that systemd started: none
//! of ours stays.

#![forbid(unsafe_code)]

mod app;
mod enter;
mod gc;
mod mounts;
mod run;
mod stop;

const FLAVOR: stage1::Flavor = stage1::Flavor {
    name: "fly",
    run: run::run,
    enter: enter::enter,
    gc: gc::gc,
    stop: stop::stop,
    signal: stop::signal,
    supervised: None,
};

fn main() -> std::process::ExitCode {
    stage1::main(&FLAVOR)
}
