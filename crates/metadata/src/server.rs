//! Sockets and connections.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

use crate::answers::{self, Answer};
use crate::registry::Registry;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where rkt registers pods.
const SOCKET: &str = "/run/rkt/metadata-svc.sock";

/// The largest manifest, and the largest content to be signed.
const BODY_MAX: usize = 8 << 20;
/// The same for apps.
const FORM_MAX: usize = 1 << 20;

/// Connections of apps at one time; more wait.
const CONNECTIONS: usize = 512;

/// How long one connection of an app may last.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Root, who registers pods.
    Registration,
    /// An app of some pod.
    Apps,
}

/// The sockets to listen on.
struct Listeners {
    registration: std::os::unix::net::UnixListener,
    apps: std::net::TcpListener,
}

/// Serves until it is killed.
pub(crate) fn run(port: u16) -> Result<()> {
    let listeners = listeners(port)?;
    let mut key = [0; 64];
    let mut filled = 0;
    while filled < key.len() {
        filled += rustix::rand::getrandom(&mut key[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, serve(listeners, Rc::new(RefCell::new(Registry::new(key)))))
}

/// What systemd has opened, told apart by what it is; what is missing is opened here.
fn listeners(port: u16) -> Result<Listeners> {
    let (mut registration, mut apps) = (None, None);
    for socket in inherited() {
        match rustix::net::sockopt::socket_domain(&socket)? {
            rustix::net::AddressFamily::UNIX => registration = Some(socket.into()),
            _ => apps = Some(socket.into()),
        }
    }
    let registration = match registration {
        Some(registration) => registration,
        None => listen_for_registration(Path::new(SOCKET))?,
    };
    let apps = match apps {
        Some(apps) => apps,
        None => listen_for_apps(port)?,
    };
    registration.set_nonblocking(true)?;
    apps.set_nonblocking(true)?;
    Ok(Listeners { registration, apps })
}

fn inherited() -> Vec<OwnedFd> {
    let variable = |name| std::env::var(name).ok();
    let is_ours = variable("LISTEN_PID").is_some_and(|pid| pid.parse() == Ok(std::process::id()));
    let count: i32 = variable("LISTEN_FDS").and_then(|count| count.parse().ok()).unwrap_or(0);
    let count = if is_ours { count.clamp(0, 8) } else { 0 };
    (3..3 + count).filter_map(|number| sys::fd::take_inherited(number).ok()).collect()
}

fn listen_for_registration(path: &Path) -> Result<std::os::unix::net::UnixListener> {
    let failed = |error| format!("Cannot listen on {}: {error}", path.display());
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    // Somebody may listen there already.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(format!("There is a metadata service already: it listens on {}", path.display()).into());
    }
    let _ = std::fs::remove_file(path);
    let umask = rustix::process::umask(rustix::fs::Mode::RWXO);
    let listener = std::os::unix::net::UnixListener::bind(path);
    rustix::process::umask(umask);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener.map_err(failed)?)
}

fn listen_for_apps(port: u16) -> Result<std::net::TcpListener> {
    // One socket for both families; where there is no IPv6, one for IPv4.
    std::net::TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .or_else(|_| std::net::TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))))
        .map_err(|error| format!("Cannot listen on port {port}: {error}").into())
}

async fn serve(listeners: Listeners, registry: Rc<RefCell<Registry>>) -> Result<()> {
    let registration = tokio::net::UnixListener::from_std(listeners.registration)?;
    let apps = tokio::net::TcpListener::from_std(listeners.apps)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        tokio::select! {
            accepted = registration.accept() => if let Ok((stream, _)) = accepted {
                let registry = Rc::clone(&registry);
                tokio::task::spawn_local(async move { connection(stream, registry, Side::Registration).await });
            },
            accepted = apps.accept(), if room.available_permits() > 0 => if let Ok((stream, _)) = accepted {
                let registry = Rc::clone(&registry);
                let permit = Arc::clone(&room).try_acquire_owned();
                tokio::task::spawn_local(async move {
                    let _ = tokio::time::timeout(PATIENCE, connection(stream, registry, Side::Apps)).await;
                    drop(permit);
                });
            },
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    registry: Rc<RefCell<Registry>>,
    side: Side,
) {
    let service = service_fn(move |request| {
        let registry = Rc::clone(&registry);
        async move { Ok::<_, Infallible>(respond(request, &registry, side).await) }
    });
    // A client that breaks off is of no interest.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: Request<Incoming>,
    registry: &RefCell<Registry>,
    side: Side,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let limit = if side == Side::Registration { BODY_MAX } else { FORM_MAX };
    let (answer, pod) = match Limited::new(body, limit).collect().await {
        Err(_) => (too_large(), None),
        Ok(body) => {
            let body = body.to_bytes();
            match side {
                Side::Registration => {
                    let query = head.uri.query().unwrap_or_default();
                    let mut registry = registry.borrow_mut();
                    (
                        answers::registration(
                            &mut registry,
                            &head.method,
                            head.uri.path(),
                            query,
                            body.to_vec(),
                        ),
                        None,
                    )
                }
                Side::Apps => answers::answer(&registry.borrow(), &head.method, head.uri.path(), &body),
            }
        }
    };
    // The token is in the path: what is logged is what comes after it.
    let path = head.uri.path();
    let shown = if side == Side::Apps { path.splitn(3, '/').nth(2).unwrap_or_default() } else { path };
    eprintln!("{} {} {:?} {}", pod.as_deref().unwrap_or("-"), head.method, shown, answer.status.as_u16());
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(answer.content_type));
    headers.insert(SERVER, hyper::header::HeaderValue::from_static("rkt"));
    headers.insert("metadata-flavor", hyper::header::HeaderValue::from_static("AppContainer"));
    response
}

fn too_large() -> Answer {
    Answer {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        content_type: "text/plain; charset=us-ascii",
        body: b"the body is too large\n".to_vec(),
    }
}
