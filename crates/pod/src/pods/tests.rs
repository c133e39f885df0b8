use std::process::{Child, Command, Stdio};

use super::*;

struct Fixture {
    data: tempfile::TempDir,
    pods: Pods,
}

impl Fixture {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let pods = Pods::open_with(data.path(), Hierarchy::at(&data.path().join("cgroup"))).unwrap();
        for place in Place::ALL {
            std::fs::create_dir_all(data.path().join("pods").join(place.directory())).unwrap();
        }
        Self { data, pods }
    }

    /// A pod directory as another program left it.
    fn put(&self, place: Place, uuid: &str) -> PodUuid {
        let uuid = uuid.parse().unwrap();
        std::fs::create_dir(self.pods.path(place, uuid)).unwrap();
        uuid
    }

    fn state(&self, uuid: PodUuid) -> Option<State> {
        self.pods.get(uuid).unwrap().map(|pod| pod.state)
    }
}

const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const B: &str = "aaaaaaab-0000-4000-8000-000000000002";
const C: &str = "cccccccc-0000-4000-8000-000000000003";

/// A process that has the lock of `path`, and nothing else of ours.
fn locker(path: &Path) -> Child {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert!(lock::take(&file).unwrap());
    Command::new("sleep").arg("600").stdin(Stdio::from(file)).spawn().unwrap()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn state_table() {
    for (place, unlocked, locked) in [
        (Place::Embryo, State::Embryo, State::Embryo),
        (Place::Prepare, State::AbortedPrepare, State::Preparing),
        (Place::Prepared, State::Prepared, State::Prepared),
        (Place::Run, State::Exited, State::Running),
        (Place::ExitedGarbage, State::ExitedGarbage, State::ExitedDeleting),
        (Place::Garbage, State::Garbage, State::Deleting),
    ] {
        let fixture = Fixture::new();
        let uuid = fixture.put(place, A);
        assert_eq!(fixture.state(uuid), Some(unlocked), "{place:?}");
        let child = locker(&fixture.pods.path(place, uuid));
        assert_eq!(fixture.state(uuid), Some(locked), "{place:?}, locked");
        end(child);
        assert_eq!(fixture.state(uuid), Some(unlocked), "{place:?}, lock fallen");
    }
}

#[test]
fn a_lock_on_the_file_is_a_running_pod() {
    let fixture = Fixture::new();
    let uuid = fixture.put(Place::Run, A);
    let file = fixture.pods.path(Place::Run, uuid).join(crate::current::RUN_LOCK);
    std::fs::write(&file, "").unwrap();
    assert_eq!(fixture.state(uuid), Some(State::Exited));
    let child = locker(&file);
    assert_eq!(fixture.state(uuid), Some(State::Running));
    end(child);
    assert_eq!(fixture.state(uuid), Some(State::Exited));
}

#[test]
fn a_process_in_its_cgroup_is_a_running_pod() {
    let fixture = Fixture::new();
    let uuid = fixture.put(Place::Run, A);
    let group = format!("system.slice/web.service/pod-{A}");
    let directory = fixture.data.path().join("cgroup").join(&group);
    std::fs::create_dir_all(&directory).unwrap();
    let record = fixture.pods.path(Place::Run, uuid).join("subcgroup");
    for (recorded, populated, state) in [
        (group.as_str(), "1", State::Running),
        (group.as_str(), "0", State::Exited),
        // Shared with the pod that the unit runs now.
        ("system.slice/web.service", "1", State::Exited),
        ("/", "1", State::Exited),
        ("", "1", State::Exited),
    ] {
        std::fs::write(&record, recorded).unwrap();
        for events in [&directory, directory.parent().unwrap(), &fixture.data.path().join("cgroup")] {
            std::fs::write(events.join("cgroup.events"), format!("populated {populated}\n")).unwrap();
        }
        assert_eq!(fixture.state(uuid), Some(state), "{recorded:?} populated {populated}");
        for count in [1, 1000] {
            let seen = fixture.pods.survey(count).glance().unwrap().get_from(uuid, Place::Run).unwrap();
            assert_eq!(seen.map(|pod| pod.state), Some(state), "{recorded:?} populated {populated}");
        }
    }
}

#[test]
fn groups_of_others_do_not_count() {
    let fixture = Fixture::new();
    let uuid = fixture.put(Place::Run, A);
    std::fs::write(fixture.pods.path(Place::Run, uuid).join("subcgroup"), format!("pod-{A}")).unwrap();
    std::fs::create_dir_all(fixture.data.path().join(format!("cgroup/pod-{B}"))).unwrap();
    let seen = fixture.pods.survey(1000).glance().unwrap().get_from(uuid, Place::Run).unwrap();
    assert_eq!(seen.map(|pod| pod.state), Some(State::Exited));
}

#[test]
fn the_way_of_a_pod() {
    let fixture = Fixture::new();
    let pods = &fixture.pods;
    let held = pods.create().unwrap();
    let uuid = held.uuid;
    assert_eq!(fixture.state(uuid), Some(State::Preparing));
    assert!(held.dir.created().unwrap().is_some());
    held.dir.write_manifest(b"{}").unwrap();
    let pod = pods.finish_preparing(held).unwrap();
    assert_eq!((pod.state, fixture.state(uuid)), (State::Prepared, Some(State::Prepared)));

    let mut held = pods.hold(pod).unwrap();
    pods.start(&mut held).unwrap();
    assert_eq!(fixture.state(uuid), Some(State::Running));
    let mut pod = pods.get(uuid).unwrap().unwrap();
    assert!(matches!(pods.mark(&mut pod), Err(Error::WrongState { state: State::Running, .. })));
    drop(held);
    assert_eq!(fixture.state(uuid), Some(State::Exited));

    assert!(pods.refresh(&mut pod).unwrap());
    pods.mark(&mut pod).unwrap();
    assert_eq!((pod.state, fixture.state(uuid)), (State::ExitedGarbage, Some(State::ExitedGarbage)));
    assert!(pod.dir.renamed().unwrap() >= pod.dir.created().unwrap());
    let held = pods.hold(pod).unwrap();
    assert_eq!(fixture.state(uuid), Some(State::ExitedDeleting));
    pods.remove(held).unwrap();
    assert_eq!(fixture.state(uuid), None);
    assert_eq!(pods.walk(&Place::ALL).unwrap(), []);
}

#[test]
fn straight_to_run_and_given_up() {
    let fixture = Fixture::new();
    let mut held = fixture.pods.create().unwrap();
    fixture.pods.start(&mut held).unwrap();
    assert_eq!(fixture.state(held.uuid), Some(State::Running));

    let mut held = fixture.pods.create().unwrap();
    fixture.pods.discard(&mut held).unwrap();
    assert_eq!(fixture.state(held.uuid), Some(State::Deleting));
    fixture.pods.remove(held).unwrap();

    let held = fixture.pods.create().unwrap();
    let uuid = held.uuid;
    drop(held);
    let mut pod = fixture.pods.get(uuid).unwrap().unwrap();
    assert_eq!(pod.state, State::AbortedPrepare);
    fixture.pods.mark(&mut pod).unwrap();
    assert_eq!(fixture.state(uuid), Some(State::Garbage));
}

#[test]
fn one_of_many_starts_a_prepared_pod() {
    let fixture = Fixture::new();
    for _ in 0..8 {
        let uuid = fixture.pods.finish_preparing(fixture.pods.create().unwrap()).unwrap().uuid;
        let start = || {
            let mut held = fixture.pods.hold(fixture.pods.get(uuid)?.ok_or(Error::Gone(uuid))?)?;
            if held.place != Place::Prepared {
                return Err(Error::Gone(uuid));
            }
            fixture.pods.start(&mut held)?;
            Ok(held)
        };
        let expire = || {
            let mut pod = fixture.pods.get(uuid)?.ok_or(Error::Gone(uuid))?;
            if pod.state != State::Prepared {
                return Err(Error::Gone(uuid));
            }
            fixture.pods.mark(&mut pod)
        };
        let (started, expired) = std::thread::scope(|scope| {
            let starters = [scope.spawn(start), scope.spawn(start)];
            let expirer = scope.spawn(expire);
            let observer = scope.spawn(|| {
                for _ in 0..20 {
                    assert!(fixture.state(uuid).is_some(), "seen nowhere while it moved");
                }
            });
            observer.join().unwrap();
            (starters.map(|thread| thread.join().unwrap()), expirer.join().unwrap())
        });
        let winners = started.iter().filter(|started| started.is_ok()).count() + usize::from(expired.is_ok());
        assert_eq!(winners, 1, "{started:?} {expired:?}");
        for result in started {
            if let Err(error) = result {
                assert!(matches!(error, Error::Gone(_) | Error::Busy(_)), "{error}");
            }
        }
    }
}

#[test]
fn creation_survives_a_collector_of_embryos() {
    let fixture = Fixture::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for (uuid, place) in fixture.pods.walk(&[Place::Embryo]).unwrap() {
                    let Some(pod) = fixture.pods.get_from(uuid, place).unwrap() else { continue };
                    if pod.place != Place::Embryo {
                        continue;
                    }
                    if let Ok(mut held) = fixture.pods.hold(pod) {
                        fixture.pods.discard(&mut held).unwrap();
                        fixture.pods.remove(held).unwrap();
                    }
                }
            }
        });
        for _ in 0..200 {
            let held = fixture.pods.create().unwrap();
            assert_eq!(fixture.state(held.uuid), Some(State::Preparing));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn finds_by_prefix() {
    let fixture = Fixture::new();
    fixture.put(Place::Run, A);
    fixture.put(Place::Prepared, B);
    fixture.put(Place::Garbage, C);
    std::fs::create_dir(fixture.data.path().join("pods/run/not-a-pod")).unwrap();
    for (prefix, found) in [
        (A, Ok(A)),
        ("AAAAAAAA", Ok(A)),
        ("aaaaaaab-", Ok(B)),
        ("aaaaaaa", Err("ambiguous uuid, 2 matches")),
        ("a", Err("ambiguous uuid, 2 matches")),
        ("d", Err("no matches found for \"d\"")),
        ("not", Err("no matches found for \"not\"")),
        ("c", Err("no matches found for \"c\"")),
        (C, Err("no matches found for \"cccccccc-0000-4000-8000-000000000003\"")),
        ("", Err("UUID cannot be empty")),
    ] {
        let got =
            fixture.pods.find(prefix).map(|pod| pod.uuid.to_string()).map_err(|error| error.to_string());
        assert_eq!(got, found.map(str::to_owned).map_err(str::to_owned), "{prefix:?}");
    }
}

#[test]
fn walks_sorted_and_once() {
    let fixture = Fixture::new();
    fixture.put(Place::Run, C);
    fixture.put(Place::ExitedGarbage, B);
    fixture.put(Place::Prepare, A);
    fixture.put(Place::Embryo, "dddddddd-0000-4000-8000-000000000004");
    // As seen when a pod moves between the reading of two directories.
    fixture.put(Place::Run, A);
    let walked: Vec<_> = fixture
        .pods
        .walk(&Place::LISTED)
        .unwrap()
        .into_iter()
        .map(|(uuid, place)| (uuid.to_string(), place))
        .collect();
    assert_eq!(
        walked,
        [(A.to_owned(), Place::Prepare), (B.to_owned(), Place::ExitedGarbage), (C.to_owned(), Place::Run)]
    );
}
