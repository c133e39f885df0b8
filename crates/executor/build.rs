//! Compiles the fixed seccomp filters and the table of system call names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

#[path = "src/seccomp"]
mod seccomp {
    #[allow(dead_code, reason = "the library uses more of it")]
    pub(crate) mod program;
    pub(crate) mod sets;
}

use seccomp::program::{ALLOW, Architecture, Decision, ENOSYS, EPERM, Op, assemble};

/// `AUDIT_ARCH_*` of each architecture whose programs run on the target, and its system calls.
type Tables = Vec<(u32, BTreeMap<&'static str, u32>)>;

fn main() {
    println!("cargo::rerun-if-changed=src/seccomp");
    let tables = tables();
    let mut code = names(&tables);
    define(&mut code, "DEFAULT", &default(&tables));
    let groups = baseline_groups();
    let all: Vec<&str> = groups.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    define(&mut code, "BASELINE", &deny(&tables, &all));
    code.push_str("pub(super) static BASELINE_GROUPS: &[(&str, &[Instruction])] = &[\n");
    for (group, names) in &groups {
        let _ = writeln!(code, "({group:?}, &{}),", literal(&deny(&tables, names)));
    }
    code.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(Path::new(&out).join("filters.rs"), code).expect("OUT_DIR takes files");
}

fn tables() -> Tables {
    fn collect<S>(
        calls: impl Iterator<Item = S>,
        entry: fn(S) -> (&'static str, i32),
    ) -> BTreeMap<&'static str, u32> {
        calls.map(entry).map(|(name, number)| (name, number.cast_unsigned())).collect()
    }
    match std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => vec![
            (0xc000_003e, collect(syscalls::x86_64::Sysno::iter(), |call| (call.name(), call.id()))),
            // Images of the Go rkt's time hold 32-bit programs, and its filters let them run.
            (0x4000_0003, collect(syscalls::x86::Sysno::iter(), |call| (call.name(), call.id()))),
        ],
        Ok("aarch64") => {
            vec![(0xc000_00b7, collect(syscalls::aarch64::Sysno::iter(), |call| (call.name(), call.id())))]
        }
        other => panic!("There is no table of system calls for {other:?}: add one here"),
    }
}

/// All names with their number on each architecture, sorted.
fn names(tables: &Tables) -> String {
    let mut all: BTreeMap<&str, Vec<Option<u32>>> = BTreeMap::new();
    for (_, calls) in tables {
        for name in calls.keys() {
            all.entry(name)
                .or_insert_with(|| tables.iter().map(|(_, calls)| calls.get(name).copied()).collect());
        }
    }
    let audits: Vec<u32> = tables.iter().map(|(audit, _)| *audit).collect();
    let count = tables.len();
    let mut code = format!("pub(super) static ARCHITECTURES: [u32; {count}] = {audits:?};\n");
    let _ = writeln!(code, "pub(super) static NAMES: &[(&str, [Option<u32>; {count}])] = &[");
    for (name, numbers) in all {
        let _ = writeln!(code, "({name:?}, {numbers:?}),");
    }
    code + "];\n"
}

/// The default list. What it does not have and we know fails with EPERM; what came after our table with ENOSYS,
/// which programs take as the sign to do it the old way.
fn default(tables: &Tables) -> Vec<Op> {
    let text = include_str!("src/seccomp/sets/default-whitelist.txt");
    let list = seccomp::sets::parse(text).expect("sets/default-whitelist.txt");
    let list: BTreeMap<&str, Decision> = list.iter().map(|entry| (entry.name, entry.decision)).collect();
    let architectures: Vec<Architecture> = tables
        .iter()
        .map(|(audit, calls)| Architecture {
            audit: *audit,
            calls: calls
                .iter()
                .map(|(name, &number)| (number, list.get(name).copied().unwrap_or(Decision::Return(EPERM))))
                .collect(),
            others: Decision::Return(ENOSYS),
        })
        .collect();
    assemble(&architectures)
}

fn baseline_groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in include_str!("src/seccomp/sets/baseline.txt").lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(group) = words.next() else { continue };
        assert!(group == "never" || group.starts_with("CAP_"), "sets/baseline.txt: {line}");
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, names)) => names.extend(words),
            None => groups.push((group, words.collect())),
        }
    }
    groups
}

/// Allows everything but `names`.
fn deny(tables: &Tables, names: &[&str]) -> Vec<Op> {
    for name in names {
        assert!(tables.iter().any(|(_, calls)| calls.contains_key(name)), "No such system call: {name}");
    }
    let architectures: Vec<Architecture> = tables
        .iter()
        .map(|(audit, calls)| Architecture {
            audit: *audit,
            calls: names
                .iter()
                .filter_map(|name| calls.get(name).map(|&number| (number, Decision::Return(EPERM))))
                .collect(),
            others: Decision::Return(ALLOW),
        })
        .collect();
    assemble(&architectures)
}

fn define(code: &mut String, name: &str, program: &[Op]) {
    let _ = writeln!(code, "pub(super) static {name}: &[Instruction] = &{};", literal(program));
}

fn literal(program: &[Op]) -> String {
    let mut code = "[\n".to_owned();
    for (operation, jt, jf, k) in program {
        let _ = writeln!(code, "Instruction {{ code: {operation}, jt: {jt}, jf: {jf}, k: {k} }},");
    }
    code + "]"
}
