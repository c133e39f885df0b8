//! Which stage1 a pod gets.

use anyhow::{Result, bail};

use crate::context::Context;
use crate::images::StoredImage;
use crate::options::stage1::Stage1Choice;

pub(crate) fn select(_context: &Context, choice: Option<Stage1Choice>) -> Result<StoredImage> {
    bail!("{choice:?}")
}
