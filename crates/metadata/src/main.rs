//! `rkt-metadata`, the metadata service of the appc specification ("App Container Metadata Service").
//!
//! ```text
//! rkt ── PUT, DELETE over a unix socket, for root ──► rkt-metadata ◄── GET, POST over TCP, by token ── apps of pods
//! ```
//! It has no rights and keeps nothing: what it knows is in memory, and a restart forgets it. systemd opens both sockets and starts it
//! with the first connection; without systemd it opens them itself.
//!
//! | module | |
//! |---|---|
//! | [`registry`] | what is known of pods, and signatures in their names |
//! | [`answers`] | which request gets which answer |
//! | [`server`] | sockets, connections, limits |

mod answers;
mod registry;
mod server;

use std::process::ExitCode;

/// Where clients connect, when systemd does not say.
const PORT: u16 = 18112;

fn main() -> ExitCode {
    let mut port = PORT;
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix("--listen-port=").map(str::parse) {
            Some(Ok(number)) => port = number,
            _ => {
                eprintln!(
                    "rkt-metadata: unknown argument {argument:?}: rkt metadata-service starts this program"
                );
                return ExitCode::from(254);
            }
        }
    }
    match server::run(port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metadata-service: {error}");
            ExitCode::from(254)
        }
    }
}
