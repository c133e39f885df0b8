//! Tables of image strings.

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(text: &str) -> Result<ImageReference, ImageReferenceError> {
    ImageReference::parse(text, |path| path == "here")
}

fn appc(name: &str, pairs: &[(&str, &str)]) -> ImageReference {
    let mut labels = Labels::new();
    for (label, value) in pairs {
        labels.set(label.parse().unwrap(), *value);
    }
    ImageReference::Appc { name: name.parse().unwrap(), labels }
}

fn registry(registry: &str, repository: &str, tag: Option<&str>, digest: Option<&str>) -> RegistryReference {
    RegistryReference {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest: digest.map(str::to_owned),
    }
}

#[test]
fn hashes_names_and_files() {
    for (text, reference) in [
        ("sha512-887890e697d9", ImageReference::Hash("sha512-887890e697d9".parse().unwrap())),
        ("sha512-887890e6.aci", ImageReference::File("sha512-887890e6.aci".into())),
        ("etcd", appc("etcd", &[])),
        ("etcd:v3", appc("etcd", &[("version", "v3")])),
        ("coreos.com/etcd:v2.0.0", appc("coreos.com/etcd", &[("version", "v2.0.0")])),
        (
            "coreos.com/etcd:v2,os=linux,arch=amd64",
            appc("coreos.com/etcd", &[("arch", "amd64"), ("os", "linux"), ("version", "v2")]),
        ),
        ("coreos.com/etcd,version=v2", appc("coreos.com/etcd", &[("version", "v2")])),
        ("app:v1:2", appc("app", &[("version", "v1:2")])),
        ("app,channel=", appc("app", &[("channel", "")])),
        ("9app:1", appc("9app", &[("version", "1")])),
        ("/var/images/app", ImageReference::File("/var/images/app".into())),
        ("/var/images/app:1.aci", ImageReference::File("/var/images/app:1.aci".into())),
        ("here", ImageReference::File("here".into())),
        ("./app", ImageReference::File("./app".into())),
        ("../images/app", ImageReference::File("../images/app".into())),
        ("images/app.aci", ImageReference::File("images/app.aci".into())),
        ("example.com/app.aci:1", appc("example.com/app.aci", &[("version", "1")])),
        ("there", appc("there", &[])),
    ] {
        assert_eq!(parse(text), Ok(reference), "{text}");
    }
}

#[test]
fn urls() {
    for (text, reference) in [
        ("file:///srv/a.aci", ImageReference::File("/srv/a.aci".into())),
        ("file://localhost/srv/a.aci", ImageReference::File("/srv/a.aci".into())),
        ("FILE:///srv/a%20+b.aci", ImageReference::File("/srv/a +b.aci".into())),
        ("https://example.com/a.aci", ImageReference::Url("https://example.com/a.aci".to_owned())),
        (
            "http://example.com:80/a.aci?x=1#y",
            ImageReference::Url("http://example.com:80/a.aci?x=1#y".to_owned()),
        ),
        ("oci:/srv/layout", ImageReference::OciLayout { path: "/srv/layout".into(), reference: None }),
        (
            "oci:layout:v1",
            ImageReference::OciLayout { path: "layout".into(), reference: Some("v1".to_owned()) },
        ),
        (
            "oci-archive:a.tar:example.com/app:v1",
            ImageReference::OciArchive {
                path: "a.tar".into(),
                reference: Some("example.com/app:v1".to_owned()),
            },
        ),
        ("docker-archive:/a.tar", ImageReference::DockerArchive { path: "/a.tar".into(), reference: None }),
        ("oci://ghcr.io/a/b:1", ImageReference::OciRegistry(registry("ghcr.io", "a/b", Some("1"), None))),
        ("cimd:appc:v=0:example.com%2Fapp", appc("example.com/app", &[])),
        (
            "cimd:appc:v=0:example.com/app?version=1.0%2Bgit&os=linux",
            appc("example.com/app", &[("os", "linux"), ("version", "1.0+git")]),
        ),
        ("cimd:aci-archive:v=0:file%3A%2F%2F%2Fsrv%2Fa", ImageReference::File("/srv/a".into())),
        (
            "cimd:aci-archive:v=0:https%3A%2F%2Fexample.com%2Fa.aci",
            ImageReference::Url("https://example.com/a.aci".to_owned()),
        ),
        (
            "cimd:docker:v=0:busybox",
            ImageReference::Docker(registry("registry-1.docker.io", "library/busybox", Some("latest"), None)),
        ),
    ] {
        assert_eq!(parse(text), Ok(reference), "{text}");
    }
}

#[test]
fn registries() {
    let by_digest = format!("busybox@{DIGEST}");
    let by_both = format!("quay.io/coreos/etcd:v3@{DIGEST}");
    for (text, reference) in [
        ("busybox", registry("registry-1.docker.io", "library/busybox", Some("latest"), None)),
        ("busybox:1.36", registry("registry-1.docker.io", "library/busybox", Some("1.36"), None)),
        ("docker.io/busybox", registry("registry-1.docker.io", "library/busybox", Some("latest"), None)),
        ("grafana/loki", registry("registry-1.docker.io", "grafana/loki", Some("latest"), None)),
        ("quay.io/coreos/etcd:v3", registry("quay.io", "coreos/etcd", Some("v3"), None)),
        ("quay.io/etcd", registry("quay.io", "etcd", Some("latest"), None)),
        ("localhost/a__b-c--d.e_f", registry("localhost", "a__b-c--d.e_f", Some("latest"), None)),
        ("localhost:5000/a", registry("localhost:5000", "a", Some("latest"), None)),
        ("[::1]:5000/a:1", registry("[::1]:5000", "a", Some("1"), None)),
        (&by_digest, registry("registry-1.docker.io", "library/busybox", None, Some(DIGEST))),
        (&by_both, registry("quay.io", "coreos/etcd", Some("v3"), Some(DIGEST))),
    ] {
        assert_eq!(text.parse().as_ref(), Ok(&reference), "{text}");
        assert_eq!(
            parse(&format!("docker://{text}")),
            Ok(ImageReference::Docker(reference.clone())),
            "{text}"
        );
        assert_eq!(parse(&format!("docker:{text}")), Ok(ImageReference::Docker(reference)), "{text}");
    }
    for (text, name) in [
        ("busybox", "registry-1.docker.io/library/busybox"),
        ("localhost:5000/a__b", "localhost-5000/a_b"),
        ("[::1]:5000/a", "1-5000/a"),
    ] {
        assert_eq!(text.parse::<RegistryReference>().unwrap().image_name(), name, "{text}");
    }
}

#[test]
fn refused() {
    for (text, problem) in [
        ("", "it is empty"),
        ("Etcd", "is not a valid AC identifier"),
        ("sha512-xyz", "only hexadecimal digits may follow"),
        ("sha512-a", "2 to 128"),
        ("etcd:", "the version after the colon is empty"),
        (":v1", "AC identifier must not be empty"),
        ("etcd,os", "label \"os\" is not LABEL=VALUE"),
        ("etcd,os=a,os=b", "label \"os\" has more than one value"),
        ("etcd:1,version=2", "label \"version\" has more than one value"),
        ("etcd,name=x", "label \"name\" has more than one value"),
        ("etcd,Os=x", "is not a valid AC identifier"),
        ("etcd,os=a:b", "a colon may stand only right after the name"),
        ("https://example.com/a.tar", "must end in \".aci\""),
        ("https://example.com/a.tar?x=.aci", "must end in \".aci\""),
        ("https:///a.aci", "must name a host"),
        ("https:a.aci", "must name a host"),
        ("file://srv/a.aci", "must be file:///PATH"),
        ("file:a.aci", "must be file:///PATH"),
        ("file:///a%zz.aci", "is not escaped"),
        ("file:///a%00.aci", "is not escaped"),
        ("file:///a%ff.aci", "is not escaped"),
        ("oci:", "a path must follow"),
        ("oci-archive::v1", "a path must follow"),
        ("docker://", "\"\" is not a repository"),
        ("docker://Busybox", "\"Busybox\" is not a repository"),
        ("docker://a//b", "is not a repository"),
        ("docker://a._b", "is not a repository"),
        ("docker://a-", "is not a repository"),
        ("docker://a:", "\"\" is not a tag"),
        ("docker://a:.x", "\".x\" is not a tag"),
        ("docker://a:b c", "is not a tag"),
        ("docker://a@sha256:abc", "is not a digest"),
        ("docker://a@md5:d41d8cd98f00b204e9800998ecf8427e", "is not a digest"),
        ("docker://-x.com/a", "is not a registry"),
        ("docker://x.com:99999/a", "is not a registry"),
        ("docker://x..com/a", "is not a registry"),
        ("cimd:appc:v=1:x", "it is not cimd:"),
        ("cimd:appc:x", "it is not cimd:"),
        ("cimd:tar:v=0:x", "it is not cimd:"),
        ("cimd:aci-archive:v=0:s3%3A%2F%2Fx", "it is not cimd:"),
        ("cimd:appc:v=0:%zz", "is not escaped"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with("Invalid image string") && error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn display_is_read_back() {
    for text in [
        "sha512-887890e697d9",
        "etcd",
        "coreos.com/etcd:v2,arch=amd64,os=linux",
        "/srv/a.aci",
        "https://example.com/a.aci",
        "docker://quay.io/coreos/etcd:v3",
        "oci://ghcr.io/a/b:1",
        "oci:/srv/layout:v1",
        "oci-archive:a.tar",
        "docker-archive:a.tar:busybox:1",
        // Without the scheme it is a file.
        "cimd:appc:v=0:a%2F99.aci",
    ] {
        let reference = parse(text).unwrap();
        assert_eq!(reference.to_string(), text);
        assert_eq!(parse(&reference.to_string()), Ok(reference));
    }
}
