//! Nothing of a network leaks: whatever fails, hangs or is killed, and whenever, the host gets everything back.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};
use tests::case::{Case, Stage1, app_lines, eventually};
use tests::host::Output;
use tests::network::{get, leftovers, number};

use crate::garbage::assert_nothing_is_left;
use crate::network::{ipam, server_image};

/// How many pods start at once.
fn crowd() -> usize {
    if std::env::var_os("RKT_TEST_FULL").is_some() { 50 } else { 12 }
}

/// How many moments of a start are tried, spread evenly over the time that it takes.
fn moments() -> u32 {
    if std::env::var_os("RKT_TEST_FULL").is_some() { 100 } else { 10 }
}

/// Writes a plugin, a shell script, into the test's configuration, where plugins are looked for first.
pub(crate) fn plugin(case: &Case, name: &str, script: &str) {
    let path = case.tmp(&format!("config/net.d/{name}"));
    case.host().write(&path, format!("#!/bin/sh\nconfig=$(cat)\n{script}\n"));
    let file = case.host().path(&path);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))
        .unwrap_or_else(|error| panic!("chmod {path}: {error}"));
}

/// A real network, whose last plugin is the script `fault` of the test.
fn network_with_a_fault(n: u32) -> Value {
    let ipam = ipam(&[format!("10.91.{n}.0/24")], &["0.0.0.0/0"]);
    json!({"cniVersion": "1.0.0", "name": format!("faulty{n}"),
        "plugins": [{"type": "ptp", "ipMasq": true, "ipam": ipam}, {"type": "fault"}]})
}

fn faulty() -> (Case, u32) {
    let n = number();
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-faulty.conflist", &network_with_a_fault(n))
        .with_net(&format!("--net=faulty{n}"));
    (case, n)
}

/// Addresses that the network still has given away, however the pods are called.
pub(crate) fn reserved(case: &Case, network: &str) -> BTreeSet<String> {
    let output = case.host().sh(&format!("ls /var/lib/cni/networks/{network} 2>/dev/null || :"));
    let is_address = |name: &&str| name.chars().all(|c| c.is_ascii_digit() || c == '.');
    output.stdout.lines().filter(is_address).map(str::to_owned).collect()
}

/// Runs a pod whose start fails, saying `words`, and insists that nothing of its network is left even before `gc`.
#[track_caller]
fn assert_fails_without_trace(case: &Case, network: &str, words: &str) -> Output {
    let port = 20_000 + number() * 10;
    let output = case
        .run([&format!("--port=http:{port}"), &server_image(case)])
        .env("RKT_NETWORK_TIMEOUT", "5")
        .fails(254)
        .says("stage1: failed to setup network")
        .says(words);
    let uuid = case.uuid();
    assert_eq!(leftovers(case.host(), &uuid), "", "{words}: {output}");
    assert_eq!(reserved(case, network), BTreeSet::new(), "{words}: {output}");
    case.rkt(["rm", &uuid]).ok();
    assert_nothing_is_left(case, &uuid);
    output
}

#[test]
fn each_step_that_fails_is_named_and_undone() {
    let (case, n) = faulty();
    let network = format!("faulty{n}");
    for (script, words) in [
        (r#"echo '{"code":11,"msg":"no more","details":"of it"}'; exit 1"#, "no more; of it"),
        ("echo oh >&2; exit 3", "exit status 3): oh"),
        ("kill -SEGV $$", "signal 11"),
        ("echo nonsense", "cannot be read"),
        (r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"nowhere"}]}'"#, "\"nowhere\" is no address"),
        // It hangs when it joins, and lets go when it leaves.
        (r#"test "$CNI_COMMAND" = DEL || { sleep 1000 & sleep 1000; }"#, "did not end within 5 seconds"),
        // No address of the family that the port is for.
        (r#"echo '{"cniVersion":"1.0.0","ips":[]}'"#, "no address of that family"),
    ] {
        let ours = format!(r#"test "$CNI_COMMAND" = ADD || exit 0; {script}"#);
        plugin(&case, "fault", &ours);
        let output = assert_fails_without_trace(&case, &network, words);
        assert!(output.stderr.contains(&network), "{output}");
    }
    case.host().sh(&format!("rm {}", case.tmp("config/net.d/fault"))).success();
    assert_fails_without_trace(&case, &network, "plugin \"fault\", ADD: it is in none of");
    for (file, text, words) in [
        ("20-broken.conf", "{", "20-broken.conf"),
        ("20-broken.conf", r#"{"name":"x","type":"../../bin/sh"}"#, "needs a type"),
    ] {
        case.host().write(&case.tmp(&format!("config/net.d/{file}")), text);
        assert_fails_without_trace(&case, &network, words);
    }
}

/// What comes after the network can fail as well.
#[test]
fn a_start_that_fails_later_leaves_its_networks() {
    let n = number();
    let network = json!({"name": format!("late{n}"), "type": "ptp", "ipMasq": true,
        "ipam": {"type": "host-local", "subnet": format!("10.92.{n}.0/24")}});
    let case =
        Case::new(Stage1::Nspawn).with_network("10-late.conf", &network).with_net(&format!("--net=late{n}"));
    // It is found, and then cannot be executed.
    let fake = case.tmp("bin/systemd-nspawn");
    case.host().write(&fake, "#!/no/such/interpreter\n");
    case.host().exec("chmod").args(["755", &fake]).ok();
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", case.tmp("bin"));
    case.run([case.busybox()]).env("PATH", &path).fails(254).says("systemd-nspawn");
    assert_eq!(leftovers(case.host(), &case.uuid()), "");
    assert_eq!(reserved(&case, &format!("late{n}")), BTreeSet::new());
}

#[test]
fn a_network_that_cannot_be_left_keeps_the_pod_until_it_can() {
    let (case, n) = faulty();
    let case = case.with_data();
    plugin(
        &case,
        "fault",
        r#"test "$CNI_COMMAND" = DEL || { echo '{"cniVersion":"1.0.0","ips":[]}'; exit 0; }
        echo '{"code":7,"msg":"not now"}'; exit 1"#,
    );
    case.run([case.busybox(), "--exec=/bin/true"]).ok();
    let uuid = case.uuid();
    let gc = || case.rkt(["gc", "--grace-period=0s"]);
    for _ in 0..2 {
        let output = gc().fails(254).says("not now").says("net/attachments");
        assert!(output.stderr.contains(&uuid), "{output}");
        assert!(case.pod_dir(&uuid).is_some_and(|dir| dir.contains("exited-garbage")));
    }
    // What could be undone was.
    assert_eq!(reserved(&case, &format!("faulty{n}")), BTreeSet::new());
    plugin(&case, "fault", "exit 0");
    gc().ok();
    assert_nothing_is_left(&case, &uuid);
    assert_eq!(leftovers(case.host(), &uuid), "");
    let second = gc().ok();
    assert_eq!((second.stdout.as_str(), second.stderr.as_str()), ("", ""));
}

/// A reboot takes namespaces, devices and rules; what is on disk stays, and `gc` gives it back.
#[test]
fn a_reboot_leaves_only_what_gc_gives_back() {
    let n = number();
    let network = json!({"cniVersion": "1.0.0", "name": format!("boot{n}"), "type": "ptp", "ipMasq": true,
        "ipam": ipam(&[format!("10.93.{n}.0/24")], &["0.0.0.0/0"])});
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-boot.conf", &network)
        .with_net(&format!("--net=boot{n}"))
        .with_data();
    let port = 20_000 + n * 10;
    let mut pod = case.run([&format!("--port=http:{port}"), &server_image(&case)]).spawn();
    pod.wait_for_stdout("up");
    let uuid = case.uuid();
    pod.kill();
    eventually("the pod's end", || {
        let _ = case.rkt(["stop", "--force", &uuid]).output();
        (case.state(&uuid) == "exited").then_some(())
    });
    case.host()
        .sh(&format!(
            "umount /run/netns/rkt-{uuid}; rm /run/netns/rkt-{uuid} /run/rkt/networks/{uuid}
            # Unless it was `rkt stop` that ended the pod.
            rm -f /run/rkt/ports/{uuid}; nft delete table inet rkt-{uuid} 2>/dev/null || ! nft list table inet rkt-{uuid} 2>/dev/null"
        ))
        .success();
    assert_eq!(reserved(&case, &format!("boot{n}")).len(), 1);
    case.rkt(["gc", "--grace-period=0s"]).ok();
    assert_eq!(reserved(&case, &format!("boot{n}")), BTreeSet::new());
    assert_nothing_is_left(&case, &uuid);
}

#[test]
fn kill_at_any_moment_leaves_nothing_for_a_second_gc() {
    let n = number();
    let network = json!({"cniVersion": "1.0.0", "name": format!("kill{n}"), "type": "ptp", "ipMasq": true,
        "ipam": ipam(&[format!("10.94.{n}.0/24")], &["0.0.0.0/0"])});
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-kill.conf", &network)
        .with_net(&format!("--net=kill{n}"))
        .with_data();
    let image = server_image(&case);
    case.rkt(["fetch", &image]).ok();
    let port = 20_000 + n * 10;
    let flag = format!("--port=http:{port}");
    let start = || case.run([flag.as_str(), "example.com/server"]).spawn();
    let begin = std::time::Instant::now();
    let mut whole = start();
    whole.wait_for_stdout("up");
    let time = begin.elapsed();
    whole.kill();
    collect_all(&case, n, "the whole run");
    for moment in 0..moments() {
        let delay = time * moment / moments();
        let what = format!("killed after {delay:?} of {time:?}");
        let mut running = start();
        std::thread::sleep(delay);
        // Once rkt alone, once with all that it has started.
        if moment % 2 == 0 {
            running.kill_command();
        } else {
            running.kill();
        }
        collect_all(&case, n, &what);
        assert_ne!(get(case.host(), &format!("http://127.0.0.1:{port}/")).code, 0, "{what}");
    }
    // The port and the addresses are as good as new.
    let mut whole = start();
    whole.wait_for_stdout("up");
    let uuid = case.uuid();
    assert!(get(case.host(), &format!("http://127.0.0.1:{port}/")).stdout.contains(&uuid));
    whole.kill();
    collect_all(&case, n, "at the end");
}

#[test]
fn gc_killed_at_any_moment_can_be_done_again() {
    let n = number();
    let network = json!({"cniVersion": "1.0.0", "name": format!("kill{n}"), "type": "ptp", "ipMasq": true,
        "ipam": ipam(&[format!("10.98.{n}.0/24")], &["0.0.0.0/0"])});
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-kill.conf", &network)
        .with_net(&format!("--net=kill{n}"))
        .with_data();
    let gc = || case.rkt(["gc", "--grace-period=0s"]);
    case.run([case.busybox(), "--exec=/bin/true"]).ok();
    let time = gc().ok().took;
    for moment in 0..moments() {
        case.run([case.busybox(), "--exec=/bin/true"]).ok();
        let delay = time * moment / moments();
        let mut running = gc().spawn();
        std::thread::sleep(delay);
        if moment % 2 == 0 {
            running.kill_command();
        } else {
            running.kill();
        }
        collect_all(&case, n, &format!("gc killed after {delay:?} of {time:?}"));
    }
}

/// Ends and removes all pods of the case; nothing of them is left, and a second gc has nothing to do.
fn collect_all(case: &Case, n: u32, what: &str) {
    let find = format!("find {}/pods -mindepth 2 -maxdepth 2 2>/dev/null || :", case.data());
    let pods: Vec<String> = case.host().sh(&find).stdout.lines().map(str::to_owned).collect();
    let uuids: Vec<&str> = pods.iter().filter_map(|path| path.rsplit('/').next()).collect();
    for uuid in &uuids {
        let _ = case.rkt(["stop", "--force", uuid]).output();
        let _ = case.rkt(["status", "--wait=10s", uuid]).output();
    }
    let gc = || case.rkt(["gc", "--grace-period=0s", "--expire-prepared=0s"]);
    gc().ok();
    for uuid in &uuids {
        assert_nothing_is_left(case, uuid);
        assert_eq!(leftovers(case.host(), uuid), "", "{what}");
    }
    assert_eq!(reserved(case, &format!("kill{n}")), BTreeSet::new(), "{what}");
    let second = gc().ok();
    assert_eq!((second.stdout.as_str(), second.stderr.as_str()), ("", ""), "{what}");
}

#[test]
fn many_pods_at_once_have_an_address_each() {
    let n = number();
    let network = json!({"cniVersion": "1.0.0", "name": format!("crowd{n}"), "type": "ptp", "ipMasq": true,
        "ipam": ipam(&[format!("10.95.{n}.0/24")], &["0.0.0.0/0"])});
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-crowd.conf", &network)
        .with_net(&format!("--net=crowd{n}"))
        .with_data();
    case.rkt(["fetch", case.busybox()]).ok();
    let script = "ip -o -4 addr show eth0 | awk '{print \"has\", $4}'; echo up; exec sleep 1000";
    let ids: Vec<String> = (0..crowd()).map(|index| format!("pod{index}")).collect();
    let mut pods: Vec<_> = ids
        .iter()
        .map(|id| {
            let words = ["example.com/busybox", "--exec=/bin/sh", "--", "-c", script];
            case.run_as(id, words).limit(Duration::from_secs(120)).spawn()
        })
        .collect();
    let mut addresses = BTreeSet::new();
    for pod in &mut pods {
        pod.wait_for_stdout("up");
        let stdout = pod.stdout();
        let address =
            app_lines(&stdout).into_iter().find_map(|line| line.strip_prefix("has ")).map(str::to_owned);
        addresses.extend(address);
    }
    assert_eq!(addresses.len(), crowd(), "{addresses:?}");
    assert_eq!(reserved(&case, &format!("crowd{n}")).len(), crowd());
    for id in &ids {
        case.rkt(["stop", "--force", &case.uuid_as(id)]).ok();
    }
    for id in &ids {
        case.rkt(["status", "--wait=10s", &case.uuid_as(id)]).ok();
    }
    case.rkt(["gc", "--grace-period=0s"]).limit(Duration::from_secs(120)).ok();
    assert_eq!(reserved(&case, &format!("crowd{n}")), BTreeSet::new());
    for id in &ids {
        assert_eq!(leftovers(case.host(), &case.uuid_as(id)), "");
    }
}

/// gc may come hours later: a unit that restarts often must not use up its subnet until then.
#[test]
fn pods_that_have_ended_make_room() {
    let n = number();
    // Five addresses beside the gateway's.
    let network = json!({"cniVersion": "1.0.0", "name": format!("small{n}"), "type": "ptp", "ipMasq": true,
        "ipam": ipam(&[format!("10.96.{n}.0/29")], &["0.0.0.0/0"])});
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-small.conf", &network)
        .with_net(&format!("--net=small{n}"))
        .with_data();
    let mut running =
        case.run_as("runs", [case.busybox(), "--exec=/bin/sh", "--", "-c", "echo up; sleep 1000"]).spawn();
    running.wait_for_stdout("up");
    for _ in 0..4 {
        case.run([case.busybox(), "--exec=/bin/true"]).ok();
    }
    case.rkt(["gc", "--mark-only"]).ok();
    assert_eq!(reserved(&case, &format!("small{n}")).len(), 5);
    let output = case.run([case.busybox(), "--exec=/bin/true"]).ok();
    assert!(output.stderr.contains("networks of 4 pods that have ended"), "{output}");
    // That of the pod that runs, and the new one's.
    assert_eq!(reserved(&case, &format!("small{n}")).len(), 2);
    assert_eq!(case.state(&case.uuid_as("runs")), "running");
    case.rkt(["stop", "--force", &case.uuid_as("runs")]).ok();
    case.rkt(["status", "--wait=10s", &case.uuid_as("runs")]).ok();
    case.rkt(["gc", "--grace-period=0s"]).ok();
    assert_eq!(reserved(&case, &format!("small{n}")), BTreeSet::new());
}

/// A plugin that hangs dies with rkt, and does not keep the pod for ever.
#[test]
fn a_plugin_that_hangs_ends_with_rkt() {
    let (case, n) = faulty();
    let case = case.with_data();
    plugin(
        &case,
        "fault",
        &format!(r#"test "$CNI_COMMAND" = ADD || exit 0; touch {}; exec sleep 4242{n}"#, case.tmp("hangs")),
    );
    let hangs = || case.host().exec("pgrep").args(["-fx", &format!("sleep 4242{n}")]).output().code == 0;
    let start = || {
        let running = case.run([case.busybox(), "--exec=/bin/true"]).spawn();
        eventually("the plugin to hang", || {
            (case.host().path(case.tmp("hangs")).exists() && hangs()).then_some(())
        });
        case.host().sh(&format!("rm {}", case.tmp("hangs"))).success();
        running
    };
    let mut running = start();
    let uuid = case.uuid();
    assert_eq!(case.state(&uuid), "running");
    case.rkt(["gc", "--grace-period=0s"]).ok();
    assert!(case.pod_dir(&uuid).is_some_and(|dir| dir.contains("/run/")));
    running.kill();
    eventually("the plugin's end", || (!hangs()).then_some(()));
    eventually("the pod's end", || (case.state(&uuid) == "exited").then_some(()));
    case.rkt(["gc", "--grace-period=0s"]).ok();
    assert_nothing_is_left(&case, &uuid);
    assert_eq!(leftovers(case.host(), &uuid), "");
    assert_eq!(reserved(&case, &format!("faulty{n}")), BTreeSet::new());
}

/// As when it is killed between its chain and the rules in it: then it cannot leave any more.
#[test]
fn a_plugin_that_was_killed_half_way_can_leave() {
    let n = number();
    let network = json!({"cniVersion": "1.0.0", "name": format!("half{n}"), "type": "ptp", "ipMasq": true,
        "ipam": ipam(&[format!("10.97.{n}.0/24")], &["0.0.0.0/0"])});
    let case = Case::new(Stage1::Nspawn)
        .with_network("10-half.conf", &network)
        .with_net(&format!("--net=half{n}"))
        .with_data();
    case.run([case.busybox(), "--exec=/bin/true"]).ok();
    let uuid = case.uuid();
    let rules = case.host().sh(&format!("iptables -t nat -S | grep {uuid}")).success();
    let chain = rules.stdout.split_whitespace().find(|word| word.starts_with("CNI-")).unwrap_or_default();
    case.host()
        .sh(&format!(
            "iptables -t nat -S POSTROUTING | grep {chain} | sed 's/^-A/iptables -t nat -D/' | sh
             iptables -t nat -F {chain}; iptables -t nat -X {chain}"
        ))
        .success();
    assert!(!case.host().sh("nft list ruleset").success().stdout.contains(chain), "{rules}");
    case.rkt(["gc", "--grace-period=0s"]).ok();
    assert_nothing_is_left(&case, &uuid);
    assert_eq!(leftovers(case.host(), &uuid), "");
    assert_eq!(reserved(&case, &format!("half{n}")), BTreeSet::new());
    assert!(!case.host().sh("nft list ruleset").success().stdout.contains(chain));
}
