//! Flags about how a pod is run, of `run` and `run-prepared`.

use anyhow::{Result, bail, ensure};
use appc::value::NetMode;

use super::dns::DnsArgs;
use super::net::NetArgs;
use crate::launch::RunRequest;

/// Flags about how a pod is run.
#[derive(Debug, clap::Args)]
pub(crate) struct RuntimeArgs {
    #[command(flatten)]
    net: NetArgs,

    #[command(flatten)]
    dns: DnsArgs,

    /// pod's hostname. If empty, it will be "rkt-$PODUUID"
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    /// run pod interactively. If true, only one image may be supplied
    #[arg(long)]
    interactive: bool,

    /// register pod with metadata service. needs network connectivity to the host (--net=(default|default-restricted|host)
    #[arg(long)]
    mds_register: bool,

    /// whether to stay in the host IPC namespace. Syntax: --ipc=[auto|private|parent]
    #[arg(long, value_name = "MODE")]
    ipc: Option<String>,
}

/// Where the pod's System V IPC lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ipc {
    Private,
    Parent,
}

impl Ipc {
    /// Reads the value of `--ipc`; `None` leaves it to the stage1.
    fn parse(text: Option<&str>) -> Result<Option<Self>> {
        match text {
            None | Some("" | "auto") => Ok(None),
            Some("private") => Ok(Some(Self::Private)),
            Some("parent") => Ok(Some(Self::Parent)),
            Some(other) => bail!("--ipc: must be auto, private or parent, not {other:?}"),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Parent => "parent",
        }
    }
}

impl RuntimeArgs {
    /// What the flags ask for; `ports` tells whether ports of the host are to be forwarded.
    pub(crate) fn parse(&self, ports: bool) -> Result<RunRequest> {
        let net = self.net.parse()?;
        ensure!(!(ports && net.mode() == NetMode::None), "--port flag does not work with 'none' networking");
        ensure!(!(ports && net.mode() == NetMode::Host), "--port flag does not work with 'host' networking");
        ensure!(
            !(self.mds_register && net.mode() == NetMode::None),
            "--mds-register flag does not work with --net=none. Please use 'host', 'default' or an equivalent network"
        );
        if let Some(hostname) = &self.hostname {
            check_hostname(hostname)?;
        }
        Ok(RunRequest {
            net,
            names: self.dns.parse()?,
            hostname: self.hostname.clone().filter(|name| !name.is_empty()),
            interactive: self.interactive,
            ipc: Ipc::parse(self.ipc.as_deref())?,
            mutable: false,
            register: self.mds_register,
        })
    }
}

fn check_hostname(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    ensure!(name.len() <= 64 && name.chars().all(allowed), "--hostname: {name:?} is no host name");
    Ok(())
}
