//! The state table: directory and lock give the state.

use std::fmt;

/// A directory that pods stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Just made.
    Embryo,
    /// Being filled.
    Prepare,
    /// Ready to run.
    Prepared,
    /// Started.
    Run,
    /// Marked after its end.
    ExitedGarbage,
    /// Marked without having run.
    Garbage,
}

impl Place {
    /// All, in the order in which a pod moves through them.
    pub const ALL: [Place; 6] =
        [Place::Embryo, Place::Prepare, Place::Prepared, Place::Run, Place::ExitedGarbage, Place::Garbage];

    /// Those that `list` shows and that names of pods are looked up in.
    pub const LISTED: [Place; 4] = [Place::Prepare, Place::Prepared, Place::Run, Place::ExitedGarbage];

    /// The name of the directory.
    pub fn directory(self) -> &'static str {
        match self {
            Place::Embryo => "embryo",
            Place::Prepare => "prepare",
            Place::Prepared => "prepared",
            Place::Run => "run",
            Place::ExitedGarbage => "exited-garbage",
            Place::Garbage => "garbage",
        }
    }

    /// The state of a pod that stands here.
    pub fn state(self, in_use: bool) -> State {
        match (self, in_use) {
            (Place::Embryo, _) => State::Embryo,
            (Place::Prepare, true) => State::Preparing,
            (Place::Prepare, false) => State::AbortedPrepare,
            (Place::Prepared, _) => State::Prepared,
            (Place::Run, true) => State::Running,
            (Place::Run, false) => State::Exited,
            (Place::ExitedGarbage, true) => State::ExitedDeleting,
            (Place::ExitedGarbage, false) => State::ExitedGarbage,
            (Place::Garbage, true) => State::Deleting,
            (Place::Garbage, false) => State::Garbage,
        }
    }

    /// Whether the lock tells anything about a pod here.
    pub(crate) fn lock_matters(self) -> bool {
        !matches!(self, Place::Embryo | Place::Prepared)
    }

    /// Where a pod that stands here goes when it is marked for deletion.
    pub(crate) fn garbage(self) -> Place {
        match self {
            Place::Run | Place::ExitedGarbage => Place::ExitedGarbage,
            _ => Place::Garbage,
        }
    }
}

/// What a pod is doing. The text form is what users and scripts see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Just made, not locked yet.
    Embryo,
    /// Its root file systems are being made.
    Preparing,
    /// Whoever prepared it is gone.
    AbortedPrepare,
    /// Ready for `run-prepared`.
    Prepared,
    /// It runs.
    Running,
    /// It ran, and its processes are gone.
    Exited,
    /// It ran and is being deleted.
    ExitedDeleting,
    /// It ran, and waits for its deletion.
    ExitedGarbage,
    /// It never ran and is being deleted.
    Deleting,
    /// It never ran, and waits for its deletion.
    Garbage,
}

impl State {
    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Embryo => "embryo",
            State::Preparing => "preparing",
            State::AbortedPrepare => "aborted prepare",
            State::Prepared => "prepared",
            State::Running => "running",
            State::Exited => "exited",
            State::ExitedDeleting => "exited deleting",
            State::ExitedGarbage => "exited garbage",
            State::Deleting => "deleting",
            State::Garbage => "garbage",
        }
    }

    /// Whether the pod ran and ended, marked for deletion or not.
    pub fn has_exited(self) -> bool {
        matches!(self, State::Exited | State::ExitedDeleting | State::ExitedGarbage)
    }

    /// Whether nothing more happens to the pod but its deletion.
    pub fn is_finished(self) -> bool {
        self.has_exited() || matches!(self, State::AbortedPrepare | State::Deleting | State::Garbage)
    }

    /// Whether the pod was started at some time.
    pub fn was_started(self) -> bool {
        self == State::Running || self.has_exited()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
