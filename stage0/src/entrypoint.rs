//! Running an entrypoint of a pod's stage1.
//!
//! Entrypoints run on the host, as root, with the pod directory as working directory. What runs is taken from the
//! stage1's image, never from the root that the pod could write: a pod that replaced its `/gc` would
//! otherwise get it executed outside.
//!
//! | the image has | the program is run from |
//! |---|---|
//! | one layer | that layer's directory |
//! | several | a read-only overlay of them, which only this process sees |
//! | no rendered tree, and the pod a copy of it | that copy |
//!
//! `gc` sees the root that the pod wrote as well, at its usual place `stage1/rootfs`: for a pod of overlays it is
//! mounted again in a namespace that ends with the entrypoint. What it has to undo on the host, such as the name of a
//! network namespace, it reaches through the handle that `run` gets as well.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use appc::ImageManifest;
use pod::{LOCK_FD_VARIABLE, PodDir};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use sys::namespace::{self, Kind};
use sys::process::Fork;

use crate::context::Context;
use crate::launch::{MOUNT_NAMESPACE_FD, roots};

/// What is asked of a stage1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Run the pod.
    Run,
    /// Run a program in an app's surroundings.
    Enter,
    /// End the pod.
    Stop,
    /// Send a signal to an app.
    Signal,
    /// Take away what the pod left outside of its directory.
    Gc,
    /// Connect to streams of an app.
    Attach,
    /// Make an app one of a mutable pod's.
    AppAdd,
    /// Start an app of a mutable pod.
    AppStart,
    /// End an app of a mutable pod.
    AppStop,
    /// Make an app of a mutable pod gone.
    AppRemove,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Run => "run",
            Operation::Enter => "enter",
            Operation::Stop => "stop",
            Operation::Signal => "signal",
            Operation::Gc => "gc",
            Operation::Attach => "attach",
            Operation::AppAdd => "app/add",
            Operation::AppStart => "app/start",
            Operation::AppStop => "app/stop",
            Operation::AppRemove => "app/rm",
        }
    }

    /// Whether it runs on the host for something that is to be done inside of the pod: such an entrypoint is told how to get there, and
    /// gets no more of our environment than `PATH`.
    fn crosses(self) -> bool {
        match self {
            Operation::Attach
            | Operation::AppAdd
            | Operation::AppStart
            | Operation::AppStop
            | Operation::AppRemove => true,
            Operation::Run | Operation::Enter | Operation::Stop | Operation::Signal | Operation::Gc => false,
        }
    }
}

/// In which variable the number of [`Entrypoint::app_root`] is.
const APP_ROOT_FD: &str = "RKT_APP_ROOT_FD";
/// Where operations that [cross](Operation::crosses) find the program for [`Operation::Enter`], and what it enters.
const ENTER_COMMAND: &str = "RKT_STAGE1_ENTERCMD";
const ENTER_PID: &str = "RKT_STAGE1_ENTERPID";

const PREFIX: &str = "coreos.com/rkt/stage1/";

/// The program of a stage1 for `operation`, a path in its root.
pub(crate) fn program(manifest: &ImageManifest, operation: Operation) -> Result<&str> {
    let annotation = format!("{PREFIX}{}", operation.name());
    manifest.annotations.get(&annotation).with_context(|| {
        format!(
            "The stage1 {:?} has no {:?} entrypoint: its manifest lacks the annotation {annotation}",
            manifest.name.as_str(),
            operation.name()
        )
    })
}

/// The version of the interface that a stage1 is written for.
pub(crate) fn interface_version(manifest: &ImageManifest) -> Result<u32> {
    let Some(text) = manifest.annotations.get(&format!("{PREFIX}interface-version")) else { return Ok(1) };
    text.parse().with_context(|| {
        format!(
            "The stage1 {:?} has the interface version {text:?}, which is no number",
            manifest.name.as_str()
        )
    })
}

/// Where the stage1's own files are.
#[derive(Debug)]
enum Tree {
    /// The rendered tree of the image.
    Rendered(image::Tree),
    /// The pod's copy.
    Copy,
}

/// An entrypoint of a pod's stage1.
#[derive(Debug)]
pub(crate) struct Entrypoint {
    operation: Operation,
    program: String,
    /// The version of the interface that the stage1 is written for.
    pub(crate) interface_version: u32,
    /// The path of the pod directory.
    pod: PathBuf,
    tree: Tree,
    /// Where a crossing entrypoint gets in: the program, and process 1 of the pod where that is known.
    way_in: Option<(String, Option<Pid>)>,
    /// Whether the overlay that the pod wrote is mounted at `stage1/rootfs` before the program runs.
    mount: bool,
    /// The root of an app, for the program: a mount that stands nowhere.
    pub(crate) app_root: Option<OwnedFd>,
}

impl Entrypoint {
    /// Finds the entrypoint for `operation` of the pod `dir`, which stands at the absolute path `pod`.
    pub(crate) fn find(context: &Context, dir: &PodDir, pod: PathBuf, operation: Operation) -> Result<Self> {
        let manifest = dir.stage1_manifest()?;
        let program = program(&manifest, operation)?.to_owned();
        let interface_version = interface_version(&manifest)?;
        let overlay = dir.is_overlay()?;
        let rendered = match dir.stage1_tree_id()? {
            Some(id) => context.store()?.tree(&id).map_err(anyhow::Error::from),
            None => Err(anyhow!("the pod directory does not tell which one")),
        };
        let tree = match rendered {
            Ok(tree) => Tree::Rendered(tree),
            Err(_) if !overlay => Tree::Copy,
            Err(error) => {
                return Err(error.context(format!(
                    "Cannot find the stage1 image of the pod for its {:?} entrypoint",
                    operation.name()
                )));
            }
        };
        let mount = overlay && operation == Operation::Gc;
        let way_in = match self::program(&manifest, Operation::Enter) {
            Ok(enter) if operation.crosses() => {
                // A machine's monitor has several children, none of which is the pod's.
                let process_one = dir.process_one().ok().flatten();
                Some((enter.to_owned(), process_one.map(|process| process.pid)))
            }
            _ => None,
        };
        Ok(Self { operation, program, interface_version, pod, tree, way_in, mount, app_root: None })
    }

    /// Runs the entrypoint as a child and waits for it. Fails when the child does.
    pub(crate) fn run(&self, args: &[OsString]) -> Result<()> {
        let child = match sys::process::fork() {
            Ok(Fork::Parent(child)) => child,
            Ok(Fork::Child) => {
                if self.operation == Operation::Gc {
                    // The lock of the pod falls with us: nobody may work on it any more then.
                    let _ =
                        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
                }
                let error = self.execute(args);
                crate::report::error(self.operation.name(), &error, false);
                sys::process::exit_now(254);
            }
            Err(error) => return Err(error).context("Cannot make a process"),
        };
        let status = child.wait().context("Cannot wait for the entrypoint")?;
        let what = || format!("The {:?} entrypoint of the stage1", self.operation.name());
        match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => bail!("{} failed with exit code {code}", what()),
            (None, signal) => bail!("{} was killed by signal {}", what(), signal.unwrap_or_default()),
        }
    }

    /// Becomes the entrypoint. Returns only when that fails.
    pub(crate) fn execute(&self, args: &[OsString]) -> anyhow::Error {
        match self.prepare(args) {
            Ok(ready) => {
                let error = sys::process::execute_path(&ready.path, &ready.arguments, &ready.environment);
                anyhow::Error::new(std::io::Error::from(error)).context(self.failure())
            }
            Err(error) => error.context(self.failure()),
        }
    }

    fn failure(&self) -> String {
        format!("Cannot run the {:?} entrypoint {:?} of the stage1", self.operation.name(), self.program)
    }

    /// Everything up to the last step.
    fn prepare(&self, args: &[OsString]) -> Result<Ready> {
        let many = matches!(&self.tree, Tree::Rendered(tree) if tree.layers.len() > 1);
        let mut host_mounts = None;
        if many || self.mount {
            if self.operation == Operation::Gc {
                let host = namespace::open(None, Kind::Mount).context("Cannot open the mount namespace")?;
                sys::fd::set_inherited(&host, true).context("Cannot hand the mount namespace on")?;
                host_mounts = Some(host);
            }
            // From here on paths are looked up anew: handles from before belong to the old namespace.
            sys::namespace::private_mounts().context("Cannot make a mount namespace")?;
        }
        let dir = PodDir::from(open_directory(&self.pod)?);
        rustix::process::fchdir(&dir).context("Cannot go to the pod directory")?;
        if let Some(root) = &self.app_root {
            sys::fd::set_inherited(root, true).context("Cannot hand on the root of the app")?;
        }
        let (root, name) = match &self.tree {
            Tree::Copy => (dir.open_directory("stage1/rootfs")?, self.pod.join("stage1/rootfs")),
            Tree::Rendered(tree) => match tree.layers.as_slice() {
                [only] => (open_directory(only)?, only.clone()),
                layers => (view(&dir, layers)?, PathBuf::from("/")),
            },
        };
        let root = Root { directory: root, stands_nowhere: many };
        if many {
            sys::fd::set_inherited(&root.directory, true).context("Cannot hand on the stage1's root")?;
        }
        let (path, link) = root.find(&self.program)?;
        if let Tree::Rendered(tree) = &self.tree
            && self.mount
        {
            roots::mount_stage1(&dir, tree)?;
        }
        let name = name.join(beneath(Path::new(&self.program))).into_os_string();
        let handle =
            |name: &str, fd: &OwnedFd| (OsString::from(name), OsString::from(fd.as_raw_fd().to_string()));
        let mut ours = Vec::new();
        ours.extend(host_mounts.iter().map(|fd| handle(MOUNT_NAMESPACE_FD, fd)));
        ours.extend(self.app_root.iter().map(|fd| handle(APP_ROOT_FD, fd)));
        let mut links = vec![link];
        if let Some((enter, pid)) = &self.way_in {
            let (enter, link) = root.find(enter)?;
            ours.push((ENTER_COMMAND.into(), enter.into_os_string()));
            ours.extend(pid.map(|pid| (ENTER_PID.into(), pid.as_raw_nonzero().to_string().into())));
            links.push(link);
        }
        Ok(Ready {
            path: c_string(path.as_os_str())?,
            arguments: std::iter::once(&name)
                .chain(args)
                .map(|word| c_string(word))
                .collect::<Result<_>>()?,
            environment: environment(self.operation, std::env::vars_os(), ours)?,
            _held: links.into_iter().chain([Some(root.directory), host_mounts]).flatten().collect(),
        })
    }
}

/// The root of a stage1's own files.
struct Root {
    directory: OwnedFd,
    /// It is a mount that only its handle, which the program inherits, leads into.
    stands_nowhere: bool,
}

impl Root {
    /// The path of `program` for whoever inherits the root, and the handle that it leads through where that is another.
    fn find(&self, program: &str) -> Result<(PathBuf, Option<OwnedFd>)> {
        let inside = Path::new(program);
        let file = sys::path::open_in_root(self.directory.as_fd(), inside, OFlags::PATH, Mode::empty())
            .with_context(|| format!("Cannot open {program:?} in the stage1"))?;
        if !self.stands_nowhere {
            // The path as the kernel has it: links were followed inside the root.
            let path =
                std::fs::read_link(sys::mount::fd_path(&file)).context("Cannot find the program's path")?;
            return Ok((path, None));
        }
        // Through the handle of the root, so that the program keeps its name, or that of the program where a link leads to it.
        let beneath = beneath(inside);
        if sys::path::open_beneath(self.directory.as_fd(), beneath, OFlags::PATH, Mode::empty()).is_ok() {
            return Ok((Path::new(&sys::mount::fd_path(&self.directory)).join(beneath), None));
        }
        sys::fd::set_inherited(&file, true).context("Cannot hand on the program")?;
        Ok((PathBuf::from(sys::mount::fd_path(&file)), Some(file)))
    }
}

/// A program about to be executed.
struct Ready {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// What `path` and the environment lead through.
    _held: Vec<OwnedFd>,
}

/// A read-only view of several layers that stands nowhere: mounted, taken as a handle, unmounted.
fn view(dir: &PodDir, layers: &[PathBuf]) -> Result<OwnedFd> {
    let lowers: Vec<OwnedFd> = layers.iter().map(|layer| open_directory(layer)).collect::<Result<_>>()?;
    let lowers: Vec<BorrowedFd<'_>> = lowers.iter().map(AsFd::as_fd).collect();
    let target = dir.open_directory("stage1/rootfs")?;
    sys::mount::overlay(target.as_fd(), &lowers, None).context("Cannot join the layers of the stage1")?;
    // Opened again: the handle from before is what the overlay now covers.
    let top = dir.open_directory("stage1/rootfs")?;
    let tree = sys::mount::clone_tree(top.as_fd(), false).context("Cannot take the joined layers")?;
    sys::mount::unmount(top.as_fd(), true).context("Cannot unmount the joined layers")?;
    Ok(tree)
}

/// An absolute path as one below the root.
fn beneath(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    sys::path::open_directory(path)
        .with_context(|| format!("Cannot open the directory {:?}", path.display().to_string()))
}

/// The environment of an entrypoint: `inherited` without what is meant for other entrypoints, or its `PATH` only, and `ours`.
fn environment(
    operation: Operation,
    inherited: impl Iterator<Item = (OsString, OsString)>,
    ours: Vec<(OsString, OsString)>,
) -> Result<Vec<CString>> {
    let others = [LOCK_FD_VARIABLE, MOUNT_NAMESPACE_FD, APP_ROOT_FD, ENTER_COMMAND, ENTER_PID];
    inherited
        .filter(
            |(name, _)| {
                if operation.crosses() { name == "PATH" } else { !others.iter().any(|other| name == other) }
            },
        )
        .chain(ours)
        .map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            c_string(&entry)
        })
        .collect()
}

fn c_string(word: &OsStr) -> Result<CString> {
    CString::new(word.as_bytes())
        .with_context(|| format!("{:?} contains a NUL byte", OsString::from_vec(word.as_bytes().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(annotations: &str) -> ImageManifest {
        let json = format!(
            r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/stage1","annotations":[{annotations}]}}"#
        );
        ImageManifest::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn annotations_name_the_programs() {
        let stage1 = manifest(
            r#"{"name":"coreos.com/rkt/stage1/gc","value":"/gc"},{"name":"coreos.com/rkt/stage1/interface-version","value":"5"}"#,
        );
        assert_eq!(program(&stage1, Operation::Gc).unwrap(), "/gc");
        assert_eq!(interface_version(&stage1).unwrap(), 5);
        let error = program(&stage1, Operation::Stop).unwrap_err().to_string();
        for part in ["example.com/stage1", "\"stop\"", "coreos.com/rkt/stage1/stop"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(interface_version(&manifest("")).unwrap(), 1);
        let odd = manifest(r#"{"name":"coreos.com/rkt/stage1/interface-version","value":"x"}"#);
        assert!(interface_version(&odd).is_err());
    }
}
