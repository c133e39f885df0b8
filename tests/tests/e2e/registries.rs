//! Images from a real registry, pushed there by skopeo after buildah built them.

use std::time::Duration;

use serde_json::{Value, json};
use tests::aci::Aci;
use tests::case::{Case, Stage1, app_lines, eventually};
use tests::oci::{BUILT, Layout, built, digest};
use tests::registry::{Access, PASSWORD, Registry, USER};
use tests::web::Web;

use crate::remote::Net;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// fly wants a volume for every mount point of an image.
const VOLUME: &str = "--volume=volume-var-data,kind=empty";

/// A registry with basic authentication, and a test whose `rkt` knows the password.
fn basic() -> (Net, Registry) {
    let net = Net::new();
    let registry = Registry::start(net.case.host(), &Access::Basic);
    log_in(&net, &registry, PASSWORD);
    (net, registry)
}

fn log_in(net: &Net, registry: &Registry, password: &str) {
    net.configure(
        "auth.d/registry.json",
        &json!({"rktKind": "dockerAuth", "rktVersion": "v1", "registries": [registry.authority()],
            "credentials": {"user": USER, "password": password}}),
    );
}

under_both_walls!(what_buildah_pushed_runs, a_server_from_a_registry_answers);

/// Builds an image of the host's nginx, in two layers.
const NGINX: &str = r#"
top=$1; listen=$2; port=$3; target=$4
mkdir -p $top/base/etc $top/base/run $top/base/var/log/nginx $top/base/var/lib/nginx $top/site/etc $top/site/www
for file in /usr/sbin/nginx $(ldd /usr/sbin/nginx | grep -o '/[^ ]*'); do
    mkdir -p "$top/base${file%/*}"; cp -L $file "$top/base$file"
done
printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n' >$top/base/etc/passwd
printf 'root:x:0:\nwww-data:x:33:\n' >$top/base/etc/group
echo "from the registry" >$top/site/www/index.html
echo "daemon off; user www-data; pid /run/nginx.pid; error_log stderr; events {}
http { access_log off; server { listen $listen:$port; root /www; } }" >$top/site/etc/nginx.conf
b() { buildah --storage-driver vfs --root $top/storage --runroot $top/runroot "$@"; }
export BUILDAH_ISOLATION=chroot
base=$(b from scratch); b copy --quiet $base $top/base / >/dev/null; b commit --quiet $base base >/dev/null
site=$(b from --pull=never localhost/base); b copy --quiet $site $top/site / >/dev/null
b config --entrypoint '["/usr/sbin/nginx","-c","/etc/nginx.conf"]' --port $port/tcp $site
b commit --quiet $site site >/dev/null
b push --quiet --creds user:secret localhost/site docker://$target
rm -rf $top
"#;

fn a_server_from_a_registry_answers(case: &Case) {
    // A machine has no network of the host's: its server is asked over a forwarded port.
    let in_machine = (case.stage1() == Stage1::Kvm).then(|| Case::new(Stage1::Kvm).with_net("--net=default"));
    let case = in_machine.as_ref().unwrap_or(case);
    let host = case.host();
    let registry = Registry::start(host, &Access::Basic);
    let image = registry.image("team/nginx:1");
    let (listen, port, flags) = match case.stage1() {
        Stage1::Fly => ("127.0.0.1", "8071", &[][..]),
        Stage1::Nspawn => ("127.0.0.1", "8072", &[][..]),
        Stage1::Kvm => ("0.0.0.0", "8073", &["--port=8073-tcp:8073"][..]),
    };
    let top = format!("/var/tmp/{}", case.name());
    host.exec("sh").args(["-ec", NGINX, "sh", &top, listen, port, &image]).ok();
    let auth = json!({"auths": {registry.authority(): {"auth": "dXNlcjpzZWNyZXQ="}}});
    host.write(&case.tmp("docker/config.json"), auth.to_string());
    let image = format!("docker://{image}");
    let mut pod = case.run([flags, &[&*image]].concat()).env("DOCKER_CONFIG", &case.tmp("docker")).spawn();
    let url = format!("http://127.0.0.1:{port}/");
    let page = eventually("the server to answer", || {
        assert!(!pod.ended(), "the pod ended: {pod:?}");
        let output = host.exec("curl").args(["--silent", "--fail", &url]).output();
        (output.code == 0).then_some(output.stdout)
    });
    assert_eq!(page, "from the registry\n");
}

fn what_buildah_pushed_runs(case: &Case) {
    built(case.host());
    let registry = Registry::start(case.host(), &Access::Basic);
    registry.push(&format!("oci:{BUILT}/layout:latest"), "team/app:1.5", &[]);
    // The credentials that `docker login` leaves.
    let auth = json!({"auths": {registry.authority(): {"auth": "dXNlcjpzZWNyZXQ="}}});
    case.host().write(&case.tmp("docker/config.json"), auth.to_string());
    for scheme in ["docker", "oci"] {
        let image = format!("{scheme}://{}", registry.image("team/app:1.5"));
        let run = case.run_as(scheme, [VOLUME, &*image]).env("DOCKER_CONFIG", &case.tmp("docker"));
        let output = run.ok();
        let is_greeting = |line: &&str| line.starts_with("hello") && line.ends_with("from web in /opt/old");
        assert!(app_lines(&output.stdout).iter().any(is_greeting), "{output}");
    }
    let name = registry.image("team/app:1.5");
    let manifest = case.rkt(["image", "cat-manifest", &name]).ok().json();
    assert_eq!(manifest["name"], registry.image("team/app"));
}

#[test]
fn every_kind_of_manifest_and_compression_is_read() {
    let (net, registry) = basic();
    built(net.case.host());
    registry.push(&format!("oci:{BUILT}/layout:latest"), "team/app:oci", &["--format=oci"]);
    registry.push(&format!("oci:{BUILT}/layout:latest"), "team/app:docker", &["--format=v2s2"]);
    registry.push(&format!("oci:{BUILT}/zstd:latest"), "team/app:zstd", &[]);
    for tag in ["oci", "docker", "zstd"] {
        net.lax(&["fetch", &format!("docker://{}", registry.image(&format!("team/app:{tag}")))]).ok();
    }
    let kind = |tag: &str| {
        serde_json::from_str::<Value>(&registry.manifest("team/app", tag)).unwrap()["mediaType"].clone()
    };
    assert_eq!(kind("docker"), "application/vnd.docker.distribution.manifest.v2+json");
    // Layers are known by what is in them, however they were packed.
    let layers = net.case.host().sh(&format!("ls {}/cas/layer", net.case.data())).stdout;
    assert_eq!(layers.lines().filter(|layer| layer.starts_with("sha256-")).count(), 2, "{layers}");
}

#[test]
fn who_may_enter_and_who_may_not() {
    let (net, registry) = basic();
    built(net.case.host());
    registry.push(&format!("oci:{BUILT}/layout:latest"), "team/app:1", &[]);
    let image = format!("docker://{}", registry.image("team/app:1"));
    net.strict(&["fetch", &image])
        .fails(254)
        .says("signature verification for docker images is not supported");
    log_in(&net, &registry, "wrong");
    let output = net.lax(&["fetch", &image]).fails(254).says("the configured credentials are refused");
    assert!(!output.stderr.contains("wrong"), "{output}");
    net.case.host().sh(&format!("rm {}", net.case.tmp("local/auth.d/registry.json"))).success();
    net.lax(&["fetch", &image]).fails(254).says("it wants credentials and none are configured for it");
    log_in(&net, &registry, PASSWORD);
    net.lax(&["fetch", &image]).ok();
    for missing in ["team/app:2", "team/none:1"] {
        net.lax(&["fetch", &format!("docker://{}", registry.image(missing))]).fails(254).says("404");
    }
}

#[test]
fn tokens_are_had_from_their_server() {
    let net = Net::new();
    built(net.case.host());
    let registry = Registry::start(net.case.host(), &Access::Token);
    registry.push(&format!("oci:{BUILT}/layout:latest"), "team/app:1", &[]);
    let image = format!("docker://{}", registry.image("team/app:1"));
    let output = net.lax(&["fetch", &image]).fails(254);
    assert!(output.stderr.contains("401"), "{output}");
    log_in(&net, &registry, PASSWORD);
    net.lax(&["fetch", &image]).ok();
}

#[test]
fn policies_decide_who_is_asked() {
    let (net, registry) = basic();
    built(net.case.host());
    registry.push(&format!("oci:{BUILT}/layout:latest"), "team/app:1", &[]);
    let image = format!("docker://{}", registry.image("team/app:1"));
    net.lax(&["fetch", "--pull-policy=never", &image]).fails(254).says("--pull-policy=never");
    let id = net.lax(&["fetch", &image]).ok().trimmed().to_owned();
    let pinned = format!(
        "docker://{}",
        registry.image(&format!("team/app@{}", digest(registry.manifest("team/app", "1").as_bytes())))
    );
    net.lax(&["fetch", &pinned]).ok();
    drop(registry);
    for policy in ["--pull-policy=new", "--pull-policy=never"] {
        assert_eq!(net.lax(&["fetch", policy, &image]).ok().trimmed(), id);
    }
    net.lax(&["fetch", &image]).fails(254).says("Cannot connect to");
    // What a digest names does not change.
    net.lax(&["fetch", &pinned]).ok();
}

/// Pushes an image made by hand and returns its manifest.
fn push_layout(net: &Net, registry: &Registry, layout: &Layout, tag: &str) -> Value {
    let dir = net.case.tmp(&format!("layout-{tag}"));
    layout.write(net.case.host(), &dir);
    registry.push(&format!("oci:{dir}"), &format!("team/app:{tag}"), &[]);
    serde_json::from_str(&registry.manifest("team/app", tag)).expect("a manifest")
}

fn file(name: &str, content: &[u8]) -> Aci {
    Aci::changes().file(name, 0o644, content)
}

#[test]
fn an_index_gives_what_runs_here() {
    let (net, registry) = basic();
    let mut entries = Vec::new();
    for (tag, os, arch) in
        [("arm", "linux", "arm64"), ("ours", "linux", "amd64"), ("windows", "windows", "amd64")]
    {
        push_layout(&net, &registry, &Layout::new(&json!({})).layer(&file("platform", tag.as_bytes())), tag);
        let text = registry.manifest("team/app", tag);
        entries.push(json!({"mediaType": MANIFEST, "digest": digest(text.as_bytes()), "size": text.len(),
            "platform": {"os": os, "architecture": arch}}));
    }
    let put = |tag: &str, entries: &[Value]| {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        registry.put_manifest("team/app", tag, INDEX, &index.to_string());
        format!("docker://{}", registry.image(&format!("team/app:{tag}")))
    };
    let all = put("all", &entries);
    let id = net.lax(&["fetch", "--full", &all]).ok().trimmed().to_owned();
    let files = net.case.host().sh(&format!("cat {}/cas/layer/*/rootfs/platform", net.case.data())).stdout;
    assert_eq!((files.as_str(), id.len()), ("ours", 71));
    let none = put("none", &[entries[0].clone(), entries[2].clone()]);
    let output = net.lax(&["fetch", &none]).fails(254);
    assert!(
        output.stderr.contains("has no image for linux/amd64") && output.stderr.contains("linux/arm64"),
        "{output}"
    );
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    let (net, registry) = basic();
    let noise = b"some content of a layer that is long enough to be cut".repeat(100);
    let manifest = push_layout(&net, &registry, &Layout::new(&json!({})).layer(&file("noise", &noise)), "1");
    let layer = registry.blob(manifest["layers"][0]["digest"].as_str().unwrap());
    let image = format!("docker://{}", registry.image("team/app:1"));
    let host = net.case.host();
    host.sh(&format!(
        "cp {layer} {layer}.good; printf X | dd of={layer} bs=1 seek=20 conv=notrunc status=none"
    ))
    .success();
    net.lax(&["fetch", &image]).fails(254).says("wrong digest");
    host.sh(&format!("head -c 100 {layer}.good >{layer}")).success();
    let output = net.lax(&["fetch", &image]).fails(254);
    assert!(output.stderr.contains("wrong size") || output.stderr.contains("ends early"), "{output}");
    host.sh(&format!("rm {layer}")).success();
    net.lax(&["fetch", &image]).fails(254).says("404");
    host.sh(&format!("mv {layer}.good {layer}")).success();
    // Nothing of all that is in the way.
    net.lax(&["fetch", &image]).ok();
    // A chart, or whatever else people keep in registries.
    let mut odd = manifest.clone();
    odd["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    registry.put_manifest("team/app", "odd", MANIFEST, &odd.to_string());
    let odd = format!("docker://{}", registry.image("team/app:odd"));
    net.lax(&["fetch", &odd])
        .fails(254)
        .says("is not an image that can be run: its media type is application/vnd.cncf.helm");
    assert_eq!(net.lax(&["image", "list", "--no-legend"]).ok().stdout.lines().count(), 1);
}

#[test]
fn layers_go_on_where_they_were() {
    let net = Net::new();
    let registry = Registry::start(net.case.host(), &Access::Plain);
    let noise = |seed: u32| -> Vec<u8> {
        let mut state = seed;
        let step = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(step).take(2_000_000).collect()
    };
    let mut layout = Layout::new(&json!({}));
    for n in 0..3 {
        layout = layout.layer(&file(&format!("noise{n}"), &noise(n)));
    }
    push_layout(&net, &registry, &layout, "1");
    let proxy = Web::with(
        net.case.host(),
        &format!("location / {{ proxy_pass http://{}; limit_rate 500k; }}", registry.authority()),
    );
    let image = format!("docker://{}/team/app:1", proxy.name());
    let mut fetch = net.lax(&["fetch", &image]).spawn();
    let find = format!("find {}/tmp/download -name 'sha256-*.part' -size +64k | wc -l", net.case.data());
    eventually("three layers at once", || {
        (net.case.host().exec("sh").args(["-c", &find]).output().trimmed() == "3").then_some(())
    });
    fetch.kill();
    proxy.forget();
    net.lax(&["--debug", "fetch", &image]).limit(Duration::from_secs(60)).ok().says("going on after");
    // A request is logged when it has ended, which rkt may see before.
    let rests = || proxy.asked().iter().filter(|line| line.contains(" 206 ")).count();
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while rests() != 3 {
        assert!(std::time::Instant::now() < end, "not three rests: {:?}", proxy.asked());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_registry_in_the_clear_is_for_those_who_say_so() {
    let net = Net::new();
    let registry = Registry::start(net.case.host(), &Access::Plain);
    push_layout(&net, &registry, &Layout::new(&json!({})).layer(&file("a", b"a")), "1");
    let image = format!("docker://{}", registry.image("team/app:1"));
    net.lax(&["fetch", &image]).fails(254).says("No secure connection");
    net.strict(&["--insecure-options=image,http", "fetch", &image]).ok();
}
