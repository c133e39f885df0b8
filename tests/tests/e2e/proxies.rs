//! Downloads through a proxy of the environment, and what a user sees of them.

use std::time::Duration;

use tests::case::eventually;
use tests::host::{Host, Output, Running};
use tests::web::{Web, reserve};

use crate::images::small;
use crate::remote::{Net, SLOW, slow};

/// A tinyproxy that leads to one port of others, with an address of its own.
struct Proxy {
    host: &'static Host,
    url: String,
    log: String,
    _running: Running,
}

impl Proxy {
    fn start(host: &'static Host, leads_to: u16) -> Proxy {
        let (number, _, address) = reserve(host);
        let (file, log) = (format!("/tmp/proxy-{number}.conf"), format!("/tmp/proxy-{number}.log"));
        let text = format!(
            "Port 8888\nListen {address}\nTimeout 60\nMaxClients 20\nLogLevel Connect\nLogFile \"{log}\"\nConnectPort {leads_to}\n"
        );
        host.write(&file, text);
        let running = host.exec("tinyproxy").args(["-d", "-c", &file]).spawn();
        let knock = format!("curl -sm2 -o /dev/null http://{address}:8888/; [ $? != 7 ]");
        eventually("the proxy", || (host.sh(&knock).code == 0).then_some(()));
        Proxy { host, url: format!("http://{address}:8888"), log, _running: running }
    }

    /// How often it was asked to lead to `name`.
    fn asked_for(&self, name: &str) -> usize {
        self.host.read(&self.log).matches(&format!("CONNECT {name}:443")).count()
    }
}

fn fetch(net: &Net, web: &Web, environment: &[(&str, &str)]) -> Output {
    let mut command = net.lax(&["fetch", "--pull-policy=update", &web.url("a.aci")]);
    for (name, value) in environment {
        command = command.env(name, value);
    }
    command.output()
}

#[test]
fn a_proxy_of_the_environment_is_used_and_blamed() {
    let net = Net::new();
    let web = net.web("location = /a.aci { expires -1; }");
    web.put("a.aci", small("web.test/proxied", "a").build());
    let proxy = Proxy::start(net.case.host(), 443);
    fetch(&net, &web, &[("HTTPS_PROXY", &proxy.url)]).success();
    assert_eq!(proxy.asked_for(&web.name()), 1);
    let asked = web.asked().len();
    assert!(asked > 0);

    // Some are reached without it.
    fetch(&net, &web, &[("HTTPS_PROXY", &proxy.url), ("NO_PROXY", &web.name())]).success();
    assert_eq!(proxy.asked_for(&web.name()), 1);
    assert!(web.asked().len() > asked, "{:?}", web.asked());

    let elsewhere = Proxy::start(net.case.host(), 8443);
    fetch(&net, &web, &[("HTTPS_PROXY", &elsewhere.url)])
        .code(254)
        .says("The proxy that the environment names")
        .says(&web.name());
}

/// On a terminal a bar grows in its place; elsewhere there is a line at the end, without anything that only terminals know.
#[test]
fn a_bar_is_for_terminals() {
    let net = Net::new();
    let web = net.web(SLOW);
    slow(&web);
    let url = web.url("slow.aci");
    let command = format!("rkt --insecure-options=image {} fetch {url}", net.words().join(" "));
    let words = ["--quiet", "--return", "--command", &command, "/dev/null"];
    let shown = net
        .case
        .host()
        .exec("script")
        .args(words)
        .input("")
        .limit(Duration::from_secs(60))
        .output()
        .success();
    assert!(shown.stdout.matches("\x1b[1A").count() > 3, "it is not drawn anew: {shown}");
    for share in [" [=====", &format!(" [{}] 2.9MiB/2.9MiB", "=".repeat(25))] {
        assert!(shown.stdout.contains(share), "no {share:?}: {shown}");
    }
    net.lax(&["image", "rm", "web.test/slow"]).ok();
    let plain = net.lax(&["fetch", &url]).ok();
    assert!(plain.stderr.contains("downloading") && !plain.stderr.contains('\x1b'), "{plain}");
}
