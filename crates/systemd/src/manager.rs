//! The manager's D-Bus interface: only what rkt calls.

use std::time::Instant;

use zbus::{ObjectPath, OwnedObjectPath, Variant};

use crate::bus::{ADD_MATCH, Connection, Fault, Method};

/// Where systemd itself listens, for root, also when there is no bus yet.
const PRIVATE_SOCKET: &str = "/run/systemd/private";

const INTERFACE: &str = "org.freedesktop.systemd1.Manager";

const START_TRANSIENT_UNIT: Method<'static> = Method {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: INTERFACE,
    member: "StartTransientUnit",
};

const STOP_UNIT: Method<'static> = Method { member: "StopUnit", ..START_TRANSIENT_UNIT };

const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
                           interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// One property of a unit.
pub(crate) type Property<'a> = (&'a str, Variant<'a>);

/// systemd's manager.
#[derive(Debug)]
pub(crate) struct Manager {
    connection: Connection,
    is_bus: bool,
}

impl Manager {
    /// Connects over the system bus, or to systemd itself where there is none.
    pub(crate) fn connect(deadline: Instant) -> Result<Self, Fault> {
        let error = match Connection::system(deadline) {
            Ok(connection) => return Ok(Manager { connection, is_bus: true }),
            Err(error) => error,
        };
        match Connection::peer(PRIVATE_SOCKET, deadline) {
            Ok(connection) => Ok(Manager { connection, is_bus: false }),
            Err(_) => Err(error),
        }
    }

    /// The conversation, for other calls.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Makes a unit that exists until it ends and starts it. Waits for the end of its job and returns the result:
    /// `done` when it has been started.
    pub(crate) fn start_transient_unit(
        &mut self,
        name: &str,
        properties: &[Property<'_>],
    ) -> Result<String, Fault> {
        // All at once, in this order: a job can be over before the answer to the call is read.
        if self.is_bus {
            self.connection.start(&ADD_MATCH, &(JOB_REMOVED,))?;
        }
        let auxiliary: [(&str, Vec<Property<'_>>); 0] = [];
        let call = self
            .connection
            .start(&START_TRANSIENT_UNIT, &(name, "fail", properties, auxiliary.as_slice()))?;
        let answer = self.connection.answer(call)?;
        let (job,): (ObjectPath<'_>,) = answer.body()?;
        loop {
            let signal = self.connection.signal()?;
            if !signal.is_signal(INTERFACE, "JobRemoved") {
                continue;
            }
            let (_, ended, _, result): (u32, OwnedObjectPath, String, String) = signal.body()?;
            if ended.as_str() == job.as_str() {
                return Ok(result);
            }
        }
    }

    /// Stops a unit. It has been asked to when this returns, not more.
    pub(crate) fn stop_unit(&mut self, name: &str) -> Result<(), Fault> {
        let call = self.connection.start(&STOP_UNIT, &(name, "replace"))?;
        self.connection.answer(call).map(|_| ())
    }
}
