//! App Container types and parsers: names, image and pod manifests, isolators, and the value syntaxes of the
//! command line.
//!
//! Everything here follows the App Container specification 0.8.11 as rkt read it. The crate does no I/O:
//! parsers take bytes or text and return typed values, and an invalid value cannot exist past them.
//!
//! * [`ImageManifest::parse`] and [`PodManifest::parse`] read the two JSON documents of the specification. They
//!   refuse repeated keys, ignore unknown fields, treat `null` as absent (as Go's decoder did) and report the field
//!   and the rule in a [`ManifestError`].
//! * Serialising writes the fields in the order of the specification's schema and leaves out empty optional ones, so
//!   `serde_json::to_vec` is the canonical form.
//! * [`value`] holds the syntaxes of flags such as `--volume` and `--net`.
//! * [`ImageReference`] tells what an image argument means.

mod app;
mod capability;
mod error;
mod id;
mod image;
mod isolator;
mod json;
mod labels;
mod name;
pub mod os_arch;
mod pod;
mod port;
mod quantity;
mod reference;
mod semver;
pub mod sysctl;
pub mod value;
mod volume;

pub use app::{App, Environment, EnvironmentVariable, EventHandler, EventHandlerKind, MountPoint};
pub use capability::{Capability, CapabilitySet, UnknownCapability};
pub use error::{ManifestError, Rule};
pub use id::{ImageId, ImageIdError};
pub use image::{Dependency, ImageManifest};
pub use isolator::{Isolator, Isolators, ResourceValue, SeLinuxContext, SeccompSet};
pub use labels::{Annotation, Annotations, Label, Labels};
pub use name::{AcIdentifier, AcName, NameError, default_app_name};
pub use pod::{PodManifest, RuntimeApp, RuntimeImage};
pub use port::{ExposedPort, Port};
pub use quantity::{Quantity, QuantityError};
pub use reference::{ImageReference, ImageReferenceError, ReferenceProblem, RegistryReference};
pub use semver::{SPEC_VERSION, SemVer, SemVerError};
pub use value::extension;
pub use value::{DnsList, HostsEntry, NetList, PortMapping, SeccompSpec, ValueError};
pub use volume::{Mount, Volume, VolumeKind};
