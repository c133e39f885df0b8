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
