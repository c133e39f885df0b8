//! Medians, ratios, and how they stand against the promises of `docs/SPECIFICATION.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// A promise: the median of `row` is at most `limit` times that of `peer`.
pub(crate) struct Promise {
    pub(crate) row: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) limit: f64,
}

/// Times in microseconds, by row, in the order of the rounds.
pub(crate) type Samples = BTreeMap<String, Vec<u32>>;

/// Prints medians and ratios, and writes them to `file`.
pub(crate) fn report(samples: &Samples, promises: &[Promise], file: &Path) -> Result<()> {
    let mut rows = Map::new();
    println!("{:<28} {:>9} {:>9} {:>9} {:>6}", "milliseconds", "median", "fastest", "slowest", "n");
    let mut medians = BTreeMap::new();
    for (name, times) in samples {
        let mut times: Vec<f64> = times.iter().map(|time| f64::from(*time) / 1000.0).collect();
        let Some(median) = median(&mut times) else { continue };
        let (fastest, slowest) = (times[0], times[times.len() - 1]);
        println!("{name:<28} {median:>9.2} {fastest:>9.2} {slowest:>9.2} {:>6}", times.len());
        rows.insert(
            name.clone(),
            json!({"median_ms": median, "fastest_ms": fastest, "slowest_ms": slowest, "times_ms": times}),
        );
        medians.insert(name.as_str(), median);
    }
    let mut ratios = Vec::new();
    // A machine that slows down for a while does so for all rows of a round.
    println!("\n{:<52} {:>6} {:>6} {:>15}", "ratio of medians", "is", "limit", "median of ratios");
    for Promise { row, peer, limit } in promises {
        let (Some(own), Some(theirs)) = (medians.get(row), medians.get(peer)) else { continue };
        let ratio = own / theirs;
        let kept = ratio <= *limit;
        let rounds = samples[*row].iter().zip(&samples[*peer]);
        let mut by_rounds: Vec<f64> =
            rounds.map(|(own, theirs)| f64::from(*own) / f64::from(*theirs)).collect();
        let by_rounds = median(&mut by_rounds).unwrap_or(ratio);
        println!(
            "{:<52} {ratio:>6.2} {limit:>6.2} {by_rounds:>15.2}  {}",
            format!("{row} / {peer}"),
            if kept { "kept" } else { "MISSED" }
        );
        ratios.push(
            json!({"row": row, "peer": peer, "ratio": ratio, "by_rounds": by_rounds, "limit": limit, "kept": kept}),
        );
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let result: Value = json!({"kernel": kernel.trim(), "rows": rows, "ratios": ratios});
    write(file, &result)
}

/// Sorts `values`, and returns the one in the middle.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
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
