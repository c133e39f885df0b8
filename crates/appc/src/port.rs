//! Ports of apps and how a pod exposes them.

use std::net::IpAddr;

use serde::Serialize;

use crate::AcName;
use crate::error::{ManifestError, Rule};
use crate::json::{At, Read, deserialize_by_read};

/// A range of ports that an app listens on (specification, "Image Manifest Schema", `ports`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// The name, unique in the app.
    pub name: AcName,
    /// `tcp`, `udp` or any other word; `tcp` when a manifest has none.
    pub protocol: String,
    /// The first port, from 1.
    pub port: u16,
    /// How many ports, from 1; `port + count - 1` fits 16 bits.
    pub count: u16,
    /// Whether the app takes the listening socket from its starter.
    pub socket_activated: bool,
}

impl Read for Port {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let port: u16 = at.required("port")?.integer(1, 65535)?;
        let count = match at.field("count") {
            Some(count) => count.integer::<u16>(0, 65536 - i64::from(port))?.max(1),
            None => 1,
        };
        Ok(Self {
            name: at.parsed("name")?,
            protocol: at
                .optional("protocol")?
                .filter(|protocol: &String| !protocol.is_empty())
                .unwrap_or_else(|| "tcp".to_owned()),
            port,
            count,
            socket_activated: at.or_default("socketActivated")?,
        })
    }
}

/// A port of the pod reachable at a port of the host (specification, "Pod Manifest Schema", `ports`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExposedPort {
    /// The name of an app's port.
    pub name: AcName,
    /// The port of the host, from 1.
    pub host_port: u16,
    /// The address of the host; all of its addresses when absent.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The port of the pod, when no app names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_port: Option<Port>,
}

impl Read for ExposedPort {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let host_ip = match at.field("hostIP") {
            Some(field) => match field.text()? {
                "" => None,
                text => Some(text.parse().map_err(|_| {
                    field.error(Rule::Form { rule: "is not an IP address", found: text.to_owned() })
                })?),
            },
            None => None,
        };
        Ok(Self {
            name: at.parsed("name")?,
            host_port: at.required("hostPort")?.integer(1, 65535)?,
            host_ip,
            pod_port: at.optional("podPort")?,
        })
    }
}

deserialize_by_read!(Port, ExposedPort);
