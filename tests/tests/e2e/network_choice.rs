//! Which networks a pod has: what `--net` names, all, none, and what it cannot name.

use serde_json::json;
use tests::case::{Case, Stage1};
use tests::images;
use tests::network::{get, leftovers, number};

use crate::network::{all_answer, behind_the_host, end, get_inside, inside, networks, server_image, start};

#[test]
fn joins_several_networks_in_the_order_of_their_files() {
    let n = number();
    let case = Case::new(Stage1::Nspawn)
        .with_network("20-second.conflist", &behind_the_host("bridge", n))
        .with_network(
            "10-first.conf",
            &json!({"name": "old", "type": "ptp",
                "ipam": {"type": "host-local", "subnet": format!("10.89.{n}.0/24")}}),
        )
        .with_net(&format!("--net=bridge{n},old:IP=10.89.{n}.77"));
    let _pod = start(&case, "pod", &[&server_image(&case)]);
    let uuid = case.uuid();
    let networks = networks(&case, &uuid);
    let field = |index: usize, name: &str| networks[index][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        [0, 1].map(|index| [
            field(index, "netName"),
            field(index, "ifName"),
            field(index, "ip"),
            field(index, "args")
        ]),
        [
            ["old".to_owned(), "eth0".to_owned(), format!("10.89.{n}.77"), format!("IP=10.89.{n}.77")],
            [format!("bridge{n}"), "eth1".to_owned(), format!("10.88.{n}.2"), String::new()],
        ],
        "{networks}"
    );
    let output = inside(&case, &uuid, "ip -o addr");
    for address in [format!("eth0    inet 10.89.{n}.77/"), format!("eth1    inet 10.88.{n}.2/")] {
        assert!(output.stdout.contains(&address), "{output}");
    }
    end(&case, &uuid);
    // What a plugin says about an argument is passed on; the gateway's own address is never free.
    let case = case.with_net(&format!("--net=old:IP=10.89.{n}.1"));
    let refused = case.run([case.busybox()]).fails(254);
    refused.says("stage1: failed to setup network").says(&format!("requested IP 10.89.{n}.1"));
    assert_eq!(leftovers(case.host(), &case.uuid()), "");
}

/// Those that are built in are among them.
#[test]
fn all_are_those_of_the_configuration_and_those_that_are_built_in() {
    let (n, m) = (number(), number());
    let case = Case::new(Stage1::Nspawn)
        .with_network("20-second.conflist", &behind_the_host("bridge", n))
        .with_network("10-first.conflist", &behind_the_host("ptp", m))
        .with_net("--net=all");
    let _pod = start(&case, "pod", &[&server_image(&case)]);
    let uuid = case.uuid();
    let networks = networks(&case, &uuid);
    let field = |name: &str| -> Vec<String> {
        let all = networks.as_array().into_iter().flatten();
        all.filter_map(|network| network[name].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(
        field("netName"),
        [&format!("ptp{m}"), &format!("bridge{n}"), "default-restricted", "default"]
    );
    assert_eq!(field("ifName"), ["eth0", "eth1", "eth2", "eth3"]);
    let answers: Vec<_> =
        field("ip").iter().map(|ip| ("the host", get(case.host(), &format!("http://{ip}/")))).collect();
    all_answer(&uuid, answers);
    end(&case, &uuid);
}

#[test]
fn none_is_a_loopback_interface_and_leads_nowhere() {
    let case = Case::new(Stage1::Nspawn).with_net("--net=none");
    let _pod = start(&case, "pod", &[&server_image(&case)]);
    let uuid = case.uuid();
    all_answer(&uuid, vec![("itself", get_inside(&case, &uuid, "127.0.0.1", 80))]);
    let interfaces = inside(&case, &uuid, "ls /sys/class/net").success();
    assert_eq!(interfaces.trimmed(), "lo");
    let out = get_inside(&case, &uuid, "172.16.28.1", 22);
    assert!(out.stderr.contains("unreachable"), "{out}");
    end(&case, &uuid);
}

#[test]
fn names_what_cannot_be() {
    let case = Case::new(Stage1::Nspawn);
    let image = server_image(&case);
    for (net, port, words) in [
        ("--net=no-such,nor-this", "", "networks not found: no-such, nor-this"),
        ("--net=default:IP", "", "is not KEY=VALUE"),
        ("--net=default,default", "", "more than once"),
        ("--net=none", "--port=http:8080", "--port flag does not work with 'none' networking"),
        ("--net=host", "--port=http:8080", "--port flag does not work with 'host' networking"),
        ("--net=default", "--port=http:[::1]:8080", "gave the pod no address of that family"),
    ] {
        let words_of = ["run", "--stage1-from-dir=stage1-nspawn.aci", net].into_iter();
        let words_of =
            words_of.chain([port].into_iter().filter(|port| !port.is_empty())).chain([image.as_str()]);
        case.rkt(words_of).fails(254).says(words);
    }
    for net in ["default", "none", "default-restricted,x"] {
        let words =
            ["run", "--stage1-from-dir=stage1-fly.aci", &format!("--net={net}"), images::BUSYBOX_NAME];
        case.rkt(words).fails(254).says("\"fly\"").says(&format!("--net={net}")).says("--net=host");
    }
}
