//! Names to addresses, by the system's resolver.
//!
//! It is our own only so that its failures can be told from others of a connection.

use std::net::{SocketAddr, ToSocketAddrs};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A name has no address, or nobody could be asked.
#[derive(Debug, thiserror::Error)]
#[error("Cannot find the address of {host}")]
pub(crate) struct NameError {
    /// The name.
    pub(crate) host: String,
    /// What the resolver says.
    pub(crate) reason: String,
}

/// The system's resolver.
#[derive(Debug)]
pub(crate) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let lookup = {
                let host = host.clone();
                tokio::task::spawn_blocking(move || {
                    (host.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<SocketAddr>>)
                })
            };
            let addresses = match lookup.await {
                Ok(Ok(addresses)) => addresses,
                Ok(Err(error)) => return Err(NameError { host, reason: reason(&error.to_string()) }.into()),
                Err(error) => return Err(error.into()),
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Rust's text, without the part that says what the caller knows.
fn reason(text: &str) -> String {
    text.trim_start_matches("failed to lookup address information: ").to_owned()
}
