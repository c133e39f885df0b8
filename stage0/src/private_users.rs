//! `--private-users`: which users of the host the users of a pod are.
//!
//! A pod gets 65,536 ids that nobody else has. They come from what `/etc/subuid` and `/etc/subgid` give to the user `rkt`; where
//! neither says anything of it, from the range that systemd keeps for containers, less what those files give to others. Whoever chooses holds a
//! lock, and looks at the pods of the data directory, prepared and ended ones too, and at those that others noted since the last boot:
//!
//! ```text
//! /run/rkt/private-users.lock
//! /run/rkt/private-users/FIRST    the pod directory, without its place: DATA/pods NEWLINE UUID
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use pod::{Held, Place, Pods};

/// Ids of a pod.
pub(crate) const COUNT: u32 = 65_536;

/// What systemd keeps for containers; see "Special Container UIDs" in its UIDS-GIDS document.
const CONTAINERS: Range = Range { first: 524_288, end: 1_879_048_192 };

/// Whose ranges in `/etc/subuid` are for pods.
const USER: &str = "rkt";

const DIRECTORY: &str = "/run/rkt/private-users";
const LOCK: &str = "/run/rkt/private-users.lock";

/// Ids from `first` on, up to and without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    end: u32,
}

impl Range {
    fn meets(self, other: Self) -> bool {
        self.first < other.end && other.first < self.end
    }
}

/// Gives `held` its ids and notes them. Returns the first one.
pub(crate) fn assign(pods: &Pods, held: &Held) -> Result<u32> {
    ensure!(
        Path::new("/proc/self/ns/user").exists(),
        "--private-users: the kernel does not have user namespaces (CONFIG_USER_NS)"
    );
    std::fs::create_dir_all(DIRECTORY).with_context(|| format!("Cannot make {DIRECTORY}"))?;
    let lock = File::create(LOCK).with_context(|| format!("Cannot open {LOCK}"))?;
    lock.lock().with_context(|| format!("Cannot lock {LOCK}"))?;
    let read = |path: &str| match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("Cannot read {path}")),
    };
    let (users, groups) = (read("/etc/subuid")?, read("/etc/subgid")?);
    let (allowed, mut taken) = allowed(&parse(&users), &parse(&groups))?;
    taken.extend(of_pods(pods)?);
    taken.extend(noted()?);
    let start =
        held.uuid.as_str().bytes().fold(7u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let first = choose(&allowed, &taken, start).context(
        "--private-users: there is no free range of 65536 ids left. Remove pods (rkt gc, rkt rm), or give the user rkt more in \
         /etc/subuid and /etc/subgid",
    )?;
    let note = format!("{}\n{}\n", pods.directory().display(), held.uuid);
    std::fs::write(format!("{DIRECTORY}/{first}"), note)
        .with_context(|| format!("Cannot write in {DIRECTORY}"))?;
    held.dir.write_private_users(first, COUNT)?;
    Ok(first)
}

/// `NAME:FIRST:COUNT`; lines that are otherwise mean nothing, as for shadow(3).
fn parse(text: &str) -> Vec<(&str, Range)> {
    let range = |line: &'_ str| -> Option<Range> {
        let (first, count) = line.split_once(':')?;
        let (first, count): (u32, u32) = (first.trim().parse().ok()?, count.trim().parse().ok()?);
        Some(Range { first, end: first.checked_add(count)? })
    };
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(name, rest)| Some((name, range(rest)?)))
        .collect()
}

/// Where pods may have ids, and where others have some.
fn allowed(users: &[(&str, Range)], groups: &[(&str, Range)]) -> Result<(Vec<Range>, Vec<Range>)> {
    let own = |list: &[(&str, Range)]| -> Vec<Range> {
        list.iter().filter(|(name, _)| *name == USER).map(|(_, range)| *range).collect()
    };
    let (own_users, own_groups) = (own(users), own(groups));
    match (own_users.is_empty(), own_groups.is_empty()) {
        (true, true) => {
            let others = users.iter().chain(groups).map(|(_, range)| *range).collect();
            Ok((vec![CONTAINERS], others))
        }
        (false, false) => {
            // A user and a group of one number: that is how a pod's are mapped.
            let both = own_users.iter().flat_map(|user| own_groups.iter().map(move |group| (user, group)));
            let common = both.filter(|(user, group)| user.meets(**group)).map(|(user, group)| Range {
                first: user.first.max(group.first),
                end: user.end.min(group.end),
            });
            Ok((common.collect(), Vec::new()))
        }
        _ => bail!(
            "--private-users: the user {USER} must have the same ranges in /etc/subuid and in /etc/subgid"
        ),
    }
}

/// A free block of [`COUNT`] ids; blocks are looked at from one on that `start` chooses.
fn choose(allowed: &[Range], taken: &[Range], start: u32) -> Option<u32> {
    let blocks: u32 = allowed.iter().map(|range| (range.end - range.first) / COUNT).sum();
    (0..blocks).map(|step| (start % blocks + step) % blocks).find_map(|mut number| {
        let range = allowed.iter().find(|range| {
            let here = (range.end - range.first) / COUNT;
            let is_here = number < here;
            number -= if is_here { 0 } else { here };
            is_here
        })?;
        let first = range.first + number * COUNT;
        let block = Range { first, end: first + COUNT };
        (!taken.iter().any(|taken| taken.meets(block))).then_some(first)
    })
}

fn of_pods(pods: &Pods) -> Result<Vec<Range>> {
    let mut taken = Vec::new();
    for (uuid, place) in pods.walk(&Place::ALL)? {
        let Some(pod) = pods.get_from(uuid, place)? else { continue };
        taken.extend(
            pod.dir.private_users()?.map(|(first, count)| Range { first, end: first.saturating_add(count) }),
        );
    }
    Ok(taken)
}

/// What others have noted, as long as their pods exist.
fn noted() -> Result<Vec<Range>> {
    let mut taken = Vec::new();
    for entry in std::fs::read_dir(DIRECTORY).with_context(|| format!("Cannot list {DIRECTORY}"))? {
        let entry = entry?;
        let Some(first) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let exists = text.trim_end().rsplit_once('\n').is_some_and(|(pods, uuid)| {
            Place::ALL.iter().any(|place| PathBuf::from(pods).join(place.directory()).join(uuid).exists())
        });
        if exists {
            taken.push(Range { first, end: first.saturating_add(COUNT) });
        } else {
            // Whoever is there next does not have to look at it again.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, end: u32) -> Range {
        Range { first, end }
    }

    #[test]
    fn subordinate_ids() {
        let text = "alice:100000:65536\nrkt:1000000:131072\n# no\nrkt:x:1\nrkt:4294967295:2\n\nbob:1";
        assert_eq!(parse(text), [("alice", range(100_000, 165_536)), ("rkt", range(1_000_000, 1_131_072))]);
    }

    #[test]
    fn where_pods_may_have_ids() {
        let parsed = |text| parse(text);
        let (all, others) = allowed(&parsed("alice:600000:65536"), &parsed("bob:700000:1")).unwrap();
        assert_eq!((all, others), (vec![CONTAINERS], vec![range(600_000, 665_536), range(700_000, 700_001)]));
        let (own, others) =
            allowed(&parsed("rkt:1000:500\nalice:1200:5\nrkt:9000:10"), &parsed("rkt:1100:600")).unwrap();
        assert_eq!((own, others.len()), (vec![range(1100, 1500)], 0));
        assert!(allowed(&parsed("rkt:1000:500"), &parsed("")).is_err());
    }

    #[test]
    fn no_two_pods_share_ids() {
        let allowed = [range(100_000, 100_000 + 3 * COUNT + 5), range(9_000_000, 9_000_000 + COUNT)];
        let mut taken = vec![range(100_000 + COUNT + 7, 100_000 + COUNT + 8)];
        let mut firsts = Vec::new();
        while let Some(first) = choose(&allowed, &taken, 4_000_000_001) {
            taken.push(range(first, first + COUNT));
            firsts.push(first);
        }
        firsts.sort_unstable();
        assert_eq!(firsts, [100_000, 100_000 + 2 * COUNT, 9_000_000]);
        assert_eq!(choose(&[range(5, 100)], &[], 3), None);
        assert_ne!(choose(&[CONTAINERS], &[], 1), choose(&[CONTAINERS], &[], 2));
    }
}
