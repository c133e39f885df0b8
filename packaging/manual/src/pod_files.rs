//! The page rkt.pod(5).

use clap_mangen::roff::{Roff, bold, roman};
use podfile::keys::{APP, POD};
use podfile::specifier::KNOWN;

const DESCRIPTION: &[&str] = &[
    "A pod file says what runs in a pod. systemd runs it as rkt-pod@NAME.service, or as a service of its own (Service=): a \
     generator makes its unit at each boot and systemctl daemon-reload. From then on the pod is a unit like any other.",
    "The syntax is that of systemd.syntax(7): a line ends in a backslash when it goes on, an empty value resets, what is in \
     quotes is one word. Every mistake is an error: rkt pod verify lists them all, and so does starting the unit.",
    "A file in /etc/rkt/pods hides one of the same name in /run/rkt/pods, and that one in /usr/lib/rkt/pods. Drop-ins NAME.pod.d/*.conf \
     of all three directories are read behind the file, in the order of their names. A link to /dev/null, or an empty file, masks. \
     db@.pod is a template: a link db@one.pod to it is an instance, whose drop-ins are those of db@.pod.d and db@one.pod.d. \
     Only root may be able to write to the files and directories.",
    "[Unit], [Service] and [Install] are handed to systemd, and so is [Socket], for a socket unit of the same name.",
];

/// The page.
pub(crate) fn page() -> Vec<u8> {
    let mut page = Roff::new();
    page.control("TH", ["rkt.pod", "5", "", concat!("rkt ", env!("CARGO_PKG_VERSION")), "rkt"]);
    section(&mut page, "NAME", &["rkt.pod - pods that systemd runs"]);
    let files = ["/etc/rkt/pods", "/run/rkt/pods", "/usr/lib/rkt/pods"].map(|dir| format!("{dir}/NAME.pod"));
    section(&mut page, "SYNOPSIS", &[&files.join(", ")]);
    section(&mut page, "DESCRIPTION", DESCRIPTION);
    keys(&mut page, "[POD] SECTION", POD.iter().map(|key| (key.name, key.syntax, key.about, key.adds)));
    let about = "[App NAME] is one app. The only app of a pod needs no name.";
    section(&mut page, "[APP] SECTION", &[about]);
    terms(&mut page, APP.iter().map(|key| (key.name, key.syntax, key.about, key.adds)));
    page.control("SH", ["SPECIFIERS"]);
    for (letter, meaning) in KNOWN {
        page.control("TP", []);
        page.text([bold(format!("%{letter}"))]).text([roman(*meaning)]);
    }
    let see = "rkt-pod-verify(1), rkt-pod-show(1), rkt-pod-import(1), systemd.unit(5), systemd.service(5), systemd.socket(5)";
    section(&mut page, "SEE ALSO", &[see]);
    page.to_roff().into_bytes()
}

fn section(page: &mut Roff, title: &str, paragraphs: &[&str]) {
    page.control("SH", [title]);
    for (index, paragraph) in paragraphs.iter().enumerate() {
        if index > 0 {
            page.control("PP", []);
        }
        page.text([roman(*paragraph)]);
    }
}

type Term = (&'static str, &'static str, &'static str, bool);

fn keys(page: &mut Roff, title: &str, keys: impl Iterator<Item = Term>) {
    page.control("SH", [title]);
    terms(page, keys);
}

fn terms(page: &mut Roff, keys: impl Iterator<Item = Term>) {
    for (name, syntax, about, adds) in keys {
        page.control("TP", []);
        let more = if adds { " May be given several times." } else { "" };
        page.text([bold(format!("{name}=")), roman(syntax)]).text([roman(format!("{about}{more}"))]);
    }
}
