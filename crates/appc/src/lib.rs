//! App Container types and parsers: names, image and pod manifests, isolators.
//!
//! Types and parsers only; nothing here touches a file or a socket. Everything in a manifest is hostile until
//! [`ImageManifest::parse`] or [`PodManifest::parse`] has passed it. The source of the rules is the App Container
//! specification, version 0.8.11.

mod app;
mod capability;
mod image_id;
mod image_manifest;
mod isolator;
mod manifest;
mod name;
mod pod_manifest;
mod quantity;
mod volume;

pub use app::{Annotation, App, EnvironmentVariable, Event, EventHandler, Label, MountPoint, Port};
pub use capability::{Capability, DEFAULT_CAPABILITIES, UnknownCapability};
pub use image_id::{ImageId, ImageIdError};
pub use image_manifest::{Dependency, ImageManifest};
pub use isolator::{Isolator, ResourceLimit, SeccompSet, SelinuxContext};
pub use manifest::{AC_VERSION, IMAGE_KIND, MANIFEST_BYTES_MAX, ManifestError, POD_KIND};
pub use name::{AcIdentifier, AcName, NameError};
pub use pod_manifest::{ExposedPort, Mount, PodManifest, RuntimeApp, RuntimeImage};
pub use quantity::{Quantity, QuantityError};
pub use volume::{DEFAULT_MODE, Volume, VolumeError, VolumeKind};
