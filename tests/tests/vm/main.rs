//! What needs a kernel of its own: one booted vm host, one module an intent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tests::case::Stage1;
use tests::vm::{self, Vm};

mod audit;
mod limits;
mod machines;
mod network;
mod pod_files;
mod reboot;
mod units;

/// The shared machine, for one test at a time: probes of processor time must not take it from each other.
fn machine() -> (&'static Vm, Turn) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (vm::shared(), Turn { _turn: turn })
}

/// A test's turn with the machine. One that fails shows the journal.
struct Turn {
    _turn: MutexGuard<'static, ()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", vm::shared().sh("journalctl --boot --quiet --no-pager --lines=100"));
        }
    }
}

/// Runs a pod as a service with these settings and returns its exit status and what it said.
fn as_service(vm: &Vm, settings: &str, stage1: Stage1, words: &[&str]) -> (i32, String) {
    let mut command = vec!["systemd-run", "--quiet", "--wait", "--pipe", "--collect"];
    command.extend(settings.split_whitespace());
    let flag = stage1.flag();
    command.extend(["/usr/bin/rkt", "--insecure-options=image", "run", &flag, "--net=host"]);
    command.extend(words);
    let output = vm.exec(command).output();
    (output.code, format!("{}{}", output.stdout, output.stderr))
}
