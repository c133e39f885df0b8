//! Parsers of App Container documents and names under spoilt input.

#![allow(clippy::unwrap_used)]

use appc::{ImageManifest, ImageReference, PodManifest};
use fuzz::{Target, shape};

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "\\u0000",
    "\\ud800",
    "\"acKind\":\"ImageManifest\",",
    "\"name\":",
    "\"value\":",
    "\"labels\":[",
    "\"app\":{",
    "\"exec\":[\"/bin/sh\"],",
    "\"user\":\"0\",",
    "\"group\":\"0\",",
    "\"ports\":[{\"name\":\"a\",\"port\":1}],",
    "\"isolators\":[{\"name\":\"resource/memory\",\"value\":{\"limit\":\"1G\"}}],",
    "\"mountPoints\":[",
    "\"environment\":[",
    "\"dependencies\":[{\"imageName\":\"a\"}],",
    "\"pathWhitelist\":[\"/\"],",
    "\"annotations\":[",
    "\"volumes\":[",
    "\"apps\":[",
    "\"count\":",
];

const IMAGE: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a","labels":[{"name":"version","value":"1"},{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}],"app":{"exec":["/bin/a","b"],"user":"0","group":"0","supplementaryGIDs":[1],"workingDirectory":"/","environment":[{"name":"A","value":"b"}],"mountPoints":[{"name":"data","path":"/data","readOnly":true}],"ports":[{"name":"http","protocol":"tcp","port":80,"count":2,"socketActivated":true}],"eventHandlers":[{"name":"pre-start","exec":["/x"]}],"isolators":[{"name":"resource/memory","value":{"request":"1M","limit":"1Gi"}},{"name":"os/linux/capabilities-retain-set","value":{"set":["CAP_KILL"]}}]},"annotations":[{"name":"created","value":"2016-01-01T00:00:00Z"}],"dependencies":[{"imageName":"b","labels":[]}],"pathWhitelist":["/a"]}"#;

const POD: &str = r#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{"name":"a","image":{"name":"a","id":"sha512-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"app":{"exec":["/a"],"user":"0","group":"0"},"mounts":[{"volume":"v","path":"/v"}],"annotations":[{"name":"x","value":"y"}]}],"volumes":[{"name":"v","kind":"host","source":"/s","readOnly":true},{"name":"e","kind":"empty","mode":"0755","uid":0,"gid":0}],"ports":[{"name":"p","hostPort":80}],"isolators":[],"annotations":[]}"#;

#[test]
fn fuzz_image_manifests() {
    Target::new("image manifest", [IMAGE]).words(WORDS).run(|bytes| match ImageManifest::parse(bytes) {
        Ok(manifest) => {
            let text = serde_json::to_vec(&manifest).unwrap();
            assert!(ImageManifest::parse(&text).unwrap() == manifest, "not the same again");
            format!("{} {}", manifest.labels.len(), manifest.app.is_some())
        }
        Err(error) => shape(error),
    });
}

#[test]
fn fuzz_pod_manifests() {
    Target::new("pod manifest", [POD]).words(WORDS).run(|bytes| match PodManifest::parse(bytes) {
        Ok(manifest) => {
            let text = serde_json::to_vec(&manifest).unwrap();
            assert!(PodManifest::parse(&text).unwrap() == manifest, "not the same again");
            format!("{} {}", manifest.apps.len(), manifest.volumes.len())
        }
        Err(error) => shape(error),
    });
}

#[test]
fn fuzz_image_names() {
    let corpus = [
        "example.com/app:1.0,os=linux",
        "sha512-abcdef",
        "/a/b.aci",
        "./x",
        "docker://quay.io:80/a/b:1@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "oci:dir:tag",
        "docker-archive:f:a:1",
        "https://example.com/a.aci?x#y",
        "file:///a%20b.aci",
        "cimd:appc:v=0:a%2Fb?version=1",
        "cimd:docker:v=0:a",
    ];
    let words = [
        "docker://",
        "oci:",
        "cimd:",
        ":v=0:",
        "sha512-",
        "@sha256:",
        "%",
        "%2F",
        "//",
        ",",
        "=",
        "[::1]:80/",
        ".aci",
        "é",
    ];
    Target::new("image name", corpus).words(&words).run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        match ImageReference::parse(&text, |_| false) {
            Ok(reference) => {
                // What can be written can be read, and means the same.
                let written = reference.to_string();
                if !matches!(reference, ImageReference::File(_)) {
                    assert_eq!(
                        ImageReference::parse(&written, |_| false).as_ref(),
                        Ok(&reference),
                        "{written:?}"
                    );
                }
                format!("{:?}", std::mem::discriminant(&reference))
            }
            Err(error) => shape(&error.problem),
        }
    });
}
