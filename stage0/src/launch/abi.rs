//! What a stage1 says about running pods.

use anyhow::{Result, ensure};
use appc::ImageManifest;

use crate::entrypoint::{Operation, interface_version, program};

/// The entrypoint that runs a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Abi {
    /// Its absolute path in the root of the stage1.
    pub(crate) run: String,
    /// The version of the interface that the stage1 speaks.
    pub(crate) version: u32,
    /// It can change the apps of a pod that runs.
    pub(crate) mutable: bool,
}

impl Abi {
    /// Reads the annotations of a stage1.
    pub(crate) fn of(manifest: &ImageManifest) -> Result<Self> {
        let run = program(manifest, Operation::Run)?;
        let inside = run.starts_with('/') && !run.split('/').any(|part| part == "..");
        ensure!(inside, "The \"run\" entrypoint {run:?} of the stage1 is no absolute path in its root");
        let changes = [Operation::AppAdd, Operation::AppStart, Operation::AppStop, Operation::AppRemove];
        let mutable = changes.iter().all(|change| program(manifest, *change).is_ok());
        Ok(Self { run: run.to_owned(), version: interface_version(manifest)?, mutable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotations: &str) -> Result<Abi> {
        let json = format!(
            r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/s1","annotations":[{annotations}]}}"#
        );
        Abi::of(&ImageManifest::parse(json.as_bytes())?)
    }

    #[test]
    fn annotations() {
        let run = r#"{"name":"coreos.com/rkt/stage1/run","value":"/init"}"#;
        let version = r#"{"name":"coreos.com/rkt/stage1/interface-version","value":"6"}"#;
        assert_eq!(read(run).unwrap(), Abi { run: "/init".to_owned(), version: 1, mutable: false });
        assert_eq!(read(&format!("{run},{version}")).unwrap().version, 6);
        for wrong in [version, &run.replace("/init", "init"), &run.replace("/init", "/a/../../init")] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
