//! Volumes: appc specification, "Pod Manifest Schema", and the value of `--volume`.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::name::{AcName, NameError};
use crate::pod_manifest::Mount;

/// Why a text describes no volume or mount.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VolumeError {
    /// The name of the volume.
    #[error("Bad volume name")]
    Name(#[from] NameError),
    /// A piece that is not `KEY=VALUE`.
    #[error("{0:?} is not KEY=VALUE")]
    NotAPair(String),
    /// A key that there is not, or not for this kind.
    #[error("Unknown parameter {0:?}")]
    UnknownKey(String),
    /// A key given twice.
    #[error("Parameter {0:?} is given twice")]
    Repeated(String),
    /// A value that the key cannot have.
    #[error("{key} cannot be {value:?}: {expected}")]
    Value {
        /// The key.
        key: String,
        /// What was given.
        value: String,
        /// What could be.
        expected: &'static str,
    },
    /// A key that must be there.
    #[error("Parameter {0:?} is missing")]
    Missing(&'static str),
    /// A key that belongs to the other kind.
    #[error("Parameter {key:?} has no meaning for a volume of kind {kind}")]
    Foreign {
        /// The key.
        key: &'static str,
        /// The kind.
        kind: &'static str,
    },
}

/// What a volume is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeKind {
    /// A file or directory of the host.
    Host {
        /// Its absolute path.
        source: String,
        /// Whether what is mounted below it comes too; the stage1 decides when nobody says.
        recursive: Option<bool>,
    },
    /// A directory that lives as long as the pod.
    Empty {
        /// Its permissions.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// The permissions of an empty volume about which nothing is said.
pub const DEFAULT_MODE: u32 = 0o755;

/// A volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Unique in the pod.
    pub name: AcName,
    /// What it is made of.
    pub kind: VolumeKind,
    /// Whether apps can write to it; the mount point decides when nobody says.
    pub read_only: Option<bool>,
}

impl Volume {
    fn from_parts(raw: Raw) -> Result<Self, VolumeError> {
        let Raw { name, kind, source, read_only, recursive, mode, uid, gid } = raw;
        let foreign = |key, kind| Err(VolumeError::Foreign { key, kind });
        let kind = match kind.as_str() {
            "host" => {
                let given = [("mode", mode.is_some()), ("uid", uid.is_some()), ("gid", gid.is_some())];
                if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
                    return foreign(key, "host");
                }
                let source =
                    source.filter(|source| !source.is_empty()).ok_or(VolumeError::Missing("source"))?;
                if !source.starts_with('/') {
                    return Err(bad_value("source", &source, "an absolute path"));
                }
                VolumeKind::Host { source, recursive }
            }
            "empty" => {
                let given = [("source", source.is_some()), ("recursive", recursive.is_some())];
                if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
                    return foreign(key, "empty");
                }
                let mode = mode.map_or(Ok(DEFAULT_MODE), |text| parse_mode(&text))?;
                VolumeKind::Empty { mode, uid: uid.unwrap_or(0), gid: gid.unwrap_or(0) }
            }
            other => return Err(bad_value("kind", other, "host or empty")),
        };
        Ok(Volume { name, kind, read_only })
    }
}

/// A volume as JSON has it, all its parameters side by side.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    name: AcName,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_only: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recursive: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
}

impl Serialize for Volume {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut raw = Raw {
            name: self.name.clone(),
            kind: "host".to_owned(),
            source: None,
            read_only: self.read_only,
            recursive: None,
            mode: None,
            uid: None,
            gid: None,
        };
        match &self.kind {
            VolumeKind::Host { source, recursive } => {
                raw.source = Some(source.clone());
                raw.recursive = *recursive;
            }
            VolumeKind::Empty { mode, uid, gid } => {
                "empty".clone_into(&mut raw.kind);
                raw.mode = Some(format!("{mode:04o}"));
                raw.uid = Some(*uid);
                raw.gid = Some(*gid);
            }
        }
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Volume::from_parts(Raw::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl FromStr for Volume {
    type Err = VolumeError;

    /// Reads `NAME,kind=host,source=/path[,readOnly=BOOL][,recursive=BOOL]` or
    /// `NAME,kind=empty[,mode=0755][,uid=0][,gid=0][,readOnly=BOOL]`.
    fn from_str(text: &str) -> Result<Self, VolumeError> {
        let (name, rest) = text.split_once(',').unwrap_or((text, ""));
        let mut parameters = Parameters::parse(rest)?;
        let raw = Raw {
            name: name.parse()?,
            kind: parameters.take("kind").ok_or(VolumeError::Missing("kind"))?,
            source: parameters.take("source"),
            read_only: parameters.take_bool("readOnly")?,
            recursive: parameters.take_bool("recursive")?,
            mode: parameters.take("mode"),
            uid: parameters.take_number("uid")?,
            gid: parameters.take_number("gid")?,
        };
        parameters.finish()?;
        Volume::from_parts(raw)
    }
}

impl FromStr for Mount {
    type Err = VolumeError;

    /// Reads `volume=NAME,target=/path`.
    fn from_str(text: &str) -> Result<Self, VolumeError> {
        let mut parameters = Parameters::parse(text)?;
        let volume = parameters.take("volume").ok_or(VolumeError::Missing("volume"))?.parse()?;
        let path = parameters.take("target").ok_or(VolumeError::Missing("target"))?;
        parameters.finish()?;
        if !path.starts_with('/') {
            return Err(bad_value("target", &path, "an absolute path"));
        }
        Ok(Mount { volume, path, app_volume: None })
    }
}

/// `KEY=VALUE,KEY=VALUE…`, each key once.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(text: &str) -> Result<Self, VolumeError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for piece in text.split(',').filter(|piece| !piece.is_empty()) {
            let (key, value) =
                piece.split_once('=').ok_or_else(|| VolumeError::NotAPair(piece.to_owned()))?;
            if pairs.iter().any(|(known, _)| known == key) {
                return Err(VolumeError::Repeated(key.to_owned()));
            }
            pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(pairs))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.swap_remove(at).1)
    }

    fn take_bool(&mut self, key: &str) -> Result<Option<bool>, VolumeError> {
        self.take(key)
            .map(|value| value.parse().map_err(|_| bad_value(key, &value, "true or false")))
            .transpose()
    }

    fn take_number(&mut self, key: &str) -> Result<Option<u32>, VolumeError> {
        self.take(key).map(|value| value.parse().map_err(|_| bad_value(key, &value, "a number"))).transpose()
    }

    fn finish(self) -> Result<(), VolumeError> {
        self.0.into_iter().next().map_or(Ok(()), |(key, _)| Err(VolumeError::UnknownKey(key)))
    }
}

fn parse_mode(text: &str) -> Result<u32, VolumeError> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| bad_value("mode", text, "octal permissions such as 0755"))
}

fn bad_value(key: &str, value: &str, expected: &'static str) -> VolumeError {
    VolumeError::Value { key: key.to_owned(), value: value.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_volumes() {
        for (text, json) in [
            ("data,kind=host,source=/srv", r#"{"name":"data","kind":"host","source":"/srv"}"#),
            (
                "d,kind=host,source=/s,readOnly=true,recursive=false",
                r#"{"name":"d","kind":"host","source":"/s","readOnly":true,"recursive":false}"#,
            ),
            ("t,kind=empty", r#"{"name":"t","kind":"empty","mode":"0755","uid":0,"gid":0}"#),
            (
                "t,kind=empty,mode=1777,uid=5,gid=6",
                r#"{"name":"t","kind":"empty","mode":"1777","uid":5,"gid":6}"#,
            ),
        ] {
            let volume: Volume = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&volume).unwrap(), json, "{text}");
            assert_eq!(serde_json::from_str::<Volume>(json).unwrap(), volume);
        }
        for text in [
            "",
            "data",
            "data,kind=tape",
            "data,kind=host",
            "data,kind=host,source=relative",
            "data,kind=host,source=/s,mode=0700",
            "data,kind=empty,source=/s",
            "data,kind=empty,mode=999",
            "data,kind=empty,uid=-1",
            "data,kind=empty,colour=red",
            "data,kind=empty,uid=1,uid=2",
            "data,kind=host,source=/s,readOnly=perhaps",
            "Data,kind=empty",
        ] {
            assert!(text.parse::<Volume>().is_err(), "{text}");
        }
    }

    #[test]
    fn reads_mounts() {
        let mount: Mount = "volume=data,target=/var/data".parse().unwrap();
        assert_eq!((mount.volume.as_str(), mount.path.as_str()), ("data", "/var/data"));
        for text in ["", "volume=data", "target=/x", "volume=data,target=x", "volume=data,target=/x,y=z"] {
            assert!(text.parse::<Mount>().is_err(), "{text}");
        }
    }
}
