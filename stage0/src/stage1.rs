//! Which stage1 a pod gets.
//!
//! | asked for by | looked for |
//! |---|---|
//! | a flag `--stage1-*` | there alone |
//! | configuration, name and version | the store, then the configured location |
//! | configuration, location | that file, then a file of its name beside this program |
//! | nobody | [`LOCATION`], then a file of its name beside this program or in `../lib/rkt/stage1-images` from it, then the store |
//!
//! Files that were installed with rkt are not verified: who can write there can replace rkt. All others need a
//! signature or `--insecure-options=image`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use appc::ImageReference;

use crate::config::Config;
use crate::context::Context;
use crate::images::{self, StoredImage};
use crate::options::pull::PullPolicy;
use crate::options::stage1::Stage1Choice;

/// The name of the stage1 that a pod gets when nobody says otherwise. Its version is rkt's.
pub(crate) const NAME: &str = "coreos.com/rkt/stage1-nspawn";
/// The version of rkt and of the stage1s that come with it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The directory of the stage1s that come with rkt.
pub(crate) const IMAGES: &str = "/usr/lib/rkt/stage1-images";
/// The file of the stage1 that a pod gets when nobody says otherwise.
pub(crate) const LOCATION: &str = "/usr/lib/rkt/stage1-images/stage1-nspawn.aci";

/// A place where a stage1 is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// The store, by ID or name.
    Store(String),
    /// A file.
    File { path: PathBuf, installed: bool },
    /// Somewhere else.
    Remote(String),
    /// Wherever the owner of the name says.
    Name(String),
}

/// Finds the stage1 that `choice`, a flag, or else the configuration asks for.
pub(crate) fn select(context: &Context, choice: Option<Stage1Choice>) -> Result<StoredImage> {
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let name = match &choice {
        Some(Stage1Choice::Name(name)) => Some(name.clone()),
        _ => None,
    };
    let places = match choice {
        Some(choice) => chosen(choice, context.config()?, &program),
        None => configured(context.config()?, &program),
    };
    for place in &places {
        if let Some(image) = look_at(context, place)? {
            if let Some(name) = &name {
                check_name(&image, name).with_context(|| format!("no stage1 image {name:?}"))?;
            }
            return Ok(image);
        }
    }
    bail!("cannot find a stage1 image, looked for: {}", list(&places))
}

fn file(path: impl Into<PathBuf>) -> Place {
    let path = path.into();
    let installed = path.starts_with(IMAGES) && !path.components().any(|part| part.as_os_str() == "..");
    Place::File { path, installed }
}

/// What a path or URL names.
fn location(text: &str) -> Place {
    let path = text.strip_prefix("file://").unwrap_or(text);
    if path.contains("://") { Place::Remote(text.to_owned()) } else { file(path) }
}

fn installed(path: PathBuf) -> Place {
    Place::File { path, installed: true }
}

/// Where files called `name` that came with `program` may be.
fn beside(program: &Path, name: &Path) -> Vec<Place> {
    let directory = program.parent().map(Path::to_owned);
    let directories =
        directory.map(|directory| [directory.clone(), directory.join("../lib/rkt/stage1-images")]);
    directories.into_iter().flatten().map(|directory| installed(directory.join(name))).collect()
}

/// Where the stage1 of a flag is looked for.
fn chosen(choice: Stage1Choice, config: &Config, program: &Path) -> Vec<Place> {
    match choice {
        Stage1Choice::Hash(hash) => vec![Place::Store(hash)],
        Stage1Choice::Url(url) => vec![location(&url)],
        Stage1Choice::Path(path) => vec![file(path)],
        Stage1Choice::FromDir(name) => from_directory(Path::new(&name), config, program),
        Stage1Choice::Name(name) => {
            // Those that come with rkt have a file called like the last part of their name.
            let bare = name.split([':', ',']).next().unwrap_or_default();
            let last = PathBuf::from(format!("{}.aci", bare.rsplit('/').next().unwrap_or_default()));
            let files = from_directory(&last, config, program);
            let elsewhere = Place::Name(name.clone());
            std::iter::once(Place::Store(name)).chain(files).chain([elsewhere]).collect()
        }
    }
}

fn from_directory(name: &Path, config: &Config, program: &Path) -> Vec<Place> {
    match &config.stage1_images {
        Some(directory) => vec![file(directory.join(name))],
        None => std::iter::once(file(Path::new(IMAGES).join(name))).chain(beside(program, name)).collect(),
    }
}

/// Where the stage1 of a pod is looked for when no flag names one.
fn configured(config: &Config, program: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    if let Some((name, version)) = &config.stage1_name
        && !version.ends_with("-dirty")
    {
        places.push(Place::Store(format!("{name}:{version}")));
    }
    match &config.stage1_location {
        Some(location) => {
            let place = self::location(location);
            let name = match &place {
                Place::File { path, .. } => path.file_name().map(PathBuf::from),
                _ => None,
            };
            places.push(place);
            places.extend(name.iter().flat_map(|name| beside(program, name).into_iter().take(1)));
        }
        None if config.stage1_name.is_none() => {
            places.push(file(LOCATION));
            places.extend(beside(program, Path::new("stage1-nspawn.aci")));
            places.push(Place::Store(format!("{NAME}:{VERSION}")));
        }
        // Another stage1 than the one named would be another wall.
        None => {}
    }
    places
}

/// The image at `place`; `None` when nothing is there.
fn look_at(context: &Context, place: &Place) -> Result<Option<StoredImage>> {
    match place {
        Place::Store(name) => images::stored_if_any(context, name)
            .with_context(|| format!("cannot look for the stage1 image {name:?} in the store")),
        Place::Remote(url) => {
            let found = ImageReference::parse(url, |_| false)
                .map_err(anyhow::Error::from)
                .and_then(|reference| images::by_reference(context, &reference, None, PullPolicy::New));
            found.map(Some).with_context(|| format!("cannot fetch the stage1 image {url:?}"))
        }
        Place::Name(name) => {
            let reference = ImageReference::parse_appc(name)?;
            let found = images::by_reference(context, &reference, None, PullPolicy::New);
            found.map(Some).with_context(|| format!("cannot find a stage1 image {name:?}"))
        }
        Place::File { path, installed } => {
            if !path.try_exists().unwrap_or(true) {
                return Ok(None);
            }
            let image = if *installed {
                images::import_installed(context, path)
            } else {
                images::import(context, path, None)
            };
            image.map(Some).with_context(|| format!("cannot use the stage1 image {}", path.display()))
        }
    }
}

fn list(places: &[Place]) -> String {
    let texts = places.iter().map(|place| match place {
        Place::Store(name) => format!("{name:?} in the store"),
        Place::File { path, .. } => path.display().to_string(),
        Place::Remote(url) => url.clone(),
        Place::Name(name) => format!("the places that the owner of {name:?} names"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Refuses a stage1 that is not the one that `name` (`NAME[:VERSION]`) asks for.
fn check_name(image: &StoredImage, name: &str) -> Result<()> {
    let ImageReference::Appc { name, labels } = ImageReference::parse_appc(name)? else { return Ok(()) };
    let manifest = image.manifest();
    ensure!(manifest.name == name, "the image is called {:?}", manifest.name.as_str());
    for label in &labels {
        let found = manifest.labels.get(label.name.as_str());
        ensure!(found == Some(label.value.as_str()), "its label {:?} is {found:?}", label.name.as_str());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "/opt/rkt/bin/rkt";

    fn shown(places: &[Place]) -> Vec<String> {
        let show = |place: &Place| match place {
            Place::Store(name) => format!("store {name}"),
            Place::File { path, installed: true } => format!("installed {}", path.display()),
            Place::File { path, installed: false } => format!("file {}", path.display()),
            Place::Remote(url) => format!("remote {url}"),
            Place::Name(name) => format!("name {name}"),
        };
        places.iter().map(show).collect()
    }

    fn config(name: bool, location: Option<&str>, images: Option<&str>) -> Config {
        Config {
            stage1_name: name.then(|| ("example.com/s1".to_owned(), "1.0".to_owned())),
            stage1_location: location.map(str::to_owned),
            stage1_images: images.map(PathBuf::from),
            ..Config::default()
        }
    }

    #[test]
    fn without_flags() {
        let own = format!("store {NAME}:{VERSION}");
        for (config, places) in [
            (
                config(false, None, None),
                vec![
                    "installed /usr/lib/rkt/stage1-images/stage1-nspawn.aci",
                    "installed /opt/rkt/bin/stage1-nspawn.aci",
                    "installed /opt/rkt/bin/../lib/rkt/stage1-images/stage1-nspawn.aci",
                    own.as_str(),
                ],
            ),
            (
                config(true, Some("/opt/s1.aci"), None),
                vec!["store example.com/s1:1.0", "file /opt/s1.aci", "installed /opt/rkt/bin/s1.aci"],
            ),
            (
                config(false, Some("file:///opt/s1.aci"), None),
                vec!["file /opt/s1.aci", "installed /opt/rkt/bin/s1.aci"],
            ),
            (config(true, None, None), vec!["store example.com/s1:1.0"]),
            (
                config(true, Some("https://example.com/s1.aci"), None),
                vec!["store example.com/s1:1.0", "remote https://example.com/s1.aci"],
            ),
        ] {
            assert_eq!(shown(&configured(&config, Path::new(PROGRAM))), places);
        }
        let dirty = Config {
            stage1_name: Some(("a".to_owned(), "1-dirty".to_owned())),
            ..config(false, Some("/s.aci"), None)
        };
        assert_eq!(shown(&configured(&dirty, Path::new(PROGRAM)))[0], "file /s.aci");
    }

    #[test]
    fn with_a_flag() {
        let plain = config(true, Some("/elsewhere.aci"), None);
        let images = config(false, None, Some("/srv/s1"));
        let path = |path: &str| Stage1Choice::Path(path.into());
        for (choice, config, places) in [
            (path("s.aci"), &plain, vec!["file s.aci"]),
            (
                path("/usr/lib/rkt/stage1-images/x.aci"),
                &plain,
                vec!["installed /usr/lib/rkt/stage1-images/x.aci"],
            ),
            (
                path("/usr/lib/rkt/stage1-images/../x.aci"),
                &plain,
                vec!["file /usr/lib/rkt/stage1-images/../x.aci"],
            ),
            (Stage1Choice::Hash("sha512-ab".to_owned()), &plain, vec!["store sha512-ab"]),
            (Stage1Choice::Url("https://x/s.aci".to_owned()), &plain, vec!["remote https://x/s.aci"]),
            (Stage1Choice::Url("file:///x/s.aci".to_owned()), &plain, vec!["file /x/s.aci"]),
            (Stage1Choice::FromDir("s.aci".to_owned()), &images, vec!["file /srv/s1/s.aci"]),
            (
                Stage1Choice::FromDir("s.aci".to_owned()),
                &plain,
                vec![
                    "installed /usr/lib/rkt/stage1-images/s.aci",
                    "installed /opt/rkt/bin/s.aci",
                    "installed /opt/rkt/bin/../lib/rkt/stage1-images/s.aci",
                ],
            ),
            (
                Stage1Choice::Name("coreos.com/rkt/stage1-fly:2.0.0".to_owned()),
                &images,
                vec![
                    "store coreos.com/rkt/stage1-fly:2.0.0",
                    "file /srv/s1/stage1-fly.aci",
                    "name coreos.com/rkt/stage1-fly:2.0.0",
                ],
            ),
        ] {
            assert_eq!(shown(&chosen(choice, config, Path::new(PROGRAM))), places);
        }
    }
}
