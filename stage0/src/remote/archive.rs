//! One archive from one URL.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use appc::{AcIdentifier, ImageId, Labels};
use image::helper::HelperError;
use image::{Image, ImportRequest, StoreError};
use transport::message::Status;
use trust::{Keystore, Signature};

use super::downloads::{self, Downloads, Part, Record};
use super::session::{Session, Small};
use crate::context::Context;
use crate::options::pull::PullPolicy;

/// The largest signature that is fetched, in bytes.
const SIGNATURE_LIMIT: u64 = 64 << 10;

/// An archive to be fetched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Archive<'a> {
    /// Its URL.
    pub(crate) url: String,
    /// URL of its signature.
    pub(crate) signature_url: String,
    /// `--signature`
    pub(crate) signature: Option<&'a Path>,
    /// What the image must be called.
    pub(crate) name: Option<&'a AcIdentifier>,
    /// Labels that it must have.
    pub(crate) labels: Labels,
    /// Its ID, where something names it.
    pub(crate) id: Option<&'a ImageId>,
    /// Whether the user named this very URL. Then plain http is his own choice.
    pub(crate) is_named: bool,
}

impl<'a> Archive<'a> {
    /// The archive that the user names by its URL.
    pub(crate) fn at(url: &str, signature: Option<&'a Path>) -> Self {
        let (path, rest) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
        Self {
            url: url.to_owned(),
            signature_url: format!("{path}.asc{rest}"),
            signature,
            is_named: true,
            ..Self::default()
        }
    }

    /// Brings it into the store, unless the store has it and `pull` is content with that.
    pub(crate) fn fetch(&self, context: &Context, pull: PullPolicy) -> Result<Image> {
        let check = !context.insecure.skips_image_check();
        let downloads = Downloads::open(context)?;
        let known = self.known(context, &downloads, check)?;
        match (&known, pull) {
            (Some((image, _)), PullPolicy::Never | PullPolicy::New) => {
                context.progress("image", format_args!("using image from local store for url {}", self.url));
                return Ok(image.clone());
            }
            (None, PullPolicy::Never) => {
                bail!("unable to find image for url {} in the store and --pull-policy=never", self.url)
            }
            (Some((image, record)), PullPolicy::Update) if record.is_fresh(downloads::now()) => {
                context
                    .progress("image", format_args!("image for {} isn't expired, not fetching.", self.url));
                return Ok(image.clone());
            }
            _ => {}
        }
        context.progress("image", format_args!("remote fetching from URL {:?}", self.url));
        let mut part = downloads.part(&self.url)?;
        let mut session = Session::open(context)?;
        let signature = if check { Some(self.signature(context, &mut session)?) } else { None };
        let cached = known.as_ref().map(|(_, record)| record.validators.clone());
        let got = session
            .archive(&self.url, self.is_named, cached, &mut part)
            .with_context(|| format!("cannot fetch {}", self.url))?;
        let signature = match signature {
            Some(Small::Deferred) => Some(self.late_signature(&mut session)?),
            Some(Small::Body(bytes)) => Some(bytes),
            None => None,
        };
        session.finish()?;
        let image = match (got.status, known) {
            (Status::NotModified, Some((image, _))) => {
                context.progress("image", format_args!("image for {} has not changed", self.url));
                image
            }
            (Status::Body, _) => self.import(context, &mut part, signature)?,
            (Status::NotModified, None) => {
                bail!("{} says that nothing has changed, which was not asked", self.url)
            }
            (Status::Deferred, _) => bail!("the server requested deferring the download of {}", self.url),
        };
        part.discard();
        downloads.remember(&Record {
            source: self.url.clone(),
            key: image.key().to_owned(),
            validators: got.facts.validators,
            max_age: got.facts.max_age,
            fetched: downloads::now(),
            verified: check,
        })?;
        Ok(image)
    }

    /// The image that was fetched from there last, when it is still in the store and good enough.
    fn known(
        &self,
        context: &Context,
        downloads: &Downloads,
        check: bool,
    ) -> Result<Option<(Image, Record)>> {
        let Some(record) = downloads.record(&self.url).filter(|record| record.verified || !check) else {
            return Ok(None);
        };
        let image = context.store()?.find_by_id(&record.key).ok();
        let fits = |image: &Image| {
            self.id.is_none_or(|id| id.matches(image.id()))
                && self.check(image.name(), image.labels()).is_ok()
        };
        let found = image.filter(fits).map(|image| (image, record));
        if let Some((image, _)) = &found {
            context.store()?.touch(image);
        }
        Ok(found)
    }

    /// Whether an image has the name and the labels that were asked for.
    fn check(&self, name: &AcIdentifier, labels: &Labels) -> Result<()> {
        if let Some(wanted) = self.name {
            ensure!(
                name == wanted,
                "error when reading the app name: {:?} expected but {:?} found",
                wanted.as_str(),
                name.as_str()
            );
        }
        check_labels(&self.labels, labels)
    }

    /// The signature, from the file that the user names or from beside the archive.
    fn signature(&self, context: &Context, session: &mut Session<'_>) -> Result<Small> {
        if let Some(path) = self.signature {
            let mut bytes = Vec::new();
            std::fs::File::open(path)
                .and_then(|file| file.take(SIGNATURE_LIMIT + 1).read_to_end(&mut bytes))
                .map_err(|error| anyhow!("error opening signature file {}: {error}", path.display()))?;
            return Ok(Small::Body(bytes));
        }
        if let Some(name) = self.name {
            crate::remote::name::require_keys(context, session, name)?;
        }
        context.progress("image", format_args!("downloading signature from {}", self.signature_url));
        let signature = self.download_signature(session)?;
        if let (Small::Body(bytes), Some(name)) = (&signature, self.name) {
            // Nothing large is fetched for a signature that cannot count.
            let keys = Keystore::new(&context.roots.system, &context.roots.local).keys_for(name)?;
            Signature::parse(bytes).and_then(|signature| signature.check_signer(&keys))?;
        }
        Ok(signature)
    }

    fn download_signature(&self, session: &mut Session<'_>) -> Result<Small> {
        let small = session.small(&self.signature_url, SIGNATURE_LIMIT, self.is_named);
        // In one with the cause: of a chain the user sees the ends only.
        small.map_err(|error| anyhow!("error downloading the signature file: {error:#}"))
    }

    /// The signature that was not there before the image came.
    fn late_signature(&self, session: &mut Session<'_>) -> Result<Vec<u8>> {
        match self.download_signature(session)? {
            Small::Body(bytes) => Ok(bytes),
            Small::Deferred => {
                bail!("server requested deferring the signature download of {}", self.signature_url)
            }
        }
    }

    /// Takes what was fetched into the store, when it is what was asked for.
    fn import(&self, context: &Context, part: &mut Part, signature: Option<Vec<u8>>) -> Result<Image> {
        let mut request = ImportRequest::new(self.url.as_str()).latest(self.labels.get("version").is_none());
        if let Some(id) = self.id {
            request = request.expect(id.clone());
        }
        if let Some(signature) = signature {
            request = request.signed(Some(signature));
        }
        let store = context.store()?;
        let mut file = part.file();
        std::io::Seek::rewind(&mut file)?;
        let staged = store.stage(&mut file, &request);
        let staged = match staged {
            Ok(staged) => staged,
            Err(error) => {
                if is_about_content(&error) {
                    // Whatever is wrong with it would be wrong again.
                    part.file().set_len(0)?;
                }
                return Err(error.into());
            }
        };
        self.check(&staged.manifest().name, &staged.manifest().labels)?;
        Ok(staged.commit()?)
    }
}

/// Whether the same archive would be refused again, whoever asks and whatever is trusted.
fn is_about_content(error: &StoreError) -> bool {
    match error {
        StoreError::Manifest { .. } | StoreError::WrongId { .. } => true,
        StoreError::Import { source: HelperError::Archive(cause), .. } => cause.is_about_content(),
        _ => false,
    }
}

/// Whether an image has the labels that were asked for.
fn check_labels(wanted: &Labels, found: &Labels) -> Result<()> {
    for label in wanted {
        match found.get(label.name.as_str()) {
            Some(value) if value == label.value => {}
            Some(value) => bail!(
                "requested value for label {:?}: {:?} differs from fetched aci label value: {value:?}",
                label.name.as_str(),
                label.value
            ),
            None => bail!("requested label {:?} not provided by the image manifest", label.name.as_str()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_lie_beside_archives() {
        for (url, signature) in [
            ("https://example.com/a.aci", "https://example.com/a.aci.asc"),
            ("https://example.com/a.aci?token=x#y", "https://example.com/a.aci.asc?token=x#y"),
        ] {
            assert_eq!(Archive::at(url, None).signature_url, signature);
        }
    }

    #[test]
    fn labels_are_those_asked_for() {
        let labels = |pairs: &[(&str, &str)]| {
            let mut labels = Labels::new();
            for (name, value) in pairs {
                labels.set(name.parse().unwrap(), *value);
            }
            labels
        };
        let found = labels(&[("version", "1.2.0"), ("os", "linux")]);
        let check = |wanted| check_labels(&labels(wanted), &found).map_err(|error| error.to_string());
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("version", "1.2.0")]), Ok(()));
        assert_eq!(
            check(&[("version", "2.0")]).unwrap_err(),
            r#"requested value for label "version": "2.0" differs from fetched aci label value: "1.2.0""#
        );
        assert_eq!(
            check(&[("channel", "beta")]).unwrap_err(),
            r#"requested label "channel" not provided by the image manifest"#
        );
    }
}
