//! Volumes of a pod and where apps mount them.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::AcName;
use crate::error::{ManifestError, Rule};
use crate::json::{At, Read, deserialize_by_read};

/// A volume (specification, "Pod Manifest Schema", `volumes`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The name, unique in the pod.
    pub name: AcName,
    /// What is in it.
    pub kind: VolumeKind,
}

/// What a volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeKind {
    /// A file or directory of the host.
    Host {
        /// Absolute path on the host.
        source: String,
        /// Whether apps may only read; the mount point decides when absent.
        read_only: Option<bool>,
        /// Whether mounts below the source are there too; the stage1 decides when absent.
        recursive: Option<bool>,
    },
    /// A directory that lives as long as the pod.
    Empty {
        /// Whether apps may only read; the mount point decides when absent.
        read_only: Option<bool>,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

impl VolumeKind {
    /// Permission bits of an empty volume when nothing else is said.
    pub const DEFAULT_MODE: u32 = 0o755;

    /// An empty volume as rkt makes it when nothing else is said: mode 0755, owner and group 0.
    pub const fn empty() -> Self {
        Self::Empty { read_only: None, mode: Self::DEFAULT_MODE, uid: 0, gid: 0 }
    }

    /// Whether apps may only read; the mount point decides when `None`.
    pub const fn read_only(&self) -> Option<bool> {
        match self {
            Self::Host { read_only, .. } | Self::Empty { read_only, .. } => *read_only,
        }
    }
}

impl Serialize for Volume {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        match &self.kind {
            VolumeKind::Host { source, read_only, recursive } => {
                map.serialize_entry("kind", "host")?;
                map.serialize_entry("source", source)?;
                if let Some(read_only) = read_only {
                    map.serialize_entry("readOnly", read_only)?;
                }
                if let Some(recursive) = recursive {
                    map.serialize_entry("recursive", recursive)?;
                }
            }
            VolumeKind::Empty { read_only, mode, uid, gid } => {
                map.serialize_entry("kind", "empty")?;
                if let Some(read_only) = read_only {
                    map.serialize_entry("readOnly", read_only)?;
                }
                map.serialize_entry("mode", &format!("{mode:04o}"))?;
                map.serialize_entry("uid", uid)?;
                map.serialize_entry("gid", gid)?;
            }
        }
        map.end()
    }
}

/// Reads permission bits as octal text, at most `7777`.
pub(crate) fn parse_mode(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777)
}

/// What the text of a mode must be.
pub(crate) const MODE_RULE: &str = "is not a mode (octal digits, at most 7777)";

impl Read for Volume {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        let name = at.parsed("name")?;
        let forbid = |fields: &[&str], rule| match fields.iter().find(|field| at.is_set(field)) {
            Some(field) => Err(at.field_error(field, Rule::Conflict(rule))),
            None => Ok(()),
        };
        let kind = match at.required_text("kind")? {
            "host" => {
                forbid(&["mode", "uid", "gid"], "cannot be set for a host volume")?;
                let source = at.required_path("source")?;
                if !source.starts_with('/') {
                    return Err(at.field_error("source", Rule::NotAbsolute(source)));
                }
                VolumeKind::Host {
                    source,
                    read_only: at.optional("readOnly")?,
                    recursive: at.optional("recursive")?,
                }
            }
            "empty" => {
                forbid(&["source"], "cannot be set for an empty volume")?;
                let mode = match at.field("mode") {
                    Some(field) => match field.text()? {
                        "" => VolumeKind::DEFAULT_MODE,
                        text => parse_mode(text).ok_or_else(|| {
                            field.error(Rule::Form { rule: MODE_RULE, found: text.to_owned() })
                        })?,
                    },
                    None => VolumeKind::DEFAULT_MODE,
                };
                VolumeKind::Empty {
                    read_only: at.optional("readOnly")?,
                    mode,
                    uid: at.or_default("uid")?,
                    gid: at.or_default("gid")?,
                }
            }
            other => {
                let rule = Rule::OneOf { allowed: "\"host\", \"empty\"", found: other.to_owned() };
                return Err(at.field_error("kind", rule));
            }
        };
        Ok(Self { name, kind })
    }
}

/// Puts a volume at a path of one app (specification, "Pod Manifest Schema", `mounts`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// The name of the volume.
    pub volume: AcName,
    /// The path in the app's file system.
    pub path: String,
    /// A volume private to this app, in place of one of the pod's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_volume: Option<Volume>,
}

impl Read for Mount {
    fn read(at: At<'_>) -> Result<Self, ManifestError> {
        at.object()?;
        Ok(Self {
            volume: at.parsed("volume")?,
            path: at.required_path("path")?,
            app_volume: at.optional("appVolume")?,
        })
    }
}

deserialize_by_read!(Volume, Mount);
