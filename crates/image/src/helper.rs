//! The process that unpacks.
//!
//! Whatever reads a hostile archive might be taken over by it, so that is done by a process of its own: this very
//! program once more, under the name `rkt-unpack` ([`helper_main`]). It gets the compressed archive on its standard
//! input, has the target as its working directory, and answers with one line of JSON on its standard output:
//!
//! ```text
//! argv      rkt-unpack '{"work":{"unpack":"image"}|{"check":"layer"}|"manifest","limits":{…}}'
//! stdin     the archive, compressed or not, until its end
//! cwd       the empty directory for the root file system ("unpack")
//! stdout    {"Ok":{"sha512":"…",…}} or {"Err":{…}}
//! ```
//! Before it reads the first byte it gives everything else up, see [`confine`]. It ends by itself when its parent
//! dies.

mod confine;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};

use crate::archive::ArchiveError;
use crate::limits::Limits;
use crate::pipeline::{self, Content, Outcome};

pub use confine::confine;

/// The name under which a program that links this library must call [`helper_main`].
pub const HELPER_NAME: &str = "rkt-unpack";

/// Bytes passed on at once, and in the pipe to the helper.
const CHUNK: usize = 256 << 10;

/// Bytes of an answer: those of a manifest that is all escapes, and of marks.
const ANSWER: u64 = 80 << 20;

/// What a helper is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    work: Work,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Work {
    /// Unpack into the working directory.
    Unpack(Content),
    /// Only read.
    Check(Content),
    /// Read as far as the manifest of an App Container image.
    Manifest,
    /// Write it uncompressed to the standard output; the answer comes on the standard error output.
    Expand,
}

/// What a helper answers.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Outcome(Box<Outcome>),
    Manifest(String),
    /// The digest (SHA-512).
    Expanded(String),
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The archive is not acceptable.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The helper could not be started.
    #[error("Cannot start the process that unpacks images")]
    Start(#[source] io::Error),
    /// The source of the archive failed.
    #[error("Cannot read the archive")]
    Source(#[source] io::Error),
    /// The copy that is kept could not be written.
    #[error("Cannot store the archive")]
    Copy(#[source] io::Error),
    /// The helper ended without an answer.
    #[error("The process that unpacks images ended without an answer ({0})")]
    Died(String),
}

/// Feeds `source` to a helper process, and every piece to `copy` on the way, and returns what the helper found. With
/// `root`, an empty directory, it unpacks there; without, it only checks.
///
/// `program` is the program with [`helper_main`] in it; by default the one that runs.
pub(crate) fn run(
    program: Option<&PathBuf>,
    content: Content,
    source: &mut dyn Read,
    copy: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    root: Option<BorrowedFd<'_>>,
    limits: &Limits,
) -> Result<Outcome, HelperError> {
    let work = if root.is_some() { Work::Unpack(content) } else { Work::Check(content) };
    match ask(program, source, copy, root, None, &Job { work, limits: limits.clone() })? {
        Answer::Outcome(outcome) => Ok(*outcome),
        _ => Err(HelperError::Died("another answer".to_owned())),
    }
}

/// The manifest of the App Container image `source`, which is not read further.
pub(crate) fn manifest(
    program: Option<&PathBuf>,
    source: &mut dyn Read,
    limits: &Limits,
) -> Result<String, HelperError> {
    let job = Job { work: Work::Manifest, limits: limits.clone() };
    match ask(program, source, &mut |_| Ok(()), None, None, &job)? {
        Answer::Manifest(text) => Ok(text),
        _ => Err(HelperError::Died("another answer".to_owned())),
    }
}

/// Writes the archive `source` uncompressed to `out`; returns its SHA-512 in hexadecimal digits.
pub(crate) fn expand(
    program: Option<&PathBuf>,
    source: &mut dyn Read,
    out: &File,
    limits: &Limits,
) -> Result<String, HelperError> {
    let job = Job { work: Work::Expand, limits: limits.clone() };
    match ask(program, source, &mut |_| Ok(()), None, Some(out), &job)? {
        Answer::Expanded(digest) => Ok(digest),
        _ => Err(HelperError::Died("another answer".to_owned())),
    }
}

fn ask(
    program: Option<&PathBuf>,
    source: &mut dyn Read,
    copy: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    root: Option<BorrowedFd<'_>>,
    out: Option<&File>,
    job: &Job,
) -> Result<Answer, HelperError> {
    let mut child = start(program, root, out, job)?;
    let fed = match child.stdin.take() {
        Some(stdin) => feed(source, copy, stdin),
        None => Ok(()),
    };
    if fed.is_err() {
        let _ = child.kill();
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(ANSWER).read_to_end(&mut answer);
    } else if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(ANSWER).read_to_end(&mut answer);
    }
    let status = child.wait().map_err(HelperError::Start)?;
    fed?;
    match serde_json::from_slice::<Result<Answer, ArchiveError>>(&answer) {
        Ok(result) => Ok(result?),
        Err(_) => Err(HelperError::Died(match (status.code(), status.signal()) {
            (_, Some(signal)) => format!("signal {signal}"),
            (code, None) => format!("status {}", code.unwrap_or(-1)),
        })),
    }
}

fn start(
    program: Option<&PathBuf>,
    root: Option<BorrowedFd<'_>>,
    out: Option<&File>,
    job: &Job,
) -> Result<Child, HelperError> {
    let job = serde_json::to_string(job).map_err(|error| HelperError::Start(error.into()))?;
    let mut command = Command::new(program.map_or_else(|| "/proc/self/exe".into(), PathBuf::clone));
    command.arg0(HELPER_NAME).arg(job).env_clear().stdin(Stdio::piped());
    match out {
        Some(out) => command.stdout(out.try_clone().map_err(HelperError::Copy)?).stderr(Stdio::piped()),
        None => command.stdout(Stdio::piped()),
    };
    if let Some(root) = root {
        // The child has the same descriptor until it executes the program.
        command.current_dir(format!("/proc/self/fd/{}", root.as_raw_fd()));
    } else {
        command.current_dir("/");
    }
    let child = command.spawn().map_err(HelperError::Start)?;
    if let Some(stdin) = &child.stdin {
        // A user who has too many pipes keeps the small one.
        let _ = rustix::pipe::fcntl_setpipe_size(stdin, CHUNK);
    }
    Ok(child)
}

/// Passes `source` on. A helper that stops reading has its reasons, which it tells.
fn feed(
    source: &mut dyn Read,
    copy: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    mut helper: ChildStdin,
) -> Result<(), HelperError> {
    let mut buffer = vec![0; CHUNK];
    let mut listening = true;
    while listening {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(HelperError::Source(error)),
        };
        copy(&buffer[..count]).map_err(HelperError::Copy)?;
        match helper.write_all(&buffer[..count]) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => listening = false,
            Err(error) => return Err(HelperError::Start(error)),
        }
    }
    Ok(())
}

/// The `main` of the helper process: call it first of all when `argv[0]` is [`HELPER_NAME`].
pub fn helper_main() -> ExitCode {
    let job = match std::env::args().nth(1).map(|job| serde_json::from_str::<Job>(&job)) {
        Some(Ok(job)) => job,
        _ => return ExitCode::from(254),
    };
    let Ok(answer) = serde_json::to_vec(&work(&job)) else { return ExitCode::from(254) };
    let written = match job.work {
        Work::Expand => write_all(io::stderr().as_fd(), &answer),
        _ => write_all(io::stdout().as_fd(), &answer),
    };
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(254) }
}

fn work(job: &Job) -> Result<Answer, ArchiveError> {
    let fenced = |error: io::Error| ArchiveError::System {
        doing: "fence off".to_owned(),
        entry: "the process that unpacks".to_owned(),
        errno: error.raw_os_error().unwrap_or(0),
    };
    let root = confine(matches!(job.work, Work::Unpack(_))).map_err(fenced)?;
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(fenced)?);
    match job.work {
        Work::Unpack(content) | Work::Check(content) => {
            pipeline::run(content, stdin, root, &job.limits, true)
                .map(|outcome| Answer::Outcome(Box::new(outcome)))
        }
        Work::Manifest => pipeline::manifest(stdin, &job.limits).map(Answer::Manifest),
        Work::Expand => {
            let out = io::stdout();
            let write = |bytes: &[u8]| write_all(out.as_fd(), bytes);
            pipeline::expand(stdin, &job.limits, write).map(Answer::Expanded)
        }
    }
}

/// Without the line buffer of `println!`, and without its panic.
fn write_all(out: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(out, bytes) {
            Err(rustix::io::Errno::INTR) => {}
            written => bytes = &bytes[written?..],
        }
    }
    Ok(())
}
