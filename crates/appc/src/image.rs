//! The image manifest.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::error::{ManifestError, Rule};
use crate::json::{At, Read, deserialize_by_read};
use crate::os_arch::{self, OsArchError};
use crate::{AcIdentifier, AcName, Annotations, App, ImageId, Labels, SemVer, default_app_name};

/// What an image is and how to run it (specification, "Image Manifest Schema").
#[derive(Debug, Clone, PartialEq)]
pub struct ImageManifest {
    /// The version of the specification that the manifest follows.
    pub ac_version: SemVer,
    /// The name.
    pub name: AcIdentifier,
    /// What tells this image from others of the same name.
    pub labels: Labels,
    /// How to run it; an image without is there to be depended on, or run with an executable of the user's.
    pub app: Option<App>,
    /// Metadata.
    pub annotations: Annotations,
    /// Images to lay below this one, the last one uppermost.
    pub dependencies: Vec<Dependency>,
    /// The files of the rendered image that are to stay; all when empty.
    pub path_whitelist: Vec<String>,
}

impl ImageManifest {
    /// The value of `acKind`.
    pub const KIND: &'static str = "ImageManifest";

    /// A manifest with nothing but a name.
    pub fn new(name: AcIdentifier) -> Self {
        Self {
            ac_version: SemVer::default(),
            name,
            labels: Labels::new(),
            app: None,
            annotations: Annotations::new(),
            dependencies: Vec::new(),
            path_whitelist: Vec::new(),
        }
    }

    /// Parses and checks a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::read_bytes(bytes)
    }

    /// The label `version`.
    pub fn version(&self) -> Option<&str> {
        self.labels.get("version")
    }

    /// The name of an app of this image when the user gives none.
    pub fn app_name(&self) -> AcName {
        default_app_name(&self.name)
    }

    /// Whether the image was made from a docker image, whose volumes begin as copies of the image's directories.
    pub fn is_from_docker(&self) -> bool {
        self.annotations.get("appc.io/docker/repository").is_some()
    }
}

impl Read for ImageManifest {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        check_kind(&at, Self::KIND)?;
        Ok(Self {
            ac_version: at.parsed("acVersion")?,
            name: at.parsed("name")?,
            labels: labels(&at)?,
            app: at.optional("app")?,
            annotations: at.or_default("annotations")?,
            dependencies: at.or_default("dependencies")?,
            path_whitelist: absolute_paths(&at, "pathWhitelist")?,
        })
    }
}

fn absolute_paths(at: &At<'_>, field: &str) -> Result<Vec<String>, ManifestError> {
    let paths: Vec<String> = at.or_default(field)?;
    match paths.iter().find(|path| !path.starts_with('/')) {
        Some(path) => Err(at.field_error(field, Rule::NotAbsolute(path.clone()))),
        None => Ok(paths),
    }
}

/// Reads the labels, of which `os` and `arch` go together.
fn labels(at: &At<'_>) -> Result<Labels, ManifestError> {
    let labels: Labels = at.or_default("labels")?;
    let checked = match (labels.get("os"), labels.get("arch")) {
        (None, Some(_)) => Err(OsArchError::MissingOs),
        _ => os_arch::check(&labels, os_arch::SCHEMA),
    };
    checked.map_err(|error| at.field_error("labels", error))?;
    Ok(labels)
}

/// Checks `acKind`.
pub(crate) fn check_kind(at: &At<'_>, expected: &'static str) -> Result<(), ManifestError> {
    at.object()?;
    let found = at.required_text("acKind")?;
    if found == expected {
        return Ok(());
    }
    Err(at.field_error("acKind", Rule::Kind { expected, found: found.to_owned() }))
}

impl Serialize for ImageManifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct(Self::KIND, 8)?;
        object.serialize_field("acKind", Self::KIND)?;
        object.serialize_field("acVersion", &self.ac_version)?;
        object.serialize_field("name", &self.name)?;
        if !self.labels.is_empty() {
            object.serialize_field("labels", &self.labels)?;
        }
        if let Some(app) = &self.app {
            object.serialize_field("app", app)?;
        }
        if !self.annotations.is_empty() {
            object.serialize_field("annotations", &self.annotations)?;
        }
        if !self.dependencies.is_empty() {
            object.serialize_field("dependencies", &self.dependencies)?;
        }
        if !self.path_whitelist.is_empty() {
            object.serialize_field("pathWhitelist", &self.path_whitelist)?;
        }
        object.end()
    }
}

/// An image that another one builds on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The name of the image.
    pub image_name: AcIdentifier,
    /// The one image that is meant; by name and labels when absent.
    #[serde(rename = "imageID", skip_serializing_if = "Option::is_none")]
    pub image_id: Option<ImageId>,
    /// What the image's labels must be.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The size of the image in bytes; 0 when unknown.
    #[serde(skip_serializing_if = "is_zero")]
    pub size: u64,
}

/// Whether a size is unknown.
fn is_zero(size: &u64) -> bool {
    *size == 0
}

impl Read for Dependency {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let image_id = if at.is_set("imageID") { Some(at.parsed("imageID")?) } else { None };
        Ok(Self {
            image_name: at.parsed("imageName")?,
            image_id,
            labels: at.or_default("labels")?,
            size: at.or_default("size")?,
        })
    }
}

deserialize_by_read!(ImageManifest, Dependency);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventHandlerKind, Isolator};

    /// A manifest with everything, in the canonical order.
    const FULL: &str = r#"{
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": "example.com/reduce-worker",
        "labels": [
            {"name": "version", "value": "1.0.0"},
            {"name": "arch", "value": "amd64"},
            {"name": "os", "value": "linux"}
        ],
        "app": {
            "exec": ["/usr/bin/reduce-worker", "--quiet"],
            "eventHandlers": [
                {"name": "pre-start", "exec": ["/usr/bin/data-downloader"]},
                {"name": "post-stop", "exec": ["/usr/bin/deregister-worker", "--verbose"]}
            ],
            "user": "100",
            "group": "300",
            "supplementaryGIDs": [400, 500],
            "workingDirectory": "/opt/work",
            "environment": [{"name": "REDUCE_WORKER_DEBUG", "value": "true"}],
            "mountPoints": [
                {"name": "work", "path": "/var/lib/work"},
                {"name": "conf", "path": "/etc/conf", "readOnly": true}
            ],
            "ports": [{"name": "health", "protocol": "tcp", "port": 4000, "count": 1, "socketActivated": true}],
            "isolators": [
                {"name": "resource/cpu", "value": {"request": "250m", "limit": "500m"}},
                {"name": "resource/memory", "value": {"request": "1G", "limit": "2G"}},
                {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN"]}}
            ],
            "userAnnotations": {"flavor": "vanilla"},
            "userLabels": {"tier": "batch"}
        },
        "annotations": [
            {"name": "authors", "value": "Carly Container <carly@example.com>"},
            {"name": "created", "value": "2014-10-27T19:32:27.67021798Z"},
            {"name": "documentation", "value": "https://example.com/docs"},
            {"name": "homepage", "value": "https://example.com"}
        ],
        "dependencies": [
            {
                "imageName": "example.com/reduce-worker-base",
                "imageID": "sha512-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "labels": [{"name": "os", "value": "linux"}],
                "size": 22017258
            },
            {"imageName": "example.com/libc"}
        ],
        "pathWhitelist": ["/etc/ca/example.com/crt", "/usr/bin/map-reduce-worker"]
    }"#;

    /// A manifest whose `app` is a valid one with `field` in it.
    fn with_app_field(field: &str) -> String {
        format!(
            r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","app":{{"user":"0","group":"0",{field}}}}}"#
        )
    }

    /// The text without the white space between its tokens.
    fn compact(json: &str) -> String {
        let lines: String = json.lines().map(str::trim).collect();
        lines.replace("\": ", "\":").replace(", ", ",")
    }

    #[test]
    fn a_full_manifest_round_trips() {
        let manifest = ImageManifest::parse(FULL.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&manifest).unwrap(), compact(FULL));
        assert_eq!(ImageManifest::parse(&serde_json::to_vec(&manifest).unwrap()), Ok(manifest.clone()));
        assert_eq!(serde_json::from_str::<ImageManifest>(FULL).unwrap(), manifest);
        assert_eq!((manifest.version(), manifest.app_name().as_str()), (Some("1.0.0"), "reduce-worker"));
        let app = manifest.app.unwrap();
        assert_eq!(app.event_handler(EventHandlerKind::PreStart).unwrap(), ["/usr/bin/data-downloader"]);
        assert_eq!(app.isolators.cpu().unwrap().limit.as_ref().unwrap().milli_value(), 500);
        assert_eq!(app.isolators.memory().unwrap().limit.as_ref().unwrap().value(), 2_000_000_000);
        assert_eq!(app.isolators.capabilities().to_string(), "CAP_NET_BIND_SERVICE,CAP_NET_ADMIN");
        assert!(app.mount_point("conf").unwrap().read_only && app.port("health").unwrap().socket_activated);
        assert!(matches!(app.isolators.0[0], Isolator::Cpu(_)));
    }

    #[test]
    fn the_least_manifest_and_what_go_tolerated() {
        for json in [
            r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"}"#,
            r#"{"name":"a","acVersion":"0.8.11","acKind":"ImageManifest","labels":null,"app":null,"annotations":[],
                "dependencies":null,"pathWhitelist":[],"futureField":{"x":[1e300]}}"#,
        ] {
            let manifest = ImageManifest::parse(json.as_bytes()).unwrap();
            assert_eq!(manifest, ImageManifest::new("a".parse().unwrap()));
            assert_eq!(
                serde_json::to_string(&manifest).unwrap(),
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"}"#
            );
        }
    }

    #[test]
    fn a_converted_docker_image() {
        let json = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"registry-1.docker.io/library/redis",
            "labels":[{"name":"version","value":"latest"},{"name":"os","value":"linux"},{"name":"arch","value":"amd64"}],
            "app":{"exec":["docker-entrypoint.sh","redis-server"],"user":"0","group":"0",
                "environment":[{"name":"PATH","value":"/usr/local/bin:/usr/bin"},{"name":"EMPTY","value":""}],
                "workingDirectory":"/data","mountPoints":[{"name":"volume-data","path":"/data"}],
                "ports":[{"name":"6379-tcp","protocol":"tcp","port":6379,"count":0,"socketActivated":false}]},
            "annotations":[{"name":"appc.io/docker/repository","value":"library/redis"},
                {"name":"appc.io/docker/entrypoint","value":"[\"docker-entrypoint.sh\"]"}]}"#;
        let manifest = ImageManifest::parse(json.as_bytes()).unwrap();
        assert!(manifest.is_from_docker());
        assert_eq!(manifest.app_name(), "redis");
        let app = manifest.app.unwrap();
        assert_eq!((app.ports[0].count, app.environment.get("EMPTY")), (1, Some("")));
    }

    #[test]
    fn broken_documents() {
        let long = " ".repeat((4 << 20) + 1);
        for (json, error) in [
            (long.as_str(), "the document has more than 4194304 bytes"),
            ("", "not valid JSON: EOF"),
            ("{", "not valid JSON: EOF"),
            ("[]", "must be an object, not an array"),
            ("{} {}", "not valid JSON: trailing characters"),
            (r#"{"acKind":"PodManifest"}"#, r#"Field "acKind": must be "ImageManifest", not "PodManifest""#),
            (r#"{"acVersion":"0.8.11","name":"a"}"#, r#"Field "acKind": must be set"#),
            (r#"{"acKind":"ImageManifest","name":"a"}"#, r#"Field "acVersion": must be set"#),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8","name":"a"}"#,
                r#"Field "acVersion": "0.8" is not a version"#,
            ),
            (r#"{"acKind":"ImageManifest","acVersion":"0.8.11"}"#, r#"Field "name": must be set"#),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":null}"#,
                r#"Field "name": must be set"#,
            ),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"A"}"#,
                r#"Field "name": "A" is not a valid AC identifier"#,
            ),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":7}"#,
                r#"Field "name": must be a string, not a number"#,
            ),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","name":"b"}"#,
                r#"Field "name": the key appears more than once"#,
            ),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","x":[{"y":1,"y":2}]}"#,
                r#"Field "x[0].y": the key appears more than once"#,
            ),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","x":1e999}"#,
                "not valid JSON: number out of range",
            ),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","dependencies":[{"imageID":"sha512-ab"}]}"#,
                r#"Field "dependencies[0].imageName": must be set"#,
            ),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a",
                    "dependencies":[{"imageName":"b","imageID":"md5-ab"}]}"#,
                r#"Field "dependencies[0].imageID": "md5-ab" is not an image ID"#,
            ),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a",
                    "dependencies":[{"imageName":"b","size":-1}]}"#,
                r#"Field "dependencies[0].size": -1 must be between 0 and 9223372036854775807"#,
            ),
            (
                r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","pathWhitelist":[1]}"#,
                r#"Field "pathWhitelist[0]": must be a string, not a number"#,
            ),
        ] {
            let found = ImageManifest::parse(json.as_bytes()).unwrap_err().to_string();
            assert!(found.contains(error), "{json}: {found}");
        }
        assert!(ImageManifest::parse(b"{\"acKind\":\"\xff\"}").is_err());
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(ImageManifest::parse(deep.as_bytes()).unwrap_err().to_string().contains("recursion limit"));
    }

    #[test]
    fn broken_apps() {
        for (app, error) in [
            (r#"{}"#, r#"Field "app.user": must be set"#),
            (r#"{"user":"","group":"0"}"#, r#"Field "app.user": must be set"#),
            (r#"{"user":"0"}"#, r#"Field "app.group": must be set"#),
            (r#"{"user":0,"group":"0"}"#, r#"Field "app.user": must be a string, not a number"#),
            (r#"{"user":"a\u0000","group":"0"}"#, r#"Field "app.user": must not contain the character NUL"#),
        ] {
            let json = format!(r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a","app":{app}}}"#);
            let found = ImageManifest::parse(json.as_bytes()).unwrap_err().to_string();
            assert!(found.contains(error), "{json}: {found}");
        }
        for (field, error) in [
            (r#""exec":"/bin/sh""#, r#"Field "app.exec": must be an array, not a string"#),
            (r#""exec":["a\u0000"]"#, r#"Field "app.exec": must not contain the character NUL"#),
            (
                r#""workingDirectory":"data""#,
                r#"Field "app.workingDirectory": "data" must be an absolute path"#,
            ),
            (
                r#""supplementaryGIDs":[4294967295]"#,
                r#""app.supplementaryGIDs[0]": 4294967295 must be between 0 and 4294967294"#,
            ),
            (
                r#""supplementaryGIDs":[1.5]"#,
                r#""app.supplementaryGIDs[0]": must be a whole number, not a number"#,
            ),
            (
                r#""supplementaryGIDs":[1e30]"#,
                r#""app.supplementaryGIDs[0]": 1000000000000000000000000000000 must be between 0"#,
            ),
            (
                r#""environment":[{"name":"1A","value":""}]"#,
                r#"Field "app.environment[0].name": "1A" is not a valid name"#,
            ),
            (
                r#""environment":[{"name":"A","value":"1"},{"name":"A","value":"2"}]"#,
                r#"Field "app.environment": "A" is there more than once"#,
            ),
            (
                r#""environment":[{"name":"A","value":"\u0000"}]"#,
                r#"Field "app.environment[0].value": must not contain"#,
            ),
            (r#""mountPoints":[{"name":"a"}]"#, r#"Field "app.mountPoints[0].path": must be set"#),
            (r#""mountPoints":[{"path":"/a"}]"#, r#"Field "app.mountPoints[0].name": must be set"#),
            (
                r#""mountPoints":[{"name":"a","path":"/a"},{"name":"a","path":"/b"}]"#,
                r#"Field "app.mountPoints": "a" is there more than once"#,
            ),
            (
                r#""mountPoints":[{"name":"a","path":"/a","readOnly":"yes"}]"#,
                r#"Field "app.mountPoints[0].readOnly": must be a boolean, not a string"#,
            ),
            (r#""ports":[{"name":"a"}]"#, r#"Field "app.ports[0].port": must be set"#),
            (
                r#""ports":[{"name":"a","port":0}]"#,
                r#"Field "app.ports[0].port": 0 must be between 1 and 65535"#,
            ),
            (
                r#""ports":[{"name":"a","port":65536}]"#,
                r#"Field "app.ports[0].port": 65536 must be between 1 and 65535"#,
            ),
            (
                r#""ports":[{"name":"a","port":"80"}]"#,
                r#"Field "app.ports[0].port": must be a number, not a string"#,
            ),
            (
                r#""ports":[{"name":"a","port":65535,"count":2}]"#,
                r#"Field "app.ports[0].count": 2 must be between 0 and 1"#,
            ),
            (
                r#""ports":[{"name":"a","port":1},{"name":"a","port":2}]"#,
                r#"Field "app.ports": "a" is there more than once"#,
            ),
            (
                r#""eventHandlers":[{"name":"pre-stop","exec":["/a"]}]"#,
                r#"Field "app.eventHandlers[0].name": "pre-stop" must be one of "pre-start", "post-stop""#,
            ),
            (
                r#""eventHandlers":[{"name":"pre-start","exec":["/a"]},{"name":"pre-start","exec":["/b"]}]"#,
                r#"Field "app.eventHandlers": "pre-start" is there more than once"#,
            ),
            (
                r#""eventHandlers":[{"name":"pre-start"}]"#,
                r#"Field "app.eventHandlers[0].exec": must be set"#,
            ),
            (r#""userLabels":{"a":1}"#, r#"Field "app.userLabels.a": must be a string, not a number"#),
            (r#""userAnnotations":[]"#, r#"Field "app.userAnnotations": must be an object, not an array"#),
        ] {
            let found = ImageManifest::parse(with_app_field(field).as_bytes()).unwrap_err().to_string();
            assert!(found.contains(error), "{field}: {found}");
        }
        let range = r#""ports":[{"name":"a","protocol":"sctp","port":65000,"count":536}]"#;
        assert!(ImageManifest::parse(with_app_field(range).as_bytes()).is_ok());
    }
}
