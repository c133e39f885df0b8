//! Detached signatures.
//!
//! OpenPGP lets a signature outlive its key: one made before the key expired stays good. An image store must be stricter, because
//! whoever holds an old key can date a signature back. So a key that is expired or revoked *now* counts for nothing, and
//! neither does a hash weaker than SHA-256, whatever date the signature claims.

use std::io::Read;
use std::time::SystemTime;

use pgp::crypto::hash::HashAlgorithm;
use pgp::types::{KeyDetails, Timestamp};
use rpgpie::certificate::{Certificate, Checked};
use thiserror::Error;

use crate::key::{Fingerprint, PublicKey};

/// The most bytes that a signature file may have.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 64 << 10;

/// Why a signature was refused.
#[derive(Debug, Error)]
pub enum SignatureError {
    /// More than 64 kibibytes.
    #[error("The signature has more than {SIGNATURE_BYTES_MAX} bytes")]
    TooLong,
    /// Not an OpenPGP signature, armored or binary.
    #[error("Not an OpenPGP detached signature")]
    Malformed,
    /// No trusted key made it. The words are those that scripts look for.
    #[error("openpgp: signature made by unknown entity (key {0})")]
    UnknownSigner(String),
    /// The key is trusted, and revoked by its owner.
    #[error("The signature was made by key {0}, which its owner has revoked")]
    Revoked(Fingerprint),
    /// The key is trusted, and past its end.
    #[error("The signature was made by key {0}, which has expired")]
    KeyExpired(Fingerprint),
    /// The key is trusted, but not for signing data.
    #[error("The signature was made by key {0}, which is not valid for signing data")]
    KeyUnusable(Fingerprint),
    /// The signature itself is past its end.
    #[error("The signature by key {0} has expired")]
    Expired(Fingerprint),
    /// The signature is over a hash that can be forged.
    #[error(
        "The signature by key {0} uses the hash {1}, which is too weak: sign again with SHA-256 or better"
    )]
    WeakHash(Fingerprint, String),
    /// The data isn't what was signed.
    #[error("The signature by key {0} does not match: the image was changed after it was signed")]
    Mismatch(Fingerprint),
    /// The data could not be read.
    #[error("Reading the signed data failed")]
    Read(#[source] rpgpie::Error),
}

/// A signature that a trusted key made over the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The trusted key: its primary fingerprint.
    pub key: Fingerprint,
    /// The identities of that key.
    pub identities: Vec<String>,
}

/// A signature file: one detached signature or several.
#[derive(Debug, Clone)]
pub struct Signature {
    parts: Vec<pgp::packet::Signature>,
}

impl Signature {
    /// Reads a detached signature, ASCII-armored or binary.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        if bytes.len() > SIGNATURE_BYTES_MAX {
            return Err(SignatureError::TooLong);
        }
        let mut reader = bytes;
        let parts = rpgpie::signature::load(&mut reader).map_err(|_| SignatureError::Malformed)?;
        if parts.is_empty() {
            return Err(SignatureError::Malformed);
        }
        Ok(Self { parts })
    }

    /// Whether one of `keys` may have made this signature, before the data is there: a download is not worth
    /// its time when none did.
    pub fn check_signer(&self, keys: &[PublicKey]) -> Result<(), SignatureError> {
        self.candidates(keys, Timestamp::now()).map(|_| ())
    }

    /// Reads `data` to its end and checks that one of `keys` signed exactly that.
    pub fn verify(&self, data: impl Read, keys: &[PublicKey]) -> Result<Verified, SignatureError> {
        let candidates = self.candidates(keys, Timestamp::now())?;
        let parts: Vec<pgp::packet::Signature> =
            candidates.iter().map(|candidate| candidate.part.clone()).collect();
        let certificates: Vec<Certificate> =
            candidates.iter().map(|candidate| candidate.key.certificate.clone()).collect();
        let verified = rpgpie::detached::verify(data, &parts, &certificates).map_err(SignatureError::Read)?;
        let signer = verified.first().and_then(|found| found.certs.first()).and_then(|certificate| {
            candidates.iter().find(|candidate| candidate.key.certificate == **certificate)
        });
        match (signer, candidates.first()) {
            (Some(signer), _) => {
                Ok(Verified { key: signer.key.fingerprint().clone(), identities: signer.key.identities() })
            }
            (None, Some(first)) => Err(SignatureError::Mismatch(first.key.fingerprint().clone())),
            (None, None) => Err(SignatureError::Malformed),
        }
    }

    /// The parts that a usable one of `keys` claims to have made; when there is none, why.
    fn candidates<'a>(
        &'a self,
        keys: &'a [PublicKey],
        now: Timestamp,
    ) -> Result<Vec<Candidate<'a>>, SignatureError> {
        let mut refused = None;
        let mut candidates = Vec::new();
        for part in &self.parts {
            let mut known = false;
            for key in keys.iter().filter(|key| made_by(part, key)) {
                known = true;
                match judge(part, key, now) {
                    Ok(()) => candidates.push(Candidate { part, key }),
                    // A reason that names a trusted key says more than "unknown".
                    Err(reason) => refused = Some(reason),
                }
            }
            if !known && refused.is_none() {
                refused = Some(SignatureError::UnknownSigner(issuer(part)));
            }
        }
        if candidates.is_empty() { Err(refused.unwrap_or(SignatureError::Malformed)) } else { Ok(candidates) }
    }
}

#[derive(Debug)]
struct Candidate<'a> {
    part: &'a pgp::packet::Signature,
    key: &'a PublicKey,
}

/// Whether `part` names `key`, or a subkey of it, as its maker.
fn made_by(part: &pgp::packet::Signature, key: &PublicKey) -> bool {
    let public = pgp::composed::SignedPublicKey::from(key.certificate.clone());
    let named = |fingerprint: &pgp::types::Fingerprint, id: &pgp::types::KeyId| {
        part.issuer_fingerprint().contains(&fingerprint) || part.issuer_key_id().contains(&id)
    };
    let primary = &public.primary_key;
    named(&primary.fingerprint(), &primary.legacy_key_id())
        || public
            .public_subkeys
            .iter()
            .any(|subkey| named(&subkey.key.fingerprint(), &subkey.key.legacy_key_id()))
}

/// Whether a signature by `key` that looks like `part` may count at the time `now`.
fn judge(part: &pgp::packet::Signature, key: &PublicKey, now: Timestamp) -> Result<(), SignatureError> {
    let fingerprint = || key.fingerprint().clone();
    let hash = part.config().map(|config| config.hash_alg).ok_or(SignatureError::Malformed)?;
    let strong = matches!(
        hash,
        HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    );
    if !strong {
        return Err(SignatureError::WeakHash(fingerprint(), format!("{hash:?}")));
    }
    let checked = Checked::new(key.certificate.clone());
    if checked.revoked_at(now) {
        return Err(SignatureError::Revoked(fingerprint()));
    }
    if !checked.primary_valid_at(now).unwrap_or(false) {
        return Err(SignatureError::KeyExpired(fingerprint()));
    }
    if checked.valid_signing_capable_component_keys_at(now).is_empty() {
        return Err(SignatureError::KeyUnusable(fingerprint()));
    }
    let end = part.signature_expiration_time().map_or(0, |validity| validity.as_secs());
    let made = part.created().map_or(0, |created| created.as_secs());
    if end != 0 && u64::from(made) + u64::from(end) < u64::from(now.as_secs()) {
        return Err(SignatureError::Expired(fingerprint()));
    }
    let future = SystemTime::now() + CLOCK_SKEW;
    if part.created().is_some_and(|created| SystemTime::from(created) > future) {
        return Err(SignatureError::KeyUnusable(fingerprint()));
    }
    Ok(())
}

/// How far the clock of a signer may be ahead of ours.
const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// The maker that a signature names, for a message.
fn issuer(part: &pgp::packet::Signature) -> String {
    let fingerprint = part.issuer_fingerprint().first().map(|fingerprint| format!("{fingerprint:x}"));
    let id = || part.issuer_key_id().first().map(|id| id.to_string());
    fingerprint.or_else(id).unwrap_or_else(|| "unnamed".to_owned())
}
