//! Flags about what a pod is made of, of `run` and `prepare`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, anyhow, bail, ensure};
use appc::PodManifest;

use super::environment::EnvironmentArgs;
use super::pull::{PullArgs, PullPolicy};
use super::stage1::Stage1Args;
use crate::apps::AppRequest;
use crate::apps::grammar::AppWords;
use crate::apps::manifest::PodRequest;
use crate::prepare::Options;

/// Flags and images of a pod.
#[derive(Debug, clap::Args)]
pub(crate) struct PodFlags {
    #[command(flatten)]
    stage1: Stage1Args,

    #[command(flatten)]
    environment: EnvironmentArgs,

    #[command(flatten)]
    pull: PullArgs,

    /// volumes to make available in the pod
    #[arg(long, value_name = "NAME,kind=KIND,...")]
    volume: Vec<String>,

    /// mount point binding a volume to a path within an app
    #[arg(long, value_name = "volume=VOL,target=PATH")]
    mount: Vec<String>,

    /// ports to expose on the host. Syntax: --port=NAME:HOSTPORT or --port=NAME:HOSTIP:HOSTPORT
    #[arg(long, value_name = "NAME:HOSTPORT")]
    port: Vec<String>,

    /// disable overlay filesystem
    #[arg(long)]
    no_overlay: bool,

    /// run within user namespaces
    #[arg(long)]
    private_users: bool,

    /// the path to the pod manifest. If it's non-empty, then only '--net', '--no-overlay' and '--interactive' will
    /// have effect
    #[arg(long, value_name = "FILE")]
    pod_manifest: Option<PathBuf>,

    #[command(flatten)]
    words: AppWords,
}

/// What a pod is made of.
#[derive(Debug)]
pub(crate) enum PodSource {
    /// Images, and flags about them.
    Images { pod: PodRequest, apps: Vec<AppRequest>, pull: PullPolicy },
    /// A manifest in a file.
    Manifest(PathBuf),
    /// This manifest, without apps.
    Made(Box<PodManifest>),
}

impl PodFlags {
    /// What the flags ask for.
    pub(crate) fn parse(&self, command: &str) -> Result<PodSource> {
        let apps = self.words.parse(command)?;
        let pull = self.pull.parse(command)?;
        if let Some(path) = self.pod_manifest.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            let pulls = matches!(pull, Some(PullPolicy::Never | PullPolicy::Update));
            let others = !self.volume.is_empty() || !self.mount.is_empty() || !self.port.is_empty();
            if !apps.is_empty() || others || pulls || self.environment.any() {
                bail!("conflicting flags set with --pod-manifest (see --help)");
            }
            return Ok(PodSource::Manifest(path.clone()));
        }
        ensure!(!apps.is_empty(), "must provide at least one image or specify the pod manifest");
        let pod = PodRequest {
            volumes: values("--volume", &self.volume)?,
            mounts: values("--mount", &self.mount)?,
            ports: values("--port", &self.port)?,
            environment: self.environment.load()?,
            annotations: BTreeMap::new(),
            sysctls: BTreeMap::new(),
        };
        pod.check(&apps)?;
        Ok(PodSource::Images { pod, apps, pull: pull.unwrap_or(PullPolicy::New) })
    }

    /// How the pod is prepared.
    pub(crate) fn options<'a>(&self, uuid_file: Option<&'a Path>) -> Result<Options<'a>> {
        Ok(Options {
            stage1: self.stage1.parse()?,
            overlay: !self.no_overlay,
            private_users: self.private_users,
            uuid_file,
        })
    }

    /// Whether ports of the host are to be forwarded.
    pub(crate) fn has_ports(&self) -> bool {
        !self.port.is_empty()
    }
}

fn values<T>(flag: &str, texts: &[String]) -> Result<Vec<T>>
where
    T: FromStr<Err: Display>,
{
    let value = |text: &String| {
        text.parse()
            .map_err(|error| anyhow!("{error}").context(format!("invalid argument {text:?} for {flag}")))
    };
    texts.iter().map(value).collect()
}
