//! Images from web servers: discovery, signatures, caching, and what goes wrong on the way.

use std::time::Duration;

use serde_json::json;
use tests::case::{Case, Stage1, app_lines, eventually};
use tests::gpg::Gpg;
use tests::host::{Exec, Output};
use tests::images;
use tests::web::{Certificate, Web};

use crate::images::small;

const ALICE: &str = "alice@web.test";

/// A test with configuration roots of its own.
pub(crate) struct Net {
    pub(crate) case: Case,
}

impl Net {
    pub(crate) fn new() -> Net {
        Net { case: Case::alone(Stage1::Fly) }
    }

    pub(crate) fn words(&self) -> [String; 3] {
        [
            format!("--dir={}", self.case.data()),
            format!("--system-config={}", self.case.tmp("vendor")),
            format!("--local-config={}", self.case.tmp("local")),
        ]
    }

    /// `rkt` that verifies.
    pub(crate) fn strict(&self, args: &[&str]) -> Exec<'static> {
        self.case.host().exec("/usr/bin/rkt").args(self.words()).args(args.iter().copied())
    }

    /// `rkt` that takes images as they are.
    pub(crate) fn lax(&self, args: &[&str]) -> Exec<'static> {
        self.strict(&[&["--insecure-options=image"], args].concat())
    }

    /// Writes a document of the configuration.
    pub(crate) fn configure(&self, file: &str, document: &serde_json::Value) {
        self.case.host().write(&self.case.tmp(&format!("local/{file}")), document.to_string());
    }

    /// Gives up soon and never tries again.
    fn impatient(&self) {
        self.configure(
            "fetch.d/fetch.json",
            &json!({"rktKind": "fetch", "rktVersion": "v1", "stallTimeout": 1, "retries": 0}),
        );
    }

    fn trust(&self, gpg: &Gpg, scope: &str) {
        self.strict(&["trust", scope, "--skip-fingerprint-review", &gpg.export(ALICE)]).ok();
    }

    pub(crate) fn web(&self, configuration: &str) -> Web {
        Web::with(self.case.host(), configuration)
    }

    fn nothing_is_stored(&self) {
        assert_eq!(self.lax(&["image", "list", "--no-legend"]).ok().trimmed(), "");
    }
}

fn alice(net: &Net) -> Gpg {
    let gpg = Gpg::new(net.case.host());
    gpg.generate(ALICE, "never", &[]);
    gpg
}

/// The tags of a page.
fn page(prefix: &str, templates: &[&str]) -> String {
    let tags: String = templates
        .iter()
        .map(|template| format!("<meta name=\"ac-discovery\" content=\"{prefix} {template}\">\n"))
        .collect();
    format!("<!DOCTYPE html><html><head>{tags}</head><body>an image</body></html>")
}

#[test]
fn a_signed_image_by_url_is_verified_and_runs() {
    let net = Net::new();
    let web = net.web("");
    let gpg = alice(&net);
    let aci = images::busybox("web.test/app").app(&["/bin/echo", "from the web"], &json!({}));
    web.put("app.aci", aci.build());
    gpg.sign(ALICE, &web.file("app.aci"), &[]);
    let url = web.url("app.aci");
    net.strict(&["fetch", &url]).fails(254).says("rkt trust --prefix=web.test/app");
    net.nothing_is_stored();
    net.trust(&gpg, "--prefix=web.test");
    let output = net.strict(&["--debug", "fetch", &url]).ok();
    for line in [format!("image: remote fetching from URL {url:?}"), "signature verified".to_owned()] {
        assert!(output.stderr.contains(&line), "no {line:?}: {output}");
    }
    assert_eq!(output.trimmed().len(), 39, "{output}");
    let output = net.strict(&["run", "--stage1-from-dir=stage1-fly.aci", "--net=host", &url]).ok();
    assert!(app_lines(&output.stdout).contains(&"from the web"), "{output}");
    assert!(web.asked().iter().all(|line| line.ends_with("by=rkt/2.0.0")), "{:?}", web.asked());
}

#[test]
fn an_image_without_a_good_signature_is_refused() {
    let net = Net::new();
    let web = net.web("location = /late.aci.asc { return 202; }");
    let gpg = alice(&net);
    gpg.generate("mallory@web.test", "never", &[]);
    net.trust(&gpg, "--root");
    web.put("none.aci", small("web.test/none", "x").build());
    web.put("late.aci", small("web.test/late", "x").build());
    web.put("changed.aci", small("web.test/changed", "x").build());
    gpg.sign(ALICE, &web.file("changed.aci"), &[]);
    web.put("changed.aci", small("web.test/changed", "y").build());
    web.put("stranger.aci", small("web.test/stranger", "x").build());
    gpg.sign("mallory@web.test", &web.file("stranger.aci"), &[]);
    for (file, says) in [
        ("none", "error downloading the signature file"),
        ("late", "server requested deferring the signature download"),
        ("changed", "does not match"),
        ("stranger", "openpgp: signature made by unknown entity"),
    ] {
        net.strict(&["fetch", &web.url(&format!("{file}.aci"))]).fails(254).says(says);
    }
    let missing = format!("--signature={}", net.case.tmp("missing"));
    net.strict(&["fetch", &web.url("none.aci"), &missing]).fails(254).says("error opening signature file");
    net.nothing_is_stored();
    net.lax(&["fetch", &web.url("none.aci")]).ok();
    // What came unverified once is not good for those who verify.
    net.strict(&["fetch", "--pull-policy=new", &web.url("none.aci")])
        .fails(254)
        .says("error downloading the signature file");
}

#[test]
fn a_signature_may_come_later_than_its_image() {
    let net = Net::new();
    let web = net.web(
        "location = /a.aci.asc { if (!-f DIR/ready) { return 202; } } location = /a.aci { limit_rate 200k; }",
    );
    let gpg = alice(&net);
    net.trust(&gpg, "--root");
    web.put("a.aci", small("web.test/a", &"x".repeat(400_000)).build());
    gpg.sign(ALICE, &web.file("a.aci"), &[]);
    let fetch = net.strict(&["fetch", &web.url("a.aci")]).spawn();
    eventually("the first question for the signature", || (!web.asked().is_empty()).then_some(()));
    net.case.host().write(&web.file("../ready"), "");
    fetch.wait(Duration::from_secs(60)).success();
    let answers: Vec<_> = web.asked().iter().map(|line| line.split(' ').nth(3).unwrap().to_owned()).collect();
    assert_eq!(answers, ["202", "200", "200"]);
}

#[test]
fn caching_follows_the_rules_of_http() {
    let net = Net::new();
    let web = net.web("location = /fresh.aci { add_header Cache-Control max-age=1000; } location = /not.aci { add_header Cache-Control no-store; }");
    for name in ["plain", "fresh", "not"] {
        web.put(&format!("{name}.aci"), small(&format!("web.test/{name}"), name).build());
    }
    let fetch = |name: &str, policy: &str| {
        web.forget();
        let output = net.lax(&["--debug", "fetch", policy, &web.url(&format!("{name}.aci"))]).ok();
        (output, web.asked())
    };
    for name in ["plain", "fresh", "not"] {
        let (_, asked) = fetch(name, "--pull-policy=update");
        assert!(
            asked.len() == 1 && asked[0].contains(" 200 ") && asked[0].contains("cached=- "),
            "{asked:?}"
        );
    }
    for name in ["plain", "not"] {
        let (_, asked) = fetch(name, "--no-store");
        assert!(asked.len() == 1 && asked[0].contains(" 304 "), "{asked:?}");
    }
    let (output, asked) = fetch("fresh", "--pull-policy=update");
    assert!(asked.is_empty() && output.stderr.contains("isn't expired, not fetching."), "{asked:?} {output}");
    for policy in ["--pull-policy=new", "--store-only", "--pull-policy=never"] {
        let (output, asked) = fetch("plain", policy);
        assert!(
            asked.is_empty() && output.stderr.contains("using image from local store for url"),
            "{output}"
        );
    }
    net.lax(&["fetch", "--store-only", &web.url("other.aci")]).fails(254).says("never");
    // A new version under the old URL. The server tells versions of the same second apart by their sizes.
    web.put("plain.aci", small("web.test/plain", &"changed".repeat(1000)).build());
    let (output, asked) = fetch("plain", "--pull-policy=update");
    assert!(asked[0].contains(" 200 "), "{asked:?} {output}");
    assert_eq!(net.lax(&["image", "list", "--no-legend"]).ok().stdout.lines().count(), 4);
    // What is gone from the store is fetched, whatever is known of it.
    net.lax(&["image", "rm", "web.test/fresh"]).ok();
    let (_, asked) = fetch("fresh", "--pull-policy=new");
    assert!(asked.len() == 1 && asked[0].contains(" 200 "), "{asked:?}");
}

/// An image that takes some seconds at the rate of the servers here.
pub(crate) fn slow(web: &Web) {
    let noise: Vec<u8> = {
        let mut state = 1_u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(3_000_000)
        .collect()
    };
    let aci = tests::aci::Aci::new("web.test/slow").dir("rootfs/etc", 0o755).file(
        "rootfs/etc/noise",
        0o644,
        &noise,
    );
    web.put("slow.aci", aci.build());
}

pub(crate) const SLOW: &str = "location = /slow.aci { limit_rate 1m; }";

fn part(net: &Net) -> String {
    let find = format!("find {}/tmp/download -name '*.part' -size +256k", net.case.data());
    eventually("a part of the download", || {
        let found = net.case.host().exec("sh").args(["-c", &find]).output();
        Some(found.trimmed().to_owned()).filter(|path| !path.is_empty())
    })
}

#[test]
fn what_was_killed_goes_on_where_it_was() {
    let net = Net::new();
    let web = net.web(SLOW);
    slow(&web);
    let mut fetch = net.lax(&["fetch", &web.url("slow.aci")]).spawn();
    let part = part(&net);
    fetch.kill();
    assert!(net.case.host().path(&part).exists());
    net.lax(&["--debug", "fetch", &web.url("slow.aci")]).ok().says("going on after");
    let last = web.asked().pop().unwrap();
    assert!(last.contains(" 206 ") && last.contains("range=bytes="), "{last}");
    assert!(!net.case.host().path(&part).exists(), "the part is used up");
    // Of another version nothing is gone on with.
    web.forget();
    net.lax(&["image", "rm", "web.test/slow"]).ok();
    let mut fetch = net.lax(&["fetch", &web.url("slow.aci")]).spawn();
    self::part(&net);
    fetch.kill();
    web.put("slow.aci", small("web.test/slow", "another").build());
    net.lax(&["fetch", &web.url("slow.aci")]).ok();
    let last = web.asked().pop().unwrap();
    assert!(last.contains(" 200 ") && last.contains("range=bytes="), "{last}");
}

#[test]
fn a_lost_connection_is_made_again() {
    let net = Net::new();
    let mut web = net.web(SLOW);
    slow(&web);
    let fetch = net.lax(&["fetch", &web.url("slow.aci")]).spawn();
    part(&net);
    web.stop();
    web.resume_serving();
    let output = fetch.wait(Duration::from_secs(60)).success();
    assert!(output.stderr.contains("the connection broke after"), "{output}");
    assert!(web.asked().iter().any(|line| line.contains(" 206 ")), "{:?}", web.asked());
}

#[test]
fn a_silent_server_is_given_up() {
    let net = Net::new();
    net.impatient();
    let web = net.web(SLOW);
    slow(&web);
    let fetch = net.lax(&["fetch", &web.url("slow.aci")]).spawn();
    part(&net);
    web.freeze();
    let output = fetch.wait(Duration::from_secs(20)).code(254);
    assert!(output.stderr.contains("stalls: no byte came for 1 s"), "{output}");
    // One that takes connections and never says anything.
    net.lax(&["fetch", &web.url("slow.aci")]).fails(254);
}

#[test]
fn every_status_is_named() {
    let net = Net::new();
    net.impatient();
    let statuses = [401, 403, 404, 410, 418, 429, 500, 502, 503];
    let locations: String =
        statuses.iter().map(|status| format!("location = /{status}.aci {{ return {status}; }}\n")).collect();
    let web = net.web(&format!("{locations} location = /busy.aci {{ add_header Retry-After 7 always; return 429; }} location = /odd.aci {{ return 204; }}"));
    for status in statuses {
        let output = net.lax(&["fetch", &web.url(&format!("{status}.aci"))]).fails(254);
        assert!(output.stderr.contains(&format!("bad HTTP status code: {status}")), "{output}");
    }
    net.lax(&["fetch", &web.url("busy.aci")]).fails(254).says("try again in 7 s");
    net.lax(&["fetch", &web.url("odd.aci")]).fails(254).says("bad HTTP status code: 204");
    net.nothing_is_stored();
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let net = Net::new();
    let web = net.web("location = /a.aci { if (!-f DIR/ready) { return 503; } }");
    web.put("a.aci", small("web.test/a", "x").build());
    let fetch = net.lax(&["fetch", &web.url("a.aci")]).spawn();
    eventually("the first question", || (!web.asked().is_empty()).then_some(()));
    net.case.host().write(&web.file("../ready"), "");
    fetch.wait(Duration::from_secs(60)).success().says("trying again in");
}

#[test]
fn redirects_have_an_end_and_never_lead_down() {
    let net = Net::new();
    let steps: String =
        (0..12).map(|n| format!("location = /step{n}.aci {{ return 302 /step{}.aci; }}\n", n + 1)).collect();
    let web = net.web(&format!(
        "{steps} location = /loop.aci {{ return 302 /pool.aci; }} location = /pool.aci {{ return 302 /loop.aci; }}
         location = /down.aci {{ return 302 http://$host/a.aci; }} location = /file.aci {{ return 302 file:///etc/passwd; }}
         location = /moved.aci {{ return 301 /a.aci; }} location = /nowhere.aci {{ return 300; }}"
    ));
    web.put("a.aci", small("web.test/a", "x").build());
    for (file, says) in [
        ("loop", "redirects in a circle"),
        ("step0", "redirects more than 10 times"),
        ("down", "which is not secure (http)"),
        ("file", "redirects to nowhere"),
        ("nowhere", "bad HTTP status code: 300"),
    ] {
        net.strict(&["--insecure-options=image,http", "fetch", &web.url(&format!("{file}.aci"))])
            .fails(254)
            .says(says);
    }
    net.lax(&["fetch", &web.url("moved.aci")]).ok();
}

#[test]
fn certificates_are_for_their_names_and_of_trusted_authorities() {
    let net = Net::new();
    for (certificate, says) in [
        (Certificate::Other, "presents a certificate for other names (\"other.test\")"),
        (Certificate::Stranger, "no authority that this system trusts signed it"),
    ] {
        let web = Web::with_certificate(net.case.host(), certificate, "");
        web.put("a.aci", small("web.test/a", "x").build());
        let output = net.lax(&["fetch", &web.url("a.aci")]).fails(254);
        let said = output.stderr.replace("DnsName(\"other.test\")", "\"other.test\"");
        assert!(said.contains(says), "{output}");
        assert!(web.asked().is_empty(), "nothing is asked of a stranger: {:?}", web.asked());
        net.nothing_is_stored();
        net.strict(&["--insecure-options=image,tls", "fetch", &web.url("a.aci")]).ok();
        net.lax(&["image", "rm", "web.test/a"]).ok();
    }
}

#[test]
fn nobody_and_nothing_there_is_told_apart() {
    let net = Net::new();
    net.impatient();
    net.lax(&["fetch", "https://no-such-host.web.test/a.aci"]).fails(254).says("Cannot find the address of");
    net.lax(&["fetch", "https://127.0.9.254/a.aci"]).fails(254).says("Cannot connect to 127.0.9.254");
    let web = net.web("");
    // Plain http on the port of https.
    net.lax(&["fetch", &format!("https://{}:80/a.aci", web.name())]).fails(254).says("No secure connection");
}

#[test]
fn credentials_stay_with_their_host() {
    let net = Net::new();
    let elsewhere = net.web("");
    elsewhere.put("a.aci", small("web.test/a", "x").build());
    let web = net.web(&format!(
        "auth_basic closed; auth_basic_user_file DIR/users; location = /away.aci {{ auth_basic off; return 302 {}; }}",
        elsewhere.url("a.aci")
    ));
    net.case
        .host()
        .sh(&format!("echo \"user:$(openssl passwd -apr1 secret)\" >{}", web.file("../users")))
        .success();
    web.put("a.aci", small("web.test/a", "x").build());
    let url = web.url("a.aci");
    net.lax(&["fetch", &url]).fails(254).says("it wants credentials and none are configured for it");
    let auth = |password: &str| {
        json!({"rktKind": "auth", "rktVersion": "v1", "domains": [web.name()], "type": "basic",
            "credentials": {"user": "user", "password": password}})
    };
    net.configure("auth.d/web.json", &auth("wrong"));
    let output = net.lax(&["fetch", &url]).fails(254).says("the configured credentials are refused");
    assert!(!output.stderr.contains("wrong"), "{output}");
    net.configure("auth.d/web.json", &auth("secret"));
    net.lax(&["fetch", &url]).ok();
    web.forget();
    net.lax(&["fetch", &web.url("away.aci")]).ok();
    assert!(web.asked()[0].contains("who=Basic"), "{:?}", web.asked());
    assert!(elsewhere.asked().iter().all(|line| line.contains("who=- ")), "{:?}", elsewhere.asked());
    // Not over a connection that anybody can listen to.
    web.forget();
    net.lax(&["fetch", &url.replace("https:", "http:")]).fails(254).says("held back");
    assert!(web.asked().iter().all(|line| line.contains("who=- ")), "{:?}", web.asked());
}

fn discovered(net: &Net, name: &str) -> Output {
    net.lax(&["--debug", "fetch", name]).output()
}

#[test]
fn pages_tell_where_an_image_is() {
    let net = Net::new();
    let web = net.web("");
    let (host, name) = (web.name(), format!("{}/team/app", web.name()));
    let template = format!("https://{host}/files/{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}");
    web.put("team/index.html", page(&host, &[&template]));
    let aci = small(&name, "x").label("version", "1.2.0").build();
    web.put(&format!("files/{name}-1.2.0-linux-amd64.aci"), &aci);
    let output = discovered(&net, &format!("{name}:1.2.0")).success();
    assert!(output.stderr.contains(&format!("image: searching for app image {name}")), "{output}");
    assert!(output.stderr.contains("image: fetching image from https://"), "{output}");
    // The image's own page was asked before that of its parent.
    let pages: Vec<_> = web.asked().into_iter().filter(|line| line.contains("?ac-discovery=1")).collect();
    assert!(pages[0].contains("/team/app?ac-discovery=1 404"), "{pages:?}");
    assert!(pages.iter().any(|line| line.contains("/team?ac-discovery=1")), "{pages:?}");
    // Now it is in the store.
    web.forget();
    net.lax(&["fetch", "--pull-policy=new", &format!("{name}:1.2.0")]).ok();
    assert!(web.asked().is_empty(), "{:?}", web.asked());
    discovered(&net, &format!("{name}:3")).code(254).says("bad HTTP status code: 404");
    let unknown = discovered(&net, &format!("{host}/other,channel=beta")).code(254);
    assert!(unknown.stderr.contains("discovery failed") || unknown.stderr.contains("404"), "{unknown}");
}

#[test]
fn every_place_is_tried_and_only_the_right_image_is_taken() {
    let net = Net::new();
    let web = net.web("");
    let host = web.name();
    let name = format!("{host}/app");
    let place = |dir: &str| format!("https://{host}/{dir}/{{version}}.{{ext}}");
    web.put(
        "app/index.html",
        page(&host, &[&place("none"), &place("wrong"), &place("old"), &place("right")]),
    );
    web.put("wrong/2.0.aci", small("web.test/other", "x").label("version", "2.0").build());
    web.put("old/2.0.aci", small(&name, "x").label("version", "1.2.0").build());
    let output = discovered(&net, &format!("{name}:2.0")).code(254);
    for says in [
        "404",
        &format!("{name:?} expected but \"web.test/other\" found"),
        r#"requested value for label "version": "2.0" differs from fetched aci label value: "1.2.0""#,
        "none of the 4 places",
    ] {
        assert!(output.stderr.contains(says), "no {says:?}: {output}");
    }
    net.nothing_is_stored();
    web.put("right/2.0.aci", small(&name, "x").label("version", "2.0").build());
    discovered(&net, &format!("{name}:2.0")).success();
    discovered(&net, &format!("{name}:2.0,channel=beta"))
        .code(254)
        .says(r#"requested label "channel" not provided by the image manifest"#);
}

#[test]
fn an_image_may_lie_beside_its_name() {
    let net = Net::new();
    let web = net.web("");
    let name = format!("{}/simple", web.name());
    web.put("simple-1.0-linux-amd64.aci", small(&name, "x").label("version", "1.0").build());
    discovered(&net, &format!("{name}:1.0")).success();
}

#[test]
fn plain_http_is_for_those_who_say_so() {
    let net = Net::new();
    let web = Web::with_certificate(net.case.host(), Certificate::Stranger, "");
    let host = web.name();
    let name = format!("{host}/app");
    web.put("app/index.html", page(&host, &[&format!("http://{host}/{{version}}.{{ext}}")]));
    web.put("1.aci", small(&name, "x").build());
    discovered(&net, &format!("{name}:1")).code(254).says("not trusted");
    assert!(web.asked().is_empty(), "{:?}", web.asked());
    net.strict(&["--insecure-options=image,http", "fetch", &format!("{name}:1")]).ok();
    // A URL that the user wrote himself says it too.
    net.lax(&["fetch", &format!("http://{host}/1.aci")]).ok();
}

#[test]
fn dependencies_are_fetched_with_their_own_signatures() {
    let net = Net::new();
    let web = net.web("");
    let gpg = alice(&net);
    let host = web.name();
    web.put("index.html", page(&host, &[&format!("https://{host}/{{name}}.{{ext}}")]));
    let base = format!("{host}/base");
    web.put(&format!("{base}.aci"), images::busybox(&base).build());
    let top = tests::aci::Aci::new(&format!("{host}/top"))
        .field("dependencies", json!([{"imageName": base}]))
        .app(&["/bin/echo", "on its base"], &json!({}))
        .dir("rootfs/etc", 0o755);
    web.put(&format!("{host}/top.aci"), top.build());
    gpg.sign(ALICE, &web.file(&format!("{host}/top.aci")), &[]);
    net.trust(&gpg, "--root");
    let name = format!("{host}/top");
    let output = net.strict(&["fetch", &name]).fails(254);
    assert!(output.stderr.contains("error downloading the signature file"), "{output}");
    gpg.sign(ALICE, &web.file(&format!("{base}.aci")), &[]);
    let output = net.strict(&["run", "--stage1-from-dir=stage1-fly.aci", "--net=host", &name]).ok();
    assert!(app_lines(&output.stdout).contains(&"on its base"), "{output}");
}

#[test]
fn keys_are_discovered_and_reviewed() {
    let net = Net::new();
    let web = net.web("");
    let gpg = alice(&net);
    let host = web.name();
    let name = format!("{host}/app");
    let key = std::fs::read(net.case.host().path(gpg.export(ALICE))).unwrap();
    web.put("keys.gpg", key);
    web.put("app.aci", small(&name, "x").build());
    gpg.sign(ALICE, &web.file("app.aci"), &[]);
    let keys = format!("<meta name=ac-discovery-pubkeys content='{host} https://{host}/keys.gpg'>");
    web.put(
        "index.html",
        page(&host, &[&format!("https://{host}/app.{{ext}}")]).replace("<head>", &format!("<head>{keys}")),
    );
    // Nobody is there to be asked.
    let output = net.strict(&["fetch", &name]).fails(254);
    let fingerprint = gpg.fingerprint(ALICE);
    assert!(output.stdout.replace(' ', "").contains(&fingerprint), "{output}");
    assert!(output.stderr.contains("--trust-keys-from-https"), "{output}");
    net.nothing_is_stored();
    net.strict(&["--trust-keys-from-https", "fetch", &name]).ok().says("without fingerprint review");
    net.strict(&["trust", "--prefix", &host, "--skip-fingerprint-review"]).ok().says("Added key for prefix");
    net.strict(&["trust", "--root", "--skip-fingerprint-review", &web.url("keys.gpg")])
        .ok()
        .says("Added root key");
    net.strict(&["trust", "--root", &web.url("keys.gpg").replace("https", "http")])
        .fails(254)
        .says("--insecure-allow-http");
}

#[test]
fn a_stage1_may_come_from_elsewhere() {
    let net = Net::new();
    let web = net.web("");
    let from = "/usr/lib/rkt/stage1-images/stage1-fly.aci";
    net.case.host().sh(&format!("cp {from} {}", web.file("s1.aci"))).success();
    let url = format!("--stage1-url={}", web.url("s1.aci"));
    net.strict(&["run", &url, "--net=host", images::BUSYBOX_FILE, "--exec=/bin/true"])
        .fails(254)
        .says("signature");
    net.lax(&["run", &url, "--net=host", images::BUSYBOX_FILE, "--exec=/bin/true"]).ok();
}
