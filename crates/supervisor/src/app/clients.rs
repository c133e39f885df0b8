//! What clients that attach to it do with its streams.

use super::App;
use crate::control::{Endpoint, WindowSize};
use crate::streams::Input;

impl App {
    /// Whether clients can connect to `endpoints`.
    ///
    /// # Errors
    /// Why they cannot.
    pub(crate) fn check_endpoints(&self, endpoints: &[Endpoint]) -> Result<(), String> {
        let name = &self.spec.name;
        if self.is_exited() {
            return Err(format!("App {name:?} has ended"));
        }
        let has = &self.streams.endpoints;
        if let Some(missing) = endpoints.iter().find(|endpoint| !has.contains(endpoint)) {
            let missing = missing.as_str();
            return Err(format!("App {name:?} has no {missing} to attach to: {}", Endpoint::list(has)));
        }
        match endpoints {
            [] => Err(format!(
                "App {name:?} has nothing to attach to: its streams are not of mode stream or tty"
            )),
            _ => Ok(()),
        }
    }

    /// Takes what a client sends to its standard input.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if let Some(input) = &mut self.streams.input {
            input.feed(bytes);
        }
    }

    /// Whether clients should send nothing more for now.
    pub(crate) fn takes_no_input(&self) -> bool {
        self.streams.input.as_ref().is_some_and(Input::is_congested)
    }

    /// Sets the size of the terminal that clients see.
    pub(crate) fn resize(&self, size: WindowSize) {
        if let Some(terminal) = &self.streams.terminal {
            terminal.resize(size);
        }
    }

    /// What clients are to get: the number of a stream, and bytes.
    pub(crate) fn take_fresh(&mut self) -> Vec<(u8, Vec<u8>)> {
        self.streams.take_fresh()
    }

    /// The status that clients are told of, once it is over.
    pub(crate) fn final_status(&self) -> Option<u8> {
        self.is_exited().then(|| self.status.unwrap_or(0))
    }
}
