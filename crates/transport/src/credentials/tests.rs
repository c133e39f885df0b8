use std::cell::RefCell;
use std::fs;

use super::*;

fn basic(user: &str, password: &str) -> Option<Credentials> {
    Some(Credentials::Basic { user: user.into(), password: password.into() })
}

fn environment<'a>(set: &'a [(&'a str, &'a Path)]) -> impl Fn(&str) -> Option<OsString> + 'a {
    move |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_os_str().to_owned())
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A root with these documents in its `auth.d`.
fn root(documents: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("auth.d")).unwrap();
    for (index, document) in documents.iter().enumerate() {
        fs::write(root.path().join(format!("auth.d/{index}.json")), document).unwrap();
    }
    root
}

const VENDOR: &str = r#"{"rktKind":"auth","rktVersion":"v1","domains":["a.example","b.example:8443"],"type":"basic",
    "credentials":{"user":"u","password":"vendor"}}"#;

#[test]
fn later_roots_win_for_each_domain() {
    let vendor = root(&[VENDOR]);
    let local = root(&[
        r#"{"rktKind":"auth","rktVersion":"v1","domains":["A.example"],"type":"oauth","credentials":{"token":"t"}}"#,
        r#"{"rktKind":"dockerAuth","rktVersion":"v1","registries":["docker.io","quay.io"],
            "credentials":{"user":"d","password":"p"}}"#,
        r#"{"rktKind":"auth","rktVersion":"v1","domains":["x.s3.amazonaws.com"],"type":"aws",
            "credentials":{"accessKeyID":"i","secretAccessKey":"s"}}"#,
    ]);
    fs::write(local.path().join("auth.d/ignored.txt"), "no").unwrap();
    std::os::unix::fs::symlink("/dev/null", local.path().join("auth.d/link.json")).unwrap();
    let lookup = Lookup::load(&[vendor.path(), local.path(), Path::new("/nonexistent")], |_| None).unwrap();
    for (url, found) in [
        ("https://a.example/x.aci", Some(Credentials::Bearer("t".into()))),
        ("https://a.example:443/x.aci", Some(Credentials::Bearer("t".into()))),
        ("https://a.example:8443/x.aci", None),
        ("https://b.example:8443/x.aci", basic("u", "vendor")),
        ("https://b.example/x.aci", None),
        ("https://sub.a.example/x.aci", None),
    ] {
        assert_eq!(lookup.for_url(url), found, "{url}");
    }
    let signed = lookup.for_url("https://x.s3.amazonaws.com/y.aci");
    assert!(matches!(signed, Some(Credentials::Headers(headers)) if headers.len() == 3));
    for (name, found) in [("nginx", basic("d", "p")), ("quay.io/a/b", basic("d", "p")), ("ghcr.io/a/b", None)]
    {
        assert_eq!(lookup.for_registry(&reference(name)).unwrap(), found, "{name}");
    }
    assert!(!format!("{lookup:?}").contains("vendor"), "no secret in a log");
}

#[test]
fn wrong_documents_are_named_without_their_secrets() {
    for (documents, problem) in [
        (&["{"] as &[&str], "no JSON"),
        (&[r#"{"rktKind":"paths","rktVersion":"v1"}"#], "no document of kind paths"),
        (&[r#"{"rktKind":"auth","rktVersion":"v2"}"#], "version v2"),
        (
            &[r#"{"rktKind":"auth","rktVersion":"v1","domains":["a"],"type":"magic","credentials":{}}"#],
            "magic",
        ),
        (
            &[
                r#"{"rktKind":"auth","rktVersion":"v1","domains":[],"type":"oauth","credentials":{"token":"t"}}"#,
            ],
            "empty",
        ),
        (
            &[
                r#"{"rktKind":"auth","rktVersion":"v1","domains":["a"],"type":"basic","credentials":{"user":"u"}}"#,
            ],
            "password",
        ),
        (
            &[
                r#"{"rktKind":"auth","rktVersion":"v1","domains":["a"],"type":"basic","credentials":"hunter2"}"#,
            ],
            "does not have the fields",
        ),
        (&[VENDOR, VENDOR], "given twice"),
    ] {
        let root = root(documents);
        let error = Lookup::load(&[root.path()], |_| None).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("auth.d/"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn docker_and_podman_files_in_their_order() {
    let home = tempfile::tempdir().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let write = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // base64 of docker:one, podman:two, team:three, hub:four
    write(
        home.path().join(".docker/config.json"),
        r#"{"auths":{"https://quay.io/v1/":{"auth":"ZG9ja2VyOm9uZQ=="},
            "https://index.docker.io/v1/":{"auth":"aHViOmZvdXI="},
            "azure.example":{"auth":"eDp5","identitytoken":"refresh"}},
            "HttpHeaders":{"User-Agent":"x"},"credsStore":""}"#,
    );
    write(
        runtime.path().join("containers/auth.json"),
        r#"{"auths":{"quay.io/team":{"auth":"dGVhbTp0aHJlZQ=="},"only.podman":{"auth":"cG9kbWFuOnR3bw=="},"empty.example":{}}}"#,
    );
    let set = [("HOME", home.path()), ("XDG_RUNTIME_DIR", runtime.path())];
    let lookup = Lookup::load(&[], environment(&set)).unwrap();
    for (name, found) in [
        ("quay.io/other/app", basic("docker", "one")),
        ("quay.io/team/app", basic("team", "three")),
        ("quay.io/teams/app", basic("docker", "one")),
        ("only.podman/app", basic("podman", "two")),
        ("nginx", basic("hub", "four")),
        ("azure.example/app", Some(Credentials::Identity("refresh".into()))),
        ("empty.example/app", None),
        ("ghcr.io/app", None),
    ] {
        assert_eq!(lookup.for_registry(&reference(name)).unwrap(), found, "{name}");
    }
    let file = home.path().join("only.json");
    write(file.clone(), r#"{"auths":{"ghcr.io":{"username":"a","password":"b"}}}"#);
    let set = [("HOME", home.path()), ("REGISTRY_AUTH_FILE", file.as_path())];
    let only = Lookup::load(&[], environment(&set)).unwrap();
    assert_eq!(only.for_registry(&reference("ghcr.io/app")).unwrap(), basic("a", "b"));
    assert_eq!(only.for_registry(&reference("quay.io/app")).unwrap(), None);
    write(file.clone(), r#"{"auths":{"ghcr.io":{"auth":"hunter2"}}}"#);
    let broken = Lookup::load(&[], environment(&set)).unwrap();
    let error = broken.for_registry(&reference("ghcr.io/app")).unwrap_err().to_string();
    assert!(
        error.contains("ghcr.io") && error.contains("not base64") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn helpers_are_asked_in_their_order() {
    let text = r#"{"auths":{"plain.example":{"auth":"eDp5"},"off.example":{"auth":"eDp5"}},
        "credHelpers":{"gcr.io":"gcloud","off.example":"","docker.io":"hub"},"credsStore":"general"}"#;
    let config = docker::Config::parse(Path::new("/c.json"), text.as_bytes()).unwrap();
    for (name, known, found, asked) in [
        ("gcr.io/a", true, basic("gcloud", "gcr.io"), &["gcloud gcr.io"] as &[&str]),
        ("gcr.io/a", false, None, &["gcloud gcr.io", "general gcr.io"]),
        ("plain.example/a", true, basic("x", "y"), &[]),
        ("off.example/a", true, basic("x", "y"), &[]),
        ("other.example/a", true, basic("general", "other.example"), &["general other.example"]),
        ("nginx", true, basic("hub", "https://index.docker.io/v1/"), &["hub https://index.docker.io/v1/"]),
    ] {
        let calls = RefCell::new(Vec::new());
        let run = |helper: &str, _: &Path, server: &str| {
            calls.borrow_mut().push(format!("{helper} {server}"));
            Ok(known.then(|| basic(helper, server)).flatten())
        };
        assert_eq!(config.find(&reference(name), &run).unwrap(), found, "{name}");
        assert_eq!(calls.into_inner(), asked, "{name}");
    }
}

#[test]
fn helpers_that_fail_are_named() {
    for name in ["../evil", "no-such-helper-here", "a b"] {
        let error = helper::run(name, Path::new("/c.json"), "quay.io").unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("/c.json") && error.contains("quay.io"), "{error}");
    }
}
