//! Values of the flags about what an app may use and do.

use anyhow::{Context, Result, ensure};
use appc::{Isolator, Quantity};

/// The least that `--memory` can be: one page.
const MEMORY_MIN: u64 = 4096;

pub(crate) fn memory(text: &str) -> Result<Quantity> {
    let quantity: Quantity = text.parse()?;
    ensure!(quantity.value() >= MEMORY_MIN, "must be at least {MEMORY_MIN} bytes");
    Ok(quantity)
}

pub(crate) fn cpu(text: &str) -> Result<Quantity> {
    let quantity: Quantity = text.parse()?;
    ensure!(quantity.milli_value() > 0, "must be more than nothing");
    Ok(quantity)
}

pub(crate) fn cpu_shares(text: &str) -> Result<u32> {
    let range = Isolator::MIN_CPU_SHARES..=Isolator::MAX_CPU_SHARES;
    let shares = text.parse().ok().filter(|shares| range.contains(shares));
    shares.context("must be a number from 2 to 262144")
}

pub(crate) fn oom_score_adj(text: &str) -> Result<i32> {
    let score = text.parse().ok().filter(|score| (-1000..=1000).contains(score));
    score.context("must be a number from -1000 to 1000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_bounds() {
        for (text, fits) in [("4096", true), ("16Mi", true), ("4095", false), ("1m", false), ("x", false)] {
            assert_eq!(memory(text).is_ok(), fits, "{text}");
        }
        for (text, fits) in [("500m", true), ("2", true), ("0", false), ("-1", false)] {
            assert_eq!(cpu(text).is_ok(), fits, "{text}");
        }
        for (text, fits) in [("2", true), ("262144", true), ("1", false), ("262145", false), ("", false)] {
            assert_eq!(cpu_shares(text).is_ok(), fits, "{text}");
        }
        for (text, fits) in [("-1000", true), ("0", true), ("1000", true), ("1001", false)] {
            assert_eq!(oom_score_adj(text).is_ok(), fits, "{text}");
        }
    }
}
