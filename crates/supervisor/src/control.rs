//! The protocol of the control socket, a unix stream socket.
//!
//! ```text
//! message  = length (4 bytes, big endian, at most 1 MiB) JSON
//! client → supervisor   one Request; the standard streams of Exec travel with it (SCM_RIGHTS: stdin, stdout,
//!                       stderr, those that `streams` names), then Signal and Resize as long as the process runs
//! supervisor → client   one Response; with Started{tty: true} travels the master side of the terminal;
//!                       Exited follows Started
//! ```
//! One request a connection. A client that goes away hangs up on the process it started.

use serde::{Deserialize, Serialize};

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// Run a program with the confinement of an app.
    Exec(Exec),
    /// Send a signal to the process that this connection's `Exec` started.
    Signal {
        /// Its number.
        number: i32,
    },
    /// The terminal of the process that this connection's `Exec` started has a new size.
    Resize(WindowSize),
    /// End the pod.
    Stop {
        /// Kill at once; otherwise apps get SIGTERM and the pod's grace time.
        #[serde(default)]
        force: bool,
    },
    /// Tell what runs.
    Status,
}

/// A program to run in an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exec {
    /// Which app's namespaces, cgroup, capabilities, seccomp filter, user, environment and working directory.
    pub app: String,
    /// The program and its arguments, looked up as the app's own.
    pub argv: Vec<String>,
    /// `TERM` of the client.
    #[serde(default)]
    pub term: Option<String>,
    /// A terminal is wanted, of this size.
    #[serde(default)]
    pub tty: Option<WindowSize>,
    /// Which of stdin, stdout and stderr travel with the request, in this order. The others come from
    /// `/dev/null`, or the terminal when there is one.
    #[serde(default)]
    pub streams: [bool; 3],
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// The program of an `Exec` runs.
    Started {
        /// Its pid in the pod.
        pid: i32,
        /// The master side of its terminal travels with this message.
        tty: bool,
    },
    /// The program of an `Exec` has ended.
    Exited {
        /// As a shell says it: 128+N for signal N.
        status: u8,
    },
    /// It was done, or is on its way (`Stop`).
    Done,
    /// To `Status`.
    Status {
        /// All apps, in the pod's order.
        apps: Vec<AppStatus>,
    },
    /// It was not done.
    Error {
        /// Why, as a sentence.
        message: String,
    },
}

/// One app of [`Response::Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: AppState,
    /// Its main process.
    #[serde(default)]
    pub pid: Option<i32>,
    /// How it ended.
    #[serde(default)]
    pub exit_status: Option<u8>,
}

/// Where an app stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppState {
    /// Not started yet.
    Created,
    /// Its pre-start handler runs, or it has not said that it is ready.
    Starting,
    /// It runs.
    Running,
    /// It has been asked to end, or its post-stop handler runs.
    Stopping,
    /// It has ended.
    Exited,
}
