//! Build, install, test, demo and benchmark tasks: `cargo xtask TASK`. One file a task.

mod bench;
mod build;
mod demo;
mod host;
mod install;
mod kernel;
mod packages;
mod shell;
mod stage1;
mod test;

use std::path::PathBuf;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Build, install, test, demo and benchmark tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the product and lay it out below a directory, as a package would
    Install {
        /// The directory that stands for `/`
        #[arg(long)]
        destdir: PathBuf,
        /// How to build
        #[arg(long, value_enum, default_value_t)]
        profile: build::Profile,
    },
    /// Build stage1-kvm.aci, with the newest kernel of Debian's that apt knows
    #[command(name = "stage1-kvm")]
    Stage1Kvm {
        /// Where to put it
        #[arg(long, default_value_os_t = shell::target().join("stage1-images"))]
        to: PathBuf,
        /// How to build
        #[arg(long, value_enum, default_value_t)]
        profile: build::Profile,
    },
    /// Build everything, start a real server as a pod under systemd, ask it something, show it and stop it
    Demo(demo::Options),
    /// Check and test everything; or only the named stages
    Test(test::Options),
    /// Run a command, or a shell, in a fresh namespace host with the product in it
    Host(host::Options),
    /// Time `rkt run` against its peers
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Install { destdir, profile } => install::install(&destdir, profile),
        Task::Stage1Kvm { to, profile } => stage1::kvm(&to, profile),
        Task::Demo(options) => demo::demo(&options),
        Task::Test(options) => test::test(&options),
        Task::Host(options) => host::host(&options),
        Task::Bench(options) => bench::bench(&options),
    };
    // Not as `main` would: with a backtrace, the summaries above it are far away.
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
