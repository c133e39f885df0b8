//! `net-info.json`: what users see of a pod's networks.

use pod::PodDir;
use serde::Serialize;

use crate::ports::Forward;
use crate::record::Record;
use crate::result::{Address, Outcome};
use crate::{Error, Result, plugin};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    net_name: &'a str,
    net_conf: String,
    plugin_path: String,
    if_name: &'a str,
    ip: String,
    args: &'a str,
    mask: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ip6: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mask6: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ports: &'a [Forward],
}

/// Writes it. The forwarded ports stand at the network that they go through.
pub(crate) fn write(pod: &PodDir, record: &Record, outcomes: &[Outcome], forwards: &[Forward]) -> Result<()> {
    let through = record
        .attachments
        .iter()
        .position(|attachment| attachment.network.masquerades())
        .unwrap_or(record.attachments.len().saturating_sub(1));
    let infos: Vec<Info<'_>> = record
        .attachments
        .iter()
        .zip(outcomes)
        .enumerate()
        .map(|(index, (attachment, outcome))| {
            let kind = attachment.network.plugins.first().and_then(|plugin| plugin.get("type")?.as_str());
            let program = kind.and_then(|kind| plugin::find(kind, &record.plugin_path).ok());
            let (v4, v6) = (outcome.address(false), outcome.address(true));
            let ip =
                |address: Option<Address>| address.map(|address| address.ip.to_string()).unwrap_or_default();
            let mask = |address: Option<Address>| address.map(Address::mask).unwrap_or_default();
            Info {
                net_name: &attachment.network.name,
                net_conf: format!("net/{}", attachment.network.file),
                plugin_path: program.map(|program| program.display().to_string()).unwrap_or_default(),
                if_name: &attachment.interface,
                ip: ip(v4),
                args: &attachment.args,
                mask: mask(v4),
                ip6: ip(v6),
                mask6: mask(v6).trim_start_matches('/').to_owned(),
                ports: if index == through { forwards } else { &[] },
            }
        })
        .collect();
    let json = serde_json::to_vec(&infos)
        .map_err(|error| Error::Record { file: "net-info.json".to_owned(), why: error.to_string() })?;
    Ok(pod.replace("net-info.json", &json)?)
}
