//! OCI and Docker images in directories and archives of this host.
//!
//! An archive around an image is unpacked by the helper into the work area first, as ours and without its owners and modes. Its
//! blobs then move from there into the store: there is no further copy.

use std::fs::File;
use std::io::Seek;
use std::os::fd::AsFd;
use std::path::Path;

use transport::Platform;

use super::work::Work;
use super::{Image, Store, StoreError};
use crate::helper::{self, HelperError};
use crate::limits::Limits;
use crate::oci::layout::Directory;
use crate::oci::{OciError, OciImport};
use crate::pipeline::Content;

/// Where an image on this host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalImage<'a> {
    /// In a directory with an OCI image layout.
    OciLayout(&'a Path),
    /// In a tar file of such a directory.
    OciArchive(&'a Path),
    /// In a file that `docker save` wrote.
    DockerArchive(&'a Path),
}

impl LocalImage<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::OciLayout(path) | Self::OciArchive(path) | Self::DockerArchive(path) => path,
        }
    }
}

impl std::fmt::Display for LocalImage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = match self {
            Self::OciLayout(_) => "oci",
            Self::OciArchive(_) => "oci-archive",
            Self::DockerArchive(_) => "docker-archive",
        };
        write!(f, "{scheme}:{}", self.path().display())
    }
}

impl Store {
    /// Imports the image of `local` that `reference` names, for this host's platform; without, the only one.
    pub fn import_local(
        &self,
        local: &LocalImage<'_>,
        reference: Option<&str>,
        limits: &Limits,
    ) -> Result<Image, StoreError> {
        if self.judge().is_some() {
            return Err(StoreError::Unsigned(local.to_string()));
        }
        let source = local.to_string();
        let failed = |error: OciError| StoreError::Oci { name: source.clone(), source: error };
        let unreadable = |error: std::io::Error| {
            failed(OciError::Read { part: local.path().display().to_string(), cause: error })
        };
        let platform = Platform::host();
        if let LocalImage::OciLayout(path) = local {
            let root = sys::path::open_directory(path).map_err(|error| unreadable(error.into()))?;
            let directory = Directory::new(root, &source, path);
            let import = directory.oci(reference, &platform).map_err(failed)?;
            return self.import_oci(&OciImport { limits: limits.clone(), ..import });
        }
        let mut file = File::open(local.path()).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        let work = Work::new(self)?;
        let root = work.rootfs()?;
        helper::run(
            self.helper.as_ref(),
            Content::Parts,
            &mut file,
            &mut |_| Ok(()),
            Some(root.as_fd()),
            limits,
        )
        .map_err(|source| match source {
            HelperError::Source(error) => unreadable(error),
            source => StoreError::Import { name: local.to_string(), source },
        })?;
        let directory = Directory::new(root, &source, local.path());
        let import = match local {
            LocalImage::DockerArchive(_) => directory.docker(reference),
            _ => directory.oci(reference, &platform),
        }
        .map_err(failed)?;
        self.import_oci(&OciImport { limits: limits.clone(), ..import })
    }
}
