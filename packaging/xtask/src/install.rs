//! Lays the built product out below a directory, as a package would.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::shell::{run, sources};
use crate::stage1;

/// Documents that a package carries.
const DOCUMENTS: &[&str] = &["LICENSE", "README.md", "CHANGELOG.md"];

/// The released product: the tree that the environment names (`RKT_UNDER_TEST`), or what is built now and laid out below `destdir`.
pub(crate) fn product(destdir: PathBuf) -> Result<PathBuf> {
    if std::env::var_os(tests::product::VARIABLE).is_some() {
        return tests::product::tree();
    }
    println!("Building rkt …");
    install(&destdir, Profile::Release)?;
    Ok(destdir)
}

/// Builds the product and lays it out below `destdir`.
pub(crate) fn install(destdir: &Path, profile: Profile) -> Result<()> {
    let programs = build::programs(profile)?;
    copy_tree(&sources().join("packaging/dist"), destdir)?;
    put(&programs.join("rkt"), &destdir.join("usr/bin/rkt"), 0o755)?;
    let generators = destdir.join("usr/lib/systemd/system-generators");
    put(&programs.join("rkt-pod-generator"), &generators.join("rkt-pod-generator"), 0o755)?;
    for program in build::talkers(profile)? {
        put(&program, &destdir.join("usr/lib/rkt").join(program.file_name().unwrap_or_default()), 0o755)?;
    }
    for document in DOCUMENTS {
        put(&sources().join(document), &destdir.join("usr/share/doc/rkt").join(document), 0o644)?;
    }
    run(Command::new(programs.join("manual")).arg(destdir.join("usr/share/man")))?;
    put_completion(&programs, destdir)?;
    let images = destdir.join("usr/lib/rkt/stage1-images");
    make_dir(&images)?;
    stage1::assemble(&programs, &images)
}

fn put_completion(programs: &Path, destdir: &Path) -> Result<()> {
    let dir = destdir.join("usr/share/bash-completion/completions");
    make_dir(&dir)?;
    let path = dir.join("rkt");
    let file = File::create(&path).with_context(|| format!("Cannot create {}", path.display()))?;
    run(Command::new(programs.join("rkt")).args(["completion", "bash"]).stdout(file))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("Cannot list {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else {
            put(&entry.path(), &to, 0o644)?;
        }
    }
    Ok(())
}

/// Copies a file under a new name first: whoever runs the old one keeps it.
fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    make_dir(to.parent().unwrap_or(to))?;
    let new = to.with_file_name(format!(".{}.new", to.file_name().unwrap_or_default().to_string_lossy()));
    fs::copy(from, &new).with_context(|| format!("Cannot copy {} to {}", from.display(), new.display()))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
    fs::rename(&new, to).with_context(|| format!("Cannot write {}", to.display()))
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("Cannot create {}", path.display()))
}
