//! Medians, ratios, and how they stand against the promises of `docs/SPECIFICATION.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// A promise: the median of `row` in units of that of `peer`.
pub(crate) struct Promise {
    pub(crate) row: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) limit: Limit,
}

/// How large a ratio may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    /// As large as this.
    AtMost(f64),
    /// Anything smaller than this.
    Below(f64),
}

/// How a promise stands.
#[derive(Debug)]
struct Standing {
    /// The ratio of medians, which is what was promised.
    ratio: f64,
    /// The median of the ratios within each round: a machine that slows down for a while does so for all rows of a round.
    by_rounds: f64,
    kept: bool,
}

/// Times in microseconds, by row, in the order of the rounds.
pub(crate) type Samples = BTreeMap<String, Vec<u32>>;

/// Prints medians and ratios, and writes them to `file`.
pub(crate) fn report(samples: &Samples, promises: &[Promise], file: &Path) -> Result<()> {
    let mut rows = Map::new();
    println!("{:<28} {:>9} {:>9} {:>9} {:>6}", "milliseconds", "median", "fastest", "slowest", "n");
    for (name, times) in samples {
        let mut times: Vec<f64> = times.iter().map(|time| f64::from(*time) / 1000.0).collect();
        let Some(median) = median(&mut times) else { continue };
        let (fastest, slowest) = (times[0], times[times.len() - 1]);
        println!("{name:<28} {median:>9.2} {fastest:>9.2} {slowest:>9.2} {:>6}", times.len());
        rows.insert(
            name.clone(),
            json!({"median_ms": median, "fastest_ms": fastest, "slowest_ms": slowest, "times_ms": times}),
        );
    }
    let mut ratios = Vec::new();
    println!("\n{:<52} {:>6} {:>6} {:>15}", "ratio of medians", "is", "limit", "median of ratios");
    for promise in promises {
        let Promise { row, peer, limit } = promise;
        let Standing { ratio, by_rounds, kept } = promise.standing(samples)?;
        println!(
            "{:<52} {ratio:>6.2} {:>6} {by_rounds:>15.2}  {}",
            format!("{row} / {peer}"),
            limit.to_string(),
            if kept { "kept" } else { "MISSED" }
        );
        ratios.push(json!({
            "row": row,
            "peer": peer,
            "ratio": ratio,
            "by_rounds": by_rounds,
            "limit": limit.figure(),
            "strict": matches!(limit, Limit::Below(_)),
            "kept": kept,
        }));
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let result: Value = json!({"kernel": kernel.trim(), "rows": rows, "ratios": ratios});
    write(file, &result)
}

impl Promise {
    /// Compares the two rows. A promise about a row without times is a mistake, not one that is kept.
    fn standing(&self, samples: &Samples) -> Result<Standing> {
        let times = |row: &str| -> Result<Vec<f64>> {
            let times = samples.get(row).filter(|times| !times.is_empty());
            let times = times.with_context(|| format!("There are no times of the row {row:?}"))?;
            Ok(times.iter().copied().map(f64::from).collect())
        };
        let (mut own, mut theirs) = (times(self.row)?, times(self.peer)?);
        let mut by_rounds: Vec<f64> = own.iter().zip(&theirs).map(|(own, theirs)| own / theirs).collect();
        let by_rounds = median(&mut by_rounds).context("There are no rounds")?;
        let ratio = median(&mut own).context("There are no times")?
            / median(&mut theirs).context("There are no times")?;
        Ok(Standing { ratio, by_rounds, kept: self.limit.allows(ratio) })
    }
}

impl Limit {
    fn allows(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(limit) => ratio <= limit,
            Self::Below(limit) => ratio < limit,
        }
    }

    fn figure(self) -> f64 {
        match self {
            Self::AtMost(limit) | Self::Below(limit) => limit,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self {
            Self::AtMost(_) => '≤',
            Self::Below(_) => '<',
        };
        write!(f, "{sign} {:.2}", self.figure())
    }
}

/// Sorts `values`, and returns the one in the middle, or what is halfway between the two there.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len().is_multiple_of(2) {
        f64::midpoint(values[values.len() / 2 - 1], upper)
    } else {
        upper
    })
}

/// Writes measurements to `file`, and says so.
pub(crate) fn write(file: &Path, result: &Value) -> Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| format!("Cannot create {}", dir.display()))?;
    }
    fs::write(file, serde_json::to_vec_pretty(result)?)
        .with_context(|| format!("Cannot write {}", file.display()))?;
    println!("\nWritten to {}", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(own: &[u32], theirs: &[u32], limit: Limit) -> Result<Standing> {
        let samples =
            Samples::from([("own".to_owned(), own.to_vec()), ("theirs".to_owned(), theirs.to_vec())]);
        Promise { row: "own", peer: "theirs", limit }.standing(&samples)
    }

    #[test]
    fn medians() {
        for (values, expected) in [
            (&[][..], None),
            (&[7.0], Some(7.0)),
            (&[9.0, 1.0, 5.0], Some(5.0)),
            (&[4.0, 1.0, 1000.0, 2.0], Some(3.0)),
            (&[2.0, 2.0, 1.0, 2.0, 9.0], Some(2.0)),
            // Not in the order of their digits.
            (&[10.0, 9.0, 100.0], Some(10.0)),
        ] {
            assert_eq!(median(&mut values.to_vec()), expected, "{values:?}");
        }
    }

    #[test]
    fn a_median_sorts() {
        let mut values = [3.0, 1.0, 2.0];
        median(&mut values);
        assert_eq!(values, [1.0, 2.0, 3.0]);
    }

    #[test]
    fn limits() {
        for (limit, ratio, allows) in [
            (Limit::AtMost(0.8), 0.79, true),
            (Limit::AtMost(0.8), 0.8, true),
            (Limit::AtMost(0.8), 0.8001, false),
            (Limit::Below(1.0), 0.9999, true),
            (Limit::Below(1.0), 1.0, false),
            (Limit::Below(1.0), 1.0001, false),
            // What a peer without any time would make of it.
            (Limit::AtMost(0.8), f64::INFINITY, false),
            (Limit::AtMost(0.8), f64::NAN, false),
            (Limit::Below(1.0), f64::NAN, false),
        ] {
            assert_eq!(limit.allows(ratio), allows, "{ratio} {limit}");
        }
    }

    #[test]
    fn limits_are_shown_with_their_kind() {
        assert_eq!(Limit::AtMost(0.8).to_string(), "≤ 0.80");
        assert_eq!(Limit::Below(1.0).to_string(), "< 1.00");
    }

    /// The same times keep a promise of "at most", and miss one of "less than".
    #[test]
    fn a_promise_at_its_limit() {
        let times = [20_000, 30_000, 25_000];
        assert!(standing(&times, &times, Limit::AtMost(1.0)).unwrap().kept);
        assert!(!standing(&times, &times, Limit::Below(1.0)).unwrap().kept);
        assert!(standing(&[4], &[5], Limit::AtMost(0.8)).unwrap().kept);
    }

    /// A slow round changes neither median much, whichever row it hits.
    #[test]
    fn ratios_are_of_medians() {
        let Standing { ratio, by_rounds, kept } =
            standing(&[1, 2, 90], &[4, 100, 3], Limit::AtMost(0.5)).unwrap();
        assert_eq!(ratio, 0.5);
        assert_eq!(by_rounds, 0.25);
        assert!(kept);
    }

    /// Rounds are compared as they came, not by how long they took.
    #[test]
    fn ratios_by_rounds_are_of_the_same_round() {
        let Standing { ratio, by_rounds, .. } =
            standing(&[10, 20, 40], &[40, 20, 10], Limit::AtMost(1.0)).unwrap();
        assert_eq!(ratio, 1.0);
        assert_eq!(by_rounds, 1.0);
        let Standing { ratio, by_rounds, .. } =
            standing(&[30, 10, 20], &[20, 30, 10], Limit::AtMost(1.0)).unwrap();
        assert_eq!(ratio, 1.0);
        assert_eq!(by_rounds, 1.5);
    }

    #[test]
    fn a_row_without_times_is_a_mistake() {
        let error =
            |own: &[u32], theirs: &[u32]| standing(own, theirs, Limit::AtMost(9.0)).unwrap_err().to_string();
        assert_eq!(error(&[], &[1]), r#"There are no times of the row "own""#);
        assert_eq!(error(&[1], &[]), r#"There are no times of the row "theirs""#);
        let promise = Promise { row: "own", peer: "other", limit: Limit::AtMost(9.0) };
        let samples = Samples::from([("own".to_owned(), vec![1])]);
        let error = promise.standing(&samples).unwrap_err().to_string();
        assert_eq!(error, r#"There are no times of the row "other""#);
    }
}
