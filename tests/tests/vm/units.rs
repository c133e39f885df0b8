//! Limits of apps and pods in units: with the unit's controllers handed down, and without.

use tests::case::Stage1;
use tests::images;

/// Prints the signal that ended a child which takes 96 MiB.
const HOG: &str = r#"my $size = 96 << 20; if (!fork) { my $hog = "x" x $size; exit 0 } wait; print "signal ", $? & 127, "\n""#;

#[test]
fn an_app_with_a_limit_of_its_own() {
    let (vm, _turn) = crate::machine();
    let limited = [images::PERL_NAME, "--memory=48Mi", "--exec=/usr/bin/perl", "--", "-e", HOG];
    for stage1 in [Stage1::Fly, Stage1::Nspawn] {
        let (code, said) = crate::as_service(vm, "--property=Delegate=yes", stage1, &limited);
        assert!(code == 0 && said.contains("signal 9"), "{stage1:?} in a delegated unit: {code}\n{said}");
        // Under fly nobody of ours is there to say it.
        let told = said
            .contains("out of memory: the kernel has killed a process of the app, which may use 49152 KiB");
        assert_eq!(told, stage1 == Stage1::Nspawn, "{said}");
    }
    let (code, said) = crate::as_service(vm, "", Stage1::Fly, &limited);
    assert!(code == 0 && said.contains("signal 0") && said.contains("Delegate=yes"), "fly: {code}\n{said}");
    let (code, said) = crate::as_service(vm, "", Stage1::Nspawn, &limited);
    assert!(code == 254 && said.contains("Delegate=yes"), "nspawn: {code}\n{said}");
}

/// rkt stands below its unit's group, which so gives its controllers to the pod before anybody has moved there.
#[test]
fn a_limit_in_a_pod_of_a_script() {
    let (vm, _turn) = crate::machine();
    let script = "group=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup); mkdir $group/script && \
                  echo 0 >$group/script/cgroup.procs && exec \"$@\"";
    let limited = [images::PERL_NAME, "--memory=48Mi", "--exec=/usr/bin/perl", "--", "-e", HOG];
    let unit =
        ["--quiet", "--wait", "--pipe", "--collect", "--property=Delegate=yes", "sh", "-c", script, "sh"];
    let rkt =
        ["rkt", "--insecure-options=image", "run", &Stage1::Nspawn.flag(), "--net=host"].map(str::to_owned);
    let words = unit.map(str::to_owned).into_iter().chain(rkt).chain(limited.map(str::to_owned));
    let output = vm.exec(std::iter::once("systemd-run".to_owned()).chain(words)).output().success();
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("signal 9") && said.contains("may use 49152 KiB"), "{said}");
    assert!(!said.contains("cannot be mounted on"), "{said}");
}

#[test]
fn the_unit_limits_all_of_the_pod() {
    let (vm, _turn) = crate::machine();
    let plain = [images::PERL_NAME, "--exec=/usr/bin/perl", "--", "-e", HOG];
    for stage1 in [Stage1::Fly, Stage1::Nspawn] {
        let (_, said) =
            crate::as_service(vm, "--property=MemoryMax=64M --property=OOMPolicy=continue", stage1, &plain);
        assert!(said.contains("signal 9"), "{stage1:?}: {said}");
    }
}

#[test]
fn a_pod_with_a_limit_of_its_own() {
    let (vm, _turn) = crate::machine();
    let id =
        vm.sh("rkt --insecure-options=image fetch --full /images/perl.aci").success().trimmed().to_owned();
    let manifest = serde_json::json!({
        "acKind": "PodManifest",
        "acVersion": "0.8.11",
        "apps": [{
            "name": "hog",
            "image": {"id": id},
            "app": {"exec": ["/usr/bin/perl", "-e", HOG], "user": "0", "group": "0"},
        }],
        "isolators": [{"name": "resource/memory", "value": {"limit": "48Mi"}}],
    });
    vm.write("/root/pod.json", manifest.to_string());
    for stage1 in [Stage1::Fly, Stage1::Nspawn] {
        let words = ["--pod-manifest=/root/pod.json"];
        let (code, said) = crate::as_service(vm, "--property=Delegate=yes", stage1, &words);
        assert!(code == 0 && said.contains("signal 9"), "{stage1:?} in a delegated unit: {code}\n{said}");
    }
    let (code, said) = crate::as_service(vm, "", Stage1::Nspawn, &["--pod-manifest=/root/pod.json"]);
    assert!(code == 254 && said.contains("Delegate=yes"), "nspawn: {code}\n{said}");
}
