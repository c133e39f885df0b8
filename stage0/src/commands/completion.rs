//! `rkt completion`.

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};

use super::Context;
use crate::{cli, report};

/// Arguments of `rkt completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    shell: Vec<String>,
}

pub(crate) fn run(_context: &Context, args: &CompletionArgs) -> Result<ExitCode> {
    ensure!(args.shell.len() == 1, "exactly one argument is required: the name of the shell (bash)");
    match args.shell[0].as_str() {
        "bash" => report::print_raw(bash())?,
        other => bail!("no completion for shell {other:?}: only bash is supported"),
    }
    Ok(ExitCode::SUCCESS)
}

fn bash() -> String {
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::Bash, &mut cli::command(), "rkt", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn bash_learns_commands_and_flags() {
        let script = super::bash();
        for word in ["run-prepared", "cat-manifest", "--insecure-options", "--uuid-file-save", "--exec"] {
            assert!(script.contains(word), "{word}");
        }
    }
}
