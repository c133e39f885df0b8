//! Flags that belong to one image and follow it.

/// Which of them a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PerApp {
    /// `--signature` alone.
    Signature,
    /// All.
    All,
}

impl PerApp {
    /// Whether `--name` is one of them.
    pub(crate) fn has(self, name: &str) -> bool {
        match self {
            PerApp::Signature => name == "signature",
            PerApp::All => ["signature", "mount", "exec"].contains(&name),
        }
    }

    /// Whether `--name` has no meaning before the first image.
    pub(crate) fn only_after_image(self, name: &str) -> bool {
        self.has(name) && name != "mount"
    }
}
