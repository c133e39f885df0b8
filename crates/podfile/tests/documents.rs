//! What `docs/pods.md` says of keys is what the parser knows. `RKT_BLESS=1` writes it anew.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use podfile::keys::{APP, POD};
use podfile::specifier::KNOWN;

/// The text with what stands between `<!-- MARK -->` and `<!-- end -->` replaced by `table`.
fn replace(text: &str, mark: &str, table: &str) -> String {
    let mark = format!("<!-- {mark} -->\n");
    let (before, rest) = text.split_once(&mark).unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{mark}{table}<!-- end -->{after}")
}

fn row(name: &str, syntax: &str, about: &str, adds: bool) -> String {
    let more = if adds { " May be given several times." } else { "" };
    format!("| `{name}=` | {} | {about}{more} |\n", format!("`{syntax}`").replace('|', "\\|"))
}

#[test]
fn documented_keys_are_the_parsers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pods.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let head = "| key | value | what it does |\n|---|---|---|\n".to_owned();
    let rows = |rows: Vec<String>| head.clone() + &rows.concat();
    let pod = rows(POD.iter().map(|key| row(key.name, key.syntax, key.about, key.adds)).collect());
    let app = rows(APP.iter().map(|key| row(key.name, key.syntax, key.about, key.adds)).collect());
    let specifiers: String =
        KNOWN.iter().map(|(letter, about)| format!("| `%{letter}` | {about} |\n")).collect();
    let specifiers = format!("| specifier | what it stands for |\n|---|---|\n{specifiers}");
    let mut wanted = replace(&text, "keys of [Pod]", &pod);
    wanted = replace(&wanted, "keys of [App]", &app);
    wanted = replace(&wanted, "specifiers", &specifiers);
    if std::env::var_os("RKT_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(wanted == text, "docs/pods.md is stale: RKT_BLESS=1 cargo test -p podfile");
}
