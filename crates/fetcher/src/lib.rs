//! The download worker: HTTP, TLS and registries, for `rkt`, which links none of them.
//!
//! ```text
//!  confinement   gives up root and everything else that a download does not need, before the first packet
//!  session       requests in, news out: one task a request (protocol: crate `transport`)
//!  discover      pages ──► discovery (tags, templates)                               pure: discovery
//!  get           one URL into a file, resumed, cached                                pure: headers
//!  registry      manifests, platforms, blobs, tokens                                 pure: registry::manifest, ::challenge
//!  body          streams a response into a file
//!  retry         when to ask again
//!  http          one request: redirects, proxies, credentials, time limits           pure: redirect
//!  resolver      names to addresses
//!  errors        what a failed connection died of
//! ```

pub mod confinement;
pub mod discovery;
pub mod headers;
pub mod redirect;
pub mod registry;

mod body;
mod discover;
mod errors;
mod get;
mod http;
mod resolver;
mod retry;
mod session;

use std::io;
use std::os::fd::AsFd;

use tokio::task::LocalSet;

use http::Http;

/// Why the worker ends badly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be locked in.
    #[error("The download worker cannot be locked in")]
    Confinement(#[from] confinement::Error),
    /// The trust store or the proxies of the environment cannot be used.
    #[error("Cannot prepare secure connections")]
    Http(#[from] reqwest::Error),
    /// The system refuses what it needs.
    #[error("Cannot prepare the download worker")]
    System(#[source] io::Error),
    /// It cannot talk to rkt.
    #[error("The conversation with rkt broke off")]
    Session(#[from] session::Error),
}

/// Works for the process at the other end of standard input, which is a socket, until that closes it.
pub fn run() -> Result<(), Error> {
    confinement::close_inherited()?;
    // What is read of files is read now: the trust store, and the proxies of the environment.
    let http = Http::new()?;
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(Error::System)?;
    let confinement = confinement::enter()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::System)?;
    let result = LocalSet::new().block_on(&runtime, session::serve(http, socket, confinement));
    // The resolver may be waiting for an answer that nobody wants any more.
    runtime.shutdown_background();
    Ok(result?)
}
