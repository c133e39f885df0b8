//! stage1 that runs a pod in one small virtual machine.
//!
//! ```text
//! unit ── run = the monitor ─┬─ virtiofsd   shares the pod's roots and volumes, and nothing else; where it is, else an image has them
//!                            └─ QEMU ═══ guest: /init ── supervisor, process 1 of its namespace ── the apps
//! ```
//! The monitor stays: it holds the pod's lock and its control socket, passes on what goes between the supervisor and the
//! host ([`supervisor::link`]), and ends everything when one of them ends. The supervisor is that of stage1-nspawn.

#![forbid(unsafe_code)]

mod accelerator;
mod console;
mod files;
mod gc;
mod guest;
mod hypervisor;
mod image;
mod initramfs;
mod machine;
mod monitor;
mod process;
mod qemu;
mod records;
mod run;
mod settings;
mod sockets;
mod virtiofsd;
mod vsock;
mod wires;

use supervised::app::app_of_machine;
use supervised::attach::attach;
use supervised::enter::enter;
use supervised::signal::signal;
use supervised::stop::stop;

const FLAVOR: stage1::Flavor = stage1::Flavor {
    name: "kvm",
    run: run::run,
    enter,
    gc: gc::gc,
    stop,
    signal,
    supervised: Some(stage1::Supervised { attach, app: app_of_machine }),
};

fn main() -> std::process::ExitCode {
    stage1::main(&FLAVOR)
}
