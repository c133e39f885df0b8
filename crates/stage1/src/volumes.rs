//! Which volume goes where in an app.
//!
//! A mount of the pod's manifest wins. A mount point of the image that none of them covers gets the pod's volume of its own
//! name; when there is none, it is an error (fly), or a new `empty` volume that the user is told about.

use std::path::{Component, Path, PathBuf};

use appc::{PodManifest, Volume, VolumeKind};

use crate::input::AppInput;
use crate::{Error, Result};

/// What a stage1 does where the manifests leave it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether host volumes come with what is mounted below them, when nobody says.
    pub recursive: bool,
    /// Whether a mount point without a volume gets an empty one.
    pub implicit: bool,
}

/// A volume at a path of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The name of the volume, for messages.
    pub volume: String,
    /// Absolute, in the app's root, without `.` and `..`.
    pub path: PathBuf,
    /// Whether the app may only read.
    pub read_only: bool,
    /// What is to be mounted.
    pub source: Source,
}

/// What a volume holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or directory of the host.
    Host {
        /// Absolute.
        path: String,
        /// With what is mounted below it.
        recursive: bool,
    },
    /// A directory of the pod.
    Empty {
        /// Its name below `sharedVolumes`.
        directory: String,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// It begins as a copy of what the image has at the path.
        filled: bool,
    },
}

/// Decides what is mounted in `app`, parents before what is mounted in them.
///
/// # Errors
/// For a volume that is missing, a path that makes no sense, and two volumes at one path.
pub fn plan(
    pod: &PodManifest,
    app: &AppInput,
    rules: Rules,
    warnings: &mut Vec<String>,
) -> Result<Vec<Planned>> {
    let name = app.name();
    let mut planned: Vec<Planned> = Vec::new();
    let mut add = |volume: &Volume,
                   path: &str,
                   directory: String,
                   read_only: bool,
                   filled: bool|
     -> Result<()> {
        let path = normalize(path).ok_or_else(|| {
            Error::Refused(format!(
                "Volume {:?} cannot be mounted at {path:?} of app {name:?}: it must be an absolute path below /, without ..",
                volume.name.as_str()
            ))
        })?;
        if let Some(other) = planned.iter().find(|other| other.path == path) {
            return Err(Error::Refused(format!(
                "Volumes {:?} and {:?} cannot both be mounted at {} of app {name:?}",
                other.volume,
                volume.name.as_str(),
                path.display()
            )));
        }
        let source = match &volume.kind {
            VolumeKind::Host { source, recursive, .. } => {
                Source::Host { path: source.clone(), recursive: recursive.unwrap_or(rules.recursive) }
            }
            VolumeKind::Empty { mode, uid, gid, .. } => {
                Source::Empty { directory, mode: *mode, uid: *uid, gid: *gid, filled }
            }
        };
        planned.push(Planned { volume: volume.name.to_string(), path, read_only, source });
        Ok(())
    };

    let mut mounted: Vec<&str> = Vec::new();
    for mount in &app.runtime.mounts {
        let wanted = mount.volume.as_str();
        if !rules.implicit && mounted.contains(&wanted) {
            return Err(Error::Refused(format!("Volume {wanted:?} is mounted twice in app {name:?}")));
        }
        mounted.push(wanted);
        // A volume of the app alone must not share a directory with one of the pod.
        let (volume, directory) = match &mount.app_volume {
            Some(own) => (own, format!("{name}.{}", own.name)),
            None => {
                let volume = pod.volume(wanted).ok_or_else(|| {
                    Error::Refused(format!(
                        "no volume for mountpoint {wanted:?}:{:?} in app {name:?}",
                        mount.path
                    ))
                })?;
                (volume, wanted.to_owned())
            }
        };
        let read_only = volume.kind.read_only().unwrap_or_else(|| {
            app.app.mount_points.iter().any(|point| {
                point.read_only
                    && (point.name == volume.name || normalize(&point.path) == normalize(&mount.path))
            })
        });
        add(volume, &mount.path, directory, read_only, false)?;
    }
    let covered: Vec<Option<PathBuf>> =
        app.runtime.mounts.iter().map(|mount| normalize(&mount.path)).collect();
    for point in &app.app.mount_points {
        if covered.contains(&normalize(&point.path)) {
            continue;
        }
        if let Some(volume) = pod.volume(point.name.as_str()) {
            let read_only = volume.kind.read_only().unwrap_or(point.read_only);
            add(volume, &point.path, volume.name.to_string(), read_only, false)?;
        } else if rules.implicit {
            let filled = app.image.is_from_docker();
            warnings.push(format!(
                "no volume specified for mount point {:?} of app {name:?}, implicitly creating an \"empty\" volume. \
                 It will be removed when the pod is garbage-collected{}",
                point.name.as_str(),
                if filled { " (it begins as a copy of the image's content at that path)" } else { "" },
            ));
            let volume = Volume { name: point.name.clone(), kind: VolumeKind::empty() };
            let mut directory = format!("{name}-{}", point.name);
            if pod.volume(&directory).is_some() {
                directory = format!("{name}.{}", point.name);
            }
            add(&volume, &point.path, directory, point.read_only, filled)?;
        } else {
            return Err(Error::Refused(format!(
                "missing volume for mountpoint {:?} (--volume={0},kind=host,source=/PATH)",
                point.name.as_str()
            )));
        }
    }
    planned.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(planned)
}

/// An absolute path without `.` and doubled slashes; `None` for the root, relative paths and those with `..`.
fn normalize(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (path.is_absolute() && clean.parent().is_some()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use appc::ImageManifest;

    const NSPAWN: Rules = Rules { recursive: true, implicit: true };
    const FLY: Rules = Rules { recursive: false, implicit: false };

    fn planned(
        volumes: &str,
        mounts: &str,
        points: &str,
        rules: Rules,
    ) -> (Result<Vec<Planned>, String>, Vec<String>) {
        planned_of(volumes, mounts, points, "", rules)
    }

    fn planned_of(
        volumes: &str,
        mounts: &str,
        points: &str,
        annotations: &str,
        rules: Rules,
    ) -> (Result<Vec<Planned>, String>, Vec<String>) {
        let image = format!(
            r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"db","app":{{"exec":["/db"],"user":"0","group":"0","mountPoints":[{points}]}},"annotations":[{annotations}]}}"#
        );
        let id = "0".repeat(64);
        let pod = format!(
            r#"{{"acKind":"PodManifest","acVersion":"0.8.11","volumes":[{volumes}],"apps":[{{"name":"db","image":{{"id":"sha512-{id}"}},"mounts":[{mounts}]}}]}}"#
        );
        let image = ImageManifest::parse(image.as_bytes()).unwrap();
        let pod = PodManifest::parse(pod.as_bytes()).unwrap();
        let app = AppInput::new(pod.apps[0].clone(), image).unwrap();
        let mut warnings = Vec::new();
        let plan = plan(&pod, &app, rules, &mut warnings).map_err(|error| error.to_string());
        (plan, warnings)
    }

    fn host(path: &str, recursive: bool) -> Source {
        Source::Host { path: path.to_owned(), recursive }
    }

    #[test]
    fn a_volume_finds_the_mount_point_of_its_name() {
        let volume = r#"{"name":"data","kind":"host","source":"/srv"},{"name":"other","kind":"empty"}"#;
        let point = r#"{"name":"data","path":"/var//lib/./db/","readOnly":true}"#;
        for (rules, recursive) in [(NSPAWN, true), (FLY, false)] {
            let (plan, warnings) = planned(volume, "", point, rules);
            let wanted = Planned {
                volume: "data".to_owned(),
                path: "/var/lib/db".into(),
                read_only: true,
                source: host("/srv", recursive),
            };
            assert_eq!(plan.unwrap(), [wanted]);
            assert!(warnings.is_empty());
        }
    }

    #[test]
    fn the_volume_says_more_than_the_mount_point() {
        let point = r#"{"name":"data","path":"/d","readOnly":true}"#;
        for (flags, read_only, recursive) in [
            (r#","readOnly":false"#, false, true),
            (r#","readOnly":true,"recursive":false"#, true, false),
            (r#","recursive":true"#, true, true),
        ] {
            let volume = format!(r#"{{"name":"data","kind":"host","source":"/srv"{flags}}}"#);
            let plan = planned(&volume, "", point, NSPAWN).0.unwrap();
            assert_eq!(
                (plan[0].read_only, &plan[0].source),
                (read_only, &host("/srv", recursive)),
                "{flags}"
            );
        }
    }

    #[test]
    fn a_mount_wins_over_the_name() {
        let volumes =
            r#"{"name":"data","kind":"host","source":"/a"},{"name":"mine","kind":"host","source":"/b"}"#;
        let point = r#"{"name":"data","path":"/d","readOnly":true}"#;
        let plan = planned(volumes, r#"{"volume":"mine","path":"/d/"}"#, point, NSPAWN).0.unwrap();
        assert_eq!(plan.len(), 1);
        assert_eq!((plan[0].source.clone(), plan[0].read_only), (host("/b", true), true));
    }

    #[test]
    fn a_mount_point_without_a_volume() {
        let point = r#"{"name":"data","path":"/d"}"#;
        let (plan, warnings) = planned("", "", point, NSPAWN);
        let source =
            Source::Empty { directory: "db-data".to_owned(), mode: 0o755, uid: 0, gid: 0, filled: false };
        assert_eq!(plan.unwrap()[0].source, source);
        assert!(warnings[0].contains("\"data\"") && warnings[0].contains("garbage-collected"));

        let (plan, warnings) = planned("", "", point, FLY);
        assert!(plan.unwrap_err().starts_with("missing volume for mountpoint \"data\" "));
        assert!(warnings.is_empty());

        let docker = r#"{"name":"appc.io/docker/repository","value":"library/db"}"#;
        let (plan, _) = planned_of("", "", point, docker, NSPAWN);
        assert!(matches!(&plan.unwrap()[0].source, Source::Empty { filled: true, .. }));

        // The pod's volume of that name is somebody else's.
        let (plan, _) = planned(r#"{"name":"db-data","kind":"empty"}"#, "", point, NSPAWN);
        assert!(
            matches!(&plan.unwrap()[0].source, Source::Empty { directory, .. } if directory == "db.data")
        );
    }

    #[test]
    fn volumes_of_one_app() {
        let mount = r#"{"volume":"own","path":"/o","appVolume":{"name":"own","kind":"empty","mode":"1777","uid":3,"gid":4}}"#;
        let plan = planned("", mount, "", NSPAWN).0.unwrap();
        let source =
            Source::Empty { directory: "db.own".to_owned(), mode: 0o1777, uid: 3, gid: 4, filled: false };
        assert_eq!(plan[0].source, source);
    }

    #[test]
    fn parents_come_first() {
        let volumes =
            r#"{"name":"a","kind":"empty"},{"name":"b","kind":"empty"},{"name":"c","kind":"empty"}"#;
        let mounts =
            r#"{"volume":"a","path":"/x/y"},{"volume":"b","path":"/x-z"},{"volume":"c","path":"/x"}"#;
        let plan = planned(volumes, mounts, "", NSPAWN).0.unwrap();
        let paths: Vec<_> = plan.iter().map(|planned| planned.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/x", "/x/y", "/x-z"]);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let volumes = r#"{"name":"a","kind":"empty"},{"name":"b","kind":"empty"}"#;
        for (mounts, message) in [
            (r#"{"volume":"gone","path":"/x"}"#, "no volume for mountpoint \"gone\":\"/x\" in app \"db\""),
            (
                r#"{"volume":"a","path":"/x"},{"volume":"b","path":"//x"}"#,
                "Volumes \"a\" and \"b\" cannot both be mounted at /x of app \"db\"",
            ),
            (
                r#"{"volume":"a","path":"/x/../y"}"#,
                "Volume \"a\" cannot be mounted at \"/x/../y\" of app \"db\": it must be an absolute path below /, \
                 without ..",
            ),
            (
                r#"{"volume":"a","path":"//"}"#,
                "Volume \"a\" cannot be mounted at \"//\" of app \"db\": it must be an absolute path below /, without ..",
            ),
        ] {
            assert_eq!(planned(volumes, mounts, "", NSPAWN).0.unwrap_err(), message);
        }
        let twice = r#"{"volume":"a","path":"/x"},{"volume":"a","path":"/y"}"#;
        assert!(planned(volumes, twice, "", NSPAWN).0.is_ok());
        assert_eq!(
            planned(volumes, twice, "", FLY).0.unwrap_err(),
            "Volume \"a\" is mounted twice in app \"db\""
        );
    }
}
