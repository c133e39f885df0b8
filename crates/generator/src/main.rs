//! `rkt-pod-generator NORMAL-DIR EARLY-DIR LATE-DIR`; with `RKT_GENERATOR_ROOT` it looks below another root.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(output) = std::env::args_os().nth(1).map(PathBuf::from) else {
        say("The directory of the units is missing: rkt-pod-generator NORMAL-DIR [EARLY-DIR LATE-DIR]");
        return ExitCode::FAILURE;
    };
    let root = std::env::var_os("RKT_GENERATOR_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let open = |path: &PathBuf| {
        sys::path::open_directory(path)
            .map_err(|errno| format!("Cannot open {}: {}", path.display(), std::io::Error::from(errno)))
    };
    match open(&root).and_then(|root| Ok((root, open(&output)?))) {
        Ok((root, output)) => {
            generator::generate(root, output.as_fd()).iter().for_each(|message| say(message));
            ExitCode::SUCCESS
        }
        Err(message) => {
            say(&message);
            ExitCode::FAILURE
        }
    }
}

/// Tells the kernel's log, as there may be no journal yet, and whoever runs this by hand.
fn say(message: &str) {
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // Nobody can act on a failure here.
    if let Ok(mut log) = std::fs::OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("<4>rkt-pod-generator: {line}\n").as_bytes());
    }
    let _ = writeln!(std::io::stderr(), "rkt-pod-generator: {line}");
}
