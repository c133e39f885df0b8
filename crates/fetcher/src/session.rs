//! The connection to rkt: requests come in, each becomes a task, and what happens to it goes out.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{Semaphore, mpsc, oneshot};
use transport::message::{Event, FromWorker, Outcome, Reply, Request, ToWorker};
use transport::{Confinement, Failure, packet};

use crate::http::Http;
use crate::registry::Registries;
use crate::{discover, get, registry};

/// How many requests are worked on at once; the others wait. Each needs a buffer or two, so this bounds memory too.
const AT_ONCE: usize = 8;
/// How many messages wait for rkt to read them before those who send wait too.
const OUTBOX: usize = 64;
/// How often the progress of a request is told at most.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

/// Why the conversation ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket is not one.
    #[error("Cannot wait on the socket to rkt")]
    Socket(#[source] io::Error),
    /// rkt said something that is no message.
    #[error("Cannot understand rkt")]
    Packet(#[from] packet::Error),
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) http: Http,
    pub(crate) registries: Registries,
}

/// Works for the peer of `socket` until it closes its end.
pub(crate) async fn serve(http: Http, socket: OwnedFd, confinement: Confinement) -> Result<(), Error> {
    // The runtime has no type for sockets that keep the bounds of packets *and* their order; this one waits for them as well.
    let socket = std::os::unix::net::UnixDatagram::from(socket);
    socket.set_nonblocking(true).map_err(Error::Socket)?;
    let socket = Rc::new(UnixDatagram::from_std(socket).map_err(Error::Socket)?);
    let (outbox, inbox) = mpsc::channel(OUTBOX);
    let writer = tokio::task::spawn_local(write(Rc::clone(&socket), inbox));
    send(&outbox, &FromWorker::Ready(confinement)).await;
    let shared = Rc::new(Shared { http, registries: Registries::default() });
    let slots = Rc::new(Semaphore::new(AT_ONCE));
    let running: Rc<RefCell<HashMap<u64, oneshot::Sender<()>>>> = Rc::default();
    while let Some((message, handles)) = read(&socket).await? {
        match message {
            ToWorker::Start { id, request } => {
                let (cancel, cancelled) = oneshot::channel();
                running.borrow_mut().insert(id, cancel);
                let (shared, slots, running) = (Rc::clone(&shared), Rc::clone(&slots), Rc::clone(&running));
                let outbox = outbox.clone();
                tokio::task::spawn_local(async move {
                    let reporter = Reporter { id, outbox, told: Cell::new(None) };
                    let work = async {
                        let _slot = slots.acquire().await;
                        work(&shared, *request, handles, &reporter).await
                    };
                    let result = tokio::select! {
                        result = work => result,
                        _ = cancelled => Err(Failure::Cancelled),
                    };
                    running.borrow_mut().remove(&id);
                    reporter.done(result).await;
                });
            }
            ToWorker::Cancel { id } => {
                // One that has ended in the meantime is not there any more.
                if let Some(cancel) = running.borrow_mut().remove(&id) {
                    let _ = cancel.send(());
                }
            }
        }
    }
    writer.abort();
    Ok(())
}

/// Does one request within its time.
async fn work(
    shared: &Shared,
    request: Request,
    handles: Vec<OwnedFd>,
    reporter: &Reporter,
) -> Result<Reply, Failure> {
    let (subject, access) = match &request {
        Request::Discover(discover) => (discover.name.clone(), &discover.access),
        Request::Get(get) => (transport::text::printable_url(&get.url), &get.access),
        Request::Resolve(resolve) => (resolve.reference.to_string(), &resolve.access),
        Request::Blob(blob) => (blob.descriptor.digest.to_string(), &blob.access),
    };
    let total = access.limits.total_ms.map(Duration::from_millis);
    let work = async {
        match request {
            Request::Discover(discover) => {
                discover::run(shared, discover, reporter).await.map(Reply::Discovered)
            }
            Request::Get(get) => {
                let [file] = exactly(handles)?;
                get::run(shared, get, file, reporter).await.map(Reply::Got)
            }
            Request::Resolve(resolve) => {
                let documents = exactly(handles)?;
                registry::resolve::run(shared, resolve, documents, reporter).await.map(Reply::Resolved)
            }
            Request::Blob(blob) => {
                let [file] = exactly(handles)?;
                registry::blob::run(shared, blob, file, reporter).await
            }
        }
    };
    match total {
        Some(total) => tokio::time::timeout(total, work)
            .await
            .unwrap_or_else(|_| Err(Failure::TimedOut { url: subject, seconds: total.as_secs().max(1) })),
        None => work.await,
    }
}

/// The handles of a request that takes `N`.
fn exactly<const N: usize>(handles: Vec<OwnedFd>) -> Result<[OwnedFd; N], Failure> {
    let came = handles.len();
    handles
        .try_into()
        .map_err(|_| Failure::BadRequest { reason: format!("{N} handles are needed, {came} came") })
}

/// Tells rkt what happens to one request.
#[derive(Debug)]
pub(crate) struct Reporter {
    id: u64,
    outbox: mpsc::Sender<Vec<u8>>,
    told: Cell<Option<Instant>>,
}

impl Reporter {
    /// Something that rkt must hear.
    pub(crate) async fn event(&self, event: Event) {
        send(&self.outbox, &FromWorker::Event { id: self.id, event }).await;
    }

    /// How far it is: now and then, and not when rkt has not read the last ones yet.
    pub(crate) fn progress(&self, received: u64, total: Option<u64>) {
        if self.told.get().is_some_and(|told| told.elapsed() < PROGRESS_PAUSE) {
            return;
        }
        self.told.set(Some(Instant::now()));
        let event = Event::Progress { received, total };
        if let Ok(message) = packet::encode(&FromWorker::Event { id: self.id, event }) {
            let _ = self.outbox.try_send(message);
        }
    }

    async fn done(&self, result: Result<Reply, Failure>) {
        let outcome = match result {
            Ok(reply) => Outcome::Finished(reply),
            Err(failure) => Outcome::Failed(failure),
        };
        let id = self.id;
        if send(&self.outbox, &FromWorker::Done { id, outcome }).await {
            return;
        }
        let reason = "the answer is too long for a message".to_owned();
        let outcome = Outcome::Failed(Failure::BadRequest { reason });
        send(&self.outbox, &FromWorker::Done { id, outcome }).await;
    }
}

/// Puts a message into the outbox. False when it is too long for a packet.
async fn send(outbox: &mpsc::Sender<Vec<u8>>, message: &FromWorker) -> bool {
    match packet::encode(message) {
        // When the writer is gone, so is rkt, and soon this process.
        Ok(message) => {
            let _ = outbox.send(message).await;
            true
        }
        Err(_) => false,
    }
}

/// Sends what is in the outbox, until rkt is gone.
async fn write(socket: Rc<UnixDatagram>, mut inbox: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = inbox.recv().await {
        let sent = socket
            .async_io(Interest::WRITABLE, || unless_blocked(packet::send(&*socket, &message, &[])))
            .await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

/// The next message. None when rkt is gone.
async fn read(socket: &UnixDatagram) -> Result<Option<(ToWorker, Vec<OwnedFd>)>, Error> {
    let received = socket.async_io(Interest::READABLE, || unless_blocked(packet::receive(socket))).await;
    Ok(received.map_err(Error::Socket)??)
}

/// A result in the form from which the runtime learns whether it has to wait.
fn unless_blocked<T>(result: Result<T, packet::Error>) -> io::Result<Result<T, packet::Error>> {
    match result {
        Err(error) if error.would_block() => Err(io::ErrorKind::WouldBlock.into()),
        other => Ok(other),
    }
}
