//! A member of the group `rkt` fetches without root, and root believes nothing of what he stored.

use serde_json::json;
use tests::case::app_lines;
use tests::gpg::Gpg;
use tests::host::Exec;
use tests::oci::{BUILT, built};
use tests::registry::{Access, Registry};
use tests::{aci, images};

use crate::fetcher::{status, under_way};
use crate::images::small;
use crate::remote::Net;

const ALICE: &str = "alice@web.test";

/// Makes a data directory as the package does, and the member.
const PREPARE: &str = r#"
systemd-sysusers 2>/dev/null
# Tests that run at once want him at once.
flock /run/member.lock sh -c 'id member || useradd --no-create-home --home-dir / --groups rkt member' >/dev/null
sed "s,/var/lib/rkt,$1,; /etc.rkt/d" /usr/lib/tmpfiles.d/rkt.conf >"$1.conf"
systemd-tmpfiles --create "$1.conf"
"#;

struct Shared {
    net: Net,
    gpg: Gpg,
}

impl Shared {
    fn new() -> Shared {
        let net = Net::new();
        let host = net.case.host();
        host.exec("sh").args(["-ec", PREPARE, "sh", net.case.data()]).ok();
        let gpg = Gpg::new(host);
        gpg.generate(ALICE, "never", &[]);
        net.strict(&["trust", "--root", "--skip-fingerprint-review", &gpg.export(ALICE)]).ok();
        Shared { net, gpg }
    }

    /// `rkt` of the member.
    fn member(&self, args: &[&str]) -> Exec<'static> {
        let words = self.net.words();
        let rkt = self.net.case.host().exec("runuser").args(["-u", "member", "--", "/usr/bin/rkt"]);
        rkt.args(words).args(args.iter().copied())
    }

    fn run(&self, id: &str) -> Exec<'static> {
        self.net.strict(&["run", "--stage1-from-dir=stage1-fly.aci", "--net=host", "--pull-policy=never", id])
    }
}

fn app(name: &str, says: &str) -> aci::Aci {
    images::busybox(name).app(&["/bin/echo", says], &json!({}))
}

#[test]
fn what_a_member_fetched_is_verified_again_by_root() {
    let shared = Shared::new();
    let web = shared.net.web("");
    web.put("app.aci", app("web.test/app", "of the member").build());
    shared.gpg.sign(ALICE, &web.file("app.aci"), &[]);
    // Passwords that are not for him are no obstacle.
    shared.net.configure("auth.d/secret.json", &json!({"rktKind": "none of his business"}));
    let host = shared.net.case.host();
    host.sh(&format!("chmod 600 {}", shared.net.case.tmp("local/auth.d/secret.json"))).success();
    let id = shared.member(&["fetch", &web.url("app.aci")]).ok().trimmed().to_owned();
    host.sh(&format!("rm {}", shared.net.case.tmp("local/auth.d/secret.json"))).success();
    assert!(shared.member(&["image", "list"]).ok().stdout.contains("web.test/app"));
    // He unpacks nothing.
    let layers = host.sh(&format!("ls {}/cas/layer", shared.net.case.data())).stdout;
    assert_eq!(layers, "");
    for command in ["run", "prepare"] {
        shared.member(&[command, &id]).fails(254).says("cannot run as unprivileged user");
    }
    drop(web);
    let output = shared.run(&id).ok();
    assert!(app_lines(&output.stdout).contains(&"of the member"), "{output}");
    assert!(output.stderr.contains("signature verified"), "{output}");
}

#[test]
fn what_a_member_took_without_a_signature_is_not_for_root() {
    let shared = Shared::new();
    let web = shared.net.web("");
    web.put("app.aci", app("web.test/unsigned", "evil").build());
    let id =
        shared.member(&["--insecure-options=image", "fetch", &web.url("app.aci")]).ok().trimmed().to_owned();
    let output = shared.run(&id).fails(254);
    assert!(output.stderr.contains("signature") && !output.stdout.contains("evil"), "{output}");
    // By its URL root knows nothing of it at all.
    web.forget();
    shared.net.strict(&["fetch", "--pull-policy=new", &web.url("app.aci")]).fails(254);
    assert!(!web.asked().is_empty());
}

#[test]
fn what_a_member_changed_afterwards_is_found_out() {
    let shared = Shared::new();
    let web = shared.net.web("");
    web.put("app.aci", app("web.test/app", "good").build());
    shared.gpg.sign(ALICE, &web.file("app.aci"), &[]);
    let id = shared.member(&["fetch", "--full", &web.url("app.aci")]).ok().trimmed().to_owned();
    let evil = shared.net.case.image("evil.aci", app("web.test/app", "evil").build());
    let blob = format!("{}/cas/blob/{id}", shared.net.case.data());
    let host = shared.net.case.host();
    host.sh(&format!("chmod 644 {evil}; runuser -u member -- sh -c 'cat {evil} >{blob}'")).success();
    let output = shared.run(&id).fails(254);
    assert!(!output.stdout.contains("evil"), "{output}");
}

#[test]
fn the_worker_of_a_member_is_locked_in_too() {
    let shared = Shared::new();
    let web = shared.net.web("location = /slow.aci { limit_rate 500k; }");
    let (_fetch, pid) = under_way(&shared.net, &web, |url| {
        shared.member(&["--insecure-options=image", "fetch", url]).spawn()
    });
    let status = status(shared.net.case.host(), &pid);
    let user = shared.net.case.host().exec("id").args(["-u", "member"]).ok().trimmed().to_owned();
    for (field, value) in [
        ("Uid", &*[&*user; 4].join(" ")),
        ("CapInh", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("Seccomp_filters", "2"),
    ] {
        assert_eq!(status.get(field).map(String::as_str), Some(value), "{field}: {status:?}");
    }
}

#[test]
fn each_has_his_own_unfinished_downloads() {
    let shared = Shared::new();
    let web = shared.net.web("");
    web.put("a.aci", small("web.test/a", "x").build());
    shared.net.lax(&["fetch", &web.url("a.aci")]).ok();
    shared.member(&["--insecure-options=image", "fetch", &web.url("a.aci")]).ok();
    let data = shared.net.case.data();
    let list = format!("stat -c '%U %a' {data}/tmp/download {data}/cas/tmp/download-$(id -u member)");
    assert_eq!(shared.net.case.host().sh(&list).stdout, "root 700\nmember 700\n");
    // A directory that another one put there is not used.
    let host = shared.net.case.host();
    host.sh(&format!("d={data}/cas/tmp/download-$(id -u member); rm -r $d; mkdir -m 777 $d")).success();
    shared
        .member(&["--insecure-options=image", "fetch", &web.url("a.aci")])
        .fails(254)
        .says("it belongs to another user");
}

#[test]
fn root_takes_the_layers_of_a_member_if_they_are_whole() {
    let shared = Shared::new();
    let host = shared.net.case.host();
    built(host);
    let registry = Registry::start(host, &Access::Plain);
    registry.push(&format!("oci:{BUILT}/layout:latest"), "team/app:1", &[]);
    let image = format!("docker://{}", registry.image("team/app:1"));
    shared.member(&["--insecure-options=image,http", "fetch", &image]).ok();
    let manifest: serde_json::Value =
        serde_json::from_str(&registry.manifest("team/app", "1")).expect("a manifest");
    let layers = manifest["layers"].as_array().expect("layers");
    for layer in layers {
        host.exec("rm").arg(registry.blob(layer["digest"].as_str().expect("a digest"))).ok();
    }
    // One byte of one layer: what root cannot use it would have to download.
    let first = layers[0]["digest"].as_str().expect("a digest").replace(':', "-");
    let (blob, kept) = (format!("{}/cas/blob/{first}", shared.net.case.data()), shared.net.case.tmp("kept"));
    host.sh(&format!("cp -p {blob} {kept} && printf X | dd of={blob} bs=1 seek=20 conv=notrunc status=none"))
        .success();
    let words = ["--insecure-options=image,http", "fetch", "--pull-policy=update", &image];
    shared.net.strict(&words).fails(254).says("404");
    host.sh(&format!("mv {kept} {blob}")).success();
    let id = shared.net.strict(&words).ok().trimmed().lines().last().unwrap_or_default().to_owned();
    assert!(id.starts_with("sha512-"), "{id}");
    let unpacked = host.sh(&format!("ls {}/cas/layer", shared.net.case.data())).stdout;
    assert_eq!(
        unpacked.lines().filter(|layer| layer.starts_with("sha256-")).count(),
        layers.len(),
        "{unpacked}"
    );
}
