//! Every test that `docs/CVE-LEDGER.md` names exists.

use std::path::Path;

#[test]
fn every_test_of_the_ledger_exists() -> Result<(), Box<dyn std::error::Error>> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let ledger = std::fs::read_to_string(sources.join("docs/CVE-LEDGER.md"))?;
    let mut found = 0;
    for row in ledger.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        assert!(cell == "none" || cell.contains("::"), "no test, and not \"none\": {row}");
        for name in cell.split('`').filter(|name| name.contains("::")) {
            let parts: Vec<&str> = name.split("::").collect();
            let file = match parts.as_slice() {
                [module, _] => format!("tests/tests/e2e/{module}.rs"),
                [part, module, _] => format!("crates/{part}/src/{module}/tests.rs"),
                _ => return Err(format!("{name} is no module::function").into()),
            };
            let text =
                std::fs::read_to_string(sources.join(&file)).map_err(|error| format!("{file}: {error}"))?;
            let function = parts.last().copied().unwrap_or_default();
            assert!(text.contains(&format!("fn {function}(")), "{file} has no function {function}");
            found += 1;
        }
    }
    assert!(found > 10, "only {found} tests are named");
    Ok(())
}
