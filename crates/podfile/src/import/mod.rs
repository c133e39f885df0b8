//! Pod files from what others have: Podman's quadlets, and units that call `rkt run`.
//!
//! What cannot be carried over is listed with its place and the reason: nothing is dropped in silence.

mod output;
mod quadlet;
mod rkt_run;

use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Source};
use crate::syntax;

/// What was made of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The pod file.
    pub text: String,
    /// What it does not say, or says otherwise, as warnings; errors are what could not be read.
    pub notes: Vec<Diagnostic>,
}

/// Makes a pod file of `main`: a quadlet `NAME.container` or `NAME.pod`, or a unit whose `ExecStart=` calls `rkt run`.
/// `members` are the containers of a `.pod` quadlet; `read` gives the text of a file that a key names.
pub fn import(main: &Rc<Source>, members: &[Rc<Source>], read: &dyn Fn(&str) -> Option<String>) -> Imported {
    let mut notes = Vec::new();
    let sections = syntax::parse(main, &mut notes);
    let has = |name: &str| sections.iter().any(|section| section.name == name);
    let mut output = output::Output::default();
    if has("Container") {
        quadlet::container(&sections, main, read, &mut output, &mut notes);
    } else if has("Pod") && main.path.ends_with(".pod") {
        quadlet::pod(&sections, main, members, read, &mut output, &mut notes);
    } else {
        rkt_run::unit(&sections, main, &mut output, &mut notes);
    }
    Imported { text: output.text(&main.path), notes }
}

#[cfg(test)]
mod tests;
