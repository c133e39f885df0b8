//! `--volume` and `--mount`.

use std::str::FromStr;

use super::{Pairs, Problem, Syntax, ValueError};
use crate::volume::{MODE_RULE, parse_mode};
use crate::{Mount, Volume, VolumeKind};

/// A path that does not begin at the root.
const ABSOLUTE: &str = "must be an absolute path";

impl FromStr for Volume {
    type Err = ValueError;

    /// Reads the syntax of `--volume`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax {
            kind: "Volume",
            syntax: "NAME,kind=host,source=/PATH[,readOnly=BOOL][,recursive=BOOL] or \
                     NAME,kind=empty[,readOnly=BOOL][,mode=0755][,uid=0][,gid=0]",
        };
        SYNTAX.parse(text, |text| {
            let (name, rest) = text.split_once(',').ok_or(Problem::Missing("kind"))?;
            let name = name.parse()?;
            let mut pairs = Pairs::split(rest)?;
            let kind = match pairs.require("kind")? {
                "host" => {
                    let source = pairs.require("source")?;
                    if !source.starts_with('/') {
                        return Err(Problem::form(source, ABSOLUTE));
                    }
                    VolumeKind::Host {
                        source: source.to_owned(),
                        read_only: pairs.boolean("readOnly")?,
                        recursive: pairs.boolean("recursive")?,
                    }
                }
                "empty" => VolumeKind::Empty {
                    read_only: pairs.boolean("readOnly")?,
                    mode: match pairs.take("mode") {
                        Some(mode) => parse_mode(mode).ok_or_else(|| Problem::form(mode, MODE_RULE))?,
                        None => VolumeKind::DEFAULT_MODE,
                    },
                    uid: pairs.id("uid")?.unwrap_or(0),
                    gid: pairs.id("gid")?.unwrap_or(0),
                },
                other => return Err(Problem::form(other, "is not a kind of volume (\"host\" or \"empty\")")),
            };
            pairs.finish()?;
            Ok(Self { name, kind })
        })
    }
}

impl FromStr for Mount {
    type Err = ValueError;

    /// Reads the syntax of `--mount`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax { kind: "Mount", syntax: "volume=NAME,target=/PATH" };
        SYNTAX.parse(text, |text| {
            let mut pairs = Pairs::split(text)?;
            let volume = pairs.require("volume")?.parse()?;
            let target = pairs.require("target")?;
            if !target.starts_with('/') {
                return Err(Problem::form(target, ABSOLUTE));
            }
            pairs.finish()?;
            Ok(Self { volume, path: target.to_owned(), app_volume: None })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let host = |source: &str, read_only, recursive| VolumeKind::Host {
            source: source.to_owned(),
            read_only,
            recursive,
        };
        for (text, kind) in [
            ("data,kind=host,source=/srv/data", host("/srv/data", None, None)),
            ("data,kind=host,source=/srv=x,readOnly=true", host("/srv=x", Some(true), None)),
            ("data,recursive=false,source=/,kind=host,readOnly=0", host("/", Some(false), Some(false))),
            ("data,kind=empty", VolumeKind::empty()),
            (
                "data,kind=empty,mode=1777,uid=7,gid=8",
                VolumeKind::Empty { read_only: None, mode: 0o1777, uid: 7, gid: 8 },
            ),
            (
                "data,kind=empty,readOnly=true",
                VolumeKind::Empty { read_only: Some(true), mode: 0o755, uid: 0, gid: 0 },
            ),
        ] {
            assert_eq!(text.parse(), Ok(Volume { name: "data".parse().unwrap(), kind }), "{text}");
        }
        for (text, problem) in [
            ("", "kind is missing"),
            ("data", "kind is missing"),
            ("data,source=/", "kind is missing"),
            ("Data,kind=empty", "\"Data\" is not a valid AC name"),
            (",kind=empty", "AC name must not be empty"),
            ("data,kind=nfs", "\"nfs\" is not a kind of volume"),
            ("data,kind=host", "source is missing"),
            ("data,kind=host,source=", "source is missing"),
            ("data,kind=host,source=srv", "\"srv\" must be an absolute path"),
            ("data,kind=host,source=/,mode=0755", "\"mode\" cannot be set here"),
            ("data,kind=empty,source=/", "\"source\" cannot be set here"),
            ("data,kind=empty,recursive=true", "\"recursive\" cannot be set here"),
            ("data,kind=empty,mode=888", "\"888\" is not a mode"),
            ("data,kind=empty,mode=10000", "\"10000\" is not a mode"),
            ("data,kind=empty,mode=", "\"\" is not a mode"),
            ("data,kind=empty,uid=-1", "\"-1\" must be a number"),
            ("data,kind=empty,uid=+1", "\"+1\" must be a number"),
            ("data,kind=empty,gid=4294967295", "must be a number from 0 to 4294967294"),
            ("data,kind=host,source=/,readOnly=yes", "\"yes\" must be true or false"),
            ("data,kind=empty,kind=empty", "\"kind\" is there more than once"),
            ("data,kind=empty,", "\"\" is not KEY=VALUE"),
            ("data,empty", "\"empty\" is not KEY=VALUE"),
        ] {
            let error = text.parse::<Volume>().unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("NAME,kind=host"), "{text}: {error}");
        }
    }

    #[test]
    fn mounts() {
        let mount: Mount = "target=/var/lib,volume=data".parse().unwrap();
        assert_eq!(
            mount,
            Mount { volume: "data".parse().unwrap(), path: "/var/lib".to_owned(), app_volume: None }
        );
        for (text, problem) in [
            ("", "\"\" is not KEY=VALUE"),
            ("volume=data", "target is missing"),
            ("target=/x", "volume is missing"),
            ("volume=data,target=x", "\"x\" must be an absolute path"),
            ("volume=d_,target=/x", "is not a valid AC name"),
            ("volume=data,target=/x,path=/y", "\"path\" cannot be set here"),
        ] {
            let error = text.parse::<Mount>().unwrap_err().to_string();
            assert!(error.starts_with("Mount") && error.contains(problem), "{text}: {error}");
        }
    }
}
