//! Signatures of local images, and the keys that are trusted for them.

use std::time::Duration;

use serde_json::json;
use tests::case::{Case, Stage1, app_lines};
use tests::gpg::Gpg;
use tests::host::Exec;
use tests::images;

use crate::images::small;

/// A test with configuration roots of its own, whose `rkt` verifies images.
struct Strict {
    case: Case,
    gpg: Gpg,
}

const ALICE: &str = "alice@example.com";
const MALLORY: &str = "mallory@example.com";

impl Strict {
    fn new() -> Strict {
        let case = Case::alone(Stage1::Fly);
        let gpg = Gpg::new(case.host());
        gpg.generate(ALICE, "never", &[]);
        Strict { case, gpg }
    }

    fn words(&self) -> [String; 3] {
        let root = |name: &str| self.case.tmp(name);
        [
            format!("--dir={}", self.case.data()),
            format!("--system-config={}", root("vendor")),
            format!("--local-config={}", root("local")),
        ]
    }

    fn rkt(&self, args: &[&str]) -> Exec<'static> {
        self.case.host().exec("/usr/bin/rkt").args(self.words()).args(args.iter().copied())
    }

    /// An image of this name in a file, signed by alice.
    fn signed(&self, name: &str) -> String {
        let file = self.unsigned(name);
        self.gpg.sign(ALICE, &file, &[]);
        file
    }

    fn unsigned(&self, name: &str) -> String {
        self.case.image(&format!("{}.aci", name.replace('/', "-")), small(name, name).build())
    }

    fn trust(&self, who: &str, scope: &str) {
        self.rkt(&["trust", scope, "--skip-fingerprint-review", &self.gpg.export(who)]).ok();
    }

    fn is_empty(&self) -> bool {
        self.rkt(&["image", "list", "--no-legend"]).ok().trimmed().is_empty()
    }
}

#[test]
fn a_signed_image_of_a_trusted_key_is_taken() {
    let strict = Strict::new();
    strict.trust(ALICE, "--prefix=example.com/a");
    let output = strict.rkt(&["fetch", &strict.signed("example.com/a/b")]).ok();
    assert!(output.stderr.contains("signature verified") && output.stderr.contains(ALICE), "{output}");

    // Named elsewhere, binary, and of the prefix itself.
    let file = strict.unsigned("example.com/a");
    strict.gpg.run(&["--local-user", ALICE, "--output", &strict.case.tmp("sig"), "--detach-sign", &file]);
    let signature = format!("--signature={}", strict.case.tmp("sig"));
    strict.rkt(&["fetch", &file, &signature]).ok();

    // Another name than the key is trusted for, though the file is called like that.
    for name in ["example.com/other", "example.com/ab", "example.com"] {
        let output = strict.rkt(&["fetch", &strict.signed(name)]).fails(254);
        assert!(output.stderr.contains(&format!("rkt trust --prefix={name}")), "{output}");
    }
}

#[test]
fn a_signed_image_runs() {
    let strict = Strict::new();
    strict.trust(ALICE, "--root");
    let aci = images::busybox("example.com/runs").app(&["/bin/echo", "it runs"], &json!({}));
    let file = strict.case.image("runs.aci", aci.build());
    strict.gpg.sign(ALICE, &file, &[]);
    let fly = Stage1::Fly.flag();
    let output = strict.rkt(&["run", &fly, "--net=host", &file]).ok();
    assert!(app_lines(&output.stdout).contains(&"it runs"), "{output}");
    strict.rkt(&["prepare", &fly, "example.com/runs"]).ok();

    // What was taken unverified once is no excuse to take the file again.
    let unsigned = strict.case.image("unsigned.aci", aci.build());
    strict.rkt(&["run", &fly, "--net=host", &unsigned]).fails(254).says("--insecure-options=image");
    strict.rkt(&["--insecure-options=image", "run", &fly, "--net=host", &unsigned]).ok();
    strict.rkt(&["--insecure-options=tls,http,pubkey", "run", &fly, &unsigned]).fails(254);
    strict.rkt(&["--insecure-options=all-fetch", "fetch", &unsigned]).ok();
}

#[test]
fn a_refusal_says_why() {
    let strict = Strict::new();
    strict.gpg.generate(MALLORY, "never", &[]);
    strict.trust(ALICE, "--prefix=example.com/a");

    let output = strict.rkt(&["fetch", &strict.unsigned("example.com/a")]).fails(254);
    assert!(output.stderr.contains("error opening signature file"), "{output}");
    assert!(output.stderr.contains("--insecure-options=image"), "{output}");

    let file = strict.signed("example.com/a");
    strict.gpg.sign(MALLORY, &file, &[]);
    strict.rkt(&["fetch", &file]).fails(254).says("openpgp: signature made by unknown entity");

    let file = strict.signed("example.com/a");
    let changed = small("example.com/a", "changed").build();
    strict.case.host().write(&file, changed);
    strict.rkt(&["fetch", &file]).fails(254).says("does not match");

    let file = strict.unsigned("example.com/a");
    strict.gpg.sign(ALICE, &file, &["--digest-algo", "SHA1", "--allow-weak-digest-algos"]);
    strict.rkt(&["fetch", &file]).fails(254).says("too weak");

    let past = ["--faked-system-time", "20250101T000000!"];
    strict.gpg.generate("old@example.com", "1d", &past);
    strict.gpg.sign("old@example.com", &file, &past);
    strict.trust("old@example.com", "--prefix=example.com/a");
    strict.rkt(&["fetch", &file]).fails(254).says("has expired");

    strict.gpg.sign(ALICE, &file, &[]);
    strict.gpg.revoke(ALICE);
    strict.trust(ALICE, "--prefix=example.com/a");
    strict.rkt(&["fetch", &file]).fails(254).says("revoked");

    strict.case.host().write(&format!("{file}.asc"), "no signature at all");
    strict.rkt(&["fetch", &file]).fails(254).says("Not an OpenPGP detached signature");
    assert!(strict.is_empty());
}

/// The archive is not even looked at beyond its manifest.
#[test]
fn a_hostile_archive_is_refused_for_its_signature_first() {
    let strict = Strict::new();
    strict.gpg.generate(MALLORY, "never", &[]);
    strict.trust(ALICE, "--root");
    let evil = small("example.com/evil", "x").file("rootfs/../../../evil", 0o644, "evil").build();
    let file = strict.case.image("evil.aci", evil);
    strict.gpg.sign(MALLORY, &file, &[]);
    strict.rkt(&["fetch", &file]).fails(254).says("unknown entity");
    strict.gpg.sign(ALICE, &file, &[]);
    strict.rkt(&["fetch", &file]).fails(254).says("\"..\"");
    assert!(strict.is_empty());
}

#[test]
fn trust_writes_the_keystore_that_scripts_know() {
    let strict = Strict::new();
    let key = strict.gpg.export(ALICE);
    let fingerprint = strict.gpg.fingerprint(ALICE);
    let small_letters = fingerprint.to_lowercase();
    let output = strict.rkt(&["trust", "--prefix=example.com/a/b", "--skip-fingerprint-review", &key]).ok();
    let place = format!("{}/trustedkeys/prefix.d/example.com/a/b/{small_letters}", strict.case.tmp("local"));
    assert!(strict.case.host().read(&place).contains("BEGIN PGP PUBLIC KEY BLOCK"));
    assert!(
        output.stderr.contains(&format!("Added key for prefix \"example.com/a/b\" at \"{place}\"")),
        "{output}"
    );
    assert!(output.stderr.contains("without fingerprint review"), "{output}");
    let first = format!("gpg key fingerprint is: {} {}", &fingerprint[..4], &fingerprint[4..8]);
    assert!(output.stdout.starts_with(&first) && output.stdout.contains(&format!("\t{ALICE}")), "{output}");

    let output = strict.rkt(&["trust", "--root", "--skip-fingerprint-review", &key]).ok();
    let place = format!("{}/trustedkeys/root.d/{small_letters}", strict.case.tmp("local"));
    assert!(output.stderr.contains(&format!("Added root key at \"{place}\"")), "{output}");
    assert_eq!(strict.case.host().sh(&format!("stat -c %a {place}")).trimmed(), "644");

    strict.rkt(&["trust", &key]).fails(254).says("--root required");
    strict.rkt(&["trust", "--root", "--prefix=example.com", &key]).fails(254).says("mutually exclusive");
    strict.rkt(&["trust", "--prefix=https://example.com", &key]).fails(254);
    strict.rkt(&["trust"]).fails(254).says("usage");
    strict.rkt(&["trust", "--root", "http://example.com/key"]).fails(254).says("--insecure-allow-http");
    strict.rkt(&["trust", "--root", "--skip-fingerprint-review", "/etc/hostname"]).fails(254).says("OpenPGP");
    // Nobody to ask.
    strict.rkt(&["trust", "--root", &key]).fails(254).says("--skip-fingerprint-review");
}

#[test]
fn the_fingerprint_is_reviewed_on_a_terminal() {
    let strict = Strict::new();
    let key = strict.gpg.export(ALICE);
    let words = strict.words().join(" ");
    for (answers, trusted) in [("no", false), ("y\nYES\nno", false), ("perhaps\nyes", true)] {
        let rkt = format!("/usr/bin/rkt {words} trust --prefix=example.com {key}");
        let script = strict.case.host().exec("script").args(["-qec", &rkt, "/dev/null"]);
        let output = script.input(format!("{answers}\n")).limit(Duration::from_secs(20)).ok();
        let asked = output.stdout.matches("Are you sure you want to trust this key").count();
        assert_eq!(asked, answers.lines().count(), "{output}");
        let added = output.stdout.contains("after fingerprint review");
        assert_eq!(added, trusted, "{output}");
        assert_eq!(output.stdout.contains("not trusting"), !trusted, "{output}");
    }
}

#[test]
fn an_empty_file_masks_the_key_of_the_vendor() {
    let strict = Strict::new();
    let file = strict.signed("example.com/a");
    let key = strict.gpg.export(ALICE);
    let fingerprint = strict.gpg.fingerprint(ALICE).to_lowercase();
    let place = |root: &str| format!("{}/trustedkeys/root.d/{fingerprint}", strict.case.tmp(root));
    let vendor = format!("--local-config={}", strict.case.tmp("vendor"));
    strict.rkt(&[&vendor, "trust", "--root", "--skip-fingerprint-review", &key]).ok();
    strict.rkt(&["fetch", &file]).ok();
    strict.case.host().write(&place("local"), "");
    strict.rkt(&["fetch", &file]).fails(254).says("no key is trusted");

    // A key under another's name spoils the look-up, rather than to be taken for that.
    strict.case.host().write(&place("local"), strict.case.host().read(&key));
    strict.rkt(&["fetch", &file]).ok();
    let other = place("local").replace(&fingerprint, &"0".repeat(40));
    strict.case.host().write(&other, strict.case.host().read(&key));
    strict.rkt(&["fetch", &file]).fails(254).says("named by the fingerprint");
}

/// Root checks again what a member of the group `rkt` stored.
#[test]
fn root_does_not_rely_on_the_check_of_another_user() {
    let strict = Strict::new();
    let host = strict.case.host();
    strict.trust(ALICE, "--root");
    strict.rkt(&["image", "list"]).ok();
    let aci = images::busybox("example.com/shared").app(&["/bin/echo", "shared"], &json!({}));
    let file = strict.case.image("shared.aci", aci.build());
    let words = strict.words().join(" ");
    let cas = format!("{}/cas", strict.case.data());
    host.sh(&format!(
        "groupadd -f rkt; id member || useradd -G rkt member; chgrp -R rkt {cas}; chmod a+rx {} {}; chmod -R a+rX {}",
        strict.case.data(),
        strict.case.tmp(""),
        strict.case.tmp("local")
    ))
    .success();
    let fetch = |options: &str| {
        let command = format!("/usr/bin/rkt {words} {options} fetch {file}");
        host.exec("setpriv")
            .args(["--reuid=member", "--regid=member", "--groups=rkt", "--", "sh", "-c", &command])
            .output()
    };
    let run = || strict.rkt(&["run", &Stage1::Fly.flag(), "--net=host", "example.com/shared"]);

    let output = fetch("--insecure-options=image");
    assert_eq!(output.code, 0, "{output}");
    run().fails(254).says("without a signature");
    strict.rkt(&["image", "rm", "example.com/shared"]).ok();

    strict.gpg.sign(ALICE, &file, &[]);
    let output = fetch("");
    assert_eq!(output.code, 0, "{output}");
    let output = run().ok();
    assert!(app_lines(&output.stdout).contains(&"shared"), "{output}");
}
