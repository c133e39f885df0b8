//! All networks of a pod: joining them before it starts, leaving them after its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use appc::value::NetList;
use pod::{PodDir, PodUuid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::attached::{self, Attached};
use crate::chain::Caller;
use crate::config::{self, Wanted};
use crate::error::{Context, PluginFailure};
use crate::forwarding;
use crate::info;
use crate::netns;
use crate::plugin;
use crate::ports::Forward;
use crate::reclaim;
use crate::record::{Attachment, Record};
use crate::result::{Dns, Outcome};
use crate::{Error, Result};

/// The directory of the networks that come with the system.
pub const SYSTEM_CONFIG: &str = "/usr/lib/rkt";

/// What a pod needs.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its directory.
    pub pod: &'a PodDir,
    /// Its name.
    pub uuid: PodUuid,
    /// The data directory that it is in.
    pub data: PathBuf,
    /// The networks that it joins.
    pub networks: &'a NetList,
    /// Ports of the host that lead to it.
    pub forwards: Vec<Forward>,
    /// The administrator's configuration.
    pub local_config: PathBuf,
    /// The host's mount namespace, if this process is in another.
    pub host_mounts: Option<BorrowedFd<'a>>,
    /// Say what is done.
    pub debug: bool,
}

/// What a pod got.
#[derive(Debug)]
pub struct Joined {
    /// Its network namespace.
    pub netns: OwnedFd,
    /// The text of `resolv.conf`, if a network has an opinion.
    pub resolv_conf: Option<String>,
    /// For people to read.
    pub messages: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    resolv_conf: Option<String>,
    messages: Vec<String>,
}

/// Joins the networks. After a failure nothing is left of them, or the error says what is.
///
/// Call it in a process with one thread: it forks.
pub fn set_up(request: &Request<'_>) -> Result<Joined> {
    let directories = [request.local_config.clone(), PathBuf::from(SYSTEM_CONFIG)];
    let config::Configured { networks, mut messages } = config::load(&directories)?;
    let wanted = config::choose(networks, request.networks)?;
    messages.retain(|message| {
        wanted.iter().any(|wanted| message.contains(&format!("{:?}", wanted.network.name)))
    });
    let namespace = netns::create()?;
    let path = netns::path(request.uuid.as_str());
    let answer = netns::apart(request.host_mounts, || in_host(request, &wanted, namespace.as_fd(), &path))?;
    messages.extend(answer.messages);
    Ok(Joined { netns: namespace, resolv_conf: answer.resolv_conf, messages })
}

fn in_host(
    request: &Request<'_>,
    wanted: &[Wanted],
    namespace: BorrowedFd<'_>,
    path: &Path,
) -> Result<Answer> {
    let plugin_path = plugin::directories(&request.local_config);
    let attachments = wanted.iter().enumerate().map(|(index, wanted)| Attachment {
        interface: format!("eth{index}"),
        args: wanted.args.clone(),
        network: wanted.network.clone(),
        result: Value::Null,
    });
    // A plugin that is not there can neither join nor leave: better to know before another one has joined.
    for Wanted { network, .. } in wanted {
        for plugin in &network.plugins {
            let kind = plugin.get("type").and_then(Value::as_str).unwrap_or_default();
            plugin::find(kind, &plugin_path).map_err(|why| Error::Plugin {
                name: network.name.clone(),
                plugin: kind.to_owned(),
                command: "ADD",
                why,
            })?;
        }
    }
    // Everything that may have to be undone, before any of it is done.
    let mut record = Record {
        pod: request.uuid.to_string(),
        netns: path.to_owned(),
        plugin_path,
        attachments: attachments.collect(),
        forwards: !request.forwards.is_empty(),
    };
    record.write(request.pod)?;
    let done = netns::bind(namespace, path)
        .and_then(|()| Attached::lock()?.enter(&request.data, &record))
        .and_then(|()| join_all(request, &mut record));
    done.map_err(|error| match undo(request.pod, &record, request.debug) {
        Ok(()) => error,
        Err(more) => Error::Several(vec![error, more]),
    })
}

fn join_all(request: &Request<'_>, record: &mut Record) -> Result<Answer> {
    let netns = record.netns.to_str().unwrap_or_default();
    request.pod.write("netns", netns.as_bytes())?;
    if record.forwards {
        forwarding::claim(request)?;
    }
    let caller = caller(record, &request.forwards, request.debug);
    let mut answer = Answer::default();
    let mut outcomes = Vec::new();
    for index in 0..record.attachments.len() {
        let mut attachment = record.attachments[index].clone();
        let name = attachment.network.name.clone();
        request.pod.write(&format!("net/{}", attachment.network.file), &attachment.network.to_json())?;
        let mut added = caller.add(&mut attachment);
        if let Err(error) = &added
            && let Some(message) = make_room(request, &caller, &attachment, error)?
        {
            answer.messages.push(message);
            added = caller.add(&mut attachment);
        }
        // The version that its plugins speak has to be known when it is left, whatever came of it.
        record.attachments[index] = attachment;
        record.write(request.pod)?;
        added.map_err(|error| caller.explain(error, &record.attachments[index].network))?;
        let attachment = &record.attachments[index];
        let outcome = Outcome::parse(&attachment.result).map_err(|why| {
            Error::Told(format!("Network {name:?} gave a result that cannot be read: {why}"))
        })?;
        if request.debug {
            caller.check(attachment)?;
        }
        take_dns(&mut answer, &name, &outcome.dns);
        outcomes.push(outcome);
    }
    if record.forwards {
        forwarding::start(request, record, &outcomes)?;
    }
    info::write(request.pod, record, &outcomes, &request.forwards)?;
    Ok(answer)
}

/// When a plugin has refused, has pods that ended give back what they have. Says so if there were any: then it is worth
/// another try, and what the first one left is undone.
fn make_room(
    request: &Request<'_>,
    caller: &Caller,
    attachment: &Attachment,
    error: &Error,
) -> Result<Option<String>> {
    let Error::Plugin { why: PluginFailure::Reported { .. }, .. } = error else { return Ok(None) };
    let count = reclaim::leave_of_the_dead(&request.data, request.debug)?;
    if count == 0 {
        return Ok(None);
    }
    caller.delete(attachment)?;
    Ok(Some(format!(
        "{}: took back the networks of {count} pods that have ended, and tried again",
        error.chain()
    )))
}

/// The first network with an opinion counts.
fn take_dns(answer: &mut Answer, name: &str, dns: &Dns) {
    if dns.is_empty() {
        return;
    }
    match answer.resolv_conf {
        None => answer.resolv_conf = Some(dns.to_resolv_conf(name)),
        Some(_) => {
            answer.messages.push(format!("the DNS settings of network {name:?} are not used: another's are"));
        }
    }
}

fn caller(record: &Record, forwards: &[Forward], debug: bool) -> Caller {
    let mut runtime = Map::new();
    if !forwards.is_empty() {
        let mappings = forwards.iter().flat_map(|forward| {
            (0..forward.count).map(|offset| {
                json!({
                    "hostPort": forward.host_port.saturating_add(offset),
                    "containerPort": forward.pod_port.saturating_add(offset),
                    "protocol": forward.protocol,
                    "hostIP": forward.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                })
            })
        });
        runtime.insert("portMappings".to_owned(), mappings.collect());
    }
    Caller {
        container: record.pod.clone(),
        netns: record.netns.clone(),
        path: record.plugin_path.clone(),
        limit: plugin::limit(),
        runtime,
        debug,
    }
}

/// Leaves all networks of a pod and takes its network namespace and ports away. A second time it finds nothing to do.
///
/// Call it in a process with one thread: it forks.
pub fn tear_down(
    pod: &PodDir,
    uuid: PodUuid,
    host_mounts: Option<BorrowedFd<'_>>,
    debug: bool,
) -> Result<()> {
    netns::apart(host_mounts, || {
        // The lock of the pod falls with our parent: nobody may work on it any more then. It may be gone already.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        match Record::read(pod)? {
            Some(record) => undo(pod, &record, debug),
            None => netns::unbind(&netns::path(uuid.as_str())),
        }
    })
}

/// Leaves a network. A plugin may have been killed between two things that it makes, and then refuse to leave because
/// the second is missing (ptp and bridge do, between their iptables chain and its rules): it is made whole once, to be undone.
fn leave(caller: &Caller, attachment: &Attachment) -> Result<()> {
    let refused = match caller.delete(attachment) {
        Err(error) if error.is_refusal() && netns::is_bound(&caller.netns) => error,
        done => return done,
    };
    let mut again = Attachment { result: Value::Null, ..attachment.clone() };
    // Whether this works shows in what comes next.
    let _ = caller.add(&mut again);
    caller.delete(&again).map_err(|_| refused)
}

/// Undoes what `record` says may have been done. What fails stays in the record, and does not stop the rest.
pub(crate) fn undo(pod: &PodDir, record: &Record, debug: bool) -> Result<()> {
    let mut failures = Vec::new();
    if record.forwards {
        failures.extend(forwarding::stop(&record.pod).err());
    }
    let caller = caller(record, &[], debug);
    let mut left = record.clone();
    for index in (0..record.attachments.len()).rev() {
        match leave(&caller, &record.attachments[index]) {
            Ok(()) => {
                left.attachments.remove(index);
                failures.extend(left.write(pod).err());
            }
            Err(error) => failures.push(error),
        }
    }
    // Interfaces of the pod end with the namespace, also where a plugin failed to remove them.
    failures.extend(netns::unbind(&record.netns).err());
    match failures.pop() {
        None => attached::leave(&record.pod).and_then(|()| Record::remove(pod)),
        Some(only) if failures.is_empty() => Err(only),
        Some(last) => {
            failures.push(last);
            Err(Error::Several(failures))
        }
    }
}

/// The data directory of the pod in whose directory this process was started.
pub fn data_directory() -> Result<PathBuf> {
    let pod = std::env::current_dir().step(|| "find the pod directory".to_owned())?;
    pod.ancestors()
        .nth(3)
        .map(Path::to_owned)
        .ok_or_else(|| Error::Told(format!("{} is no pod directory", pod.display())))
}
