use super::*;
use crate::control::{Attach, Endpoint, Exec, Incoming, Request, Response, encode_data, send};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;

/// Both ends of a link, in one process.
struct Both {
    host: Link,
    guest: Link,
}

impl Both {
    fn new() -> Self {
        let (one, other) = pair();
        let mut host = Link::new(one.into(), Side::Host);
        host.resume();
        Both { host, guest: Link::new(other.into(), Side::Guest) }
    }

    /// Lets both work until neither has anything to do.
    fn settle(&mut self) {
        let mut idle = 0;
        for _ in 0..20_000 {
            let worked = [step(&mut self.host), step(&mut self.guest)];
            // What one has handled in a round it sends in the next.
            idle = if worked == [false, false] { idle + 1 } else { 0 };
            if idle == 3 {
                return;
            }
        }
        panic!("the link never comes to rest");
    }
}

/// One round of poll(2); whether something was ready.
fn step(link: &mut Link) -> bool {
    link.advance().unwrap();
    let watched = link.watched();
    let mut fds: Vec<_> =
        watched.iter().map(|&(_, fd, flags)| rustix::event::PollFd::from_borrowed_fd(fd, flags)).collect();
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).unwrap();
    let ready: Vec<_> = watched
        .iter()
        .zip(&fds)
        .map(|((token, ..), fd)| (*token, fd.revents()))
        .filter(|(_, flags)| !flags.is_empty())
        .collect();
    drop(fds);
    drop(watched);
    let worked = !ready.is_empty();
    for (token, flags) in ready {
        link.handle(token, flags).unwrap();
    }
    worked
}

/// Two sockets that do not block.
fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

fn read_all(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

#[test]
fn bytes_of_a_stream_arrive_in_order_and_end() {
    let mut both = Both::new();
    let (mut writer, ours) = pair();
    let (mut reader, theirs) = pair();
    let number = both.guest.carry(ours.into(), Flow::Read, Kind::Bytes);
    both.host.adopt(number, theirs.into(), Flow::Write, Kind::Bytes);
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    for round in 0..200_u32 {
        let part = vec![round.to_le_bytes()[0]; 5000];
        writer.set_nonblocking(false).unwrap();
        writer.write_all(&part).unwrap();
        sent.extend(part);
        both.settle();
        received.extend(read_all(&mut reader));
    }
    drop(writer);
    both.settle();
    received.extend(read_all(&mut reader));
    assert!(sent == received, "{} bytes became {}", sent.len(), received.len());
    assert!(both.host.streams.is_empty() && both.guest.streams.is_empty());
}

#[test]
fn a_slow_reader_holds_up_its_own_stream_only() {
    let mut both = Both::new();
    let mut ends = Vec::new();
    for _ in 0..2 {
        let (writer, ours) = pair();
        let (reader, theirs) = pair();
        let number = both.guest.carry(ours.into(), Flow::Read, Kind::Bytes);
        both.host.adopt(number, theirs.into(), Flow::Write, Kind::Bytes);
        ends.push((writer, reader));
    }
    let mut written = 0;
    // Nobody reads: what is on the way and in sockets is all that is taken.
    while let Ok(length) = ends[0].0.write(&[1; 8192]) {
        written += length;
        both.settle();
    }
    assert!(written < 4 << 20, "{written} bytes are kept for a reader that does not read");
    ends[1].0.write_all(b"in time").unwrap();
    both.settle();
    assert_eq!(read_all(&mut ends[1].1), b"in time");
    let mut received = 0;
    loop {
        let part = read_all(&mut ends[0].1).len();
        received += part;
        both.settle();
        if part == 0 {
            break;
        }
    }
    assert_eq!(received, written);
}

#[test]
fn a_reader_that_goes_is_told_to_the_writer() {
    let mut both = Both::new();
    let (mut writer, ours) = pair();
    let (reader, theirs) = pair();
    let number = both.guest.carry(ours.into(), Flow::Read, Kind::Bytes);
    both.host.adopt(number, theirs.into(), Flow::Write, Kind::Bytes);
    drop(reader);
    writer.write_all(b"x").unwrap();
    both.settle();
    assert!(both.host.streams.is_empty() && both.guest.streams.is_empty());
    assert!(writer.write_all(b"y").is_err());
}

#[test]
fn datagrams_stay_whole() {
    let mut both = Both::new();
    let (writer, ours) = UnixDatagram::pair().unwrap();
    let (reader, theirs) = UnixDatagram::pair().unwrap();
    for socket in [&ours, &theirs, &reader] {
        socket.set_nonblocking(true).unwrap();
    }
    let number = both.guest.carry(ours.into(), Flow::Read, Kind::Datagrams);
    both.host.adopt(number, theirs.into(), Flow::Write, Kind::Datagrams);
    for size in [1, 48 * 1024, 7, 60_000, 3] {
        writer.send(&vec![b'x'; size]).unwrap();
        both.settle();
        let mut buffer = vec![0; 1 << 17];
        assert_eq!(reader.recv(&mut buffer).unwrap(), size);
    }
}

#[test]
fn what_is_told_is_heard_before_what_was_said_after_it() {
    let mut both = Both::new();
    let (ours, supervisor) = pipe_with(PipeFlags::DIRECT | PipeFlags::NONBLOCK).unwrap();
    let (mut says, input) = pair();
    let (mut hears, output) = pair();
    // A number below that of what is told, so that it comes first by itself.
    let number = both.host.carry(output.into(), Flow::Write, Kind::Bytes);
    both.guest.adopt(number, input.into(), Flow::Read, Kind::Bytes);
    let told = both.host.hear();
    both.guest.tell(told, ours);
    // More than may be on their way at once.
    for round in 0..60 {
        let packets = [vec![round; 1], vec![round; 4096], vec![round; 7]];
        packets.iter().for_each(|packet| _ = rustix::io::write(&supervisor, packet).unwrap());
        says.write_all(&[round]).unwrap();
        both.settle();
        for packet in packets {
            assert!(hears.read(&mut [0; 1]).is_err(), "not heard of yet");
            assert_eq!(both.host.next_event().unwrap(), Some(Event::Told(packet)));
            both.settle();
        }
        assert_eq!(both.host.next_event().unwrap(), None);
        assert_eq!(read_all(&mut hears), [round]);
    }
    drop(supervisor);
    both.settle();
    assert!(both.guest.is_drained());
}

#[test]
fn the_end_of_the_link_is_heard_behind_all_that_came_before() {
    let (ours, mut theirs) = pair();
    let mut host = Link::new(ours.into(), Side::Host);
    let told = host.hear();
    let mut bytes = Vec::new();
    Frame::Data(told, vec![1]).encode(&mut bytes);
    Frame::Notice(vec![2]).encode(&mut bytes);
    theirs.write_all(&bytes).unwrap();
    drop(theirs);
    // It wants to give credit, and there is nobody any more.
    host.handle(Token::Port, PollFlags::IN).unwrap();
    host.advance().unwrap();
    for event in [Some(Event::Told(vec![1])), Some(Event::Notice(vec![2])), Some(Event::Closed), None] {
        assert_eq!(host.next_event().unwrap(), event);
    }
}

/// A call: the client's socket and the supervisor's.
fn call(both: &mut Both) -> (UnixStream, UnixStream) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let supervisor = std::os::unix::net::UnixListener::bind(&path).unwrap();
    both.guest.serve(path);
    let (client, ours) = pair();
    both.host.call(ours.into());
    both.settle();
    let (supervisor, _) = supervisor.accept().unwrap();
    supervisor.set_nonblocking(true).unwrap();
    (client, supervisor)
}

#[test]
fn who_hangs_up_at_once_is_heard() {
    let mut both = Both::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    both.guest.serve(path);
    let (client, ours) = pair();
    send(&client, &Request::Stop { force: false }, &[]).unwrap();
    drop(client);
    both.host.call(ours.into());
    both.settle();
    let (supervisor, _) = listener.accept().unwrap();
    assert_eq!(next::<Request>(&supervisor).0, Request::Stop { force: false });
    assert!(both.host.calls.is_empty() && both.guest.calls.is_empty());
}

fn next<T: serde::de::DeserializeOwned>(socket: &UnixStream) -> (T, Vec<OwnedFd>) {
    let mut incoming = Incoming::default();
    incoming.receive(socket).unwrap();
    incoming.next_message().unwrap().expect("a message")
}

fn exec(tty: bool) -> Request {
    Request::Exec(Exec {
        app: "a".to_owned(),
        argv: vec!["x".to_owned()],
        term: None,
        tty: tty.then_some(WindowSize { rows: 5, columns: 6 }),
        streams: [!tty, !tty, false],
    })
}

#[test]
fn a_program_gets_pipes_and_its_last_word_waits_for_its_output() {
    let mut both = Both::new();
    let (client, supervisor) = call(&mut both);
    // A descriptor that could be used both ways is used as its name says.
    let (mut own_stdin, stdin) = pair();
    let (mut own_stdout, stdout) = pair();
    send(&client, &exec(false), &[stdin.as_fd(), stdout.as_fd()]).unwrap();
    drop((stdin, stdout));
    own_stdin.write_all(b"in").unwrap();
    both.settle();
    let (request, mut descriptors) = next::<Request>(&supervisor);
    assert_eq!(request, exec(false));
    assert_eq!(descriptors.len(), 2);
    let mut output = std::fs::File::from(descriptors.pop().unwrap());
    let mut input = std::fs::File::from(descriptors.pop().unwrap());
    let mut buffer = [0; 16];
    assert_eq!(input.read(&mut buffer).unwrap(), 2);
    drop(own_stdin);
    both.settle();
    assert_eq!(input.read(&mut buffer).unwrap(), 0);
    // More than fits on the way at once, and the end is told before anybody has read it.
    let size = 60_000;
    output.write_all(&vec![b'o'; size]).unwrap();
    send(&supervisor, &Response::Exited { status: 3 }, &[]).unwrap();
    both.settle();
    let mut received = read_all(&mut own_stdout).len();
    both.settle();
    received += read_all(&mut own_stdout).len();
    assert_eq!(received, size);
    assert_eq!(next::<Response>(&client).0, Response::Exited { status: 3 });
    both.settle();
    assert!(both.host.calls.is_empty() && both.guest.calls.is_empty());
    assert!(both.host.streams.is_empty() && both.guest.streams.is_empty());
}

#[test]
fn a_terminal_is_resized_where_it_is() {
    let mut both = Both::new();
    let (client, supervisor) = call(&mut both);
    send(&client, &exec(true), &[]).unwrap();
    both.settle();
    assert_eq!(next::<Request>(&supervisor).0, exec(true));
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let Ok(master) = rustix::pty::openpt(flags) else { return };
    let copy = master.try_clone().unwrap();
    send(&supervisor, &Response::Started { pid: 7, tty: true }, &[master.as_fd()]).unwrap();
    drop(master);
    both.settle();
    let (response, descriptors) = next::<Response>(&client);
    assert_eq!(response, Response::Started { pid: 7, tty: true });
    assert_eq!(descriptors.len(), 1);
    let size = WindowSize { rows: 50, columns: 100 };
    send(&client, &Request::Resize(size), &[]).unwrap();
    both.settle();
    let found = rustix::termios::tcgetwinsize(&copy).unwrap();
    assert_eq!((found.ws_row, found.ws_col), (50, 100));
    drop(client);
    both.settle();
    assert!(both.host.calls.is_empty() && both.guest.calls.is_empty());
}

#[test]
fn signals_do_not_wait_for_input_that_nobody_takes() {
    let mut both = Both::new();
    let (client, supervisor) = call(&mut both);
    let (mut own_stdin, stdin) = pair();
    let (_own_stdout, stdout) = pair();
    send(&client, &exec(false), &[stdin.as_fd(), stdout.as_fd()]).unwrap();
    both.settle();
    let (_, _kept) = next::<Request>(&supervisor);
    while own_stdin.write(&[0; 8192]).is_ok() {
        both.settle();
    }
    send(&client, &Request::Signal { number: 2 }, &[]).unwrap();
    both.settle();
    assert_eq!(next::<Request>(&supervisor).0, Request::Signal { number: 2 });
}

#[test]
fn an_attached_client_is_connected_with_the_supervisor() {
    let mut both = Both::new();
    let (client, supervisor) = call(&mut both);
    let attach = Request::Attach(Attach {
        app: "a".to_owned(),
        endpoints: vec![Endpoint::Stdin, Endpoint::Stdout],
        size: None,
    });
    send(&client, &attach, &[]).unwrap();
    // It types ahead.
    (&client).write_all(&encode_data(0, b"typed")).unwrap();
    both.settle();
    let mut incoming = Incoming::default();
    incoming.receive(&supervisor).unwrap();
    assert_eq!(incoming.next_message::<Request>().unwrap().unwrap().0, attach);
    incoming.receive(&supervisor).unwrap();
    assert!(matches!(
        incoming.next_frame::<Request>().unwrap(),
        Some(crate::control::Frame::Data { stream: 0, bytes }) if bytes == b"typed"
    ));
    send(&supervisor, &Response::Attached, &[]).unwrap();
    (&supervisor).write_all(&encode_data(1, b"answer")).unwrap();
    both.settle();
    let mut incoming = Incoming::default();
    incoming.receive(&client).unwrap();
    assert_eq!(incoming.next_message::<Response>().unwrap().unwrap().0, Response::Attached);
    assert!(matches!(
        incoming.next_frame::<Response>().unwrap(),
        Some(crate::control::Frame::Data { stream: 1, bytes }) if bytes == b"answer"
    ));
    // Each side hears when the other goes.
    drop(client);
    both.settle();
    let mut incoming = Incoming::default();
    incoming.receive(&supervisor).unwrap();
    assert!(incoming.is_closed());
    drop(supervisor);
    both.settle();
    assert!(both.host.streams.is_empty() && both.guest.streams.is_empty());
}

#[test]
fn directories_do_not_go_over_the_link() {
    let mut both = Both::new();
    let (client, supervisor) = call(&mut both);
    let directory = std::fs::File::open("/").unwrap();
    send(&client, &exec(false), &[directory.as_fd(), directory.as_fd()]).unwrap();
    both.settle();
    let mut incoming = Incoming::default();
    incoming.receive(&supervisor).unwrap();
    assert!(incoming.is_closed() && incoming.next_message::<Request>().unwrap().is_none());
}

#[test]
fn connections_to_sockets_of_the_host_go_to_those_of_the_guest() {
    let mut both = Both::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
    rustix::fs::chmod(directory.path(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    both.guest.listen(vec![Target::Unix(path), Target::Port(tcp.local_addr().unwrap())]);
    let peer = Peer { user: 4711, group: 4712 };
    let mut clients = Vec::new();
    for listener in [0, 1, 2] {
        let (client, ours) = pair();
        assert!(both.host.connect(listener, ours.into(), peer));
        // Sent before anybody in the guest knows of it.
        (&client).write_all(b"early").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        both.settle();
        clients.push(client);
    }
    let (mut one, _) = unix.accept().unwrap();
    if rustix::process::geteuid().is_root() {
        let seen = rustix::net::sockopt::socket_peercred(&one).unwrap();
        assert_eq!((seen.uid.as_raw(), seen.gid.as_raw()), (4711, 4712));
    }
    let (mut other, _) = tcp.accept().unwrap();
    let mut text = String::new();
    one.read_to_string(&mut text).unwrap();
    other.read_to_string(&mut text).unwrap();
    assert_eq!(text, "earlyearly");
    one.write_all(b"answer").unwrap();
    other.write_all(b"answer").unwrap();
    drop((one, other));
    both.settle();
    for (client, answer) in clients.iter_mut().zip([&b"answer"[..], b"answer", b""]) {
        assert_eq!(read_all(client), answer);
    }
    assert!(both.host.streams.is_empty() && both.guest.streams.is_empty());
}

#[test]
fn a_guest_that_does_not_keep_to_the_protocol_ends_the_link() {
    let give = |frames: &[Frame]| -> Result<(), String> {
        let (ours, mut theirs) = pair();
        let mut host = Link::new(ours.into(), Side::Host);
        let (reader, fd) = pair();
        // Whose reader reads nothing.
        rustix::net::sockopt::set_socket_send_buffer_size(&fd, 4096).unwrap();
        host.adopt(1, fd.into(), Flow::Write, Kind::Bytes);
        let (_client, call) = pair();
        host.call(call.into());
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        for chunk in bytes.chunks(8192) {
            theirs.write_all(chunk).unwrap();
            host.handle(Token::Port, PollFlags::IN).map_err(|error| error.to_string())?;
        }
        drop(reader);
        Ok(())
    };
    let number = 2;
    let message = |streams: Vec<(u32, Flow)>, json: &[u8]| Frame::Message {
        call: number,
        streams,
        json: json.to_vec(),
    };
    for (frames, why) in [
        (vec![Frame::Open(5)], "calls nobody"),
        (vec![Frame::Connect { stream: 5, listener: 0, peer: (0, 0) }], "calls nobody"),
        (vec![message(Vec::new(), b"{")], "no JSON"),
        (vec![message(vec![(1, Flow::Read)], b"{}")], "there is already"),
        (vec![Frame::Data(1, vec![0; 16_000]); 40], "more bytes"),
        (
            (1..)
                .step_by(2)
                .take(400)
                .map(|n| {
                    message(
                        vec![(2 * n + 1, Flow::Read), (2 * n + 3, Flow::Read), (2 * n + 5, Flow::Read)],
                        b"{}",
                    )
                })
                .collect(),
            "stream",
        ),
    ] {
        let error = give(&frames).unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
    }
    // What is about something that is gone is no offence.
    give(&[Frame::Data(99, vec![1]), Frame::End(99), Frame::Credit(99, 1), Frame::Closed(98)]).unwrap();
}

#[test]
fn what_is_said_before_somebody_connects_is_not_lost() {
    let (one, other) = pair();
    let mut host = Link::unconnected(Side::Host);
    host.notice(&"first");
    assert!(!step(&mut host) && host.watched().is_empty() && !host.is_flushed());
    host.plug(one.into());
    let mut both = Both { host, guest: Link::new(other.into(), Side::Guest) };
    both.settle();
    assert_eq!(both.guest.next_event().unwrap(), Some(Event::Notice(b"\"first\"".to_vec())));
    assert!(both.host.is_flushed());
}
