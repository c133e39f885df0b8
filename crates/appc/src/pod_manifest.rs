//! The manifest of a pod; appc specification, "Pod Manifest Schema".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app::{Annotation, App, Label, Port};
use crate::image_id::ImageId;
use crate::isolator::Isolator;
use crate::manifest::{ManifestError, POD_KIND, check_app, check_kind, check_names, read};
use crate::name::{AcIdentifier, AcName};
use crate::volume::Volume;

/// The image of an app in a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeImage {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<AcIdentifier>,
    /// Its ID.
    pub id: ImageId,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
}

/// A volume at a path of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// The name of the volume.
    pub volume: AcName,
    /// The absolute path in the app.
    pub path: String,
    /// A volume of this app alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_volume: Option<Volume>,
}

/// An app of a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeApp {
    /// Unique in the pod.
    pub name: AcName,
    /// What it is made of.
    pub image: RuntimeImage,
    /// Stands in place of the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// Whether its root cannot be written to.
    #[serde(rename = "readOnlyRootFS", default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root_fs: bool,
    /// Volumes at paths, beside those that match a mount point by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Unique names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
}

/// A port of the host that leads to one of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExposedPort {
    /// The name of an app's port.
    pub name: AcName,
    /// The port of the host.
    pub host_port: u16,
    /// The address of the host; all when there is none.
    #[serde(rename = "hostIP", default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<std::net::IpAddr>,
    /// The port of the pod, where no app names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_port: Option<Port>,
}

/// What a pod is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodManifest {
    /// The version of the specification that it follows.
    pub ac_version: String,
    /// `PodManifest`.
    pub ac_kind: String,
    /// Unique names.
    #[serde(default)]
    pub apps: Vec<RuntimeApp>,
    /// Unique names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Limits of the whole pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub isolators: Vec<Isolator>,
    /// Unique names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    /// Forwarded ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ExposedPort>,
    /// Free text of the user's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_annotations: BTreeMap<String, String>,
    /// Free text of the user's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_labels: BTreeMap<String, String>,
}

impl PodManifest {
    /// Reads and checks a manifest.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: PodManifest = read(json)?;
        check_kind(&manifest.ac_kind, POD_KIND)?;
        check_names("apps", manifest.apps.iter().map(|app| app.name.as_str()))?;
        check_names("volumes", manifest.volumes.iter().map(|volume| volume.name.as_str()))?;
        check_names("annotations", manifest.annotations.iter().map(|annotation| annotation.name.as_str()))?;
        for app in &manifest.apps {
            let field = format!("apps.{}", app.name);
            if let Some(app) = &app.app {
                check_app(&field, app)?;
            }
            if let Some(mount) = app.mounts.iter().find(|mount| !mount.path.starts_with('/')) {
                return Err(ManifestError::rule(
                    &format!("{field}.mounts"),
                    &format!("{:?} is not absolute", mount.path),
                ));
            }
        }
        Ok(manifest)
    }

    /// The manifest as JSON, fields in the order of the specification.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The app called `name`.
    pub fn app(&self, name: &str) -> Option<&RuntimeApp> {
        self.apps.iter().find(|app| app.name == name)
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations
            .iter()
            .find(|annotation| annotation.name == name)
            .map(|annotation| annotation.value.as_str())
    }
}
