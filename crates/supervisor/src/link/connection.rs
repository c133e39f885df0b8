//! The link itself.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::event::PollFlags;
use rustix::io::Errno;
use serde::Serialize;
use serde_json::Value;

use super::call::{self, Call};
use super::frame::{Frame, LENGTH_MAX, Malformed, ORDER_MAX};
use super::stream::{Flow, Kind, Stream, Taken};
use super::target::{Peer, Target};
use crate::client::set_window_size;
use crate::control::WindowSize;

/// Calls at one time: as many as the supervisor serves.
const CALLS_MAX: usize = 128;

/// Streams at one time.
const STREAMS_MAX: usize = 1024;

/// Bytes waiting for the other side from which on nothing more is read for it.
const CONGESTED: usize = 256 * 1024;

/// Which end of the link this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The monitor's.
    Host,
    /// That of the guest's init.
    Guest,
}

/// Why the link cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Its device or socket.
    #[error("The link between host and guest failed")]
    Port(#[from] Errno),
    /// No frame.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A frame that does not belong there.
    #[error("The other side of the link does not keep to the protocol: {0}")]
    Misplaced(&'static str),
}

/// What has come and is not the link's own business.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// JSON of an [`super::Order`] or a [`super::Report`].
    Notice(Vec<u8>),
    /// A packet of the stream that is heard: see [`Link::hear`].
    Told(Vec<u8>),
    /// The other side has closed the link.
    Closed,
}

/// A descriptor that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// The link's own.
    Port,
    /// That of a stream.
    Stream(u32),
    /// That of a call.
    Call(u32),
}

/// One end of the link.
#[derive(Debug)]
pub struct Link {
    /// None before the other side has connected.
    port: Option<OwnedFd>,
    side: Side,
    input: Vec<u8>,
    output: Vec<u8>,
    streams: BTreeMap<u32, Stream>,
    calls: BTreeMap<u32, Call>,
    /// The stream of what is told.
    told: Option<u32>,
    events: VecDeque<Event>,
    /// Where the supervisor listens, on its side.
    supervisor: Option<PathBuf>,
    /// Where the apps listen whose sockets are those of the host, on their side.
    targets: Vec<Target>,
    next: u32,
    is_closed: bool,
    /// That is to be told yet.
    end: Option<Event>,
    /// Nothing is read from streams.
    is_paused: bool,
}

impl Link {
    /// Links over `port`, which does not block.
    pub fn new(port: OwnedFd, side: Side) -> Self {
        Link { port: Some(port), ..Link::unconnected(side) }
    }

    /// Links once there is a port: [`Link::plug`].
    pub fn unconnected(side: Side) -> Self {
        let next = if side == Side::Host { 2 } else { 1 };
        Link {
            port: None,
            side,
            input: Vec::new(),
            output: Vec::new(),
            streams: BTreeMap::new(),
            calls: BTreeMap::new(),
            told: None,
            events: VecDeque::new(),
            supervisor: None,
            targets: Vec::new(),
            next,
            is_closed: false,
            end: None,
            // The guest does not know the streams before it has been told.
            is_paused: side == Side::Host,
        }
    }

    /// The other side has connected: `port`, which does not block.
    pub fn plug(&mut self, port: OwnedFd) {
        self.port = Some(port);
    }

    /// The other side knows all streams: what is read from them may be sent.
    pub fn resume(&mut self) {
        self.is_paused = false;
    }

    /// A number that the other side does not give.
    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(2);
        number
    }

    /// Carries `fd`; the other side has to [`Link::adopt`] the number.
    pub fn carry(&mut self, fd: OwnedFd, flow: Flow, kind: Kind) -> u32 {
        let number = self.number();
        self.streams.insert(number, Stream::new(fd, flow, kind, None));
        number
    }

    /// Joins `fd` to the stream `number` of the other side.
    pub fn adopt(&mut self, number: u32, fd: OwnedFd, flow: Flow, kind: Kind) {
        self.streams.insert(number, Stream::new(fd, flow, kind, None));
    }

    /// Makes events of the packets of a stream; the other side has to [`Link::tell`] what goes over the number. What it has sent after
    /// one of them goes nowhere before the next event is asked for.
    pub fn hear(&mut self) -> u32 {
        let number = self.number();
        self.told = Some(number);
        number
    }

    /// Sends the packets of `pipe`, which does not block, over the stream `number`, and each of them before everything that is read after
    /// it was there.
    pub fn tell(&mut self, number: u32, pipe: OwnedFd) {
        self.told = Some(number);
        self.adopt(number, pipe, Flow::Read, Kind::Datagrams);
    }

    /// Passes on a connection to the supervisor: `socket`, which does not block.
    pub fn call(&mut self, socket: OwnedFd) {
        if self.calls.len() >= CALLS_MAX {
            return;
        }
        let number = self.number();
        self.calls.insert(number, Call::new(socket));
        self.send(&Frame::Open(number));
    }

    /// Calls of the other side go to the supervisor that listens at `path`.
    pub fn serve(&mut self, path: PathBuf) {
        self.supervisor = Some(path);
    }

    /// Passes on a connection to the host's socket `listener`: `socket`, which does not block. `false` when there are too many.
    pub fn connect(&mut self, listener: u32, socket: OwnedFd, peer: Peer) -> bool {
        if !self.has_room() {
            return false;
        }
        let stream = self.number();
        self.send(&Frame::Connect { stream, listener, peer: (peer.user, peer.group) });
        self.streams.insert(stream, Stream::new(socket, Flow::Both, Kind::Bytes, None));
        true
    }

    /// Whether more connections can be passed on.
    pub fn has_room(&self) -> bool {
        self.streams.len() < STREAMS_MAX / 2
    }

    /// Connections to the host's sockets go to `targets`, by number.
    pub fn listen(&mut self, targets: Vec<Target>) {
        self.targets = targets;
    }

    /// Joins a connection to a socket of the host to one of its own.
    fn reach(&mut self, stream: u32, listener: u32, peer: Peer) {
        let target = usize::try_from(listener).ok().and_then(|number| self.targets.get(number));
        match target.ok_or(Errno::NOENT).and_then(|target| target.connect(peer)) {
            Ok(socket) => self.adopt(stream, socket, Flow::Both, Kind::Bytes),
            Err(_) => self.refuse(stream),
        }
    }

    /// Tells that nothing comes from a stream and nothing is taken.
    fn refuse(&mut self, stream: u32) {
        self.send(&Frame::End(stream));
        self.send(&Frame::Gone(stream));
    }

    /// Joins a call of the other side to a connection of its own to the supervisor.
    fn answer(&mut self, number: u32) {
        let connect = || -> std::io::Result<OwnedFd> {
            let path = self.supervisor.as_ref().ok_or(std::io::ErrorKind::NotFound)?;
            let socket = UnixStream::connect(path)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        match connect() {
            Ok(socket) => _ = self.calls.insert(number, Call::new(socket)),
            Err(_) => self.send(&Frame::Closed(number)),
        }
    }

    /// Tells the other side something.
    pub fn notice(&mut self, notice: &impl Serialize) {
        match serde_json::to_vec(notice) {
            Ok(json) => self.send(&Frame::Notice(json)),
            // What we say is made of strings and numbers.
            Err(_) => self.is_closed = true,
        }
    }

    /// Tells that the terminal of a stream has a new size.
    pub fn resize(&mut self, stream: u32, size: WindowSize) {
        self.send(&Frame::Window(stream, size));
    }

    fn send(&mut self, frame: &Frame) {
        frame.encode(&mut self.output);
    }

    /// What has come.
    pub fn next_event(&mut self) -> Result<Option<Event>, LinkError> {
        if self.events.is_empty() {
            self.receive_all()?;
        }
        // Behind everything that came before.
        Ok(self.events.pop_front().or_else(|| self.end.take()))
    }

    /// Whether everything has been handed to the port.
    pub fn is_flushed(&self) -> bool {
        self.output.is_empty() || self.is_closed
    }

    /// Whether what came over streams has all been written.
    pub fn is_delivered(&self) -> bool {
        self.streams.values().all(Stream::is_flushed)
    }

    /// Whether there is nothing more to read from the streams that belong to no call.
    pub fn is_drained(&self) -> bool {
        let own = self.streams.values().filter(|stream| stream.call.is_none());
        own.into_iter().all(|stream| !stream.is_readable())
    }

    /// What to wait for.
    pub fn watched(&self) -> Vec<(Token, BorrowedFd<'_>, PollFlags)> {
        let mut port = PollFlags::IN;
        port.set(PollFlags::OUT, !self.output.is_empty());
        let mut watched = Vec::new();
        if let Some(fd) = self.port.as_ref().filter(|_| !self.is_closed) {
            watched.push((Token::Port, fd.as_fd(), port));
        }
        let congested = self.output.len() > CONGESTED;
        for (number, stream) in &self.streams {
            let mut flags = stream.waits_for();
            flags.set(PollFlags::IN, flags.contains(PollFlags::IN) && !congested && !self.is_paused);
            if !flags.is_empty() {
                watched.push((Token::Stream(*number), stream.fd.as_fd(), flags));
            }
        }
        for (number, call) in self.calls.iter().filter(|(_, call)| call.held.is_none() && !congested) {
            watched.push((Token::Call(*number), call.socket.as_fd(), PollFlags::IN));
        }
        watched
    }

    /// Something that was waited for is there, as poll(2) says in `ready`.
    pub fn handle(&mut self, token: Token, ready: PollFlags) -> Result<(), LinkError> {
        match token {
            Token::Port => self.exchange(ready)?,
            Token::Stream(number) => self.serve_stream(number),
            Token::Call(number) => self.serve_call(number),
        }
        Ok(())
    }

    /// Does what has become possible. Call it after everything that was ready has been handled.
    pub fn advance(&mut self) -> Result<(), LinkError> {
        let held: Vec<u32> =
            self.calls.iter().filter(|(_, call)| call.held.is_some()).map(|(n, _)| *n).collect();
        for number in held {
            self.release(number);
        }
        self.write()
    }

    fn exchange(&mut self, ready: PollFlags) -> Result<(), LinkError> {
        let Some(port) = &self.port else { return Ok(()) };
        if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            let mut chunk = vec![0; 64 * 1024];
            match rustix::io::read(port, chunk.as_mut_slice()) {
                // A port of virtio-serial reads 0 while nobody has the other side open.
                Ok(0) | Err(Errno::CONNRESET | Errno::PIPE) => {
                    self.is_closed = true;
                    self.end = Some(Event::Closed);
                }
                Ok(length) => self.input.extend(&chunk[..length]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
            self.receive_all()?;
        }
        self.write()
    }

    /// Does what the frames that are there say, up to one that somebody has to hear of first.
    fn receive_all(&mut self) -> Result<(), LinkError> {
        let longest = match self.side {
            Side::Host => LENGTH_MAX,
            Side::Guest => ORDER_MAX,
        };
        while !matches!(self.events.back(), Some(Event::Told(_)))
            && let Some(frame) = Frame::decode(&mut self.input, longest)?
        {
            self.receive(frame)?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), LinkError> {
        let Some(port) = &self.port else { return Ok(()) };
        let mut done = 0;
        while done < self.output.len() && !self.is_closed {
            match rustix::io::write(port, &self.output[done..]) {
                Ok(length) => done += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    self.is_closed = true;
                    self.end = Some(Event::Closed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.output.drain(..done);
        if self.output.is_empty() {
            // Memory goes back after a burst.
            self.output = Vec::new();
        }
        Ok(())
    }

    fn receive(&mut self, frame: Frame) -> Result<(), LinkError> {
        match frame {
            Frame::Notice(json) => self.events.push_back(Event::Notice(json)),
            Frame::Open(number) if self.side == Side::Guest => self.answer(number),
            Frame::Open(_) => return Err(LinkError::Misplaced("a guest calls nobody")),
            Frame::Message { call, streams, json } => self.receive_message(call, &streams, &json)?,
            Frame::Closed(number) => self.end_call(number, false),
            Frame::Join { call, stream } if self.side == Side::Guest => {
                if let Some(call) = self.calls.remove(&call) {
                    self.adopt(stream, call.socket, Flow::Both, Kind::Bytes);
                } else {
                    // Nobody answered it.
                    self.refuse(stream);
                }
            }
            Frame::Connect { stream, listener, peer: (user, group) } if self.side == Side::Guest => {
                self.reach(stream, listener, Peer { user, group });
            }
            Frame::Join { .. } | Frame::Connect { .. } => {
                return Err(LinkError::Misplaced("a guest calls nobody"));
            }
            Frame::Data(number, bytes) if self.side == Side::Host && self.told == Some(number) => {
                self.send(&Frame::Credit(number, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
                self.events.push_back(Event::Told(bytes));
            }
            Frame::Data(number, bytes) => {
                let Some(stream) = self.streams.get_mut(&number) else { return Ok(()) };
                if !stream.put(bytes) {
                    return Err(LinkError::Misplaced("more bytes than it may send"));
                }
                self.flush_stream(number);
            }
            Frame::End(number) => {
                if let Some(stream) = self.streams.get_mut(&number) {
                    stream.finish();
                }
                self.drop_if_over(number);
            }
            Frame::Gone(number) => {
                if let Some(stream) = self.streams.get_mut(&number) {
                    stream.is_refused();
                }
                self.drop_if_over(number);
            }
            Frame::Credit(number, count) => {
                if let Some(stream) = self.streams.get_mut(&number) {
                    stream.add_credit(count);
                }
            }
            Frame::Window(number, size) => {
                if let Some(stream) = self.streams.get(&number).filter(|_| self.side == Side::Guest) {
                    // It may be gone already.
                    let _ = set_window_size(stream.fd.as_fd(), size);
                }
            }
        }
        Ok(())
    }

    fn receive_message(&mut self, number: u32, passed: &[(u32, Flow)], json: &[u8]) -> Result<(), LinkError> {
        let message: Value =
            serde_json::from_slice(json).map_err(|_| LinkError::Misplaced("a message that is no JSON"))?;
        if !self.calls.contains_key(&number) {
            // It has ended on this side.
            return Ok(());
        }
        if self.streams.len() + passed.len() > STREAMS_MAX {
            return Err(LinkError::Misplaced("too many streams"));
        }
        let mut handed = Vec::new();
        for &(stream, flow) in passed {
            if self.streams.contains_key(&stream) {
                return Err(LinkError::Misplaced("a stream that there is already"));
            }
            let (ours, theirs) = call::counterpart(flow)?;
            self.streams.insert(stream, Stream::new(ours, flow.reversed(), Kind::Bytes, Some(number)));
            handed.push(theirs);
        }
        let Some(call) = self.calls.get_mut(&number) else { return Ok(()) };
        if let Some((stream, _)) = passed.iter().find(|(_, flow)| *flow == Flow::Both) {
            call.terminal = Some(*stream);
        }
        if self.side == Side::Host && call::is_farewell(&message) {
            call.held = Some(message);
            self.release(number);
        } else if !call.hand_on(&message, &handed) {
            self.end_call(number, true);
        }
        Ok(())
    }

    /// Sends what has been told so far.
    fn serve_told(&mut self) {
        let told = self.told.and_then(|number| Some((number, self.streams.get_mut(&number)?)));
        let Some((number, stream)) = told else { return };
        let mut frames = Vec::new();
        while let Taken::Bytes(bytes) = stream.take() {
            frames.push(Frame::Data(number, bytes));
        }
        frames.iter().for_each(|frame| self.send(frame));
    }

    fn serve_stream(&mut self, number: u32) {
        if let Some(stream) = self.streams.get_mut(&number) {
            let taken = stream.take();
            self.serve_told();
            match taken {
                Taken::Nothing => {}
                Taken::Bytes(bytes) => self.send(&Frame::Data(number, bytes)),
                Taken::End => self.send(&Frame::End(number)),
            }
        }
        self.flush_stream(number);
    }

    fn flush_stream(&mut self, number: u32) {
        if let Some(stream) = self.streams.get_mut(&number) {
            let taken = stream.flush();
            let renewal = stream.renewal();
            if !taken {
                self.send(&Frame::Gone(number));
            } else if let Some(count) = renewal {
                self.send(&Frame::Credit(number, count));
            }
        }
        self.drop_if_over(number);
    }

    fn drop_if_over(&mut self, number: u32) {
        if self.streams.get(&number).is_some_and(Stream::is_over) {
            self.streams.remove(&number);
        }
    }

    fn serve_call(&mut self, number: u32) {
        loop {
            let Some(call) = self.calls.get_mut(&number) else { return };
            let received = call.incoming.receive(&call.socket);
            match received.and_then(|()| call.incoming.next_message::<Value>()) {
                Ok(Some((message, descriptors))) => {
                    self.serve_told();
                    self.pass(number, message, descriptors);
                }
                Ok(None) if call.incoming.is_closed() => return self.end_call(number, true),
                Ok(None) => return,
                Err(_) => return self.end_call(number, true),
            }
            if self.calls.get(&number).is_some_and(|call| call.held.is_some()) {
                return;
            }
        }
    }

    /// Passes a message to the other side.
    fn pass(&mut self, number: u32, message: Value, descriptors: Vec<OwnedFd>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if self.side == Side::Host {
            if let (Some(size), Some(terminal)) = (call::new_size(&message), call.terminal) {
                return self.send(&Frame::Window(terminal, size));
            }
        } else if call::is_farewell(&message) {
            call.held = Some(message);
            return self.release(number);
        }
        let flows = call::flows(&message, &descriptors);
        if !descriptors.iter().all(call::is_acceptable) {
            return self.end_call(number, true);
        }
        let mut streams = Vec::new();
        for (descriptor, flow) in descriptors.into_iter().zip(flows) {
            let stream = self.number();
            // The client's own copy must go on blocking.
            let own = if flow == Flow::Write { super::unblocked(descriptor.as_fd()) } else { Ok(descriptor) };
            let Ok(own) = own else { return self.end_call(number, true) };
            self.streams.insert(stream, Stream::new(own, flow, Kind::Bytes, Some(number)));
            streams.push((stream, flow));
        }
        if let Ok(json) = serde_json::to_vec(&message) {
            self.send(&Frame::Message { call: number, streams, json });
        }
        if self.side == Side::Host && call::attaches(&message) {
            self.join(number);
        }
    }

    /// Goes on with a call as a stream of bytes: what follows is no JSON, and needs credit.
    fn join(&mut self, number: u32) {
        let Some(call) = self.calls.remove(&number) else { return };
        let mut connection = Stream::new(call.socket, Flow::Both, Kind::Bytes, None);
        let stream = self.number();
        self.send(&Frame::Join { call: number, stream });
        let rest = call.incoming.into_rest();
        if !rest.is_empty() {
            connection.charge(&rest);
            self.send(&Frame::Data(stream, rest));
        }
        self.streams.insert(stream, connection);
    }

    /// Hands on what was held, once nothing that came before is missing.
    fn release(&mut self, number: u32) {
        let waits =
            self.streams.values().filter(|stream| stream.call == Some(number)).any(|stream| {
                match self.side {
                    Side::Guest => stream.is_readable(),
                    Side::Host => !stream.is_flushed(),
                }
            });
        if waits {
            return;
        }
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(message) = call.held.take() else { return };
        match self.side {
            Side::Guest => {
                if let Ok(json) = serde_json::to_vec(&message) {
                    self.send(&Frame::Message { call: number, streams: Vec::new(), json });
                }
            }
            Side::Host => {
                call.hand_on(&message, &[]);
                self.end_call(number, true);
            }
        }
    }

    /// Drops a call and its streams; a last word that is held is still said, and ends it then.
    fn end_call(&mut self, number: u32, tell: bool) {
        if !tell && self.calls.get(&number).is_some_and(|call| call.held.is_some()) {
            return;
        }
        if self.calls.remove(&number).is_none() {
            return;
        }
        self.streams.retain(|_, stream| stream.call != Some(number));
        if tell {
            self.send(&Frame::Closed(number));
        }
    }
}

#[cfg(test)]
mod tests;
