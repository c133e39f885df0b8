use serde_json::{Value, json};

use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn part(media_type: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{HEX}"), "size": size})
}

fn image(kind: &str, config: &str, layers: &[&str]) -> Value {
    let layers: Vec<Value> = layers.iter().map(|layer| part(layer, 7)).collect();
    json!({"schemaVersion": 2, "mediaType": kind, "config": part(config, 3), "layers": layers})
}

fn oci() -> Value {
    image(OCI_MANIFEST, CONFIGS[0], &[LAYERS[1], LAYERS[2]])
}

fn read(document: &Value, header: Option<&str>) -> Result<(Document, String), Failure> {
    parse(document.to_string().as_bytes(), header, "it")
}

#[test]
fn manifests_of_both_kinds() {
    for (document, kind, layers) in [
        (oci(), OCI_MANIFEST, 2),
        (image(DOCKER_MANIFEST, CONFIGS[1], &[LAYERS[7]]), DOCKER_MANIFEST, 1),
        (image(OCI_MANIFEST, CONFIGS[0], &[]), OCI_MANIFEST, 0),
    ] {
        let (Document::Manifest(found), media_type) = read(&document, Some(kind)).unwrap() else {
            panic!("an index")
        };
        assert_eq!((media_type.as_str(), found.layers.len(), found.config.size), (kind, layers, 3));
    }
}

#[test]
fn indexes_with_their_platforms() {
    let mut entry = part(OCI_MANIFEST, 9);
    entry["platform"] = json!({"os": "linux", "architecture": "arm", "variant": "v7"});
    let index = json!({"schemaVersion": 2, "manifests": [entry, part(OCI_MANIFEST, 8)]});
    for header in [None, Some(OCI_INDEX), Some("application/vnd.oci.image.index.v1+json; charset=utf-8")] {
        let (Document::Index(entries), kind) = read(&index, header).unwrap() else { panic!("a manifest") };
        assert_eq!(kind, OCI_INDEX);
        assert_eq!(entries[0].platform.as_ref().unwrap().to_string(), "linux/arm/v7");
        assert_eq!((entries[1].platform.clone(), entries[1].manifest.size), (None, 8));
    }
}

#[test]
fn the_kind_is_what_all_agree_on() {
    let mut silent = oci();
    silent.as_object_mut().unwrap().remove("mediaType");
    assert_eq!(read(&silent, None).unwrap().1, OCI_MANIFEST);
    assert_eq!(read(&silent, Some(DOCKER_MANIFEST)).unwrap().1, DOCKER_MANIFEST);
    // What a registry calls JSON may be either.
    assert_eq!(read(&oci(), Some("application/json")).unwrap().1, OCI_MANIFEST);
    let mut both = oci();
    both["manifests"] = json!([]);
    for (document, header) in [(&oci(), Some(OCI_INDEX)), (&oci(), Some(DOCKER_MANIFEST)), (&both, None)] {
        let failure = read(document, header).unwrap_err();
        assert!(matches!(failure, Failure::BadDocument { .. }), "{failure}");
    }
}

#[test]
fn what_cannot_be_run_is_called_by_its_kind() {
    let schema1 = json!({"schemaVersion": 1, "fsLayers": [], "history": []});
    let chart = image(OCI_MANIFEST, "application/vnd.cncf.helm.config.v1+json", &[LAYERS[1]]);
    let odd_layer = image(OCI_MANIFEST, CONFIGS[0], &["application/vnd.in-toto+json"]);
    let artifact = json!({"schemaVersion": 2, "mediaType": "application/x-thing", "config": {}});
    for (document, header, named) in [
        (&schema1, None, "schema 1"),
        (&chart, None, "helm"),
        (&odd_layer, None, "in-toto"),
        (&artifact, None, "x-thing"),
        (&json!({"schemaVersion": 2}), Some("application/y"), "application/y"),
    ] {
        let failure = read(document, header).unwrap_err();
        assert!(matches!(&failure, Failure::WrongMediaType { .. }), "{failure}");
        assert!(failure.to_string().contains(named), "{failure}");
    }
    let page = parse(b"<html>", Some("text/html; charset=utf-8"), "it").unwrap_err();
    assert!(page.to_string().contains("text/html"), "{page}");
}

#[test]
fn nonsense_is_refused() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut document = oci();
        change(&mut document);
        document.to_string()
    };
    let many: Vec<Value> = (0..=Resolve::LAYER_LIMIT).map(|_| part(LAYERS[1], 1)).collect();
    for text in [
        String::new(),
        "[]".to_owned(),
        "{\"schemaVersion\":2".to_owned(),
        "[".repeat(100_000),
        with(&|it| it["schemaVersion"] = json!(3)),
        with(&|it| it["schemaVersion"] = json!("2")),
        with(&|it| it["layers"] = json!({})),
        with(&|it| it["layers"][0]["size"] = json!(-1)),
        with(&|it| it["layers"][0]["size"] = json!(1e300)),
        with(&|it| it["layers"][0]["digest"] = json!("sha256:00")),
        with(&|it| it["layers"][0]["digest"] = json!(format!("md5:{HEX}"))),
        with(&|it| it["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd")),
        with(&|it| it["layers"] = json!(many)),
        // Two programs would read two images.
        oci().to_string().replacen("\"layers\"", "\"layers\":[],\"layers\"", 1),
    ] {
        let failure = parse(text.as_bytes(), None, "it").unwrap_err();
        assert!(matches!(failure, Failure::BadDocument { .. }), "{failure}: {}", &text[..text.len().min(80)]);
    }
}
