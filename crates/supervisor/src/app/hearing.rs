//! What an app and its processes have to say.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use executor::{Outcome, Report};

use super::{App, Phase, Shared};
use crate::lines;
use crate::log::{Line, Log};
use crate::status::Record;
use crate::streams::Input;
use crate::violations::{self, Heard};

/// What can be ready for an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Its process has something to report.
    Report,
    /// A message on its notify socket.
    Notify,
    /// A message on its `/dev/log`.
    Syslog,
    /// A call that a filter of its does not allow.
    Filter(usize),
    /// Something has happened to its memory.
    Memory,
    /// Bytes on standard output (0) or error (1).
    Output(usize),
    /// Bytes on the terminal that clients see.
    Terminal,
    /// Room in its standard input.
    Input,
}

impl App {
    /// What is to be watched.
    pub(crate) fn descriptors(&self, congested: bool) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        let report = self.running.as_ref().and_then(|running| running.report.as_ref());
        let outputs = self.streams.outputs.iter().enumerate();
        report
            .map(|report| (Source::Report, report.as_fd()))
            .into_iter()
            .chain(self.group.memory_events().map(|events| (Source::Memory, events)))
            .chain(self.notify.as_ref().map(|socket| (Source::Notify, socket.as_fd())))
            .chain(self.listeners.iter().enumerate().filter_map(|(index, listener)| {
                listener.as_ref().map(|listener| (Source::Filter(index), listener.as_fd()))
            }))
            .chain(self.syslog.as_ref().filter(|_| !congested).map(|socket| (Source::Syslog, socket.as_fd())))
            .chain(outputs.filter(move |_| !congested).filter_map(|(index, output)| {
                output.as_ref().map(|output| (Source::Output(index), output.as_fd()))
            }))
            .chain(
                self.streams
                    .terminal
                    .iter()
                    .filter(move |_| !congested)
                    .filter_map(|terminal| terminal.waiting().map(|terminal| (Source::Terminal, terminal))),
            )
    }

    /// What is to be watched for writing: standard input, while clients have sent more than the app has read.
    pub(crate) fn waiting_input(&self) -> Option<BorrowedFd<'_>> {
        self.streams.input.as_ref().and_then(Input::waiting)
    }

    /// One of the descriptors is ready.
    pub(crate) fn handle(&mut self, source: Source, shared: &mut Shared) {
        match source {
            Source::Report => self.hear_report(Report::receive, shared),
            Source::Notify => self.hear_notifications(),
            Source::Syslog => self.hear_syslog(shared),
            Source::Filter(index) => self.hear_violation(index, shared),
            Source::Memory => self.hear_of_memory(shared),
            Source::Output(index) => {
                let (name, pid) = (&self.spec.name, self.pid());
                let journal = self.streams.journals[index];
                if let Some(output) = &mut self.streams.outputs[index] {
                    output.read(|text| write_line(&mut shared.log, journal, name, pid, text));
                }
            }
            Source::Terminal => {
                if let Some(terminal) = &mut self.streams.terminal {
                    terminal.read();
                }
            }
            Source::Input => {
                if let Some(input) = &mut self.streams.input {
                    input.flush();
                }
            }
        }
    }

    pub(super) fn hear_report(&mut self, take: fn(&mut Report) -> Option<Outcome>, shared: &mut Shared) {
        let Some(running) = &mut self.running else { return };
        let Some(report) = &mut running.report else { return };
        let outcome = take(report);
        let listener = report.take_listener();
        if outcome.is_some() {
            running.report = None;
        }
        listener.into_iter().for_each(|listener| self.watch(listener));
        let Some(outcome) = outcome else { return };
        match outcome {
            Outcome::Started { mounts } => {
                self.mounts = mounts.or(self.mounts.take());
                if self.phase == Phase::Starting {
                    self.phase = Phase::Running;
                    self.watchdog = None;
                    if let Err(errno) = shared.status.record(&Record::Started { app: self.spec.name.clone() })
                    {
                        self.complain(shared, "record the start", errno);
                    }
                }
            }
            // The process ends with a status that says so.
            Outcome::Failed(error) => self.explain(shared, &error),
        }
    }

    /// Hears from now on what the filter of one of its processes refers.
    pub(crate) fn watch(&mut self, listener: OwnedFd) {
        match self.listeners.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(listener),
            None => self.listeners.push(Some(listener)),
        }
    }

    pub(super) fn hear_violation(&mut self, index: usize, shared: &mut Shared) {
        let Some(listener) = self.listeners.get(index).and_then(Option::as_ref) else { return };
        match violations::hear(listener.as_fd()) {
            Heard::Nothing => {}
            Heard::Over => self.listeners[index] = None,
            Heard::Violation(violation) => {
                self.violator = violation.process.or(self.violator);
                self.say(shared, 3, violation.text.as_bytes());
            }
        }
    }

    pub(super) fn hear_of_memory(&mut self, shared: &mut Shared) {
        if let Some(text) = self.group.out_of_memory() {
            self.say(shared, 3, text.as_bytes());
        }
    }

    pub(super) fn hear_notifications(&mut self) {
        let Some(socket) = &self.notify else { return };
        let mut buffer = [0; 4096];
        while let Some(message) = socket.receive(&mut buffer) {
            for assignment in message.split(|&byte| byte == b'\n') {
                if let Some(text) = assignment.strip_prefix(b"STATUS=") {
                    self.status_text = Some(String::from_utf8_lossy(text).into_owned());
                }
                match assignment {
                    b"READY=1" => self.is_ready = true,
                    b"WATCHDOG=1" => {}
                    _ => continue,
                }
                if let Some(period) = self.spec.watchdog_usec.filter(|_| self.is_ready) {
                    self.watchdog = Some(Instant::now() + Duration::from_micros(period));
                }
            }
        }
    }

    pub(super) fn hear_syslog(&self, shared: &mut Shared) {
        let Some(socket) = &self.syslog else { return };
        let mut buffer = [0; 8192];
        while !shared.log.is_congested() {
            let Some(message) = socket.receive(&mut buffer) else { return };
            let (facility, priority, text) = lines::syslog(message);
            let facility = Some(facility);
            shared.log.write(Line { app: &self.spec.name, pid: self.pid(), priority, facility, text });
        }
    }

    pub(super) fn drain_output(&mut self, shared: &mut Shared) {
        let (name, pid) = (&self.spec.name, self.pid());
        let outputs = self.streams.outputs.iter_mut().zip(self.streams.journals);
        for (output, journal) in outputs.filter_map(|(output, journal)| Some((output.as_mut()?, journal))) {
            output.finish(|text| write_line(&mut shared.log, journal, name, pid, text));
        }
        if let Some(terminal) = &mut self.streams.terminal {
            while terminal.read() {}
        }
        self.hear_syslog(shared);
    }
}

fn write_line(log: &mut Log, journal: Option<usize>, app: &str, pid: Option<i32>, text: &[u8]) {
    if let Some(stream) = journal {
        return log.write_to(stream, text);
    }
    let (priority, text) = lines::priority(text);
    log.write(Line { app, pid, priority, facility: None, text });
}
