//! The six directories, and moving pods between them.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::cgroup::Hierarchy;
use crate::{Error, Place, PodDir, PodUuid, Result, State, lock};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// One of the questions of [`lock`].
type TakenTest = fn(BorrowedFd<'_>) -> rustix::io::Result<bool>;

/// The pods of a data directory.
#[derive(Debug)]
pub struct Pods {
    fd: OwnedFd,
    path: PathBuf,
    cgroups: Hierarchy,
}

/// A pod, as somebody sees it who does not hold its lock.
#[derive(Debug)]
pub struct Pod {
    /// Its name.
    pub uuid: PodUuid,
    /// Where it stood when it was looked at.
    pub place: Place,
    /// Its state when it was looked at.
    pub state: State,
    /// Its files.
    pub dir: PodDir,
}

/// A pod whose lock we hold: nobody else moves it.
///
/// Dropping it gives the lock back; [`Held::lock_fd`] is for handing it to a stage1.
#[derive(Debug)]
pub struct Held {
    /// Its name.
    pub uuid: PodUuid,
    /// Where it stands.
    pub place: Place,
    /// Its files. The descriptor of the directory is the one that has the lock.
    pub dir: PodDir,
}

/// From so many pods on, the names of all cgroups are read instead of what each pod recorded.
const MANY: usize = 64;

/// What is seen of the cgroups of many pods, once for all of them: good for showing pods, not for deciding what is done with
/// them.
#[derive(Debug)]
pub struct Survey<'a> {
    pods: &'a Pods,
    named: Option<HashSet<PodUuid>>,
    /// By the group of a service: the pods that stand in it.
    sharing: Mutex<HashMap<String, Option<HashSet<PodUuid>>>>,
}

/// Looks at many pods.
///
/// The shared lock that tells whether a pod is in use is kept until the pod is dropped, and cgroups are those of the survey.
#[derive(Debug)]
pub struct Glance<'a> {
    survey: &'a Survey<'a>,
    /// Of one thread: two that look up paths below the same open directory wait for each other at each step.
    directory: OwnedFd,
}

impl Survey<'_> {
    /// For looking at pods one after the other, in one thread.
    pub fn glance(&self) -> Result<Glance<'_>> {
        let directory = rustix::fs::openat(&self.pods.fd, ".", DIRECTORY, Mode::empty())
            .map_err(|error| Error::io("open", self.pods.path.display().to_string(), error))?;
        Ok(Glance { survey: self, directory })
    }

    /// Whether the pod stands in the group of a service.
    fn shares(&self, group: String, uuid: PodUuid) -> bool {
        let mut sharing = self.sharing.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = sharing.entry(group).or_insert_with_key(|group| self.pods.cgroups.members_of(group).ok());
        is_among(pods.as_ref(), uuid)
    }
}

impl Glance<'_> {
    /// As [`Pods::get_from`].
    pub fn get_from(&self, uuid: PodUuid, place: Place) -> Result<Option<Pod>> {
        let Self { survey, directory } = self;
        survey.pods.look(directory.as_fd(), uuid, place, lock::is_taken_until_closed, Some(survey))
    }
}

/// Whether a pod is one of those that stand in a group. Who cannot see takes it for one that is.
fn is_among(pods: Option<&HashSet<PodUuid>>, uuid: PodUuid) -> bool {
    pods.is_none_or(|pods| pods.contains(&uuid))
}

impl Pods {
    /// Opens `pods` in the data directory; root makes it and the six directories where they are missing.
    pub fn open(data_dir: &Path) -> Result<Self> {
        Self::open_with(data_dir, Hierarchy::host())
    }

    pub(crate) fn open_with(data_dir: &Path, cgroups: Hierarchy) -> Result<Self> {
        let path = data_dir.join("pods");
        let failed = |action, error: Errno| Error::io(action, path.display().to_string(), error);
        let open = || rustix::fs::open(&path, DIRECTORY, Mode::empty());
        let root = rustix::process::geteuid().is_root();
        let fd = match open() {
            Err(Errno::NOENT) if root => {
                std::fs::create_dir_all(data_dir)
                    .map_err(|error| Error::io("make directory", data_dir.display().to_string(), error))?;
                make_directory(rustix::fs::CWD, &path).map_err(|error| failed("make directory", error))?;
                open().map_err(|error| failed("open", error))?
            }
            opened => opened.map_err(|error| failed("open", error))?,
        };
        if root {
            for place in Place::ALL {
                make_directory(&fd, Path::new(place.directory()))
                    .map_err(|error| failed("make the directories in", error))?;
            }
        }
        Ok(Self { fd, path, cgroups })
    }

    /// The directory of all pods.
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// The path of a pod that stands in `place`.
    pub fn path(&self, place: Place, uuid: PodUuid) -> PathBuf {
        self.path.join(place.directory()).join(uuid.as_str())
    }

    fn name(place: Place, uuid: PodUuid) -> String {
        format!("{}/{uuid}", place.directory())
    }

    /// Makes a new pod. It is `preparing`, with a lock that is ours, and its time of creation is recorded.
    pub fn create(&self) -> Result<Held> {
        loop {
            let uuid = PodUuid::random()?;
            let name = Self::name(Place::Embryo, uuid);
            let failed =
                |action, error| Error::io(action, self.path.join(&name).display().to_string(), error);
            match rustix::fs::mkdirat(&self.fd, &name, Mode::from_raw_mode(0o750)) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(failed("make directory", error)),
            }
            // A `gc` that meets the embryo before it is locked takes it for one that was left behind: then
            // one of these finds nothing, or finds it locked, and we begin again.
            let fd = match rustix::fs::openat(&self.fd, &name, DIRECTORY, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(failed("open", error)),
            };
            if !lock::take(&fd).map_err(|error| failed("lock", error))? {
                continue;
            }
            let mut held = Held { uuid, place: Place::Embryo, dir: PodDir::from(fd) };
            match self.rename(&mut held, Place::Prepare) {
                Ok(()) => {}
                Err(Error::Gone(_)) => continue,
                Err(error) => return Err(error),
            }
            held.dir.mark_created()?;
            return Ok(held);
        }
    }

    /// Looks at one pod; `None` when there is none of this name (any more).
    pub fn get(&self, uuid: PodUuid) -> Result<Option<Pod>> {
        self.get_from(uuid, Place::Embryo)
    }

    /// As [`Pods::get`], for a pod that stood in `place` already.
    pub fn get_from(&self, uuid: PodUuid, place: Place) -> Result<Option<Pod>> {
        self.look(self.fd.as_fd(), uuid, place, lock::is_taken, None)
    }

    /// Looks at the cgroups of `count` pods.
    pub fn survey(&self, count: usize) -> Survey<'_> {
        // A look at a group is worth about four of its names.
        let named = if count < MANY { None } else { self.cgroups.survey(count / 4) };
        Survey { pods: self, named, sharing: Mutex::default() }
    }

    fn look(
        &self,
        directory: BorrowedFd<'_>,
        uuid: PodUuid,
        place: Place,
        is_taken: TakenTest,
        survey: Option<&Survey<'_>>,
    ) -> Result<Option<Pod>> {
        for &place in Place::ALL.iter().filter(|&&candidate| candidate >= place) {
            let name = Self::name(place, uuid);
            let fd = match rustix::fs::openat(directory, &name, DIRECTORY, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => continue,
                Err(error) => {
                    return Err(Error::io("open", self.path.join(name).display().to_string(), error));
                }
            };
            let mut pod = Pod { uuid, place, state: place.state(false), dir: PodDir::from(fd) };
            let in_use = place.lock_matters() && self.is_in_use(&pod, is_taken, survey)?;
            pod.state = place.state(in_use);
            // Who prepares gives the lock back after the rename: not locked can mean moved on.
            if pod.state == State::AbortedPrepare && !self.stands_in(&pod.dir, place, uuid)? {
                continue;
            }
            return Ok(Some(pod));
        }
        Ok(None)
    }

    /// Looks at a pod again: `false` when it is gone.
    pub fn refresh(&self, pod: &mut Pod) -> Result<bool> {
        match self.get_from(pod.uuid, pod.place)? {
            Some(now) => *pod = now,
            None => return Ok(false),
        }
        Ok(true)
    }

    fn is_in_use(&self, pod: &Pod, is_taken: TakenTest, survey: Option<&Survey<'_>>) -> Result<bool> {
        let failed = |error| Error::io("ask for the lock of", format!("pod {:?}", pod.uuid.as_str()), error);
        if is_taken(pod.dir.as_fd()).map_err(failed)? {
            return Ok(true);
        }
        if pod.place != Place::Run {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&pod.dir, crate::current::RUN_LOCK, flags, Mode::empty()) {
            Ok(file) if is_taken(file.as_fd()).map_err(failed)? => return Ok(true),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::io("open", crate::current::RUN_LOCK, error)),
        }
        if let Some(group) = pod.dir.service_cgroup()? {
            return Ok(match survey {
                Some(survey) => survey.shares(group, pod.uuid),
                None => is_among(self.cgroups.members_of(&group).ok().as_ref(), pod.uuid),
            });
        }
        if survey.and_then(|survey| survey.named.as_ref()).is_some_and(|named| !named.contains(&pod.uuid)) {
            return Ok(false);
        }
        Ok(match self.own_cgroup(pod.uuid, &pod.dir)? {
            Some(group) => self.cgroups.is_populated(&group),
            None => false,
        })
    }

    /// The recorded cgroup, if it is the pod's alone: one that is shared with others tells nothing about it.
    fn own_cgroup(&self, uuid: PodUuid, dir: &PodDir) -> Result<Option<String>> {
        Ok(dir.subcgroup()?.filter(|group| crate::cgroup::names_pod(group, uuid)))
    }

    fn stands_in(&self, dir: &PodDir, place: Place, uuid: PodUuid) -> Result<bool> {
        let name = Self::name(place, uuid);
        let there = match rustix::fs::statat(&self.fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(Error::io("look at", name, error)),
        };
        let here = rustix::fs::fstat(dir).map_err(|error| Error::io("look at", name, error))?;
        Ok((there.st_dev, there.st_ino) == (here.st_dev, here.st_ino))
    }

    /// The names of the pods in `places`, sorted, each once, with the place it was met in first.
    pub fn walk(&self, places: &[Place]) -> Result<Vec<(PodUuid, Place)>> {
        let mut places = places.to_vec();
        places.sort_unstable();
        let mut found = Vec::new();
        for place in places {
            let path = || self.path.join(place.directory()).display().to_string();
            let directory = match rustix::fs::openat(&self.fd, place.directory(), DIRECTORY, Mode::empty()) {
                Ok(fd) => Dir::new(fd).map_err(|error| Error::io("read", path(), error))?,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(Error::io("open", path(), error)),
            };
            for entry in directory {
                let entry = entry.map_err(|error| Error::io("read", path(), error))?;
                if let Some(uuid) = PodUuid::from_directory_name(entry.file_name().to_bytes()) {
                    found.push((uuid, place));
                }
            }
        }
        // By name, then by place: the sort puts the first place of each name in front.
        found.sort_unstable();
        found.dedup_by_key(|(uuid, _)| *uuid);
        Ok(found)
    }

    /// Finds a pod by the beginning of its name, in upper or lower case.
    ///
    /// # Errors
    /// [`Error::EmptyUuid`], [`Error::NoMatch`], [`Error::Ambiguous`].
    pub fn find(&self, prefix: &str) -> Result<Pod> {
        if prefix.is_empty() {
            return Err(Error::EmptyUuid);
        }
        let found = match prefix.parse() {
            Ok(uuid) => self.get(uuid)?.filter(|pod| Place::LISTED.contains(&pod.place)),
            Err(_) => {
                let mut fits = self.walk(&Place::LISTED)?;
                fits.retain(|(uuid, _)| uuid.has_prefix(prefix));
                match fits.as_slice() {
                    [] => None,
                    &[(uuid, place)] => self.get_from(uuid, place)?,
                    more => return Err(Error::Ambiguous(more.len())),
                }
            }
        };
        found.ok_or_else(|| Error::NoMatch(prefix.to_owned()))
    }

    /// Takes the lock of a pod.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has it, [`Error::Gone`] when another one moved the pod.
    pub fn hold(&self, pod: Pod) -> Result<Held> {
        let Pod { uuid, place, dir, .. } = pod;
        let failed = |error| Error::io("lock", self.path(place, uuid).display().to_string(), error);
        if !lock::take(&dir).map_err(failed)? {
            return Err(Error::Busy(uuid));
        }
        if !self.stands_in(&dir, place, uuid)? {
            return Err(Error::Gone(uuid));
        }
        Ok(Held { uuid, place, dir })
    }

    /// Moves a pod that was prepared on to `prepared` and gives the lock back. From here on it survives a
    /// crash of the machine.
    pub fn finish_preparing(&self, mut held: Held) -> Result<Pod> {
        expect(&held, &[Place::Prepare])?;
        rustix::fs::syncfs(&held.dir).map_err(|error| Error::io("sync", "the pod directory", error))?;
        self.rename(&mut held, Place::Prepared)?;
        for place in [Place::Prepare, Place::Prepared] {
            let failed =
                |error| Error::io("sync", self.path.join(place.directory()).display().to_string(), error);
            rustix::fs::openat(&self.fd, place.directory(), DIRECTORY, Mode::empty())
                .and_then(rustix::fs::fsync)
                .map_err(failed)?;
        }
        let Held { uuid, place, dir } = held;
        let failed = |error| Error::io("unlock", "the pod directory", error);
        rustix::fs::flock(&dir, rustix::fs::FlockOperation::Unlock).map_err(failed)?;
        Ok(Pod { uuid, place, state: State::Prepared, dir })
    }

    /// Moves a pod that we prepared, or hold after it was prepared, to `run`. The lock stays ours: it is for
    /// the stage1.
    pub fn start(&self, held: &mut Held) -> Result<()> {
        expect(held, &[Place::Prepare, Place::Prepared])?;
        self.rename(held, Place::Run)
    }

    /// Marks a pod that nobody uses for deletion: one that exited, was prepared, or was given up while it
    /// was prepared.
    ///
    /// # Errors
    /// [`Error::WrongState`] for any other, [`Error::Gone`] when another process moved it first.
    pub fn mark(&self, pod: &mut Pod) -> Result<()> {
        let to = pod.place.garbage();
        match pod.state {
            State::ExitedGarbage | State::Garbage => return Ok(()),
            State::Exited | State::AbortedPrepare | State::Prepared => {}
            state => return Err(Error::WrongState { uuid: pod.uuid, state }),
        }
        self.rename_from(pod.uuid, pod.place, to)?;
        pod.place = to;
        pod.state = to.state(false);
        Ok(())
    }

    /// Marks a pod whose lock is ours for deletion, wherever it stands.
    pub fn discard(&self, held: &mut Held) -> Result<()> {
        let to = held.place.garbage();
        if held.place != to {
            self.rename(held, to)?;
        }
        Ok(())
    }

    /// Deletes a marked pod: unmounts what is mounted in it, removes its cgroup, then its files. Goes on
    /// after a failure; the manifest stays when anything else does, so that it can be tried again.
    pub fn remove(&self, held: Held) -> Result<()> {
        expect(&held, &[Place::ExitedGarbage, Place::Garbage])?;
        let group = self.own_cgroup(held.uuid, &held.dir).unwrap_or_default();
        let name = Self::name(held.place, held.uuid);
        crate::removal::remove(self.fd.as_fd(), &name, &held.dir, || match &group {
            Some(group) => self.cgroups.remove(group),
            None => Ok(()),
        })?;
        // Kept until here: nobody else begins with what is being deleted.
        drop(held);
        Ok(())
    }

    fn rename(&self, held: &mut Held, to: Place) -> Result<()> {
        self.rename_from(held.uuid, held.place, to)?;
        held.place = to;
        Ok(())
    }

    fn rename_from(&self, uuid: PodUuid, from: Place, to: Place) -> Result<()> {
        match rustix::fs::renameat(&self.fd, Self::name(from, uuid), &self.fd, Self::name(to, uuid)) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(Error::Gone(uuid)),
            Err(error) => {
                Err(Error::io("move to its next state", self.path(from, uuid).display().to_string(), error))
            }
        }
    }
}

impl Held {
    /// The descriptor that has the lock, kept open by the programs that this process becomes or starts. Its
    /// number goes into [`crate::LOCK_FD_VARIABLE`].
    pub fn lock_fd(&self) -> Result<i32> {
        use std::os::fd::AsRawFd;
        sys::fd::set_inherited(&self.dir, true).map_err(|error| Error::io("hand on", "the lock", error))?;
        Ok(self.dir.as_fd().as_raw_fd())
    }
}

fn expect(held: &Held, places: &[Place]) -> Result<()> {
    if places.contains(&held.place) {
        return Ok(());
    }
    Err(Error::WrongState { uuid: held.uuid, state: held.place.state(true) })
}

fn make_directory(at: impl AsFd, path: &Path) -> rustix::io::Result<()> {
    match rustix::fs::mkdirat(at, path, Mode::from_raw_mode(0o750)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
