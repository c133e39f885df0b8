//! Each step of a start that is rkt's own, refused by the real kernel or file system: the pod does not start, says why, and nothing is left.

use serde_json::json;
use tests::case::{Case, Stage1, eventually};
use tests::host::Running;
use tests::network::{leftovers, number};

use crate::garbage::assert_nothing_is_left;
use crate::network::{ipam, server_image};
use crate::network_faults::reserved;

/// A pod that is prepared, so that its name and its directory are known before it starts.
fn prepared(case: &Case, n: u32) -> String {
    let port = format!("--port=http:{}", 20_000 + n * 10);
    let stage1 = case.stage1().flag();
    let output = case.rkt(["prepare", "--quiet", &stage1, &port, &server_image(case)]).ok();
    output.trimmed().to_owned()
}

fn case(n: u32) -> Case {
    let network = json!({"cniVersion": "1.0.0", "name": format!("steps{n}"), "type": "ptp", "ipMasq": true,
        "ipam": ipam(&[format!("10.86.{n}.0/24")], &["0.0.0.0/0"])});
    Case::new(Stage1::Nspawn).with_network("10-steps.conf", &network).with_data()
}

/// The start fails, saying `words`. When `mend` has run, `rkt rm` finds everything as if there had been no pod.
#[track_caller]
fn assert_fails(case: &Case, n: u32, uuid: &str, words: &str, mend: &str) {
    case.rkt(["run-prepared", &format!("--net=steps{n}"), uuid])
        .fails(254)
        .says("stage1: failed to setup network")
        .says(words);
    case.host().sh(mend).success();
    // What could be undone was, before anybody collects.
    assert_eq!(reserved(case, &format!("steps{n}")), [].into(), "{words}");
    case.rkt(["rm", uuid]).ok();
    assert_eq!(leftovers(case.host(), uuid), "", "{words}");
    assert_nothing_is_left(case, uuid);
}

#[test]
fn each_step_of_files_that_fails_is_named_and_undone() {
    let n = number();
    let case = case(n);
    for (path, words) in [
        ("/run/netns/rkt-UUID/in-the-way", "remove the network namespace /run/netns/rkt-UUID"),
        ("/run/rkt/networks/UUID/in-the-way", "write /run/rkt/networks/UUID"),
        ("POD/net-info.json/in-the-way", "net-info.json"),
    ] {
        let uuid = prepared(&case, n);
        let pod = case.pod_dir(&uuid).expect("the pod's directory");
        let path = path.replace("UUID", &uuid).replace("POD", &pod);
        case.host().write(&path, "");
        // What is in the pod's own directory goes with it.
        let in_the_way = path.trim_end_matches("/in-the-way");
        let mend = if path.starts_with("/run/") { format!("rm -r {in_the_way}") } else { ":".to_owned() };
        assert_fails(&case, n, &uuid, &words.replace("UUID", &uuid), &mend);
    }
}

/// The table that the rules are to stand in belongs to somebody else, who is there.
#[test]
fn rules_that_the_kernel_refuses_are_named_and_undone() {
    let n = number();
    let case = case(n);
    let uuid = prepared(&case, n);
    let script = format!("(echo 'add table inet rkt-{uuid} {{ flags owner; }}'; sleep 1000) | nft -i");
    let mut owner: Running = case.host().exec("sh").args(["-c", &script]).spawn();
    eventually("the table", || case.host().sh("nft list tables").stdout.contains(&uuid).then_some(()));
    case.rkt(["run-prepared", &format!("--net=steps{n}"), &uuid])
        .fails(254)
        .says("stage1: failed to setup network")
        .says("Cannot forward ports with nf_tables");
    assert_eq!(reserved(&case, &format!("steps{n}")), [].into());
    // It goes with its owner.
    owner.kill();
    eventually("the end of the table", || {
        (!case.host().sh("nft list tables").stdout.contains(&uuid)).then_some(())
    });
    case.rkt(["rm", &uuid]).ok();
    assert_eq!(leftovers(case.host(), &uuid), "");
    assert_nothing_is_left(&case, &uuid);
}

/// What comes after the networks in a machine: a device that cannot be made.
#[test]
fn a_machine_that_cannot_be_connected_leaves_its_networks() {
    let n = number();
    let network = json!({"cniVersion": "1.0.0", "name": format!("steps{n}"), "type": "ptp", "ipMasq": true,
        "ipam": ipam(&[format!("10.86.{n}.0/24")], &["0.0.0.0/0"])});
    let case = Case::new(Stage1::Kvm)
        .with_network("10-steps.conf", &network)
        .with_net(&format!("--net=steps{n}"))
        .with_data();
    // As on a host without the module: only for this start, in a mount namespace of its own.
    let words = case.run_words("pod").into_iter().chain([case.busybox().to_owned()]);
    let script = "mount -t tmpfs none /dev/net && exec \"$@\"";
    case.host()
        .exec("unshare")
        .args(["--mount", "--propagation", "slave", "sh", "-c", script, "sh"])
        .args(words)
        .fails(254)
        .says("/dev/net/tun")
        .says("modprobe tun");
    let uuid = case.uuid();
    assert_eq!(reserved(&case, &format!("steps{n}")), [].into());
    case.rkt(["rm", &uuid]).ok();
    assert_eq!(leftovers(case.host(), &uuid), "");
    assert_nothing_is_left(&case, &uuid);
}
