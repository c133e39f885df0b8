//! Whether an image is signed by somebody who may sign images of its name.
//!
//! The store asks ([`image::Verifier`]) before it unpacks anything; `--insecure-options=image` answers yes to everything.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use appc::AcIdentifier;
use image::{Refusal, Verifier};
use trust::{Keystore, Signature, SignatureError};

use crate::context::Roots;
use crate::insecure::Insecure;
use crate::report;

/// The most bytes of a signature file.
const SIGNATURE: u64 = 64 << 10;

/// The keystore of the configuration roots.
pub(crate) fn keystore(roots: &Roots) -> Keystore {
    Keystore::new(&roots.system, &roots.local)
}

/// Judges images by the host's trusted keys.
#[derive(Debug)]
pub(crate) struct Judge {
    keystore: Keystore,
    off: bool,
}

impl Judge {
    pub(crate) fn new(roots: &Roots, insecure: Insecure) -> Self {
        Self { keystore: keystore(roots), off: insecure.skips_image_check() }
    }
}

/// Why an image is refused.
#[derive(Debug, thiserror::Error)]
enum Unacceptable {
    #[error("it came without a signature; --insecure-options=image takes it as it is")]
    Unsigned,
    #[error(
        "no key is trusted for images called {0}: `rkt trust --prefix={0} KEYFILE` trusts one, --insecure-options=image takes the image unverified"
    )]
    NoKey(AcIdentifier),
    #[error("{error}; `rkt trust --prefix={name} KEYFILE` trusts the key if you know whose it is")]
    Unknown { name: AcIdentifier, error: SignatureError },
}

impl Verifier for Judge {
    fn is_off(&self) -> bool {
        self.off
    }

    fn verify(
        &self,
        name: &AcIdentifier,
        signature: Option<&[u8]>,
        archive: &mut dyn Read,
    ) -> Result<(), Refusal> {
        let signature = Signature::parse(signature.ok_or(Unacceptable::Unsigned)?)?;
        let keys = self.keystore.keys_for(name)?;
        if keys.is_empty() {
            return Err(Unacceptable::NoKey(name.clone()).into());
        }
        let verified = signature.verify(archive, &keys).map_err(|error| match error {
            error @ SignatureError::UnknownSigner(_) => {
                Refusal::from(Unacceptable::Unknown { name: name.clone(), error })
            }
            error => error.into(),
        })?;
        let signers: String = verified.identities.iter().flat_map(|who| ["\n  ", who]).collect();
        report::notice("image", format_args!("signature verified:{signers}"));
        Ok(())
    }
}

/// Reads the signature of the image in the file `image`: `given`, or what stands beside it.
pub(crate) fn of_file(image: &Path, given: Option<&Path>) -> Result<Vec<u8>> {
    let path = given.map_or_else(|| beside(image), Path::to_owned);
    let ways = "put the signature there, name another file with --signature, or take the image unverified with --insecure-options=image";
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(SIGNATURE + 1).read_to_end(&mut bytes))
        .map_err(|error| anyhow::anyhow!("error opening signature file {}: {error}; {ways}", path.display()))
        .with_context(|| format!("cannot verify the image {}", image.display()))?;
    Ok(bytes)
}

fn beside(image: &Path) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(".asc");
    name.into()
}
