//! The probes, one for each row of the table.

mod fields;
mod limits;
mod privileges;
mod unsupported;

use serde_json::{Value, json};

use super::{Ask, Control, Probe};

/// All of them.
#[must_use]
pub fn all() -> Vec<Probe> {
    [limits::probes(), privileges::probes(), unsupported::probes(), fields::probes()].concat()
}

/// A probe of an isolator of an app, which the manifest and flags can ask for.
fn isolator(
    name: &'static str,
    value: &Value,
    flags: &[(&'static str, &'static [&'static str])],
    script: &'static str,
) -> Probe {
    let app = json!({"isolators": [{"name": name, "value": value}]});
    let manifest = ("manifest", Ask { app, ..Ask::default() });
    Probe { row: name, ways: with_flags(manifest, flags), script, control: Control::Neighbour, named: name }
}

/// A probe of an annotation of an app, which the manifest and a flag can ask for.
fn annotation(
    row: &'static str,
    value: &str,
    flag: (&'static str, &'static [&'static str]),
    script: &'static str,
) -> Probe {
    let name = format!("coreos.com/rkt/stage2/{row}");
    let runtime = json!({"annotations": [{"name": name, "value": value}]});
    let manifest = ("annotation", Ask { runtime, ..Ask::default() });
    Probe { row, ways: with_flags(manifest, &[flag]), script, control: Control::Neighbour, named: row }
}

/// A probe of a field of an app, which the manifest and flags can ask for.
fn field(
    row: &'static str,
    app: Value,
    flags: &[(&'static str, &'static [&'static str])],
    script: &'static str,
) -> Probe {
    let manifest = ("manifest", Ask { app, ..Ask::default() });
    Probe { row, ways: with_flags(manifest, flags), script, control: Control::Neighbour, named: row }
}

/// A probe of what every app has without asking; `option` of rkt switches it off.
fn default(row: &'static str, control: Control, script: &'static str) -> Probe {
    Probe { row, ways: vec![("default", Ask::default())], script, control, named: row }
}

fn with_flags(
    manifest: (&'static str, Ask),
    flags: &[(&'static str, &'static [&'static str])],
) -> Vec<(&'static str, Ask)> {
    let by_flags = flags.iter().map(|&(way, flags)| (way, Ask { flags: Some(flags), ..Ask::default() }));
    std::iter::once(manifest).chain(by_flags).collect()
}
