//! `attach`: a client of the supervisor, which connects it to streams of an app.

use std::path::Path;

use serde_json::json;
use stage1::args::{Attach, AttachAction};
use stage1::{Error, Result};
use supervisor::attach::{self, End};
use supervisor::control::Endpoint;

use crate::CONTROL_SOCKET;

/// Connects to streams of an app, or says which there are.
pub fn attach(attach: &Attach) -> Result<u8> {
    let socket = Path::new(CONTROL_SOCKET);
    let refused = |error: supervisor::client::ClientError| Error::Refused(stage1::chain(&error));
    let there = || attach::endpoints(socket, &attach.app).map_err(refused);
    let wanted = match &attach.action {
        AttachAction::List => {
            print(&there()?)?;
            return Ok(0);
        }
        AttachAction::Auto => there()?,
        AttachAction::Custom(names) => {
            Endpoint::ALL.into_iter().filter(|endpoint| names.contains(&endpoint.as_str())).collect()
        }
    };
    match attach::attach(socket, &attach.app, wanted).map_err(refused)? {
        End::App(status) => Ok(status),
        End::Detached => Ok(0),
    }
}

/// Both directions of a terminal are one target, as they were for the Go rkt.
fn print(endpoints: &[Endpoint]) -> Result<()> {
    let is_tty = |endpoint: &&Endpoint| matches!(endpoint, Endpoint::TtyIn | Endpoint::TtyOut);
    let mut names: Vec<&str> =
        endpoints.iter().filter(|endpoint| !is_tty(endpoint)).map(|endpoint| endpoint.as_str()).collect();
    names.extend(endpoints.iter().any(|endpoint| is_tty(&endpoint)).then_some("tty"));
    let targets: Vec<_> = names
        .into_iter()
        .map(|name| json!({"name": name, "domain": "control", "address": CONTROL_SOCKET}))
        .collect();
    let list = json!({"version": 1, "targets": targets});
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let written = serde::Serialize::serialize(&list, &mut serializer).map_err(std::io::Error::from);
    text.push(b'\n');
    written
        .and_then(|()| std::io::Write::write_all(&mut std::io::stdout(), &text))
        .map_err(|source| Error::Step { step: "print the list".to_owned(), source })
}
