//! The image manifest.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::error::{ManifestError, Rule};
use crate::json::{At, Read, deserialize_by_read};
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
            labels: at.or_default("labels")?,
            app: at.optional("app")?,
            annotations: at.or_default("annotations")?,
            dependencies: at.or_default("dependencies")?,
            path_whitelist: at.or_default("pathWhitelist")?,
        })
    }
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
