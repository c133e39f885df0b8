//! stage1 that runs a pod in a small virtual machine. It is not built yet: it says so, and cleans up after nothing.

#![forbid(unsafe_code)]

use stage1::{Error, Flavor, Result};

const FLAVOR: Flavor = Flavor {
    name: "kvm",
    run: |_| refuse(),
    enter: |_| refuse(),
    gc: |_| Ok(()),
    stop: |_| refuse(),
    signal: |_| refuse(),
    supervised: None,
};

fn refuse<T>() -> Result<T> {
    Err(Error::Refused(
        "The stage1 kvm cannot run pods yet; choose the stage1 nspawn or fly \
         (--stage1-name=coreos.com/rkt/stage1-nspawn or …-fly)"
            .to_owned(),
    ))
}

fn main() -> std::process::ExitCode {
    stage1::main(&FLAVOR)
}
