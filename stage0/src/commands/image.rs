//! `rkt image`.

use std::process::ExitCode;

use anyhow::Result;

use super::Context;
