//! Volumes and mounts.

use serde_json::json;
use tests::case::{Case, Stage1, app_lines};
use tests::images;

under_both_walls!(
    shares_a_host_directory,
    shares_a_host_file,
    protects_a_read_only_volume,
    makes_empty_volumes,
    fills_mount_points_of_the_image_by_name,
    prefers_the_mount_of_the_app,
    refuses_a_mount_without_its_volume,
    refuses_a_source_that_is_not_there,
    follows_no_link_out_of_the_image,
);

fn sh<'a>(case: &'a Case, flags: &[&'a str], app: &[&'a str], script: &'a str) -> Vec<&'a str> {
    let image = [case.busybox(), "--exec=/bin/sh"];
    flags.iter().chain(&image).chain(app).chain(&["--", "-c", script]).copied().collect()
}

fn shares_a_host_directory(case: &Case) {
    case.host().write(&case.tmp("shared/from-host"), "hello app");
    let volume = format!("--volume=data,kind=host,source={}", case.tmp("shared"));
    let words = sh(
        case,
        &[&volume],
        &["--mount=volume=data,target=/deep/down/data"],
        "cd /deep/down/data; cat from-host; echo hello host >from-app",
    );
    let output = case.run(words).ok();
    assert!(app_lines(&output.stdout).contains(&"hello app"), "{output}");
    assert_eq!(case.host().read(&case.tmp("shared/from-app")), "hello host\n");
}

fn shares_a_host_file(case: &Case) {
    case.host().write(&case.tmp("file"), "one\n");
    let volume = format!("--volume=data,kind=host,source={}", case.tmp("file"));
    case.run(sh(case, &[&volume], &["--mount=volume=data,target=/etc/settings"], "echo two >>/etc/settings"))
        .ok();
    assert_eq!(case.host().read(&case.tmp("file")), "one\ntwo\n");
}

fn protects_a_read_only_volume(case: &Case) {
    case.host().write(&case.tmp("shared/file"), "safe");
    let volume = format!("--volume=data,kind=host,source={},readOnly=true", case.tmp("shared"));
    let script =
        "cat /data/file; echo x >/data/file; touch /data/new; mount -o remount,rw /data 2>/dev/null; true";
    let output = case.run(sh(case, &[&volume], &["--mount=volume=data,target=/data"], script)).ok();
    assert!(app_lines(&output.stdout).contains(&"safe"), "{output}");
    assert_eq!(case.host().read(&case.tmp("shared/file")), "safe");
    assert!(!case.host().path(case.tmp("shared/new")).exists());
}

fn makes_empty_volumes(case: &Case) {
    let flags = ["--volume=plain,kind=empty", "--volume=mine,kind=empty,mode=0710,uid=1001,gid=1002"];
    let app = ["--mount=volume=plain,target=/plain", "--mount=volume=mine,target=/mine"];
    let output = case
        .run(sh(
            case,
            &flags,
            &app,
            "stat -c '%n %a %u %g' /plain /mine; ls -A /plain /mine | wc -w; touch /plain/x",
        ))
        .ok();
    let lines = app_lines(&output.stdout);
    assert!(lines.contains(&"/plain 755 0 0"), "{output}");
    assert!(lines.contains(&"/mine 710 1001 1002"), "{output}");
}

fn image_with_mount_point(case: &Case) -> String {
    let points =
        json!([{"name": "data", "path": "/data"}, {"name": "fixed", "path": "/fixed", "readOnly": true}]);
    let aci = images::busybox("example.com/points")
        .app(&["/bin/sh", "-c", "cat /data/file; touch /fixed/new"], &json!({"mountPoints": points}));
    case.image("points.aci", aci.build())
}

fn fills_mount_points_of_the_image_by_name(case: &Case) {
    case.host().write(&case.tmp("data/file"), "by name\n");
    case.host().write(&case.tmp("fixed/file"), "");
    let image = image_with_mount_point(case);
    let data = format!("--volume=data,kind=host,source={}", case.tmp("data"));
    let fixed = format!("--volume=fixed,kind=host,source={}", case.tmp("fixed"));
    let output = case.run([&*data, &*fixed, &*image]).output();
    assert!(app_lines(&output.stdout).contains(&"by name"), "{output}");
    assert!(
        !case.host().path(case.tmp("fixed/new")).exists(),
        "readOnly of the mount point does not hold: {output}"
    );
}

fn prefers_the_mount_of_the_app(case: &Case) {
    case.host().write(&case.tmp("for-all/file"), "for all\n");
    case.host().write(&case.tmp("for-app/file"), "for the app\n");
    let all = format!("--volume=all,kind=host,source={}", case.tmp("for-all"));
    let one = format!("--volume=one,kind=host,source={}", case.tmp("for-app"));
    let flags = [&*all, &*one, "--mount=volume=all,target=/data"];
    let output = case.run(sh(case, &flags, &["--mount=volume=one,target=/data"], "cat /data/file")).ok();
    assert_eq!(
        app_lines(&output.stdout).into_iter().filter(|line| line.starts_with("for ")).collect::<Vec<_>>(),
        ["for the app"]
    );
    let output = case.run(sh(case, &flags, &[], "cat /data/file")).ok();
    assert!(app_lines(&output.stdout).contains(&"for all"), "{output}");
}

fn refuses_a_mount_without_its_volume(case: &Case) {
    let words = sh(case, &[], &["--mount=volume=nothing,target=/data"], "true");
    case.run(words).fails(254).says(r#"dangling mount point "/data": volume "nothing" not found"#);
}

fn refuses_a_source_that_is_not_there(case: &Case) {
    let words = sh(
        case,
        &["--volume=data,kind=host,source=/no/such/source"],
        &["--mount=volume=data,target=/data"],
        "true",
    );
    case.run(words)
        .fails(254)
        .says(r#""/no/such/source", the source of volume "data": No such file or directory"#);
}

/// A mount target that an image turns into a link to the host must stay in the image.
fn follows_no_link_out_of_the_image(case: &Case) {
    let outside = case.tmp("outside");
    case.host().write(&format!("{outside}/file"), "untouched");
    case.host().write(&case.tmp("shared/file"), "of the volume\n");
    let aci = images::busybox("example.com/links")
        .symlink("rootfs/data", &outside)
        .symlink("rootfs/up", &format!("../../../../../../../..{outside}"))
        .app(&["/bin/sh", "-c", "cat /data/file /up/file"], &json!({}));
    let image = case.image("links.aci", aci.build());
    let volume = format!("--volume=shared,kind=host,source={}", case.tmp("shared"));
    for target in ["/data", "/up/deeper"] {
        let mount = format!("--mount=volume=shared,target={target}");
        let output = case.run([&*volume, &*image, &*mount]).output();
        let there = case
            .host()
            .sh(&format!("ls -A {outside}; cat {outside}/file; grep -c {outside} /proc/self/mountinfo || :"));
        assert_eq!(there.stdout, "file\nuntouched0\n", "{output}");
        assert!(!output.stdout.contains("untouched"), "the app reads the host's file: {output}");
    }
}

fn mounted_below(case: &Case, recursive: &str) -> bool {
    let source = case.tmp("tree");
    let volume = format!("--volume=data,kind=host,source={source}{recursive}");
    let script = format!(
        "mkdir -p {source}/below; mountpoint -q {source}/below || mount -t tmpfs below {source}/below; touch {source}/below/seen"
    );
    case.host().sh(&script).success();
    let output = case.run(sh(case, &[&volume], &["--mount=volume=data,target=/data"], "ls /data/below")).ok();
    app_lines(&output.stdout).contains(&"seen")
}

#[test]
fn includes_mounts_below_unless_told_otherwise() {
    let nspawn = Case::new(Stage1::Nspawn);
    assert!(mounted_below(&nspawn, ""));
    assert!(!mounted_below(&nspawn, ",recursive=false"));
    let fly = Case::new(Stage1::Fly);
    assert!(!mounted_below(&fly, ""));
    assert!(mounted_below(&fly, ",recursive=true"));
}

#[test]
fn mount_points_without_a_volume() {
    let nspawn = Case::new(Stage1::Nspawn);
    let image = image_with_mount_point(&nspawn);
    nspawn.run([&*image, "--exec=/bin/sh", "--", "-c", "touch /data/file"]).ok();
    let fly = Case::new(Stage1::Fly);
    let image = image_with_mount_point(&fly);
    fly.run([&*image])
        .fails(254)
        .says(r#"missing volume for mountpoint "data" (--volume=data,kind=host,source=/PATH)"#);
}
