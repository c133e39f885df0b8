//! Process 1 of a pod: starts apps, reaps them, records exit status, serves the control socket.
//!
//! Others need of this library what it takes to talk to it: [`PodSpec`], which it reads at its start, and [`control`],
//! [`client`] and [`attach`], the protocol of its socket and the other side of it; and [`link`] where it runs in a machine of its
//! own, whose process 1 is [`guest`]. Everything else is the program itself.
//!
//! It is single-threaded, allocates little, and waits in one place (`engine`). It trusts its own root, the stage1's, and
//! nothing else: not the images, not what apps send it.

mod app;
pub mod attach;
mod cgroup;
pub mod client;
pub mod control;
mod engine;
pub mod guest;
mod host_mounts;
mod inherited;
mod lines;
pub mod link;
mod log;
pub mod pod;
mod restart;
mod session;
pub mod status;
mod streams;
mod sysctls;
mod violations;

use inherited::Inherited;
pub use pod::PodSpec;

/// What the program `supervisor` does. Returns the exit status of the pod.
pub fn main() -> std::process::ExitCode {
    if guest::is_first() {
        return guest::main();
    }
    supervise(PodSpec::read(), Inherited::take()).into()
}

/// Runs the pod of this process to its end and returns its exit status.
fn supervise(spec: Result<PodSpec, String>, inherited: Inherited) -> u8 {
    let status = spec.map_err(Into::into).and_then(|spec| engine::run(spec, inherited));
    status.unwrap_or_else(|error| {
        // Nobody to tell when standard error is gone.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("supervisor: {error}\n"));
        FAILED
    })
}

/// The exit status of a pod that could not be started: that of all errors of rkt's own.
const FAILED: u8 = 254;
