//! The subcommands, one a file: `XArgs` (flags and positional arguments) and
//! `run(&Context, &XArgs) -> anyhow::Result<ExitCode>`.
//!
//! An error that `run` returns is printed as `<command>: <outermost>: <innermost>` and ends in exit code 254.

pub(crate) mod cat_manifest;
pub(crate) mod enter;
pub(crate) mod gc;
pub(crate) mod list;
pub(crate) mod rm;
pub(crate) mod status;
pub(crate) mod stop;

pub(crate) use crate::context::Context;
