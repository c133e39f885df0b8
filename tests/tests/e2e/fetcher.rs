//! The process that holds the connections to the outside owns nothing.

use std::collections::BTreeMap;

use tests::case::eventually;
use tests::host::{Host, Running};
use tests::web::Web;

use crate::remote::Net;

/// The fields of `/proc/PID/status`.
pub(crate) fn status(host: &Host, pid: &str) -> BTreeMap<String, String> {
    let text = host.sh(&format!("cat /proc/{pid}/status")).stdout;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    text.lines().filter_map(field).collect()
}

/// A fetch that takes a while, and its worker.
pub(crate) fn under_way(net: &Net, web: &Web, fetch: impl Fn(&str) -> Running) -> (Running, String) {
    web.put("slow.aci", crate::images::small("web.test/slow", &"x".repeat(2_000_000)).build());
    let url = web.url("slow.aci");
    let fetch = fetch(&url);
    let pid = eventually("the download worker", || {
        let find = r#"for d in /proc/[0-9]*; do
            tr '\0' ' ' <$d/cmdline 2>/dev/null | grep -q '^[^ ]*rkt-fetcher $' || continue
            tr '\0' '\n' </proc/$(awk '/PPid/ { print $2 }' $d/status)/cmdline | grep -qxF "$1" && echo "${d#/proc/}"
        done 2>/dev/null"#;
        let found = net.case.host().exec("sh").args(["-c", find, "sh", &url]).output();
        let pid = found.trimmed().lines().next()?.to_owned();
        // Not before it is locked in.
        (status(net.case.host(), &pid).get("Seccomp_filters").map(String::as_str) == Some("2")).then_some(pid)
    });
    (fetch, pid)
}

#[test]
fn the_worker_of_root_is_nobody_with_nothing() {
    let net = Net::new();
    net.case.host().exec("systemd-sysusers").ok();
    let web = net.web("location = /slow.aci { limit_rate 500k; }");
    let (_fetch, pid) = under_way(&net, &web, |url| net.lax(&["fetch", url]).spawn());
    let status = status(net.case.host(), &pid);
    let user = net.case.host().exec("id").args(["-u", "rkt-fetch"]).ok().trimmed().to_owned();
    let group = net.case.host().exec("id").args(["-g", "rkt-fetch"]).ok().trimmed().to_owned();
    assert_ne!(user, "0");
    let nothing = "0000000000000000";
    for (field, value) in [
        ("Uid", &*[&*user; 4].join(" ")),
        ("Gid", &*[&*group; 4].join(" ")),
        ("Groups", ""),
        ("CapInh", nothing),
        ("CapPrm", nothing),
        ("CapEff", nothing),
        ("CapBnd", nothing),
        ("CapAmb", nothing),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("Seccomp_filters", "2"),
    ] {
        assert_eq!(status.get(field).map(String::as_str), Some(value), "{field}: {status:?}");
    }
    // Files: the socket to rkt, the part, what it says on standard error, nothing else that has a name.
    let files = net.case.host().sh(&format!("readlink /proc/{pid}/fd/*")).stdout;
    let foreign: Vec<&str> = files
        .lines()
        .filter(|file| {
            !(file.starts_with("socket:") || file.starts_with("anon_inode:") || file.contains("memfd:"))
        })
        .filter(|file| *file != "/dev/null" && !file.ends_with(".part"))
        .collect();
    assert!(foreign.is_empty(), "{files}");
    // Whoever unpacks has no network; nothing of the image is unpacked while it comes.
    assert_eq!(
        net.case.host().sh(&format!("cat /proc/{pid}/environ")).stdout,
        "",
        "not even by its own user"
    );
}

#[test]
fn the_worker_dies_with_rkt() {
    let net = Net::new();
    let web = net.web("location = /slow.aci { limit_rate 200k; }");
    let (mut fetch, pid) = under_way(&net, &web, |url| net.lax(&["fetch", url]).spawn());
    fetch.kill_command();
    eventually("the end of the worker", || {
        (!net.case.host().path(format!("/proc/{pid}")).exists()).then_some(())
    });
}

#[test]
fn a_worker_for_nobody_else_can_do_nothing_but_fetch() {
    let net = Net::new();
    // Without the socket that it expects it ends, locked in and with a message.
    let output = net.case.host().exec("/usr/lib/rkt/rkt-fetcher").output();
    assert_ne!(output.code, 0, "{output}");
    assert!(!output.stderr.is_empty(), "{output}");
}
