//! Reads the table of `docs/isolators.md`.

use crate::case::Stage1;

const TEXT: &str = include_str!("../../../docs/isolators.md");
const HEAD: &str = "| isolator or field | asked for by | fly | nspawn | kvm | probed in |";

/// What a stage1 does with an isolator or field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has its effect.
    Enforced,
    /// The app runs without, and a warning names it.
    Warned,
    /// The pod does not start, and the error names it.
    Refused,
    /// Nobody asks for it by name, and this stage1 does not have it.
    Absent,
}

/// Where a row is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the namespace host.
    Namespace,
    /// In the vm host: it takes controllers of cgroup2.
    Machine,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is about.
    pub name: String,
    /// How it is asked for.
    pub ways: Vec<String>,
    /// For fly, nspawn and kvm.
    pub verdicts: [Verdict; 3],
    /// Where it is probed.
    pub place: Place,
}

impl Row {
    /// What `stage1` does.
    #[must_use]
    pub fn verdict(&self, stage1: Stage1) -> Verdict {
        self.verdicts[match stage1 {
            Stage1::Fly => 0,
            Stage1::Nspawn => 1,
            Stage1::Kvm => 2,
        }]
    }
}

/// All rows.
///
/// # Panics
/// When there is no such table, or a cell makes no sense.
#[must_use]
pub fn rows() -> Vec<Row> {
    let (_, table) = TEXT.split_once(HEAD).expect("docs/isolators.md has the table");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines
        .map(|line| row(line).unwrap_or_else(|| panic!("docs/isolators.md: cannot read the row {line}")))
        .collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<String> =
        line.trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect();
    let [name, ways, fly, nspawn, kvm, place] = &cells[..] else { return None };
    Some(Row {
        name: name.clone(),
        ways: ways.split(", ").map(str::to_owned).collect(),
        verdicts: [verdict(fly)?, verdict(nspawn)?, verdict(kvm)?],
        place: match place.as_str() {
            "namespaces" => Place::Namespace,
            "a machine" => Place::Machine,
            _ => return None,
        },
    })
}

fn verdict(cell: &str) -> Option<Verdict> {
    Some(match cell {
        "enforced" => Verdict::Enforced,
        "warned" => Verdict::Warned,
        "refused" => Verdict::Refused,
        "—" => Verdict::Absent,
        _ => return None,
    })
}
