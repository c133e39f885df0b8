//! Mistakes of every kind: the message names the thing, the exit status is 254, and nothing half-stored is taken for whole.

use serde_json::{Value, json};
use tests::aci::Aci;
use tests::case::{Case, Stage1};
use tests::images;

use crate::images::{compress, small};

under_both_walls!(an_executable_that_is_not_there_is_named, a_program_that_cannot_run_is_named);

fn an_executable_that_is_not_there_is_named(case: &Case) {
    case.run([case.busybox(), "--exec=/no/such/program"]).fails(254).says("/no/such/program");
    case.run([case.busybox(), "--exec=no-such-program"])
        .fails(254)
        .says(r#"unable to find "no-such-program" in "/:/bin:/usr/bin""#);
    let aci = images::busybox("example.com/no-exec");
    let output = case.run([&*case.image("no-exec.aci", aci.build())]).fails(254);
    assert!(output.stderr.contains("--exec argument is not provided"), "no way out is named: {output}");
}

fn a_program_that_cannot_run_is_named(case: &Case) {
    let aci = images::busybox("example.com/broken")
        .file("rootfs/plain", 0o644, "data")
        .file("rootfs/interpreter", 0o755, "#!/no/such/interpreter\n")
        .symlink("rootfs/dangling", "/nowhere");
    let image = case.image("broken.aci", aci.build());
    let mistakes = [
        ("/plain", "it must be an executable regular file that the app's user may read"),
        (
            "/interpreter",
            r#""/no/such/interpreter": No such file or directory (the interpreter of "/interpreter")"#,
        ),
        ("/dangling", "No such file or directory"),
        ("/etc", "Permission denied"),
    ];
    for (program, why) in mistakes {
        let exec = format!("--exec={program}");
        let output = case.run([&*image, &exec]).output();
        assert!(output.code != 0, "{output}");
        assert!(output.stderr.contains(program), "{program} is not named: {output}");
        assert!(output.stderr.contains(why), "it does not say {why:?}: {output}");
    }
}

fn stored(case: &Case) -> String {
    case.rkt(["image", "list", "--no-legend", "--full"]).ok().trimmed().to_owned()
}

/// Fetches a damaged archive: it is refused, or the damage did not touch the image (a time stamp of gzip, say).
fn fetch_damaged(case: &Case, what: &str, archive: &[u8], id: &str, may_pass: bool) {
    let file = case.image("damaged.aci", archive);
    let output = case.rkt(["fetch", "--full", &file]).output();
    if may_pass && output.code == 0 && output.trimmed() == id {
        case.rkt(["image", "rm", id]).ok();
        return;
    }
    assert_eq!(output.code, 254, "{what}: {output}");
    assert!(output.stderr.contains("damaged.aci"), "{what} does not name the file: {output}");
    assert_eq!(stored(case), "", "{what}");
}

fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let content: String = (0..3000).map(|n| format!("line {n} of a file\n")).collect();
    let plain = small("example.com/damaged", &content).build();
    let mut all = vec![("tar", plain.clone())];
    all.extend(["gzip", "bzip2", "xz", "zstd"].map(|program| (program, compress(program, &plain))));
    all
}

#[test]
fn truncated_archives_are_refused() {
    let case = Case::alone(Stage1::Fly);
    for (format, archive) in archives() {
        // The two zero blocks at the end of a tar archive hold nothing.
        let end = archive.len() - if format == "tar" { 1025 } else { 1 };
        for length in [0, 1, 5, 100, 511, 513, archive.len() / 2, end] {
            if length < archive.len() {
                fetch_damaged(
                    &case,
                    &format!("{format} cut to {length} bytes"),
                    &archive[..length],
                    "",
                    false,
                );
            }
        }
    }
    let left = case.host().sh(&format!(
        "find {0}/cas/tmp {0}/cas/layer {0}/cas/blob -mindepth 1 2>/dev/null || :",
        case.data()
    ));
    assert_eq!(left.stdout, "");
}

#[test]
fn bit_flips_are_noticed() {
    let case = Case::alone(Stage1::Fly);
    for (format, archive) in archives() {
        let id = case.rkt(["fetch", "--full", &case.image("whole.aci", &archive)]).ok().trimmed().to_owned();
        case.rkt(["image", "rm", &id]).ok();
        // In a plain tar only headers are protected: those of the manifest and of the root stand at the front.
        let range = if format == "tar" { 512 } else { archive.len() };
        for step in 0..12 {
            let position = step * range / 12 + step % 7;
            let mut damaged = archive.clone();
            damaged[position.min(range - 1)] ^= 1 << (step % 8);
            fetch_damaged(
                &case,
                &format!("{format} with a bit of byte {position} flipped"),
                &damaged,
                &id,
                true,
            );
        }
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    let case = Case::alone(Stage1::Fly);
    fetch_damaged(&case, "text", b"This is not an image.\n", "", false);
    case.rkt(["fetch", &case.image("text.aci", "This is not an image.\n")])
        .fails(254)
        .says("not a tar archive, nor one that gzip, bzip2, xz or zstd compressed");
    fetch_damaged(&case, "zeros", &[0; 4096], "", false);
    fetch_damaged(&case, "gzip of nothing", &compress("gzip", b""), "", false);
    fetch_damaged(
        &case,
        "gzip of gzip",
        &compress("gzip", &compress("gzip", &small("example.com/a", "a").build())),
        "",
        false,
    );
    let no_manifest = [Aci::new("x").file("rootfs/file", 0o644, "").entries(), &[0; 1024]].concat();
    fetch_damaged(&case, "no manifest", &no_manifest, "", false);
    let aci = Aci::new("example.com/a");
    let no_root = &aci.build()[..aci.build().len() - aci.entries().len() - 1024];
    fetch_damaged(&case, "no rootfs", &[no_root, &[0; 1024]].concat(), "", false);
    case.rkt(["fetch", "/no/such/file.aci"]).fails(254).says("/no/such/file.aci");
    case.rkt(["fetch", "/tmp"]).fails(254).says("/tmp");
    case.rkt(["fetch"]).fails(254);
}

#[test]
fn manifests_that_break_a_rule_are_refused() {
    let good: Value = serde_json::from_slice(
        br#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/good",
             "labels":[{"name":"version","value":"1"},{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}],
             "app":{"exec":["/bin/true"],"user":"0","group":"0"}}"#,
    )
    .expect("JSON");
    let case = Case::alone(Stage1::Fly);
    let aci = Aci::new("x");
    let id = case
        .rkt(["fetch", &case.image("good.aci", aci.build_with_manifest(good.to_string().as_bytes()))])
        .ok()
        .trimmed()
        .to_owned();
    case.rkt(["image", "rm", &id]).ok();

    // A field of the manifest, what is wrong in it, and a word that the message must have.
    let rules = [
        ("/acKind", json!("PodManifest"), "acKind"),
        ("/acVersion", json!("zero"), "acVersion"),
        ("/name", json!("Example.com/UPPER"), "Example.com/UPPER"),
        ("/name", json!(""), "name"),
        ("/name", json!("-leading"), "-leading"),
        ("/labels", json!([{"name": "version", "value": "1"}, {"name": "version", "value": "2"}]), "version"),
        ("/labels", json!([{"name": "arch", "value": "amd64"}]), "os"),
        ("/labels", json!([{"name": "os", "value": "plan9"}, {"name": "arch", "value": "amd64"}]), "plan9"),
        ("/labels", json!([{"name": "os", "value": "linux"}, {"name": "arch", "value": "z80"}]), "z80"),
        ("/app/user", Value::Null, "user"),
        ("/app/group", json!(""), "group"),
        ("/app/workingDirectory", json!("relative"), "relative"),
        ("/app/environment", json!([{"name": "1X", "value": ""}]), "1X"),
        ("/app/mountPoints", json!([{"name": "Data", "path": "/data"}]), "Data"),
        ("/app/ports", json!([{"name": "http", "protocol": "tcp", "port": 65536}]), "65536"),
        ("/app/ports", json!([{"name": "http", "protocol": "tcp", "port": 65535, "count": 2}]), "count"),
        ("/app/eventHandlers", json!([{"name": "mid-run", "exec": ["/x"]}]), "mid-run"),
        (
            "/app/isolators",
            json!([{"name": "os/linux/capabilities-retain-set", "value": {"set": []}}]),
            "app.isolators[0]",
        ),
        ("/dependencies", json!([{"imageName": "BAD NAME"}]), "BAD NAME"),
        ("/pathWhitelist", json!(["relative"]), "relative"),
        ("/annotations", json!([{"name": "created", "value": "yesterday"}]), "yesterday"),
    ];
    for (field, value, word) in rules {
        let mut manifest = good.clone();
        let (parent, last) = field.rsplit_once('/').unwrap_or_default();
        manifest.pointer_mut(parent).expect("a parent")[last] = value.clone();
        let file = case.image("broken.aci", aci.build_with_manifest(manifest.to_string().as_bytes()));
        let output = case.rkt(["fetch", &file]).output();
        assert_eq!(output.code, 254, "{field} = {value} is taken: {output}");
        assert!(output.stderr.contains(word), "{field} = {value}: no {word:?} in {output}");
        assert_eq!(stored(&case), "", "{field} = {value}");
    }
    for text in ["", "{", "[]", "null", r#"{"acKind":"ImageManifest"}"#] {
        let file = case.image("broken.aci", aci.build_with_manifest(text.as_bytes()));
        let output = case.rkt(["fetch", &file]).fails(254);
        assert!(output.stderr.contains("manifest"), "{text}: {output}");
    }
}

#[test]
fn images_for_another_machine_are_not_run() {
    let case = Case::alone(Stage1::Fly);
    let with = |labels: Value| {
        images::busybox("example.com/other").field("labels", labels).app(&["/bin/true"], &json!({})).build()
    };
    let run = |archive: Vec<u8>| case.run([&*case.image("other.aci", archive)]).fails(254);
    run(with(json!([]))).says("missing os label in the image manifest");
    run(with(json!([{"name": "os", "value": "linux"}]))).says("missing arch label in the image manifest");
    run(with(json!([{"name": "os", "value": "freebsd"}, {"name": "arch", "value": "amd64"}])))
        .says(r#"bad os "freebsd""#);
    run(with(json!([{"name": "os", "value": "linux"}, {"name": "arch", "value": "aarch64"}])))
        .says(r#"bad arch "aarch64" for linux"#);
}

#[test]
fn mistakes_on_the_command_line() {
    let case = Case::alone(Stage1::Fly);
    let image = images::BUSYBOX_FILE;
    let volume =
        "NAME,kind=host,source=/PATH[,readOnly=BOOL][,recursive=BOOL] or NAME,kind=empty[,readOnly=BOOL]";
    let mount = "the syntax is volume=NAME,target=/PATH";
    let uuid = "name a pod, or give --uuid-file=FILE";
    let time = "write it as in 30m, 1h30m or 500ms";
    // What the message names, and the way out where it has one.
    let mistakes: &[(&[&str], &[&str])] = &[
        (&["--bogus"], &["--bogus", r#"Run "rkt help" for usage"#]),
        (&["run", "--bogus", image], &["--bogus", r#"Run "rkt help run" for usage"#]),
        (&["run", image, "--bogus"], &["--bogus", r#"Run "rkt help run" for usage"#]),
        (&["no-such-command"], &["no-such-command", r#"Run "rkt help" for usage"#]),
        (&["run"], &["must provide at least one image or specify the pod manifest"]),
        (&["run", "--exec=/bin/true", image], &["--exec must follow an image", r#"Run "rkt help run""#]),
        (
            &["run", image, "--exec=/bin/true", "--exec=/bin/false"],
            &["--exec specified multiple times for the same image"],
        ),
        (&["run", image, "--", "a", "---", "--", "b"], &["only one set of app arguments"]),
        (&["run", image, "--name=Not_A_Name"], &["Not_A_Name", "it must match ^[a-z0-9]+(-[a-z0-9]+)*$"]),
        (&["run", "--volume=data", image], &["data", "kind is missing", volume]),
        (&["run", "--volume=data,kind=tape", image], &["tape", r#"("host" or "empty")"#, volume]),
        (&["run", "--volume=data,kind=host", image], &["source is missing", volume]),
        (
            &["run", "--volume=data,kind=host,source=relative", image],
            &[r#""relative" must be an absolute path"#],
        ),
        (&["run", "--volume=data,kind=empty,source=/x", image], &[r#""source" cannot be set here"#, volume]),
        (
            &["run", "--volume=data,kind=empty", "--volume=data,kind=empty", image],
            &[r#"volume "data""#, "twice"],
        ),
        (&["run", "--mount=volume=data", image], &["target is missing", mount]),
        (&["run", "--mount=target=/x", image], &["volume is missing", mount]),
        (&["run", "--set-env=A", image], &[r#""A""#, "the syntax is KEY=VALUE"]),
        (&["run", "--set-env=A=1", "--set-env=A=2", image], &[r#""A=2""#, "each KEY once"]),
        (&["run", "--set-env-file=/no/such/file", image], &["/no/such/file"]),
        (&["run", image, "--environment=A"], &[r#""A""#, "the syntax is KEY=VALUE"]),
        (&["run", image, "--memory=lots"], &["lots", "a number, then m, k, M"]),
        (&["run", image, "--memory=1"], &["--memory", "must be at least 4096 bytes"]),
        (&["run", image, "--cpu-shares=1"], &["--cpu-shares", "must be a number from 2 to 262144"]),
        (&["run", image, "--oom-score-adj=2000"], &["2000", "must be a number from -1000 to 1000"]),
        (&["run", image, "--caps-retain=CAP_FLY"], &["CAP_FLY", "capabilities(7)", "CAP_NET_ADMIN"]),
        (&["run", "--net=host,", image], &["--net", "the syntax is none, host, all or NET"]),
        (&["run", "--net=host", "--hostname=not a name", image], &["--hostname", "not a name"]),
        (&["run", "--net=host", "--ipc=maybe", image], &["maybe", "must be auto, private or parent"]),
        (
            &["run", "--net=host", "--pull-policy=sometimes", image],
            &["sometimes", "must be never, new or update"],
        ),
        (
            &["--insecure-options=everything", "fetch", image],
            &["everything", r#"allowed are "none", "image""#],
        ),
        (&["--dir=/proc/nowhere", "fetch", image], &["/proc/nowhere"]),
        (&["list", "surplus"], &["surplus", r#"Run "rkt help list" for usage"#]),
        (&["status"], &[uuid]),
        (&["status", "not-a-uuid"], &["not-a-uuid"]),
        (&["status", "--wait=soon", "abcd"], &["soon", time]),
        (&["gc", "--grace-period=long"], &["long", time]),
        (&["cat-manifest"], &[uuid]),
        (&["stop"], &[uuid]),
        (&["rm"], &[uuid]),
        (&["image", "bogus"], &["bogus", r#"Run "rkt help"#]),
        (&["image", "list", "--sort=colour"], &["colour", "must be one of name, importtime, lastused, size"]),
        (&["image", "cat-manifest"], &["must provide exactly one image"]),
        (&["completion", "powershell"], &["powershell", "only bash is supported"]),
    ];
    for (words, texts) in mistakes {
        let output =
            texts.iter().fold(case.rkt(words.iter().copied()).fails(254), |output, text| output.says(text));
        assert_eq!(output.stdout, "", "{output}");
    }
    let left = case.host().sh(&format!("find {}/pods -mindepth 2 2>/dev/null || :", case.data()));
    assert_eq!(left.stdout, "", "a pod was made nevertheless");
}

#[test]
fn an_unprivileged_user_is_told_so() {
    let case = Case::new(Stage1::Fly);
    for words in [
        &["run", images::BUSYBOX_NAME][..],
        &["prepare", images::BUSYBOX_NAME],
        &["run-prepared", "abcd"],
        &["rm", "abcd"],
        &["gc"],
        &["enter", "abcd"],
    ] {
        let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/rkt"];
        let output = case.host().exec("setpriv").args(user).args(words.iter().copied()).fails(254);
        assert!(output.stderr.contains("cannot run as unprivileged user"), "{output}");
    }
}

#[test]
fn a_store_of_the_go_rkt_is_recognised() {
    let case = Case::alone(Stage1::Fly);
    case.host().write(&format!("{}/cas/db/ql.db", case.data()), "a database");
    let output = case.rkt(["image", "list"]).fails(254).says("ql.db").says("or choose another --dir");
    let away = format!("move it away (for example to {}/cas.old) and fetch the images again", case.data());
    assert!(output.stderr.contains(&away), "{output}");
    // What packaging scripts made before the first use is nothing to worry about.
    case.host().write(&format!("{}/cas/db/ql.db", case.data()), "");
    case.rkt(["image", "list"]).ok();
}

#[test]
fn a_pod_that_fails_to_start_does_not_count_as_running() {
    for stage1 in [Stage1::Fly, Stage1::Nspawn] {
        let case = Case::alone(stage1);
        case.run([case.busybox(), "--exec=/no/such/program"]).fails(254);
        let rows = case.rkt(["list", "--no-legend"]).ok();
        assert!(!rows.stdout.contains("running"), "{rows}");
        case.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]).ok();
        assert_eq!(case.rkt(["list", "--no-legend"]).ok().trimmed(), "");
    }
}
