//! What the manifest of a stage1 says about its entrypoints.

use anyhow::{Context, Result, ensure};
use appc::ImageManifest;

const RUN: &str = "coreos.com/rkt/stage1/run";
const VERSION: &str = "coreos.com/rkt/stage1/interface-version";

/// The entrypoint that runs a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Abi {
    /// Its absolute path in the root of the stage1.
    pub(crate) run: String,
    /// The version of the interface that the stage1 speaks.
    pub(crate) version: u32,
}

impl Abi {
    /// Reads the annotations of a stage1.
    pub(crate) fn of(manifest: &ImageManifest) -> Result<Self> {
        let name = manifest.name.as_str();
        let run = manifest.annotations.get(RUN);
        let run = run.with_context(|| format!("image {name:?} is no stage1: it has no annotation {RUN}"))?;
        let inside = run.starts_with('/') && !run.split('/').any(|part| part == "..");
        ensure!(inside, "stage1 {name:?}: annotation {RUN} is no absolute path: {run:?}");
        let version = match manifest.annotations.get(VERSION) {
            None => 1,
            Some(text) => text
                .parse()
                .with_context(|| format!("stage1 {name:?}: annotation {VERSION} is no number: {text:?}"))?,
        };
        Ok(Self { run: run.to_owned(), version })
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
        assert_eq!(read(run).unwrap(), Abi { run: "/init".to_owned(), version: 1 });
        assert_eq!(read(&format!("{run},{version}")).unwrap().version, 6);
        for wrong in [
            version,
            &run.replace("/init", "init"),
            &run.replace("/init", "/a/../../init"),
            &format!("{run},{}", version.replace('6', "six")),
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
