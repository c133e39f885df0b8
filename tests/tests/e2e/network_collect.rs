//! `GC` and `STATUS` of CNI 1.1: what no record knows any more goes, and nothing that a pod has.
//!
//! Debian's plugins speak 1.0. So the plugin here is a script that speaks 1.1 in front of them: it has the real `ptp` and `host-local` do
//! all the work, and in `GC` removes reservations of the real store of `host-local`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::case::{Case, Stage1, eventually};
use tests::host::Running;
use tests::network::{leftovers, number};

use crate::garbage::assert_nothing_is_left;
use crate::network::ipam;
use crate::network_faults::{plugin, reserved};

fn network(n: u32) -> Value {
    json!({"cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"], "name": format!("kept{n}"),
        "plugins": [{"type": "keeper", "ipMasq": true, "ipam": ipam(&[format!("10.99.{n}.0/24")], &["0.0.0.0/0"])}]})
}

/// A test with a data directory and a configuration of its own, whose plugin keeps a log of what it heard in `GC`.
fn case(n: u32, network: &Value) -> Case {
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-kept.conflist", network)
        .with_net(&format!("--net=kept{n}"))
        .with_data();
    let log = case.tmp("log");
    plugin(
        &case,
        "keeper",
        &format!(
            r#"case "$CNI_COMMAND" in
            VERSION) echo '{{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}}';;
            STATUS) ;;
            GC)
                echo "$config" >>{log}
                test ! -e {log}.fail || {{ echo '{{"code":100,"msg":"not today"}}'; exit 1; }}
                for file in /var/lib/cni/networks/kept{n}/*.*.*.*; do
                    id=$(head -n 1 "$file" | tr -d '\r')
                    case $config in *"\"$id\""*) ;; *) rm "$file";; esac
                done;;
            *) echo "$config" | sed 's/"1\.1\.0"/"1.0.0"/g; s/"keeper"/"ptp"/g' | /usr/lib/cni/ptp;;
            esac"#
        ),
    );
    case
}

fn start(case: &Case, id: &str) -> (Running, String) {
    let words = [case.busybox(), "--exec=/bin/sh", "--", "-c", "echo up; exec sleep 1000"];
    let mut pod = case.run_as(id, words).spawn();
    pod.wait_for_stdout("up");
    (pod, case.uuid_as(id))
}

/// The attachments that the plugin heard of in its last `GC`.
fn heard(case: &Case) -> BTreeSet<(String, String)> {
    let log = case.host().read(&case.tmp("log"));
    let config: Value = serde_json::from_str(log.lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!((&config["cniVersion"], &config["type"]), (&json!("1.1.0"), &json!("keeper")), "{config}");
    let list = config["cni.dev/valid-attachments"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list.iter().map(|one| (text(&one["containerID"]), text(&one["ifname"]))).collect()
}

fn stop(case: &Case, uuid: &str) {
    eventually("the pod's end", || {
        // It may end just now.
        let _ = case.rkt(["stop", "--force", uuid]).output();
        (case.state(uuid) == "exited").then_some(())
    });
}

#[test]
fn plugins_collect_what_no_record_knows_and_nothing_that_a_pod_has() {
    let n = number();
    let name = format!("kept{n}");
    let (ours, theirs) = (case(n, &network(n)), case(n, &network(n)));
    let gc = || ours.rkt(["gc", "--grace-period=0s"]);
    // Pods that run here and below another data directory, and one that has ended and is within its grace period.
    let (_here, here) = start(&ours, "here");
    let (_there, there) = start(&theirs, "there");
    let (_ended, ended) = start(&ours, "ended");
    stop(&ours, &ended);
    // All is killed, and then somebody removes the directory: nobody can call DEL any more.
    let (mut lost_pod, lost) = start(&ours, "lost");
    lost_pod.kill();
    stop(&ours, &lost);
    let dir = ours.pod_dir(&lost).expect("the pod's directory");
    ours.host().sh(&format!("rm -r {dir}")).success();
    assert_eq!(reserved(&ours, &name).len(), 4);
    assert_ne!(leftovers(ours.host(), &lost), "");

    let output = ours.rkt(["gc"]).ok();
    assert!(!output.stderr.contains("networks:"), "{output}");
    let eth0 = |uuid: &str| (uuid.to_owned(), "eth0".to_owned());
    assert_eq!(heard(&ours), [&here, &there, &ended].map(|uuid| eth0(uuid)).into());
    assert_eq!(reserved(&ours, &name).len(), 3);
    assert_eq!(leftovers(ours.host(), &lost), "");

    // One that fails is told of, and keeps nothing from being collected.
    ours.host().write(&ours.tmp("log.fail"), "");
    let output = gc().ok();
    assert!(
        output.stderr.contains(&format!("Network {name:?}, plugin \"keeper\", GC: not today")),
        "{output}"
    );
    assert_nothing_is_left(&ours, &ended);
    assert_eq!(leftovers(ours.host(), &ended), "");
    assert_eq!(heard(&ours), [&here, &there].map(|uuid| eth0(uuid)).into());
    assert_eq!(reserved(&ours, &name).len(), 2);
    ours.host().sh(&format!("rm {}", ours.tmp("log.fail"))).success();

    stop(&theirs, &there);
    theirs.rkt(["rm", &there]).ok();
    stop(&ours, &here);
    gc().ok();
    assert_eq!(heard(&ours), BTreeSet::new());
    assert_eq!(reserved(&ours, &name), BTreeSet::new());
}

/// Another runtime may be in the network, or the configuration was written when there was no such thing.
#[test]
fn networks_that_are_not_to_be_collected_are_not() {
    let n = number();
    let mut forbidden = network(n);
    forbidden["disableGC"] = true.into();
    let mut old = network(n);
    old["cniVersions"] = json!(["1.0.0"]);
    for network in [forbidden, old] {
        let case = case(n, &network);
        case.host()
            .sh(&format!("mkdir -p /var/lib/cni/networks/kept{n}; echo other >/var/lib/cni/networks/kept{n}/10.99.{n}.99"))
            .success();
        case.run([case.busybox(), "--exec=/bin/true"]).ok();
        case.rkt(["gc", "--grace-period=0s"]).ok();
        assert!(!case.host().path(case.tmp("log")).exists(), "{network}");
        assert_eq!(reserved(&case, &format!("kept{n}")), [format!("10.99.{n}.99")].into());
    }
}

#[test]
fn a_network_that_is_not_ready_says_so() {
    let n = number();
    let case = case(n, &network(n));
    plugin(
        &case,
        "keeper",
        r#"case "$CNI_COMMAND" in
        VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.1.0"]}';;
        STATUS) echo '{"code":50,"msg":"waiting for a lease"}'; exit 1;;
        ADD) echo '{"code":11,"msg":"try again later"}'; exit 1;;
        esac"#,
    );
    case.run([case.busybox()])
        .fails(254)
        .says("plugin \"keeper\", ADD: try again later")
        .says("plugin \"keeper\", STATUS: waiting for a lease");
    assert_eq!(leftovers(case.host(), &case.uuid()), "");
}
