//! The pod that a stage1 is to run, read once.

use appc::{App, ImageManifest, PodManifest, RuntimeApp};
use pod::Current;

use crate::{Error, Result};

/// A pod and its apps.
#[derive(Debug)]
pub struct Pod {
    /// Its directory and lock.
    pub current: Current,
    /// Its manifest.
    pub manifest: PodManifest,
    /// What each app is, in the order of the manifest.
    pub apps: Vec<AppInput>,
}

/// An app: what the pod says of it, on top of what its image says.
#[derive(Debug, Clone)]
pub struct AppInput {
    /// In the pod's manifest.
    pub runtime: RuntimeApp,
    /// Its image's manifest.
    pub image: ImageManifest,
    /// The pod's, or else the image's.
    pub app: App,
}

impl AppInput {
    /// Its name.
    pub fn name(&self) -> &str {
        self.runtime.name.as_str()
    }

    /// Puts the two manifests together.
    ///
    /// # Errors
    /// When neither says what to run.
    pub fn new(runtime: RuntimeApp, image: ImageManifest) -> Result<Self> {
        let Some(app) = runtime.app.clone().or_else(|| image.app.clone()) else {
            return Err(Error::Refused(format!(
                "App {:?} cannot run: image {:?} does not say what to run (try --exec=BINARY)",
                runtime.name.as_str(),
                image.name.as_str(),
            )));
        };
        Ok(AppInput { runtime, image, app })
    }
}

impl Pod {
    /// Reads the pod `current`.
    ///
    /// # Errors
    /// When it has no manifest, or one that breaks a rule.
    pub fn open(current: Current) -> Result<Self> {
        let missing = |what: &str| Error::Refused(format!("The pod is incomplete: it has no {what}"));
        let json = current.dir.manifest_json()?.ok_or_else(|| missing("manifest"))?;
        let manifest = PodManifest::parse(&json)
            .map_err(|error| Error::Manifest { what: "the pod".to_owned(), source: error.into() })?;
        let apps = manifest
            .apps
            .iter()
            .map(|runtime| {
                let name = runtime.name.as_str();
                let json = current
                    .dir
                    .image_manifest_json(name)?
                    .ok_or_else(|| missing(&format!("image manifest for app {name:?}")))?;
                let image = ImageManifest::parse(&json).map_err(|error| Error::Manifest {
                    what: format!("the image of app {name:?}"),
                    source: error.into(),
                })?;
                AppInput::new(runtime.clone(), image)
            })
            .collect::<Result<_>>()?;
        Ok(Pod { current, manifest, apps })
    }

    /// The app called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn app(&self, name: &str) -> Result<&AppInput> {
        self.apps
            .iter()
            .find(|app| app.name() == name)
            .ok_or_else(|| Error::Refused(format!("The pod has no app {name:?}")))
    }
}
