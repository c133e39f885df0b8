//! One byte stream between a host and a guest, and all that goes over it.
//!
//! Where the pod is a machine of its own, descriptors cannot travel between its supervisor and the host. So each side has a
//! [`Link`]: it takes the descriptors on its side, and carries what is read from one to its counterpart on the other.
//!
//! ```text
//!  client ── control.sock ── monitor ═══ vsock or serial ═══ guest's init ── control socket ── supervisor
//!  rkt enter                 Link                          Link
//!                            journal, stdout, …  ◄── streams ──  pipes of the supervisor and of programs entered
//! ```
//!
//! What goes over it ([`frame`]):
//!
//! * **notices**, JSON: [`Order`]s of the host and [`Report`]s of the guest;
//! * **streams**: bytes or datagrams of one descriptor, in one or both directions. Who sends has credit, which the other side
//!   renews as its own descriptor takes the bytes: a slow reader holds up its own stream and no other;
//! * **connections** to sockets of the host that an app of the guest has asked for: each is a stream, joined to a connection to
//!   a socket of the guest's own ([`Target`]);
//! * **calls**: connections to the supervisor's control socket. Messages of [`crate::control`] pass as they are; for each descriptor
//!   that comes with one, the other side makes a pipe or a socket and hands that on, and a stream joins the two.
//!
//! The host trusts nothing that comes from the guest: what is not as it must be ends the link.

mod call;
mod connection;
pub mod frame;
mod notice;
mod stream;
mod target;

pub use connection::{Event, Link, LinkError, Side, Token};
pub use notice::{Interface, Listener, Order, OwnFile, PROTOCOL, Report, Route, Start, Terminal, Volume};
pub use stream::{Flow, Kind, unblocked};
pub use target::{Peer, Target};
