//! Keys and signatures made by the real gpg, judged by ours.

#![allow(clippy::unwrap_used)] // of the helpers: clippy.toml allows it in the tests themselves

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use appc::AcIdentifier;
use trust::{Keystore, KeystoreError, PublicKey, Scope, Signature, SignatureError};

const IMAGE: &[u8] = b"the bytes of an image";

/// A gpg home with keys of its own.
struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("image"), IMAGE).unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args([
                "--batch",
                "--quiet",
                "--yes",
                "--no-tty",
                "--passphrase",
                "",
                "--pinentry-mode",
                "loopback",
            ])
            .args(arguments)
            .env("GNUPGHOME", self.home.path())
            .output()
            .expect("gpg is needed: apt-get install gnupg");
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn generate(&self, who: &str, expire: &str, options: &[&str]) {
        self.run(&[options, &["--quick-gen-key", who, "rsa2048", "sign", expire]].concat());
    }

    fn key(&self, who: &str) -> PublicKey {
        PublicKey::parse(&self.run(&["--armor", "--export", who])).unwrap()
    }

    fn sign(&self, who: &str, options: &[&str]) -> Signature {
        let (image, out) = (self.path("image"), self.path("image.asc"));
        let files = ["--output", out.to_str().unwrap(), "--detach-sign", image.to_str().unwrap()];
        self.run(&[options, &["--local-user", who], &files].concat());
        Signature::parse(&fs::read(out).unwrap()).unwrap()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.home.path()).status();
    }
}

#[test]
fn judges_what_gpg_signs() {
    let gpg = Gpg::new();
    gpg.generate("alice@example.com", "never", &[]);
    gpg.generate("mallory@example.com", "never", &[]);
    let alice = [gpg.key("alice@example.com")];

    let armored = gpg.sign("alice@example.com", &["--armor"]);
    let verified = armored.verify(IMAGE, &alice).unwrap();
    assert_eq!(verified.key, *alice[0].fingerprint());
    assert_eq!(verified.identities, ["alice@example.com"]);
    gpg.sign("alice@example.com", &[]).verify(IMAGE, &alice).unwrap();

    let changed = armored.verify(&b"the bytes of another"[..], &alice);
    assert!(matches!(changed, Err(SignatureError::Mismatch(_))), "{changed:?}");
    let unknown = gpg.sign("mallory@example.com", &[]).verify(IMAGE, &alice);
    assert!(matches!(unknown, Err(SignatureError::UnknownSigner(_))), "{unknown:?}");
    let nobody = armored.check_signer(&[]);
    assert!(matches!(nobody, Err(SignatureError::UnknownSigner(_))), "{nobody:?}");
    for hash in ["SHA1", "SHA224"] {
        let weak = gpg.sign("alice@example.com", &["--digest-algo", hash, "--allow-weak-digest-algos"]);
        let weak = weak.verify(IMAGE, &alice);
        assert!(matches!(weak, Err(SignatureError::WeakHash(..))), "{hash}: {weak:?}");
    }
    let short = gpg.sign("alice@example.com", &["--faked-system-time", "20270101T000000!"]);
    let future = short.verify(IMAGE, &alice);
    assert!(future.is_err(), "{future:?}");
}

#[test]
fn refuses_keys_past_their_end() {
    let gpg = Gpg::new();
    let past = ["--faked-system-time", "20250101T000000!"];
    gpg.generate("old@example.com", "1d", &past);
    let old = [gpg.key("old@example.com")];
    let expired = gpg.sign("old@example.com", &past).verify(IMAGE, &old);
    assert!(matches!(expired, Err(SignatureError::KeyExpired(_))), "{expired:?}");

    gpg.generate("brief@example.com", "never", &past);
    let brief = [gpg.key("brief@example.com")];
    let options = [&past[..], &["--default-sig-expire", "1d"]].concat();
    let expired = gpg.sign("brief@example.com", &options).verify(IMAGE, &brief);
    assert!(matches!(expired, Err(SignatureError::Expired(_))), "{expired:?}");

    gpg.generate("lost@example.com", "never", &[]);
    let signature = gpg.sign("lost@example.com", &[]);
    let fingerprint = gpg.key("lost@example.com").fingerprint().to_string().to_uppercase();
    let revocation = fs::read_to_string(gpg.path(&format!("openpgp-revocs.d/{fingerprint}.rev"))).unwrap();
    // gpg writes a colon before the armor, so that nobody revokes a key by accident.
    fs::write(gpg.path("revoke"), revocation.replace(":-----BEGIN", "-----BEGIN")).unwrap();
    gpg.run(&["--import", gpg.path("revoke").to_str().unwrap()]);
    let revoked = signature.verify(IMAGE, &[gpg.key("lost@example.com")]);
    assert!(matches!(revoked, Err(SignatureError::Revoked(_))), "{revoked:?}");
}

#[test]
fn trusts_by_prefix_and_masks() {
    let gpg = Gpg::new();
    for who in ["root@example.com", "vendor@example.com", "team@example.com"] {
        gpg.generate(who, "never", &[]);
    }
    let [root, vendor, team] =
        ["root@example.com", "vendor@example.com", "team@example.com"].map(|who| gpg.key(who));
    let (system, local) = (gpg.path("usr"), gpg.path("etc"));
    let name = |name: &str| name.parse::<AcIdentifier>().unwrap();
    let vendors = Keystore::new(Path::new("/nonexistent"), &system);
    let keystore = Keystore::new(&system, &local);
    keystore.add(&root, &Scope::Root).unwrap();
    vendors.add(&vendor, &Scope::Prefix(name("example.com"))).unwrap();
    let file = keystore.add(&team, &Scope::Prefix(name("example.com/team"))).unwrap();
    assert_eq!(file, local.join("trustedkeys/prefix.d/example.com/team").join(team.fingerprint().as_str()));

    let trusted = |image: &str| {
        let mut keys: Vec<_> =
            keystore.keys_for(&name(image)).unwrap().iter().map(|key| key.fingerprint().clone()).collect();
        keys.sort();
        keys
    };
    let sorted = |keys: &[&PublicKey]| {
        let mut keys: Vec<_> = keys.iter().map(|key| key.fingerprint().clone()).collect();
        keys.sort();
        keys
    };
    assert_eq!(trusted("example.com/team/app"), sorted(&[&root, &vendor, &team]));
    assert_eq!(trusted("example.com/teammate"), sorted(&[&root, &vendor]));
    assert_eq!(trusted("other.org/app"), sorted(&[&root]));

    let mask = keystore.mask(vendor.fingerprint(), &Scope::Prefix(name("example.com"))).unwrap();
    assert_eq!(trusted("example.com/teammate"), sorted(&[&root]));
    fs::remove_file(mask).unwrap();

    let stray = local.join("trustedkeys/root.d").join(team.fingerprint().as_str());
    fs::write(&stray, vendor.to_armored().unwrap()).unwrap();
    let misnamed = keystore.keys_for(&name("other.org/app"));
    assert!(matches!(misnamed, Err(KeystoreError::Misnamed { .. })), "{misnamed:?}");
    fs::remove_file(stray).unwrap();
    assert!(keystore.remove(root.fingerprint(), &Scope::Root).unwrap());
    assert!(!keystore.remove(root.fingerprint(), &Scope::Root).unwrap());
}
