//! The pod manifest.

use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::app::check_unique;
use crate::error::ManifestError;
use crate::image::check_kind;
use crate::json::{At, Read, deserialize_by_read};
use crate::{
    AcIdentifier, AcName, Annotations, App, ExposedPort, ImageId, Isolators, Labels, Mount, SemVer, Volume,
};

/// What runs in a pod (specification, "Pod Manifest Schema").
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodManifest {
    /// The version of the specification that the manifest follows.
    pub ac_version: SemVer,
    /// The apps, of unique names.
    pub apps: Vec<RuntimeApp>,
    /// The volumes, of unique names.
    pub volumes: Vec<Volume>,
    /// Isolators of the whole pod, which rkt does not apply.
    pub isolators: Isolators,
    /// Metadata.
    pub annotations: Annotations,
    /// Ports of the pod reachable at ports of the host.
    pub ports: Vec<ExposedPort>,
    /// Free-form metadata.
    pub user_annotations: BTreeMap<String, String>,
    /// Free-form metadata meant for grouping.
    pub user_labels: BTreeMap<String, String>,
}

impl PodManifest {
    /// The value of `acKind`.
    pub const KIND: &'static str = "PodManifest";

    /// Parses and checks a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        Self::read_bytes(bytes)
    }

    /// The app called `name`.
    pub fn app(&self, name: &str) -> Option<&RuntimeApp> {
        self.apps.iter().find(|app| app.name == *name)
    }

    /// The volume called `name`.
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.name == *name)
    }
}

impl Read for PodManifest {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        check_kind(&at, Self::KIND)?;
        let pod = Self {
            ac_version: at.parsed("acVersion")?,
            apps: at.or_default("apps")?,
            volumes: at.or_default("volumes")?,
            isolators: at.or_default("isolators")?,
            annotations: at.or_default("annotations")?,
            ports: at.or_default("ports")?,
            user_annotations: at.or_default("userAnnotations")?,
            user_labels: at.or_default("userLabels")?,
        };
        if let Some(list) = at.field("apps") {
            check_unique(&list, pod.apps.iter().map(|app| app.name.as_str()))?;
        }
        if let Some(list) = at.field("volumes") {
            check_unique(&list, pod.volumes.iter().map(|volume| volume.name.as_str()))?;
        }
        Ok(pod)
    }
}

impl Serialize for PodManifest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct(Self::KIND, 9)?;
        object.serialize_field("acVersion", &self.ac_version)?;
        object.serialize_field("acKind", Self::KIND)?;
        object.serialize_field("apps", &self.apps)?;
        object.serialize_field("volumes", &self.volumes)?;
        object.serialize_field("isolators", &self.isolators)?;
        object.serialize_field("annotations", &self.annotations)?;
        object.serialize_field("ports", &self.ports)?;
        if !self.user_annotations.is_empty() {
            object.serialize_field("userAnnotations", &self.user_annotations)?;
        }
        if !self.user_labels.is_empty() {
            object.serialize_field("userLabels", &self.user_labels)?;
        }
        object.end()
    }
}

/// One app of a pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeApp {
    /// The name, unique in the pod.
    pub name: AcName,
    /// The image it runs.
    pub image: RuntimeImage,
    /// Takes the place of the whole `app` of the image's manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// Whether the app's root is read-only; volumes are as they are.
    #[serde(rename = "readOnlyRootFS", skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root_fs: bool,
    /// Where volumes go; mount points of the image that are not here get the volume of their own name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Metadata.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

impl Read for RuntimeApp {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        Ok(Self {
            name: at.parsed("name")?,
            image: RuntimeImage::read(at.required("image")?)?,
            app: at.optional("app")?,
            read_only_root_fs: at.or_default("readOnlyRootFS")?,
            mounts: at.or_default("mounts")?,
            annotations: at.or_default("annotations")?,
        })
    }
}

/// The image of an app of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuntimeImage {
    /// The name, for information.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<AcIdentifier>,
    /// The image; rkt writes the store's form of 64 digits.
    pub id: ImageId,
    /// The labels, for information.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl Read for RuntimeImage {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let name = if at.is_set("name") { Some(at.parsed("name")?) } else { None };
        Ok(Self { name, id: at.parsed("id")?, labels: at.or_default("labels")? })
    }
}

deserialize_by_read!(PodManifest, RuntimeApp, RuntimeImage);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VolumeKind;

    /// A manifest as rkt writes one, in the canonical order.
    const FULL: &str = concat!(
        r#"{"acVersion":"1.30.0","acKind":"PodManifest","apps":["#,
        r#"{"name":"redis","image":{"name":"example.com/redis","id":"sha512-e3b0c44298fc1c149afbf4c8996fb92427ae41e4"#,
        r#"649b934ca495991b7852b855","labels":[{"name":"version","value":"6"}]},"app":{"exec":["/bin/redis"],"#,
        r#""user":"0","group":"0"},"readOnlyRootFS":true,"mounts":[{"volume":"data","path":"/data"},"#,
        r#"{"volume":"scratch","path":"/tmp","appVolume":{"name":"scratch","kind":"empty","mode":"1777","uid":0,"#,
        r#""gid":0}}],"annotations":[{"name":"coreos.com/rkt/stage1/mutable","value":"false"}]},"#,
        r#"{"name":"web","image":{"id":"sha512-ab"}}],"#,
        r#""volumes":[{"name":"data","kind":"host","source":"/srv/data","readOnly":false,"recursive":true}],"#,
        r#""isolators":[{"name":"os/unix/sysctl","value":{"net.core.somaxconn":"1024"}}],"#,
        r#""annotations":[{"name":"ip-address","value":"10.1.2.3"}],"#,
        r#""ports":[{"name":"http","hostPort":8080,"hostIP":"::1","podPort":{"name":"http","protocol":"tcp","#,
        r#""port":80,"count":1,"socketActivated":false}}],"#,
        r#""userAnnotations":{"a":"b"},"userLabels":{"c":"d"}}"#
    );

    /// A manifest with `fields` in it.
    fn with(fields: &str) -> String {
        format!(r#"{{"acVersion":"0.8.11","acKind":"PodManifest",{fields}}}"#)
    }

    #[test]
    fn a_full_manifest_round_trips() {
        let manifest = PodManifest::parse(FULL.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&manifest).unwrap(), FULL);
        assert_eq!(serde_json::from_str::<PodManifest>(FULL).unwrap(), manifest);
        assert_eq!(manifest.app("redis").unwrap().mounts.len(), 2);
        assert_eq!(manifest.app("nginx"), None);
        assert!(matches!(
            manifest.volume("data").unwrap().kind,
            VolumeKind::Host { recursive: Some(true), .. }
        ));
    }

    #[test]
    fn what_go_wrote_for_nothing() {
        let json = r#"{"acVersion":"1.30.0+git","acKind":"PodManifest","apps":null,"volumes":null,"isolators":null,
            "annotations":null,"ports":null}"#;
        let manifest = PodManifest::parse(json.as_bytes()).unwrap();
        assert_eq!(
            serde_json::to_string(&manifest).unwrap(),
            r#"{"acVersion":"1.30.0+git","acKind":"PodManifest","apps":[],"volumes":[],"isolators":[],"annotations":[],"ports":[]}"#
        );
    }

    #[test]
    fn volumes_have_defaults() {
        for (volume, kind) in [
            (r#"{"name":"v","kind":"empty"}"#, VolumeKind::empty()),
            (
                r#"{"name":"v","kind":"empty","mode":"0700","uid":1,"gid":2,"readOnly":true,"source":""}"#,
                VolumeKind::Empty { read_only: Some(true), mode: 0o700, uid: 1, gid: 2 },
            ),
            (
                r#"{"name":"v","kind":"host","source":"/","mode":""}"#,
                VolumeKind::Host { source: "/".to_owned(), read_only: None, recursive: None },
            ),
        ] {
            let volume: Volume = serde_json::from_str(volume).unwrap();
            assert_eq!(volume.kind, kind);
            assert_eq!(
                serde_json::from_str::<Volume>(&serde_json::to_string(&volume).unwrap()).unwrap(),
                volume
            );
        }
    }

    #[test]
    fn broken_pods() {
        for (fields, error) in [
            (r#""apps":[{"image":{"id":"sha512-ab"}}]"#, r#"Field "apps[0].name": must be set"#),
            (r#""apps":[{"name":"a"}]"#, r#"Field "apps[0].image": must be set"#),
            (r#""apps":[{"name":"a","image":{}}]"#, r#"Field "apps[0].image.id": must be set"#),
            (
                r#""apps":[{"name":"a","image":{"id":"sha512-ab"},"app":{"user":"0"}}]"#,
                r#"Field "apps[0].app.group": must be set"#,
            ),
            (
                r#""apps":[{"name":"a","image":{"id":"sha512-ab"}},{"name":"a","image":{"id":"sha512-cd"}}]"#,
                r#"Field "apps": "a" is there more than once"#,
            ),
            (
                r#""apps":[{"name":"a","image":{"id":"sha512-ab"},"mounts":[{"volume":"v"}]}]"#,
                r#"Field "apps[0].mounts[0].path": must be set"#,
            ),
            (
                r#""volumes":[{"name":"v","kind":"empty"},{"name":"v","kind":"empty"}]"#,
                r#"Field "volumes": "v" is there more than once"#,
            ),
            (r#""volumes":[{"name":"v"}]"#, r#"Field "volumes[0].kind": must be set"#),
            (
                r#""volumes":[{"name":"v","kind":"nfs"}]"#,
                r#"Field "volumes[0].kind": "nfs" must be one of "host", "empty""#,
            ),
            (r#""volumes":[{"name":"v","kind":"host"}]"#, r#"Field "volumes[0].source": must be set"#),
            (
                r#""volumes":[{"name":"v","kind":"host","source":"a"}]"#,
                r#"Field "volumes[0].source": "a" must be an absolute path"#,
            ),
            (
                r#""volumes":[{"name":"v","kind":"host","source":"/","uid":0}]"#,
                r#"Field "volumes[0].uid": cannot be set for a host volume"#,
            ),
            (
                r#""volumes":[{"name":"v","kind":"empty","source":"/"}]"#,
                r#"Field "volumes[0].source": cannot be set for an empty volume"#,
            ),
            (
                r#""volumes":[{"name":"v","kind":"empty","mode":"999"}]"#,
                r#"Field "volumes[0].mode": "999" is not a mode"#,
            ),
            (
                r#""volumes":[{"name":"v","kind":"empty","uid":-1}]"#,
                r#"Field "volumes[0].uid": -1 must be between 0"#,
            ),
            (
                r#""ports":[{"name":"p","hostPort":0}]"#,
                r#"Field "ports[0].hostPort": 0 must be between 1 and 65535"#,
            ),
            (
                r#""ports":[{"name":"p","hostPort":1,"hostIP":"localhost"}]"#,
                r#"Field "ports[0].hostIP": "localhost" is not an IP address"#,
            ),
            (
                r#""annotations":[{"name":"a","value":""},{"name":"a","value":""}]"#,
                r#"Field "annotations": "a" is there more than once"#,
            ),
            (
                r#""isolators":[{"name":"os/unix/sysctl","value":{"a":1}}]"#,
                r#"Field "isolators[0].value.a": must be a string, not a number"#,
            ),
        ] {
            let found = PodManifest::parse(with(fields).as_bytes()).unwrap_err().to_string();
            assert!(found.contains(error), "{fields}: {found}");
        }
        let image = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"a"}"#;
        let found = PodManifest::parse(image.as_bytes()).unwrap_err();
        assert_eq!(found.field, "acKind");
        assert!(matches!(found.rule, crate::Rule::Kind { expected: "PodManifest", .. }));
    }
}
