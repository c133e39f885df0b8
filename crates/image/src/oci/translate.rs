//! From the configuration of an OCI or Docker image to an App Container image manifest.
//!
//! | App Container | OCI |
//! |---|---|
//! | `exec` | `Entrypoint` and `Cmd` |
//! | `user`, `group` | `User`: `USER[:GROUP]`; without a group that of the user |
//! | `environment` | `Env`, names that App Container images cannot have left out |
//! | `workingDirectory` | `WorkingDir` |
//! | `ports` | `ExposedPorts`: `80/tcp` becomes `80-tcp` |
//! | `mountPoints` | `Volumes`: `/a/b` becomes `volume-a-b` |
//! | `userLabels` | `Labels` |
//! | labels `os`, `arch`, `version` | `os`, `architecture`, the tag |
//! | annotations `appc.io/docker/…` | where it comes from, `Entrypoint`, `Cmd`, `StopSignal` |
//! | annotation [`LAYERS`] | the layers, lowest first: digests of the uncompressed archives |

use std::collections::BTreeSet;

use appc::{AcIdentifier, AcName, App, EnvironmentVariable, ImageManifest, MountPoint, Port};
use oci_spec::image::{ImageConfiguration, Os};
use transport::Digest;
use transport::digest::Algorithm;

use super::document::parse;
use super::{OciError, OciName};

/// The annotation that names the layers of an image.
pub(crate) const LAYERS: &str = "coreos.com/rkt/oci/layers";

const WHAT: &str = "image configuration";

/// The most variables, ports and volumes of an image.
const MANY: usize = 4096;

/// A configuration that was read.
#[derive(Debug)]
pub(crate) struct Config {
    document: ImageConfiguration,
    /// Digests of the uncompressed layers, lowest first.
    pub(crate) diff_ids: Vec<Digest>,
}

impl Config {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, OciError> {
        let document: ImageConfiguration = parse(WHAT, bytes)?;
        let malformed = |detail: String| OciError::Malformed { what: WHAT, detail };
        let mut diff_ids = Vec::new();
        for text in document.rootfs().diff_ids() {
            let digest: Digest = text.parse().map_err(|error| malformed(format!("{error}")))?;
            if digest.algorithm() != Algorithm::Sha256 {
                return Err(malformed(format!("the layer {digest} is named by another digest than SHA-256")));
            }
            diff_ids.push(digest);
        }
        if diff_ids.is_empty() {
            return Err(OciError::NoLayers);
        }
        Ok(Self { document, diff_ids })
    }
}

/// The manifest of the image `name` with this configuration. The same parts give the same manifest, byte for byte.
pub(crate) fn translate(
    config: &Config,
    name: &OciName,
    manifest_digest: Option<&Digest>,
) -> Result<ImageManifest, OciError> {
    let mut manifest = ImageManifest::new(name.name.clone());
    let document = &config.document;
    if let Some(version) = &name.version {
        manifest.labels.set(identifier("version"), version.clone());
    }
    manifest.labels.set(identifier("os"), document.os().to_string());
    manifest.labels.set(identifier("arch"), arch(document)?);
    manifest.app = Some(app(document)?);
    let mut annotate = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            manifest.annotations.set(identifier(key), value);
        }
    };
    annotate("created", document.created().clone().filter(|date| is_date(date)));
    annotate("authors", document.author().clone());
    annotate("appc.io/docker/originalname", Some(name.original.clone()));
    annotate("appc.io/docker/registryurl", name.registry.clone());
    annotate("appc.io/docker/repository", Some(name.repository.clone()));
    annotate("appc.io/docker/tag", name.version.clone());
    annotate("appc.io/docker/manifesthash", manifest_digest.map(ToString::to_string));
    if let Some(config) = document.config() {
        let list =
            |words: &Option<Vec<String>>| words.as_ref().and_then(|words| serde_json::to_string(words).ok());
        annotate("appc.io/docker/entrypoint", list(config.entrypoint()));
        annotate("appc.io/docker/cmd", list(config.cmd()));
        annotate("appc.io/docker/stopsignal", config.stop_signal().clone());
    }
    let layers: Vec<String> = config.diff_ids.iter().map(ToString::to_string).collect();
    annotate(LAYERS, Some(layers.join(" ")));
    check(&manifest)?;
    Ok(manifest)
}

/// The manifest goes through the parser that everything else goes through.
fn check(manifest: &ImageManifest) -> Result<(), OciError> {
    let text = serde_json::to_vec(manifest).map_err(|error| OciError::Config(error.to_string()))?;
    ImageManifest::parse(&text).map(drop).map_err(|error| OciError::Config(error.to_string()))
}

fn identifier(text: &str) -> AcIdentifier {
    AcIdentifier::sanitize(text).unwrap_or_else(|_| unreachable!("{text} is a name"))
}

/// The name that App Container images have for the processor.
fn arch(document: &ImageConfiguration) -> Result<&'static str, OciError> {
    let architecture = document.architecture().to_string();
    let variant = document.variant().as_deref().unwrap_or_default();
    Ok(match (architecture.as_str(), variant) {
        ("amd64", _) => "amd64",
        ("386", _) => "i386",
        ("arm64", _) => "aarch64",
        ("arm64be", _) => "aarch64_be",
        ("arm", "v5" | "v6") => "armv6l",
        ("arm", _) => "armv7l",
        ("armbe", _) => "armv7b",
        ("ppc64", _) => "ppc64",
        ("ppc64le", _) => "ppc64le",
        ("s390x", _) => "s390x",
        _ => {
            let os = match document.os() {
                Os::Linux => String::new(),
                other => format!("{other}/"),
            };
            let text: String = architecture.chars().take(80).collect();
            return Err(OciError::Config(format!(
                "it is for {os}{text:?}, which no App Container image can name"
            )));
        }
    })
}

fn app(document: &ImageConfiguration) -> Result<App, OciError> {
    let mut app = App { user: "0".to_owned(), group: "0".to_owned(), ..App::default() };
    let Some(config) = document.config() else { return Ok(app) };
    let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    for (what, list) in
        [("variables", config.env()), ("ports", config.exposed_ports()), ("volumes", config.volumes())]
    {
        if list.as_ref().is_some_and(|list| list.len() > MANY) {
            return Err(OciError::Config(format!("it has more than {MANY} {what}")));
        }
    }
    app.exec = [words(config.entrypoint()), words(config.cmd())].concat();
    let owner = config.user().as_deref().unwrap_or_default();
    let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
    if !user.is_empty() {
        user.clone_into(&mut app.user);
    }
    (if group.is_empty() { app.user.as_str() } else { group }).clone_into(&mut app.group);
    app.working_directory = config
        .working_dir()
        .as_ref()
        .filter(|directory| !directory.is_empty())
        .map(|directory| absolute(directory));
    for variable in words(config.env()) {
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        if EnvironmentVariable::is_valid_name(name) {
            app.environment.set(name, value);
        }
    }
    let mut ports = words(config.exposed_ports());
    ports.sort();
    app.ports = ports.iter().map(|text| port(text)).collect::<Result<_, _>>()?;
    let mut volumes = words(config.volumes());
    volumes.sort();
    let mut names = BTreeSet::new();
    for path in volumes {
        let name = volume_name(&path, &mut names)?;
        app.mount_points.push(MountPoint { name, path: absolute(&path), read_only: false });
    }
    app.user_labels = config.labels().clone().unwrap_or_default().into_iter().collect();
    Ok(app)
}

fn absolute(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// `80/tcp`, `80`, `8000-8010/udp`.
fn port(text: &str) -> Result<Port, OciError> {
    let wrong = || OciError::Config(format!("{:?} is no port", text.chars().take(80).collect::<String>()));
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let number = |text: &str| {
        Some(text)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse::<u16>().ok())
    };
    let (first, last) = (number(first).filter(|port| *port > 0), number(last));
    let (Some(first), Some(last)) = (first, last) else { return Err(wrong()) };
    let count = last.checked_sub(first).map(|more| more.saturating_add(1)).ok_or_else(wrong)?;
    let name = AcName::sanitize(&format!("{numbers}-{protocol}")).map_err(|_| wrong())?;
    Ok(Port { name, protocol: protocol.to_owned(), port: first, count, socket_activated: false })
}

fn volume_name(path: &str, taken: &mut BTreeSet<AcName>) -> Result<AcName, OciError> {
    let wrong = |_| OciError::Config(format!("{:?} is no volume", path.chars().take(80).collect::<String>()));
    let base = AcName::sanitize(&format!("volume-{path}")).map_err(wrong)?;
    let mut name = base.clone();
    let mut number = 0;
    while !taken.insert(name.clone()) {
        number += 1;
        name = AcName::sanitize(&format!("{}-{number}", base.as_str())).map_err(wrong)?;
    }
    Ok(name)
}

/// Whether an App Container annotation may have this date.
fn is_date(text: &str) -> bool {
    let mut manifest = ImageManifest::new(identifier("x"));
    manifest.annotations.set(identifier("created"), text);
    check(&manifest).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> OciName {
        let reference: appc::RegistryReference = "quay.io/a/b:1".parse().unwrap();
        OciName::from(&reference)
    }

    fn translated(config: &str) -> Result<serde_json::Value, OciError> {
        let diff_id = format!("sha256:{}", "a1".repeat(32));
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{config},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
        );
        let manifest = translate(&Config::read(text.as_bytes())?, &name(), None)?;
        Ok(serde_json::to_value(&manifest).unwrap())
    }

    #[test]
    fn everything_is_taken_over() {
        let value = translated(
            r#"{"User":"nginx","ExposedPorts":{"80/tcp":{},"53/udp":{},"8000-8002/tcp":{}},
                "Env":["PATH=/bin","EMPTY=","A=b=c","1bad=x"],"Entrypoint":["/entry"],"Cmd":["a","b"],
                "Volumes":{"/var/lib/x":{},"/var/lib-x":{}},"WorkingDir":"work","Labels":{"k":"v"},"StopSignal":"SIGQUIT",
                "Healthcheck":{"Test":["NONE"]}}"#,
        )
        .unwrap();
        let app = &value["app"];
        assert_eq!(value["name"], "quay.io/a/b");
        assert_eq!(app["exec"], serde_json::json!(["/entry", "a", "b"]));
        assert_eq!((&app["user"], &app["group"]), (&"nginx".into(), &"nginx".into()));
        assert_eq!(app["workingDirectory"], "/work");
        assert_eq!(
            app["environment"],
            serde_json::json!([{"name":"PATH","value":"/bin"},{"name":"EMPTY","value":""},{"name":"A","value":"b=c"}])
        );
        let ports: Vec<_> = app["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| {
                (
                    port["name"].as_str().unwrap(),
                    port["port"].as_u64().unwrap(),
                    port["count"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(ports, [("53-udp", 53, 1), ("80-tcp", 80, 1), ("8000-8002-tcp", 8000, 3)]);
        let points: Vec<_> = app["mountPoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point["name"].as_str().unwrap())
            .collect();
        assert_eq!(points, ["volume-var-lib-x", "volume-var-lib-x-1"]);
        assert_eq!(app["userLabels"]["k"], "v");
        let annotations = value["annotations"].to_string();
        for part in ["SIGQUIT", "appc.io/docker/repository", LAYERS, r#"[\"/entry\"]"#] {
            assert!(annotations.contains(part), "no {part}: {annotations}");
        }
        let labels = value["labels"].to_string();
        assert!(labels.contains(r#""version","value":"1""#), "{labels}");
    }

    #[test]
    fn owners() {
        for (text, user, group) in [
            ("", "0", "0"),
            ("1000", "1000", "1000"),
            ("a:b", "a", "b"),
            ("a:", "a", "a"),
            (":b", "0", "b"),
            ("0:0", "0", "0"),
        ] {
            let app = &translated(&format!(r#"{{"User":{text:?}}}"#)).unwrap()["app"];
            assert_eq!((&app["user"], &app["group"]), (&user.into(), &group.into()), "{text:?}");
        }
    }

    #[test]
    fn nulls_are_absent() {
        let value = translated(
            r#"{"Cmd":null,"Env":null,"Volumes":null,"ExposedPorts":null,"Labels":null,"Entrypoint":null}"#,
        );
        assert!(value.unwrap()["app"]["exec"].as_array().unwrap().is_empty());
        assert!(translated("null").is_ok());
    }

    #[test]
    fn nonsense_is_refused() {
        for config in [
            r#"{"ExposedPorts":{"x/tcp":{}}}"#,
            r#"{"ExposedPorts":{"0/tcp":{}}}"#,
            r#"{"ExposedPorts":{"99999/tcp":{}}}"#,
            r#"{"ExposedPorts":{"80-70/tcp":{}}}"#,
            r#"{"ExposedPorts":{"+80/tcp":{}}}"#,
            r#"{"Env":["A=1"],"Env":["A=2"]}"#,
            r#"{"Labels":{"a":"1","a":"2"}}"#,
            r#"{"Env":7}"#,
        ] {
            assert!(translated(config).is_err(), "{config}");
        }
        let text = r#"{"architecture":"riscv64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        assert!(matches!(Config::read(text.as_bytes()), Err(OciError::NoLayers)));
    }
}
