//! Keys trusted for image name prefixes, and the check of OpenPGP signatures against them.
//!
//! ```text
//! {/etc/rkt,/usr/lib/rkt}/trustedkeys/
//!    root.d/FINGERPRINT                  trusted for every image
//!    prefix.d/example.com/app/FINGERPRINT  trusted for example.com/app and example.com/app/…
//! ```
//!
//! A file holds one ASCII-armored public key and is named by its fingerprint (40 lower-case hex digits). An empty file below
//! `/etc/rkt` masks the vendor's key of that name.
//!
//! This crate parses what strangers wrote: signatures and discovered keys. It does so in safe code with bounded input.

mod key;
mod keystore;
mod signature;

pub use key::{Fingerprint, KeyError, PublicKey};
pub use keystore::{Keystore, KeystoreError, Scope};
pub use signature::{Signature, SignatureError, Verified};
