//! The manifest of an image; appc specification, "Image Manifest Schema".

use serde::{Deserialize, Serialize};

use crate::app::{Annotation, App, Label};
use crate::image_id::ImageId;
use crate::manifest::{IMAGE_KIND, ManifestError, check_app, check_kind, check_names, check_version, read};
use crate::name::AcIdentifier;

/// Another image whose files lie below this one's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its name.
    pub image_name: AcIdentifier,
    /// Its ID, when only one will do.
    #[serde(rename = "imageID", default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<ImageId>,
    /// Labels that it must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// The size of its archive in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// `ImageManifest`.
    pub ac_kind: String,
    /// The version of the specification that it follows.
    pub ac_version: String,
    /// The name of the image.
    pub name: AcIdentifier,
    /// Unique names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// What to run; an image without one can be a dependency, or run with `--exec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// Unique names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    /// The images below, bottom first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// The absolute paths that are left of the image and its dependencies; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_whitelist: Vec<String>,
}

impl ImageManifest {
    /// Reads and checks a manifest.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: ImageManifest = read(json)?;
        check_kind(&manifest.ac_kind, IMAGE_KIND)?;
        check_version(&manifest.ac_version)?;
        check_names("labels", manifest.labels.iter().map(|label| label.name.as_str()))?;
        check_names("annotations", manifest.annotations.iter().map(|annotation| annotation.name.as_str()))?;
        if manifest.label("arch").is_some() && manifest.label("os").is_none() {
            return Err(ManifestError::rule("labels", "arch needs os"));
        }
        if let Some(path) = manifest.path_whitelist.iter().find(|path| !path.starts_with('/')) {
            return Err(ManifestError::rule("pathWhitelist", &format!("{path:?} is not absolute")));
        }
        if let Some(app) = &manifest.app {
            check_app("app", app)?;
        }
        Ok(manifest)
    }

    /// The manifest as JSON, fields in the order of the specification.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations
            .iter()
            .find(|annotation| annotation.name == name)
            .map(|annotation| annotation.value.as_str())
    }
}
