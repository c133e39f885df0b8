//! What needs a kernel of its own: one booted vm host, one module an intent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tests::vm::{self, Vm};

mod limits;
mod pod_files;
mod reboot;
mod units;

/// The shared machine, for one test at a time: probes of processor time must not take it from each other.
fn machine() -> (&'static Vm, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (vm::shared(), turn)
}
