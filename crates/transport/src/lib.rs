//! What `rkt` and its download worker say to each other, and how `rkt` starts it.
//!
//! `rkt` links no network code. What has to come from the outside is fetched by `rkt-fetcher`, a program of its own that
//! runs as an unprivileged user, locked in (see `fetcher::confinement`), and knows nothing but one socket and the
//! file handles that come over it.
//!
//! ```text
//!  rkt                                               rkt-fetcher
//!   │  socketpair(AF_UNIX, SOCK_SEQPACKET)                │
//!   │  spawn: socket = standard input ──────────────────► │  locks itself in
//!   │ ◄──────────────────────────────────────── Ready ──  │  user id, Landlock version
//!   │                                                     │
//!   │ ──  Start{1, Get}      + handle of x.aci.part ────► │
//!   │ ──  Start{2, Blob}     + handle of layer.part ────► │  any number at once
//!   │ ◄────────────────────────── Event{1, Started{…}} ─  │  before the first byte is written
//!   │ ◄──────────────────────── Event{2, Progress{…}} ──  │  now and then
//!   │ ──  Cancel{2} ────────────────────────────────────► │
//!   │ ◄──────────────────── Done{2, Failed(Cancelled)} ─  │
//!   │ ◄─────────────────────── Done{1, Got{length, …}} ─  │
//!   │  close ──────────────────────────────────────────►  │  ends
//!   │  waits for its end, and only then trusts the files  │
//! ```
//!
//! * **Packets.** One packet is one message: JSON, at most [`packet::LIMIT`] bytes. The socket keeps the bounds.
//! * **Handles go one way.** `rkt` opens (or makes, see [`Document`]) each file that a body goes to and hands it over with the
//!   request, in the order in which the request names them. The worker opens nothing and hands nothing back, so it needs no
//!   place that it may write to.
//! * **Parts.** What is written stays written: after a Ctrl-C, a `kill -9` or a lost connection the file holds the first part of
//!   the body, and the same request with that file goes on from its end. For [`Get`] the caller keeps the
//!   [`Validators`] of [`Event::Started`] beside the part; a blob's digest is enough by itself.
//! * **Trust.** The worker checks sizes and digests so that errors are early and clear. `rkt` believes none of it: a worker that was
//!   taken over could still write to its handles. So `rkt` waits for the worker's end ([`Worker::finish`]) and then checks digests and
//!   signatures again over the very bytes that it unpacks. Texts from the worker are shown through [`text::printable`].
//! * **Credentials** are looked up by `rkt` ([`credentials`]) and go with the one request that needs them.

pub mod client;
pub mod credentials;
pub mod digest;
pub mod document;
pub mod failure;
pub mod message;
pub mod packet;
pub mod platform;
pub mod reference;
pub mod text;

pub use client::{Launch, News, Ticket, Worker};
pub use digest::Digest;
pub use document::Document;
pub use failure::Failure;
pub use message::{
    Access, Blob, Confinement, Credentials, Discover, Event, Get, Limits, Reply, Request, Resolve, Validators,
};
pub use platform::Platform;
pub use reference::Reference;
