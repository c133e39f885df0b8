//! A real gpg with keys of its own, inside of the host.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::Host;

/// A gpg home.
#[derive(Debug)]
pub struct Gpg {
    host: &'static Host,
    home: String,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Gpg {
    /// An empty home.
    #[must_use]
    pub fn new(host: &'static Host) -> Gpg {
        // The path of a socket in it must be short.
        let home = format!("/run/gpg-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        host.sh(&format!("mkdir -m 700 {home}")).success();
        Gpg { host, home }
    }

    /// Runs gpg.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let batch =
            ["--batch", "--quiet", "--yes", "--no-tty", "--passphrase", "", "--pinentry-mode", "loopback"];
        let command = self.host.exec("gpg").args(batch).args(arguments.iter().copied());
        command.env("GNUPGHOME", &self.home).ok().stdout
    }

    /// Makes a key that can sign.
    pub fn generate(&self, who: &str, expire: &str, options: &[&str]) {
        self.run(&[options, &["--quick-gen-key", who, "rsa2048", "sign", expire]].concat());
    }

    /// Writes the public key to a file of the host and says where.
    #[must_use]
    pub fn export(&self, who: &str) -> String {
        let path = format!("{}/{who}.pub", self.home);
        self.run(&["--armor", "--output", &path, "--export", who]);
        path
    }

    /// The fingerprint of the primary key, in upper case.
    #[must_use]
    pub fn fingerprint(&self, who: &str) -> String {
        let list = self.run(&["--with-colons", "--list-keys", who]);
        let line = list.lines().find(|line| line.starts_with("fpr:")).unwrap_or_default();
        line.split(':').nth(9).unwrap_or_default().to_owned()
    }

    /// Signs a file of the host, into the same name with `.asc` behind it.
    pub fn sign(&self, who: &str, file: &str, options: &[&str]) {
        let out = format!("{file}.asc");
        let words = ["--armor", "--local-user", who, "--output", &out, "--detach-sign", file];
        self.run(&[options, &words].concat());
    }

    /// Revokes a key.
    pub fn revoke(&self, who: &str) {
        let file = format!("{}/openpgp-revocs.d/{}.rev", self.home, self.fingerprint(who));
        // gpg writes a colon before the armor, so that nobody revokes a key by accident.
        self.host.sh(&format!("sed -i 's/^:---/---/' {file}")).success();
        self.run(&["--import", &file]);
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = self.host.exec("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", &self.home).output();
    }
}
