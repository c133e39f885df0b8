//! Volumes, mounts and directories.

use appc::{Mount, Volume, VolumeKind};

use super::{Parsed, Problem, number, parsed, path};
use crate::pod::{Bind, Tmpfs};

/// A volume as `--volume` takes it, or short: `NAME:/source[:ro]`, or `NAME` for an empty one.
pub(crate) fn volume(text: &str) -> Parsed<Volume> {
    if text.contains("kind=") {
        return parsed(text);
    }
    let mut parts = text.splitn(3, ':');
    let name = parsed(parts.next().unwrap_or_default())?;
    let kind = match parts.next() {
        None => VolumeKind::empty(),
        Some(source) => {
            let read_only = match parts.next() {
                None => None,
                Some("ro") => Some(true),
                Some("rw") => Some(false),
                Some(other) => return Err(Problem::new(format!("{other:?} is neither ro nor rw"))),
            };
            VolumeKind::Host { source: path(source)?, read_only, recursive: None }
        }
    };
    Ok(Volume { name, kind })
}

/// A mount as `--mount` takes it, or short: `VOLUME:/target`.
pub(crate) fn mount(text: &str) -> Parsed<Mount> {
    if text.contains("volume=") || text.contains("target=") {
        return parsed(text);
    }
    let Some((volume, target)) = text.split_once(':') else {
        return Err(Problem::new(format!("{text:?} is not VOLUME:/path")));
    };
    Ok(Mount { volume: parsed(volume)?, path: path(target)?, app_volume: None })
}

/// `/source[:/target[:option,…]]`
pub(crate) fn bind(text: &str) -> Parsed<Bind> {
    let mut parts = text.splitn(3, ':');
    let source = path(parts.next().unwrap_or_default())?;
    let target = parts.next().map_or_else(|| Ok(source.clone()), path)?;
    let mut bind = Bind { source, target, read_only: false, recursive: None };
    for option in parts.next().unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => bind.read_only = true,
            "rw" => bind.read_only = false,
            "rbind" => bind.recursive = Some(true),
            "norbind" => bind.recursive = Some(false),
            _ => return Err(Problem::new(format!("{option:?} is none of ro, rw, rbind, norbind"))),
        }
    }
    Ok(bind)
}

/// `/target[:option,…]`
pub(crate) fn tmpfs(text: &str) -> Parsed<Tmpfs> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut tmpfs = Tmpfs { target: path(target)?, mode: 0o755, uid: 0, gid: 0 };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "mode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                tmpfs.mode = mode.ok_or_else(|| Problem::new(format!("{value:?} is no octal mode")))?;
            }
            "uid" => tmpfs.uid = number(value, 0, u32::MAX - 1)?,
            "gid" => tmpfs.gid = number(value, 0, u32::MAX - 1)?,
            _ => return Err(Problem::new(format!("{option:?} is none of mode=, uid=, gid="))),
        }
    }
    Ok(tmpfs)
}
