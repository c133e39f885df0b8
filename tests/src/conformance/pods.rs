//! Pods that are probed: the app `subject`, and maybe `neighbour`, which has asked for nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{Ask, Ground};
use crate::case::Stage1;
use crate::host::Output;
use crate::images;

/// A pod. All apps have the empty volume `shared` at `/shared`; another, `spare`, is mounted where a probe asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod<'a> {
    pub(super) script: &'a str,
    pub(super) ask: &'a Ask,
    /// An option of rkt itself.
    pub(super) option: Option<&'a str>,
    pub(super) with_neighbour: bool,
}

/// Runs it to its end.
pub(super) fn run(ground: &impl Ground, stage1: Stage1, pod: &Pod<'_>) -> Output {
    let mut words = vec!["--insecure-options=image".to_owned()];
    words.extend(pod.option.map(str::to_owned));
    words.extend(["run".to_owned(), stage1.flag(), stage1.simplest_net().to_owned()]);
    words.extend(match pod.ask.flags {
        Some(flags) => by_flags(pod, flags),
        None => by_manifest(ground, pod),
    });
    ground.rkt(&words)
}

fn script(pod: &Pod<'_>) -> String {
    format!("v() {{ echo \"$AC_APP_NAME $*\"; }}\n{}", pod.script)
}

fn by_flags(pod: &Pod<'_>, flags: &[&str]) -> Vec<String> {
    let mut words: Vec<String> =
        ["--volume=shared,kind=empty", "--volume=spare,kind=empty", "--mount=volume=shared,target=/shared"]
            .map(str::to_owned)
            .to_vec();
    let mut app = |name: &str, flags: &[&str]| {
        if name != "subject" {
            words.push("---".to_owned());
        }
        words.extend([images::PERL_NAME.to_owned(), format!("--name={name}"), "--exec=/bin/sh".to_owned()]);
        words.extend(flags.iter().map(|&flag| flag.to_owned()));
        words.extend(["--".to_owned(), "-c".to_owned(), script(pod)]);
    };
    app("subject", flags);
    if pod.with_neighbour {
        app("neighbour", &[]);
    }
    words
}

fn by_manifest(ground: &impl Ground, pod: &Pod<'_>) -> Vec<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static IMAGE: OnceLock<String> = OnceLock::new();
    let id = IMAGE.get_or_init(|| {
        let fetch = ["--insecure-options=image", "fetch", "--full", "/images/perl.aci"].map(str::to_owned);
        ground.rkt(&fetch).success().trimmed().to_owned()
    });
    let app = |name: &str, ask: &Ask| {
        let mut app = json!({"exec": ["/bin/sh", "-c", script(pod)], "user": "0", "group": "0"});
        merge(&mut app, &ask.app);
        let image = json!({"name": images::PERL_NAME, "id": id});
        let shared = json!({"volume": "shared", "path": "/shared"});
        let mut runtime = json!({"name": name, "image": image, "app": app, "mounts": [shared]});
        merge(&mut runtime, &ask.runtime);
        runtime
    };
    let mut apps = vec![app("subject", pod.ask)];
    if pod.with_neighbour {
        apps.push(app("neighbour", &Ask::default()));
    }
    let volumes = json!([{"name": "shared", "kind": "empty"}, {"name": "spare", "kind": "empty"}]);
    let mut manifest =
        json!({"acKind": "PodManifest", "acVersion": "0.8.11", "apps": apps, "volumes": volumes});
    merge(&mut manifest, &pod.ask.pod);
    let file = format!("/tmp/conformance-{}.json", COUNT.fetch_add(1, Ordering::Relaxed));
    ground.put(&file, &manifest.to_string());
    vec![format!("--pod-manifest={file}")]
}

/// Adds the fields of `more`; lists are joined.
fn merge(to: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        match (to[name].as_array_mut(), value.as_array()) {
            (Some(list), Some(more)) => list.extend(more.clone()),
            _ => to[name] = value.clone(),
        }
    }
}
