//! `rkt app sandbox`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, ensure};
use appc::{AcIdentifier, ExposedPort, PodManifest, Port};

use super::Context;
use crate::launch;
use crate::options::pod::PodSource;
use crate::options::runtime::RuntimeArgs;
use crate::options::stage1::Stage1Args;
use crate::pod_view::MUTABLE;
use crate::prepare::{self, Options, Prepared};

/// Arguments of `rkt app sandbox`.
#[derive(Debug, clap::Args)]
pub(crate) struct SandboxArgs {
    #[command(flatten)]
    stage1: Stage1Args,

    #[command(flatten)]
    runtime: RuntimeArgs,

    /// write out the pod UUID to a file
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,

    /// disable overlay filesystem
    #[arg(long)]
    no_overlay: bool,

    /// run within user namespaces
    #[arg(long)]
    private_users: bool,

    /// ports of the pod to expose on the host
    #[arg(long, value_name = "NAME:PROTOCOL:PODPORT:HOSTIP:HOSTPORT")]
    port: Vec<String>,

    /// set the pod's annotations (example: '--annotation=foo=bar')
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,

    /// set the pod's user annotations (example: '--user-annotation=foo=bar')
    #[arg(long, value_name = "NAME=VALUE")]
    user_annotation: Vec<String>,

    /// set the pod's user labels (example: '--user-label=foo=bar')
    #[arg(long, value_name = "NAME=VALUE")]
    user_label: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &SandboxArgs) -> Result<ExitCode> {
    super::experiment()?;
    context.require_root()?;
    let manifest = manifest(args)?;
    let mut request = args.runtime.parse(!manifest.ports.is_empty())?;
    ensure!(!request.interactive, "an empty pod has no app to be interactive with");
    ensure!(
        !request.register,
        "--mds-register: the metadata service knows the apps that a pod starts with, and an empty pod has none"
    );
    request.mutable = true;
    let options = Options {
        stage1: args.stage1.parse()?,
        private_users: args.private_users,
        overlay: !args.no_overlay,
        uuid_file: args.uuid_file_save.as_deref(),
    };
    let source = PodSource::Made(Box::new(manifest));
    let Prepared { pods, mut held, abi, roots, lock } =
        prepare::prepare(context, "sandbox", source, options)?;
    pods.start(&mut held)?;
    drop(lock);
    match launch::launch(context, pods, &held, &abi, &roots, &request)? {}
}

fn manifest(args: &SandboxArgs) -> Result<PodManifest> {
    let mut manifest = PodManifest::default();
    for text in &args.annotation {
        let (name, value) = pair("--annotation", text)?;
        let name: AcIdentifier = name.parse().with_context(|| format!("--annotation: {name:?}"))?;
        manifest.annotations.set(name, value);
    }
    manifest.annotations.set(MUTABLE.parse()?, "true");
    for (flag, texts, map) in [
        ("--user-annotation", &args.user_annotation, &mut manifest.user_annotations),
        ("--user-label", &args.user_label, &mut manifest.user_labels),
    ] {
        for text in texts {
            let (name, value) = pair(flag, text)?;
            map.insert(name.to_owned(), value.to_owned());
        }
    }
    manifest.ports = args.port.iter().map(|text| port(text)).collect::<Result<_>>()?;
    Ok(manifest)
}

fn pair<'a>(flag: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .with_context(|| format!("invalid argument {text:?} for {flag}: must be NAME=VALUE"))
}

/// A port by its numbers: there is no app yet that could give them a name.
fn port(text: &str) -> Result<ExposedPort> {
    let wrong = |why: &str| anyhow!("invalid argument {text:?} for --port: {why}");
    let (front, host_port) =
        text.rsplit_once(':').ok_or_else(|| wrong("must be NAME:PROTOCOL:PODPORT:HOSTIP:HOSTPORT"))?;
    let mut parts = front.splitn(4, ':');
    let (Some(name), Some(protocol), Some(pod_port), Some(address)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong("must be NAME:PROTOCOL:PODPORT:HOSTIP:HOSTPORT"));
    };
    let number = |text: &str| text.parse().ok().filter(|port| *port > 0);
    let name: appc::AcName = name.parse().map_err(|error| wrong(&format!("{error}")))?;
    if !["tcp", "udp"].contains(&protocol) {
        return Err(wrong("the protocol is tcp or udp"));
    }
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    Ok(ExposedPort {
        host_port: number(host_port).ok_or_else(|| wrong("a port is a number from 1 to 65535"))?,
        host_ip: match bare {
            "" => None,
            bare => Some(bare.parse().map_err(|_| wrong("the address is no IP address"))?),
        },
        pod_port: Some(Port {
            name: name.clone(),
            protocol: protocol.to_owned(),
            port: number(pod_port).ok_or_else(|| wrong("a port is a number from 1 to 65535"))?,
            count: 1,
            socket_activated: false,
        }),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_by_number() {
        let exposed = port("http:tcp:80:127.0.0.1:8080").unwrap();
        assert_eq!((exposed.name.as_str(), exposed.host_port), ("http", 8080));
        assert_eq!(exposed.host_ip, Some("127.0.0.1".parse().unwrap()));
        assert_eq!(exposed.pod_port.map(|port| port.port), Some(80));
        assert_eq!(port("a:udp:1:[::1]:2").unwrap().host_ip, Some("::1".parse().unwrap()));
        assert_eq!(port("a:udp:1::2").unwrap().host_ip, None);
        for wrong in
            ["http:8080", "a:sctp:1:0.0.0.0:2", "a:tcp:0:0.0.0.0:2", "a:tcp:1:x:2", "A:tcp:1:0.0.0.0:2"]
        {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }
}
