//! The conformance suite of the app executor: for each row of the table in `docs/isolators.md`, a probe that runs as an app and
//! tries what must fail and what must work.
//!
//! ```text
//! docs/isolators.md ─► Row ──┐
//!                            ├─► check: pods with the subject, and with a neighbour or another pod as control
//! probes ────────────► Probe ┘
//! ```
//! A probe prints `NAME held` when what is asked for has an effect and `NAME free` when it has none. The control runs the same script
//! without having asked, and must print `free`: so no probe can pass by itself.

mod pods;
mod probes;
mod table;

use crate::case::{Stage1, app_lines};
use crate::host::{Host, Output};
use crate::vm::Vm;

pub use probes::all as probes;
pub use table::{Place, Row, Verdict, rows};

/// Somewhere to run pods.
pub trait Ground {
    /// Runs `rkt` with these arguments to its end.
    fn rkt(&self, words: &[String]) -> Output;
    /// Writes a file.
    fn put(&self, path: &str, content: &str);
}

impl Ground for Host {
    fn rkt(&self, words: &[String]) -> Output {
        self.exec("/usr/bin/rkt").args(words.iter().cloned()).output()
    }

    fn put(&self, path: &str, content: &str) {
        self.write(path, content);
    }
}

impl Ground for Vm {
    fn rkt(&self, words: &[String]) -> Output {
        self.exec(std::iter::once("/usr/bin/rkt").chain(words.iter().map(String::as_str))).output()
    }

    fn put(&self, path: &str, content: &str) {
        self.write(path, content);
    }
}

/// What an app is probed for.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The first cell of its row.
    pub row: &'static str,
    /// How it can be asked for, in the order of the row.
    pub ways: Vec<(&'static str, Ask)>,
    /// The shell script that runs in the app.
    pub script: &'static str,
    /// What shows that the probe can fail.
    pub control: Control,
    /// What a refusal or a warning has to name.
    pub named: &'static str,
}

/// How something is asked for.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Fields of the app's `app` in the pod's manifest.
    pub app: serde_json::Value,
    /// Fields of the app in the pod's manifest.
    pub runtime: serde_json::Value,
    /// Fields of the pod's manifest.
    pub pod: serde_json::Value,
    /// Flags of the app; there is no manifest then.
    pub flags: Option<&'static [&'static str]>,
}

/// An app that has not asked.
#[derive(Debug, Clone, Copy)]
pub enum Control {
    /// Another app of the same pod, where a pod can have two.
    Neighbour,
    /// The app of another pod.
    OtherPod,
    /// The app of a pod with these options, which switch off what every app has without asking.
    SwitchedOff(&'static str),
    /// None: nothing switches it off. That the probe can fail is seen where a stage1 does not do it.
    None,
}

/// Probes all rows of this place under this wall.
///
/// # Panics
/// When a row does not hold, after all have been probed.
pub fn check(ground: &impl Ground, stage1: Stage1, place: Place) {
    let mut faults = Vec::new();
    let mut count = 0;
    for row in rows().iter().filter(|row| row.place == place) {
        let probe = probes().into_iter().find(|probe| probe.row == row.name);
        let Some(probe) = probe else { continue };
        let verdict = row.verdict(stage1);
        for (way, ask) in &probe.ways {
            count += 1;
            if let Err(fault) = check_way(ground, stage1, &probe, ask, verdict) {
                faults.push(format!("==== {} by {way}: not {verdict:?} under {stage1:?}\n{fault}", row.name));
            }
        }
        if verdict == Verdict::Enforced
            && let Err(fault) = check_control(ground, stage1, &probe)
        {
            faults.push(format!("==== {}: the control under {stage1:?}\n{fault}", row.name));
        }
    }
    assert!(count > 0, "no row is probed there");
    assert!(faults.is_empty(), "{} of {count} do not hold\n{}", faults.len(), faults.join("\n"));
}

fn check_way(
    ground: &impl Ground,
    stage1: Stage1,
    probe: &Probe,
    ask: &Ask,
    verdict: Verdict,
) -> Result<(), String> {
    let with_neighbour = matches!(probe.control, Control::Neighbour) && stage1.has_several_apps();
    let output =
        pods::run(ground, stage1, &pods::Pod { script: probe.script, ask, option: None, with_neighbour });
    let wants = |app: &str, wanted: &str| match verdict_of(&output, app) {
        Some(found) if found == wanted => Ok(()),
        found => {
            let seen = report(ground, stage1, probe, ask);
            Err(format!("{app}: {found:?} instead of {wanted:?}\n{output}\n{seen}"))
        }
    };
    let named = |what: &str| match output.stderr.contains(probe.named) {
        true => Ok(()),
        false => Err(format!("the {what} does not name {:?}\n{output}", probe.named)),
    };
    match verdict {
        Verdict::Enforced => wants("subject", "held")?,
        Verdict::Warned => wants("subject", "free").and_then(|()| named("warning"))?,
        Verdict::Absent => wants("subject", "free")?,
        Verdict::Refused if output.code == 254 => return named("refusal"),
        Verdict::Refused => return Err(format!("it is not refused\n{output}")),
    }
    if with_neighbour { wants("neighbour", "free") } else { Ok(()) }
}

/// What an app that has asked sees of itself.
fn report(ground: &impl Ground, stage1: Stage1, probe: &Probe, ask: &Ask) -> Output {
    let files = ["status", "cgroup", "limits", "mountinfo"].map(|file| format!("cat /proc/self/{file};"));
    let script = format!("{}\n{} ls -l /proc/self/ns", probe.script, files.concat());
    pods::run(ground, stage1, &pods::Pod { script: &script, ask, option: None, with_neighbour: false })
}

/// The same script where nothing was asked for.
fn check_control(ground: &impl Ground, stage1: Stage1, probe: &Probe) -> Result<(), String> {
    let option = match probe.control {
        Control::Neighbour if stage1.has_several_apps() => return Ok(()),
        Control::None => return Ok(()),
        Control::SwitchedOff(option) => Some(option),
        Control::Neighbour | Control::OtherPod => None,
    };
    let pod = pods::Pod { script: probe.script, ask: &Ask::default(), option, with_neighbour: false };
    let output = pods::run(ground, stage1, &pod);
    match verdict_of(&output, "subject") {
        Some(found) if found == "free" => Ok(()),
        found => Err(format!("{found:?} instead of \"free\"\n{output}")),
    }
}

/// What the app said: `held` counts more than what it said before, when it ran several times.
fn verdict_of(output: &Output, app: &str) -> Option<String> {
    let said = app_lines(&output.stdout);
    let mut verdicts = said.into_iter().filter_map(|line| line.strip_prefix(app)?.strip_prefix(' '));
    let first = verdicts.next()?;
    let held = first == "held" || verdicts.any(|verdict| verdict == "held");
    Some(if held { "held".to_owned() } else { first.to_owned() })
}
