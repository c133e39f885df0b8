//! What else rkt asks of the manager: about units, and to act on them.

use std::time::{Duration, Instant};

use zbus::Variant;

use crate::bus::{Connection, Fault, Method};
use crate::manager::Manager;
use crate::{Error, Result};

/// How long systemd may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

const MANAGER: Method<'static> = Method {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "",
};

/// Sends a signal to the main process of a unit.
///
/// # Errors
/// [`Error::NoBus`], [`Error::Control`].
pub fn kill_main(unit: &str, signal: i32) -> Result<()> {
    call(unit, "kill", &Method { member: "KillUnit", ..MANAGER }, &(unit, "main", signal)).map(drop)
}

/// Starts a unit, unless another job is at it. It has been asked for when this returns, not more.
///
/// # Errors
/// [`Error::NoBus`], [`Error::Control`].
pub fn start(unit: &str) -> Result<()> {
    call(unit, "start", &Method { member: "StartUnit", ..MANAGER }, &(unit, "fail")).map(drop)
}

/// Restarts a unit. It has been asked for when this returns, not more.
///
/// # Errors
/// [`Error::NoBus`], [`Error::Control`].
pub fn restart(unit: &str) -> Result<()> {
    call(unit, "restart", &Method { member: "RestartUnit", ..MANAGER }, &(unit, "replace")).map(drop)
}

/// Stops a unit. It has been asked for when this returns, not more.
///
/// # Errors
/// [`Error::NoBus`], [`Error::Control`].
pub fn stop(unit: &str) -> Result<()> {
    call(unit, "stop", &Method { member: "StopUnit", ..MANAGER }, &(unit, "replace")).map(drop)
}

/// Properties of a unit and of the service that it is, by name, as text. The unit is loaded for that.
///
/// # Errors
/// [`Error::NoBus`], [`Error::Control`].
pub fn properties(unit: &str, wanted: &[&str]) -> Result<Vec<(String, String)>> {
    let mut connection = connect()?;
    let failed = |fault: Fault| error(unit, "show", &fault);
    let load = Method { member: "LoadUnit", ..MANAGER };
    let answer =
        connection.start(&load, &(unit,)).and_then(|call| connection.answer(call)).map_err(failed)?;
    let (path,): (zbus::OwnedObjectPath,) = answer.body().map_err(failed)?;
    let mut found = Vec::new();
    for interface in ["org.freedesktop.systemd1.Unit", "org.freedesktop.systemd1.Service"] {
        let all = Method {
            path: path.as_str(),
            interface: "org.freedesktop.DBus.Properties",
            member: "GetAll",
            ..MANAGER
        };
        let answer =
            connection.start(&all, &(interface,)).and_then(|call| connection.answer(call)).map_err(failed)?;
        let (properties,): (std::collections::BTreeMap<String, Variant<'_>>,) =
            answer.body().map_err(failed)?;
        for (name, value) in properties.iter().filter(|(name, _)| wanted.contains(&name.as_str())) {
            found.push((name.clone(), text(value)));
        }
    }
    found.sort_by_key(|(name, _)| wanted.iter().position(|one| one == name));
    Ok(found)
}

fn call<B: serde::Serialize + zbus::DynamicType>(
    unit: &str,
    action: &'static str,
    method: &Method<'_>,
    body: &B,
) -> Result<()> {
    let mut connection = connect()?;
    let answered = connection.start(method, body).and_then(|call| connection.answer(call));
    answered.map(drop).map_err(|fault| error(unit, action, &fault))
}

fn connect() -> Result<Connection> {
    let manager = Manager::connect(Instant::now() + TIMEOUT);
    manager.map(Manager::into_connection).map_err(|fault| Error::NoBus { reason: fault.to_string() })
}

fn error(unit: &str, action: &'static str, fault: &Fault) -> Error {
    Error::Control { action, unit: unit.to_owned(), reason: fault.to_string() }
}

/// The value of a property as people read it.
fn text(value: &Variant<'_>) -> String {
    match value {
        // What systemd has for "no limit".
        Variant::U64(u64::MAX) => "infinity".to_owned(),
        Variant::Str(text) => text.to_string(),
        Variant::Bool(true) => "yes".to_owned(),
        Variant::Bool(false) => "no".to_owned(),
        Variant::U64(number) => number.to_string(),
        Variant::U32(number) => number.to_string(),
        Variant::I32(number) => number.to_string(),
        Variant::ObjectPath(path) => path.to_string(),
        Variant::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    }
}
