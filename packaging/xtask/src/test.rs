//! `cargo xtask test`: everything that has to hold before a commit, in the order in which it fails quickest.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::build::Profile;
use crate::demo::Wall;
use crate::shell::{cargo, run, target, words};
use crate::{demo, install, packages};

/// What the suite calls on this machine.
const PACKAGES: &[&str] = &[
    "bzip2",
    "e2fsprogs",
    "gcc",
    "libc6-dev",
    "mmdebstrap",
    "qemu-system-x86",
    "util-linux",
    "xz-utils",
    "zstd",
];

/// Crates with parsers of what strangers wrote: their tests whose names have "fuzz" in them.
const FUZZED: &[&str] = &["appc", "image", "fetcher", "podfile"];

/// Every case that applies to a machine, and the probes of isolators.
const KVM_ALL: &[&str] = &["kvm", "conformance::machines"];
/// What is particular to machines, and the cases that go through most of what they share with other walls: emulation takes
/// 10 seconds a pod.
const KVM_SOME: &[&str] = &["kvm::", "kvm_networks::", "enter::", "run::", "several_apps::"];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Also the rounds that take long
    #[arg(long)]
    full: bool,
    /// Only these stages
    #[arg(value_enum)]
    stages: Vec<Stage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Debian packages that the others need
    Packages,
    /// Formatting
    Fmt,
    /// Lints
    Clippy,
    /// Documentation without warnings
    Doc,
    /// Unit tests
    Unit,
    /// Parsers under spoilt input, for a bounded time
    Fuzz,
    /// Build and lay out the product
    Install,
    /// The demonstration in the namespace host, as a container and as a chroot
    Demo,
    /// End-to-end tests in the namespace host
    E2e,
    /// End-to-end tests in the vm host: limits of control groups, reboots
    Vm,
    /// Those end-to-end tests that emulate a machine for stage1-kvm
    Kvm,
}

pub(crate) fn test(options: &Options) -> Result<()> {
    let mut times = Vec::new();
    let mut summaries = Vec::new();
    let mut outcome = Ok(());
    for stage in Stage::value_variants() {
        if !options.stages.is_empty() && !options.stages.contains(stage) {
            continue;
        }
        println!("==> {stage:?}");
        let start = Instant::now();
        outcome = run_stage(*stage, options.full, &mut summaries);
        times.push((stage, start.elapsed()));
        if outcome.is_err() {
            break;
        }
    }
    println!("==> Times");
    for (stage, time) in &times {
        println!("{:>8.1} s  {stage:?}", time.as_secs_f64());
    }
    println!("{:>8.1} s  in all", times.iter().map(|(_, time)| *time).sum::<Duration>().as_secs_f64());
    for summary in summaries {
        println!("{summary}");
    }
    outcome
}

fn run_stage(stage: Stage, full: bool, summaries: &mut Vec<String>) -> Result<()> {
    let product = target().join("testhosts/product");
    match stage {
        Stage::Packages => packages::need(PACKAGES),
        Stage::Fmt => run(cargo().args(["fmt", "--all", "--check"])),
        Stage::Clippy => {
            run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        }
        Stage::Doc => run(cargo()
            .args(["doc", "--quiet", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings")),
        Stage::Unit => run_tests(cargo().args(["test", "--workspace", "--exclude", "tests"]), summaries),
        Stage::Fuzz => {
            let mut command = cargo();
            command.args(["test"]).args(FUZZED.iter().flat_map(|package| ["--package", package]));
            command.args(["fuzz", "--", "--nocapture", "--test-threads=2"]);
            command.env("RKT_FUZZ_SECONDS", if full { "120" } else { "5" });
            run_tests(&mut command, summaries)
        }
        Stage::Install => install::install(&product, Profile::Release),
        Stage::Demo => {
            ensure!(product.join("usr/bin/rkt").exists(), "The stage install comes before this one");
            [Wall::Nspawn, Wall::Fly].into_iter().try_for_each(|wall| {
                demo::in_host(&product, wall)
                    .with_context(|| format!("The demonstration failed with {wall:?}"))
            })
        }
        Stage::E2e => {
            let mut command = cargo();
            // Most tests wait for a pod most of the time.
            command.args(["test", "--package", "tests", "--lib", "--test", "ledger", "--test", "pod_keys"]);
            command.args(["--test", "e2e", "--", "--test-threads=6"]);
            command.env(tests::product::VARIABLE, product);
            if full {
                command.env("RKT_TEST_FULL", "1");
            }
            run_tests(&mut command, summaries)
        }
        Stage::Vm => {
            let mut command = cargo();
            command.args(["test", "--package", "tests", "--test", "vm", "--", "--test-threads=2"]);
            command.args(full.then_some("--include-ignored"));
            run_tests(command.env(tests::product::VARIABLE, product), summaries)
        }
        Stage::Kvm => {
            let mut command = cargo();
            command.args(["test", "--package", "tests", "--test", "e2e", "--", "--ignored"]);
            // Each keeps a processor busy.
            command.arg("--test-threads=3").args(if full { KVM_ALL } else { KVM_SOME });
            command.env(tests::product::VARIABLE, product);
            run_tests(&mut command, summaries)?;
            println!("Cases that do not apply to stage1-kvm as they are:");
            for (case, reason) in tests::case::NOT_UNDER_KVM {
                println!("  {case:<50} {reason}");
            }
            Ok(())
        }
    }
}

/// Runs a test runner; its output is passed on, and its own summaries are kept for the end.
fn run_tests(command: &mut Command, summaries: &mut Vec<String>) -> Result<()> {
    let words = words(command);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("Cannot run {words}"))?;
    for line in child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        let line = line?;
        println!("{line}");
        if line.starts_with("test result: ") && !line.contains(" 0 passed; 0 failed") {
            summaries.push(line);
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "{words} failed ({status})");
    Ok(())
}
