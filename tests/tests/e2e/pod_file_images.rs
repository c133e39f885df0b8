//! Images of pod files: when they are fetched, by what they are pinned, and what their entrypoint gets.

use serde_json::json;
use tests::case::{Case, Stage1};
use tests::images;
use tests::oci::{Layout, digest};
use tests::pod_file::PodFile;
use tests::registry::{Access, Registry};

under_both_walls!(a_tag_is_looked_at_when_the_file_says_so);

/// The image `team/app` of a registry, whose app prints the words that follow its entrypoint.
struct Pushed<'a> {
    case: &'a Case,
    registry: Registry,
}

impl<'a> Pushed<'a> {
    fn new(case: &'a Case) -> Self {
        let registry = Registry::start(case.host(), &Access::Basic);
        // The credentials that `docker login` leaves.
        let auth = json!({"auths": {registry.authority(): {"auth": "dXNlcjpzZWNyZXQ="}}});
        case.host().write(&case.tmp("docker/config.json"), auth.to_string());
        Pushed { case, registry }
    }

    /// Pushes what calls itself `version`, as the tag `tag`, and returns its digest.
    fn push(&self, version: &str, tag: &str) -> String {
        let layout = Layout::new(&json!({
            "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["echo of the image"],
            "Env": [format!("VERSION={version}")],
        }));
        let dir = self.case.tmp(version);
        layout.layer(&images::layer()).write(self.case.host(), &dir);
        let name = format!("team/app:{tag}");
        self.registry.push(&format!("oci:{dir}"), &name, &["--format=oci"]);
        digest(self.registry.manifest("team/app", tag).as_bytes())
    }

    /// A pod file with this image, `what` follows its name, and these further lines of `[Pod]` and `[App]`.
    fn text(&self, what: &str, pod: &str, app: &str) -> String {
        let network = if self.case.stage1() == Stage1::Fly { "" } else { "Network=none\n" };
        format!(
            "[Pod]\nIsolation={}\nInsecureOptions=image\n{network}{pod}\n[App app]\nImage=docker://{}{what}\n{app}\n\
             [Service]\nEnvironment=DOCKER_CONFIG={}\n",
            self.case.stage1().word(),
            self.registry.image("team/app"),
            self.case.tmp("docker"),
        )
    }
}

fn a_tag_is_looked_at_when_the_file_says_so(case: &Case) {
    let pushed = Pushed::new(case);
    pushed.push("one", "1");
    let file = PodFile::new(case, "pull");
    let app = "Command='echo version $VERSION; exec sleep 1000'";
    file.write(&pushed.text(":1", "Pull=never", app));
    assert_ne!(case.host().exec("systemctl").args(["start", &file.unit()]).output().code, 0);
    file.wait_for_failure();
    let status = file.property("StatusText");
    assert!(status.contains("in the store and --pull-policy=never"), "{status}");

    let version = |version: &str| {
        case.systemctl(&["restart", &file.unit()]);
        let invocation = format!("_SYSTEMD_INVOCATION_ID={}", file.property("InvocationID"));
        case.journal(&[&invocation, "-t", "app"], &format!("version {version}"));
    };
    file.drop_in("10-pull", "[Pod]\nPull=new\n");
    version("one");
    pushed.push("two", "1");
    version("one");
    file.drop_in("10-pull", "[Pod]\nPull=update\n");
    version("two");
    file.drop_in("10-pull", "[Pod]\nPull=never\n");
    version("two");
}

/// By the digest that a registry knows it by, and by the ID of the store that a manifest has.
#[test]
fn images_pinned_by_digest_are_no_garbage() {
    let case = Case::alone(Stage1::Fly);
    let pushed = Pushed::new(&case);
    let (pinned, other) = (pushed.push("pinned", "1"), pushed.push("other", "2"));
    let docker = case.tmp("docker");
    let fetch = |what: &str| {
        let image = format!("docker://{}{what}", pushed.registry.image("team/app"));
        case.rkt(["fetch", "--full", &image]).env("DOCKER_CONFIG", &docker).ok().trimmed().to_owned()
    };
    let app = "Command='echo version $VERSION'";
    let file = PodFile::new(&case, "digest");
    file.write(&pushed.text(&format!("@{pinned}"), "", app));
    let key = fetch(&format!("@{pinned}"));
    let others = [fetch(&format!("@{other}")), fetch(":2")];
    case.rkt(["pod", "show", file.name()]).ok().prints(&key);
    let run = || {
        let output = case.rkt(["pod", "run", file.name()]).env("DOCKER_CONFIG", &docker).ok();
        assert!(output.stdout.contains("version pinned"), "{output}");
    };
    run();

    // The tag moves on, the pin does not.
    pushed.push("moved", "1");
    file.drop_in("10-pull", "[Pod]\nPull=update\n");
    run();
    case.rkt(["gc", "--grace-period=0s"]).ok();
    let removed = case.rkt(["image", "gc", "--grace-period=0s"]).ok();
    assert!(!removed.stdout.contains(&key) && removed.stdout.contains(&others[0]), "{removed}");
    // Nothing is fetched for what is there.
    file.drop_in("10-pull", "[Pod]\nPull=never\n");
    run();

    // The same image in a manifest, and a stage1 by its ID.
    let stage1 = format!("/usr/lib/rkt/stage1-images/{}", case.stage1().file());
    let stage1 = case.rkt(["fetch", "--full", &stage1]).ok().trimmed().to_owned();
    let manifest = json!({
        "acKind": "PodManifest", "acVersion": "0.8.11",
        "apps": [{"name": "app", "image": {"id": key}, "app": {"exec": ["/bin/true"], "user": "0", "group": "0"}}],
    });
    case.host().write(&case.tmp("pod.json"), manifest.to_string());
    let pod = format!("[Pod]\nStage1={stage1}\nNetwork=host\nManifest={}\n", case.tmp("pod.json"));
    case.host().write(&format!("{}.d/10-pull.conf", file.path()), "");
    case.host().write(&file.path(), pod);
    case.rkt(["gc", "--grace-period=0s"]).ok();
    let removed = case.rkt(["image", "gc", "--grace-period=0s"]).ok();
    assert!(!removed.stdout.contains(&key) && !removed.stdout.contains(&stage1), "{removed}");
    case.rkt(["pod", "run", file.name()]).ok();
    case.rkt(["gc", "--grace-period=0s"]).ok();

    // A pod that must not run keeps nothing.
    case.host().exec("ln").args(["-sf", "/dev/null", &file.path()]).ok();
    case.rkt(["image", "gc", "--grace-period=0s"]).ok().prints(&key).prints(&stage1);
}
