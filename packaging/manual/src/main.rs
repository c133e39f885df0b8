//! Writes the manual pages of rkt below a directory: `manual DIR` makes `DIR/man1` and `DIR/man5`. One page a command, from
//! the definition that also parses the command line, and one for pod files, from the table that also reads them: so neither can
//! drift apart.

mod pod_files;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// What the page of `rkt` itself says below its options: a title and paragraphs, the first words of which are a term where a
/// tab follows them.
const SECTIONS: &[(&str, &[&str])] = &[
    (
        "EXIT STATUS",
        &[
            "0\tsuccess",
            "2\tno command was given",
            "254\trkt failed; the reason is on standard error",
            "other\twhat the first failing app of the pod returned (run, run-prepared, enter, and status --wait)",
        ],
    ),
    (
        "FILES",
        &[
            "/var/lib/rkt\tpods and the image store; --dir chooses another place",
            "/etc/rkt\tconfiguration of this host; --local-config chooses another place",
            "/usr/lib/rkt\tconfiguration and stage1 images of the distribution; --system-config chooses another place for the former",
        ],
    ),
];

fn main() -> Result<()> {
    let top = std::env::args_os().nth(1).map(PathBuf::from).context("Usage: manual DIR")?;
    let (dir, files) = (top.join("man1"), top.join("man5"));
    for dir in [&dir, &files] {
        fs::create_dir_all(dir).with_context(|| format!("Cannot create {}", dir.display()))?;
    }
    let path = files.join("rkt.pod.5");
    fs::write(&path, pod_files::page()).with_context(|| format!("Cannot write {}", path.display()))?;
    let root = stage0::command();
    let pages = write_tree(&dir, &root, "rkt")?;
    let others: Vec<_> = pages.iter().map(|name| format!("{name}(1)")).collect();
    let mut page = page(&root, "rkt")?;
    let mut rest = Roff::new();
    for (title, paragraphs) in SECTIONS {
        rest.control("SH", [*title]);
        for paragraph in *paragraphs {
            rest.control("TP", []);
            match paragraph.split_once('\t') {
                Some((term, text)) => rest.text([bold(term)]).text([roman(text)]),
                None => rest.text([roman(*paragraph)]),
            };
        }
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text([roman(format!(
        "{}, rkt.pod(5), systemd.exec(5), systemd-nspawn(1), machinectl(1)",
        others.join(", ")
    ))]);
    rest.to_writer(&mut page)?;
    write(&dir, "rkt", &page)
}

/// Writes a page for each visible command below `command`, and returns their names.
fn write_tree(dir: &Path, command: &Command, name: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
        let name = format!("{name}-{}", child.get_name());
        write(dir, &name, &page(child, &name)?)?;
        let below = write_tree(dir, child, &name)?;
        names.push(name);
        names.extend(below);
    }
    Ok(names)
}

fn page(command: &Command, name: &str) -> Result<Vec<u8>> {
    // Printed on every page, so it is the name of the page and not the name of the word.
    let named = command.clone().name(name.to_owned()).display_name(name.to_owned());
    let man = Man::new(named.clone()).manual("rkt").source(format!("rkt {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    let usage = command.clone().render_usage().to_string();
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    synopsis.text([roman(usage.trim_start_matches("Usage:").trim())]);
    synopsis.to_writer(&mut page)?;
    if command.get_long_about().is_some_and(|text| !text.to_string().is_empty()) {
        man.render_description_section(&mut page)?;
    }
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    Ok(page)
}

fn write(dir: &Path, name: &str, page: &[u8]) -> Result<()> {
    let path = dir.join(format!("{name}.1"));
    fs::write(&path, page).with_context(|| format!("Cannot write {}", path.display()))
}
