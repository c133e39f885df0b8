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

/// Times in microseconds, by row.
pub(crate) type Samples = BTreeMap<String, Vec<u32>>;

/// Prints medians and ratios, and writes them to `file`.
pub(crate) fn report(samples: &Samples, promises: &[Promise], file: &Path) -> Result<()> {
    let mut rows = Map::new();
    println!("{:<28} {:>9} {:>9} {:>9} {:>6}", "milliseconds", "median", "fastest", "slowest", "n");
    let mut medians = BTreeMap::new();
    for (name, times) in samples {
        let mut times: Vec<f64> = times.iter().map(|time| f64::from(*time) / 1000.0).collect();
        times.sort_by(f64::total_cmp);
        let (Some(fastest), Some(slowest)) = (times.first(), times.last()) else { continue };
        let median = times[times.len() / 2];
        println!("{name:<28} {median:>9.2} {fastest:>9.2} {slowest:>9.2} {:>6}", times.len());
        rows.insert(
            name.clone(),
            json!({"median_ms": median, "fastest_ms": fastest, "slowest_ms": slowest, "times_ms": times}),
        );
        medians.insert(name.as_str(), median);
    }
    let mut ratios = Vec::new();
    println!("\n{:<52} {:>6} {:>6}", "ratio of medians", "is", "limit");
    for Promise { row, peer, limit } in promises {
        let (Some(own), Some(theirs)) = (medians.get(row), medians.get(peer)) else { continue };
        let ratio = own / theirs;
        let kept = ratio <= *limit;
        println!(
            "{:<52} {ratio:>6.2} {limit:>6.2} {}",
            format!("{row} / {peer}"),
            if kept { "kept" } else { "MISSED" }
        );
        ratios.push(json!({"row": row, "peer": peer, "ratio": ratio, "limit": limit, "kept": kept}));
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let result: Value = json!({"kernel": kernel.trim(), "rows": rows, "ratios": ratios});
    write(file, &result)
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
