//! How the guest gets the pod's files: from a file server, or, where there is none, from an image.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use executor::AppSpec;
use rustix::net::Shutdown;
use stage1::args::Run;
use stage1::{Context, Error, Pod, Result, warn};
use supervisor::link::Volume;

use crate::console::Complaints;
use crate::image::{self, Maker};
use crate::machine::Root;
use crate::process::Running;
use crate::virtiofsd::{self, Virtiofsd};

/// Where they come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file server.
    Shared(Virtiofsd),
    /// An image that this one makes.
    Image(Maker),
}

impl Source {
    /// What this host has.
    ///
    /// # Errors
    /// When it has nothing; the text says what to install.
    pub(crate) fn find() -> Result<Self> {
        let shared = Virtiofsd::find().map(Source::Shared);
        shared.or_else(|| Maker::find().map(Source::Image)).ok_or_else(|| {
            Error::Refused(
                "Neither virtiofsd, which gives the pod's machine its files, nor mkfs.erofs, which makes an image of them, is \
                 installed on this host. Install virtiofsd (Debian 12: apt install qemu-system-common; Debian 13, Fedora: \
                 virtiofsd) or, for pods that need not keep what they write, erofs-utils; or run the pod with another stage1"
                    .to_owned(),
            )
        })
    }

    /// Makes the files of the pod ready. `streams` are those of helpers, which say to `complaints` what the matter is.
    pub(crate) fn provide(
        &self,
        pod: &Pod,
        run: &Run,
        specs: &[AppSpec],
        streams: [BorrowedFd<'_>; 3],
        complaints: &mut Complaints,
    ) -> Result<Files> {
        match self {
            Source::Shared(virtiofsd) => {
                let (server, descriptor) = FileServer::start(virtiofsd, streams)?;
                Ok(Files { descriptor, server: Some(server), image: None })
            }
            Source::Image(maker) => {
                let volumes = image::volumes(pod, run, specs)?;
                warn(image::WARNING);
                Ok(Files { descriptor: maker.make(streams, complaints)?, server: None, image: Some(volumes) })
            }
        }
    }
}

/// What the machine gets.
#[derive(Debug)]
pub(crate) struct Files {
    /// The connection to the file server, or the image, for the hypervisor.
    pub(crate) descriptor: OwnedFd,
    /// The file server, where there is one.
    pub(crate) server: Option<FileServer>,
    /// The volumes in the image, where there is one.
    pub(crate) image: Option<Vec<Volume>>,
}

impl Files {
    /// As the guest sees them.
    pub(crate) fn root(&self) -> Root {
        if self.image.is_some() { Root::Image } else { Root::Virtiofs }
    }
}

/// A file server that runs.
#[derive(Debug)]
pub(crate) struct FileServer {
    pub(crate) running: Running,
    connection: OwnedFd,
}

impl FileServer {
    /// Starts it with these standard streams. Returns the connection for the hypervisor, too.
    pub(crate) fn start(virtiofsd: &Virtiofsd, streams: [BorrowedFd<'_>; 3]) -> Result<(Self, OwnedFd)> {
        let (listener, connection) = virtiofsd::connection()?;
        let theirs = connection.try_clone().step(|| "connect to virtiofsd".to_owned())?;
        let [stdin, stdout, stderr] = streams;
        let running = virtiofsd.command()?.spawn(&[stdin, stdout, stderr, listener.as_fd()])?;
        Ok((FileServer { running, connection }, theirs))
    }

    /// Lets it end by itself, as it does without a connection.
    pub(crate) fn disconnect(&self) {
        let _ = rustix::net::shutdown(&self.connection, Shutdown::Both);
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) {
        self.running.end(Duration::from_secs(2));
    }
}
