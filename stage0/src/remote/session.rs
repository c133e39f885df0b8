//! One worker, and what it is asked for.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use appc::{AcIdentifier, Labels};
use transport::client;
use transport::credentials::Lookup;
use transport::message::{Descriptor, Discovered, Got, Resolved, Status};
use transport::{
    Access, Blob, Discover, Document, Get, Launch, Limits, News, Platform, Reference, Reply, Request,
    Resolve, Validators, Worker,
};

use super::downloads::Part;
use super::progress::Progress;
use crate::config::Config;
use crate::context::Context;

/// The worker's file, from the directory of `rkt`.
const BESIDE: &str = "../lib/rkt/rkt-fetcher";

/// One worker, and what it is asked for.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    context: &'c Context,
    worker: Worker,
    credentials: Lookup,
}

/// A small body, or the word that it comes later.
#[derive(Debug)]
pub(crate) enum Small {
    /// All of it.
    Body(Vec<u8>),
    /// 202: ask again later.
    Deferred,
}

/// The documents of an image of a registry.
#[derive(Debug)]
pub(crate) struct Documents {
    /// What they say, as the worker reads them.
    pub(crate) resolved: Resolved,
    /// The index, when the name stands for one.
    pub(crate) index: Option<Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
}

impl<'c> Session<'c> {
    /// Starts a worker.
    pub(crate) fn open(context: &'c Context) -> Result<Self> {
        let roots = &context.roots;
        let roots: Vec<&Path> = [Some(&*roots.system), Some(&*roots.local), roots.user.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        let credentials = Lookup::load(&roots, |name| std::env::var_os(name))
            .context("cannot read the credentials for servers")?;
        for path in credentials.unreadable() {
            context.progress("image", format_args!("{} is not readable and left out", path.display()));
        }
        let worker = Worker::start(&Launch::new(&program()))?;
        if worker.confinement().landlock.is_none() {
            context.progress("image", "the kernel has no Landlock to fence the download worker with");
        }
        Ok(Self { context, worker, credentials })
    }

    /// Finds out where an image and its keys are.
    pub(crate) fn discover(&mut self, name: &AcIdentifier, labels: &Labels) -> Result<Discovered> {
        let access = self.access(&format!("https://{name}"))?;
        let labels = labels.iter().map(|label| (label.name.to_string(), label.value.clone())).collect();
        let request = Request::Discover(Discover { name: name.to_string(), labels, access });
        let mut progress = Progress::quiet(self.context);
        match self.worker.run(request, &[], |event| progress.event(0, &event))? {
            Reply::Discovered(found) => Ok(found),
            other => confused(&other),
        }
    }

    /// URLs of the keys that the owner of `name` announces.
    pub(crate) fn keys(&mut self, name: &AcIdentifier, plain: bool) -> Result<Vec<String>> {
        let mut access = self.access(&format!("https://{name}"))?;
        access.plain_http = plain;
        let request = Request::Discover(Discover { name: name.to_string(), labels: Vec::new(), access });
        let mut progress = Progress::quiet(self.context);
        match self.worker.run(request, &[], |event| progress.event(0, &event))? {
            Reply::Discovered(found) => {
                ensure!(!found.public_keys.is_empty(), "the pages of {name} name no keys");
                Ok(found.public_keys)
            }
            other => confused(&other),
        }
    }

    /// Fetches something of at most `limit` bytes. `plain` allows plain http for this once.
    pub(crate) fn small(&mut self, url: &str, limit: u64, plain: bool) -> Result<Small> {
        let mut access = self.access(url)?;
        access.plain_http |= plain;
        self.document(url, limit, access)
    }

    /// Fetches a key of at most `limit` bytes, within two minutes. `plain` alone decides about plain http.
    pub(crate) fn key(&mut self, url: &str, limit: u64, plain: bool) -> Result<Vec<u8>> {
        let mut access = self.access(url)?;
        access.plain_http = plain;
        access.limits.total_ms = Some(120_000);
        match self.document(url, limit, access)? {
            Small::Body(bytes) => Ok(bytes),
            Small::Deferred => bail!("the server requested deferring the download of {url}"),
        }
    }

    fn document(&mut self, url: &str, limit: u64, mut access: Access) -> Result<Small> {
        let document = Document::new(limit)?;
        access.limits.max_bytes = limit;
        let get = Get { url: url.to_owned(), cached: None, part: None, access };
        let mut progress = Progress::quiet(self.context);
        let got = self.run(get, &[document.as_fd()], &mut progress)?;
        match got.status {
            Status::Body => Ok(Small::Body(document.read(got.length)?)),
            Status::Deferred => Ok(Small::Deferred),
            Status::NotModified => bail!("{url} says that nothing has changed, which was not asked"),
        }
    }

    /// Fetches an archive into `part`, going on where it ends. `cached` is what our copy is known by.
    pub(crate) fn archive(
        &mut self,
        url: &str,
        plain: bool,
        cached: Option<Validators>,
        part: &mut Part,
    ) -> Result<Got> {
        let mut access = self.access(url)?;
        access.plain_http |= plain;
        let get = Get { url: url.to_owned(), cached, part: part.validators(), access };
        let mut progress = Progress::new(self.context, [url.to_owned()]);
        let request = Request::Get(get);
        let file = part.file().try_clone()?;
        let mut noted = Ok(());
        let reply = self.worker.run(request, &[file.as_fd()], |event| {
            progress.event(0, &event);
            // What the part is known by must be on disk before its first byte.
            if let transport::Event::Started { facts, .. } = &event
                && noted.is_ok()
            {
                noted = part.note(&facts.validators);
            }
        });
        if reply.is_ok() {
            progress.done(0);
        }
        progress.end();
        noted?;
        got(reply?)
    }

    /// Reads the documents of an image of a registry.
    pub(crate) fn resolve(&mut self, reference: &Reference) -> Result<Documents> {
        let limit = Resolve::DOCUMENT_LIMIT;
        let [index, manifest, config] = [Document::new(limit)?, Document::new(limit)?, Document::new(limit)?];
        let access = self.registry_access(reference)?;
        let platform = Platform::host();
        let request = Request::Resolve(Resolve { reference: reference.clone(), platform, access });
        let mut progress = Progress::quiet(self.context);
        let handles = [index.as_fd(), manifest.as_fd(), config.as_fd()];
        match self.worker.run(request, &handles, |event| progress.event(0, &event))? {
            Reply::Resolved(resolved) => Ok(Documents {
                index: resolved.index.as_ref().map(|it| index.read(it.size)).transpose()?,
                manifest: manifest.read(resolved.manifest.size)?,
                config: config.read(resolved.config.size)?,
                resolved,
            }),
            other => confused(&other),
        }
    }

    /// Fetches blobs of a registry into their parts, several at once.
    pub(crate) fn blobs(&mut self, reference: &Reference, blobs: &[(Descriptor, Part)]) -> Result<()> {
        let access = self.registry_access(reference)?;
        let mut progress = Progress::new(self.context, blobs.iter().map(|(it, _)| it.digest.to_string()));
        let mut waiting = BTreeMap::new();
        for (index, (descriptor, part)) in blobs.iter().enumerate() {
            let (reference, descriptor, access) = (reference.clone(), descriptor.clone(), access.clone());
            let request = Request::Blob(Blob { reference, descriptor, access });
            waiting.insert(self.worker.submit(request, &[part.as_fd()])?, index);
        }
        let mut failed = None;
        while !waiting.is_empty() {
            let (ticket, news) = self.worker.wait()?;
            let Some(index) = waiting.get(&ticket).copied() else { continue };
            match news {
                News::Event(event) => progress.event(index, &event),
                News::Done(result) => {
                    waiting.remove(&ticket);
                    match result {
                        Ok(_) => progress.done(index),
                        // The others are in vain; what came of them stays for the next time.
                        Err(failure) if failed.is_none() => {
                            failed = Some(failure);
                            for ticket in waiting.keys() {
                                self.worker.cancel(*ticket)?;
                            }
                        }
                        Err(_) => {}
                    }
                }
            }
        }
        progress.end();
        failed.map_or(Ok(()), |failure| Err(failure.into()))
    }

    fn registry_access(&self, reference: &Reference) -> Result<Access> {
        let credentials = self.credentials.for_registry(reference)?;
        Ok(Access { credentials, ..self.access("")? })
    }

    fn run(
        &mut self,
        get: Get,
        handles: &[std::os::fd::BorrowedFd<'_>],
        progress: &mut Progress,
    ) -> Result<Got> {
        got(self.worker.run(Request::Get(get), handles, |event| progress.event(0, &event))?)
    }

    /// How the host of `url` may be asked.
    fn access(&self, url: &str) -> Result<Access> {
        let insecure = self.context.insecure;
        Ok(Access {
            plain_http: insecure.allows_http(),
            any_certificate: insecure.skips_tls_check(),
            credentials: self.credentials.for_url(url),
            limits: limits(self.context.config()?),
        })
    }

    /// Ends the worker. From then on nobody but us can change what was fetched.
    pub(crate) fn finish(self) -> Result<()> {
        Ok(self.worker.finish()?)
    }
}

/// When to give up, as configured.
fn limits(config: &Config) -> Limits {
    let default = Limits::default();
    let fetch = &config.fetch;
    Limits {
        max_bytes: fetch.max_bytes.unwrap_or(default.max_bytes),
        stall_ms: fetch.stall_timeout.map_or(default.stall_ms, |seconds| seconds.saturating_mul(1000)),
        retries: fetch.retries.unwrap_or(default.retries),
        ..default
    }
}

/// The worker that was installed with this `rkt`.
fn program() -> PathBuf {
    let ours = std::fs::read_link("/proc/self/exe").ok();
    let beside = ours.as_deref().and_then(Path::parent).map(|directory| directory.join(BESIDE));
    beside.filter(|path| path.exists()).unwrap_or_else(|| client::PROGRAM.into())
}

fn got(reply: Reply) -> Result<Got> {
    match reply {
        Reply::Got(got) => Ok(got),
        other => confused(&other),
    }
}

fn confused<T>(reply: &Reply) -> Result<T> {
    bail!(
        "The download worker answers what was not asked: {}",
        transport::text::printable(&format!("{reply:?}"))
    )
}
