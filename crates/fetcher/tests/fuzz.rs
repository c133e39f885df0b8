//! Parsers of what servers send, under spoilt input.

use fetcher::discovery::{Variables, endpoints, public_keys, tags};
use fetcher::registry::challenge;
use fetcher::registry::manifest::{self, Document};
use fuzz::Target;

const PAGE: &str = r#"<!DOCTYPE html><html><head><title>a</title><!-- <meta> -->
<meta name="ac-discovery" content="example.com https://example.com/{name}-{version}-{os}-{arch}.{ext}?a={unknown}">
<META name='ac-discovery-pubkeys' content='example.com https://example.com/keys.gpg'/>
<meta name=ac-discovery content="example.com/a  http://other.example/{name}.{ext}">
</head><body><script>"<meta name=x>"</script></body></html>"#;

const PAGE_WORDS: &[&str] = &[
    "<meta ",
    "<meta",
    ">",
    "/>",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "<![CDATA[",
    "]]>",
    "&amp;",
    "&#0;",
    "=",
    "'",
    "\"",
    " name=\"ac-discovery\"",
    " content=\"",
    "example.com",
    "https://",
    "{name}",
    "{",
    "}",
    "{ext}",
    "\0",
    "\u{202e}",
];

const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":7,"platform":{"architecture":"amd64","os":"linux","variant":"v2","os.version":"1"}}]}"#;
const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","size":7},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"sha512:bb","size":18446744073709551615}]}"#;

const MANIFEST_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "\"manifests\":[",
    "\"config\":{",
    "\"layers\":[",
    "\"fsLayers\":[]",
    "\"size\":",
    "-1",
    "1e400",
    "\"urls\":[\"https://a\"]",
    "\"schemaVersion\":1",
    "\"platform\":null",
    "application/vnd.oci.image.layer.v1.tar+zstd",
];

#[test]
fn fuzz_discovery_pages() {
    let variables = Variables::new("example.com/a", &[("os".to_owned(), "linux".to_owned())]);
    Target::new("discovery page", [PAGE]).words(PAGE_WORDS).run(|bytes| {
        let tags = tags(bytes);
        for endpoint in endpoints(&tags, "example.com/a", &variables) {
            assert!(!endpoint.image.contains('{'), "a variable without a value is in {:?}", endpoint.image);
        }
        (tags.templates.len(), public_keys(&tags, "example.com/a").len())
    });
}

#[test]
fn fuzz_registry_documents() {
    Target::new("registry document", [INDEX, MANIFEST]).words(MANIFEST_WORDS).run(|bytes| {
        match manifest::parse(bytes, None, "a document") {
            Ok((Document::Index(entries), kind)) => format!("{} of {kind}", entries.len()),
            Ok((Document::Manifest(manifest), kind)) => format!("{} of {kind}", manifest.layers.len()),
            Err(failure) => fuzz::shape(failure),
        }
    });
}

#[test]
fn fuzz_challenges() {
    let honest = [
        r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull""#,
        "Basic realm=x",
    ];
    let words = &["Bearer ", "Basic ", "realm=", "\"", "\\\"", ",", "=", "scope=", "https://", "\0"];
    Target::new("challenge", honest).words(words).run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        challenge::choose(&[&*text]).is_some()
    });
}
