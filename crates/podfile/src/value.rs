//! The values of keys.

mod storage;

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use appc::extension::{RESOURCES, ResourceLimits};
use appc::sysctl::Sysctl;
use appc::{CapabilitySet, ExposedPort, Isolator, Port, Quantity, SeccompSpec};

use crate::diagnostic::nearest;
use crate::pod::{EnvironmentFile, Isolation, Ready, Signal};
use crate::words::{self, WordError};

pub(crate) use storage::{bind, mount, tmpfs, volume};

/// Why a value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// The bytes of the value that are meant; all when absent.
    pub(crate) range: Option<std::ops::Range<usize>>,
    pub(crate) hint: Option<String>,
}

pub(crate) type Parsed<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(message: impl Display) -> Self {
        Problem { message: message.to_string(), range: None, hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Problem { hint: Some(hint.into()), ..self }
    }
}

impl From<WordError> for Problem {
    fn from(error: WordError) -> Self {
        Problem { message: error.message, range: Some(error.range), hint: None }
    }
}

/// A type that knows its own syntax.
pub(crate) fn parsed<T: FromStr<Err: Display>>(text: &str) -> Parsed<T> {
    text.parse().map_err(Problem::new)
}

pub(crate) fn text(text: &str) -> Parsed<String> {
    Ok(text.to_owned())
}

/// Each word by itself.
pub(crate) fn each<T>(text: &str, parse: impl Fn(&str) -> Parsed<T>) -> Parsed<Vec<T>> {
    let one = |word: words::Word| {
        parse(&word.text).map_err(|problem| Problem { range: problem.range.or(Some(word.range)), ..problem })
    };
    words::split(text)?.into_iter().map(one).collect()
}

pub(crate) fn words(text: &str) -> Parsed<Vec<String>> {
    Ok(words::split(text)?.into_iter().map(|word| word.text).collect())
}

/// A program with its arguments.
pub(crate) fn command(text: &str) -> Parsed<Vec<String>> {
    let words = words(text)?;
    match words.first() {
        Some(first) if !first.is_empty() => Ok(words),
        _ => Err(Problem::new("The program has no name")),
    }
}

pub(crate) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err(Problem::new(format!("{text:?} is neither yes nor no"))),
    }
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Parsed<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let problem = Problem::new(format!("{text:?} is none of {}", all.join(", ")));
    Err(match nearest(text, all) {
        Some(near) => problem.hint(format!("did you mean {near}?")),
        None => problem,
    })
}

pub(crate) fn isolation(text: &str) -> Parsed<Isolation> {
    choice(text, &Isolation::ALL).map_err(|problem| match problem.hint {
        None => problem.hint("another stage1 is named by Stage1="),
        Some(_) => problem,
    })
}

pub(crate) fn ready(text: &str) -> Parsed<Ready> {
    choice(text, &[("start", Ready::Start), ("notify", Ready::Notify)])
}

pub(crate) fn number<T: FromStr + Display + PartialOrd + Copy>(text: &str, least: T, most: T) -> Parsed<T> {
    let plain = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if plain && number >= least && number <= most => Ok(number),
        _ => Err(Problem::new(format!("{text:?} is no number from {least} to {most}"))),
    }
}

/// An absolute path without `..`.
pub(crate) fn path(text: &str) -> Parsed<String> {
    let good = text.starts_with('/') && !text.split('/').any(|part| part == "..") && !text.contains('\0');
    if good {
        Ok(text.to_owned())
    } else {
        Err(Problem::new(format!("{text:?} is no absolute path without ..")))
    }
}

pub(crate) fn environment_file(text: &str) -> Parsed<EnvironmentFile> {
    let (optional, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    Ok(EnvironmentFile { path: path(rest)?, optional })
}

/// A span of time; see systemd.time(7). A plain number is in seconds.
pub(crate) fn span(text: &str) -> Parsed<Duration> {
    const UNITS: &[(&[&str], f64)] = &[
        (&["usec", "us", "µs", "μs"], 1e-6),
        (&["msec", "ms"], 1e-3),
        (&["seconds", "second", "sec", "s", ""], 1.0),
        (&["minutes", "minute", "min", "m"], 60.0),
        (&["hours", "hour", "hr", "h"], 3600.0),
        (&["days", "day", "d"], 86400.0),
        (&["weeks", "week", "w"], 604_800.0),
    ];
    let bad = || Problem::new(format!("{text:?} is no span of time")).hint("as in 90, 1min 30s, 500ms");
    if text == "infinity" {
        return Ok(Duration::MAX);
    }
    let mut rest = text.trim();
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let amount: f64 = rest[..end].parse().map_err(|_| bad())?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = &rest[..end];
        let (_, factor) = UNITS.iter().find(|(names, _)| names.contains(&unit)).ok_or_else(bad)?;
        seconds += amount * factor;
        rest = rest[end..].trim_start();
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| bad())
}

pub(crate) fn signal(text: &str) -> Parsed<Signal> {
    let Some(number) = sys::signal::number(text) else {
        let near = nearest(text, sys::signal::NAMES.iter().map(|(name, _)| *name));
        let hint = near.map_or_else(|| "as in SIGHUP".to_owned(), |near| format!("did you mean {near}?"));
        return Err(Problem::new(format!("{text:?} is no signal")).hint(hint));
    };
    let known = sys::signal::NAMES.iter().find(|(_, known)| *known == number);
    // The real-time ones have no names but what was written, where that is one.
    let name = match known {
        Some((name, _)) => (*name).to_owned(),
        None if text.starts_with("RT") => format!("SIG{text}"),
        None => text.to_owned(),
    };
    Ok(Signal { name, number })
}

/// `KEY=VALUE`
pub(crate) fn pair(text: &str) -> Parsed<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Problem::new(format!("{text:?} is not NAME=VALUE"))),
    }
}

/// `NAME=VALUE` of a kernel parameter that a pod can have of its own.
pub(crate) fn sysctl(text: &str) -> Parsed<(String, String)> {
    let (name, value) = pair(text)?;
    match Sysctl::owner(&name) {
        Ok(Sysctl::Network | Sysctl::Ipc) => Ok((name, value)),
        Ok(Sysctl::Host) => {
            let problem = Problem::new(format!("{name} belongs to the whole host"));
            Err(problem.hint("set it there; see sysctl.d(5)"))
        }
        Err(error) => Err(Problem::new(error).hint("as in net.core.somaxconn=1024")),
    }
}

/// A user or group: a name, a number, or a path whose owner is meant.
pub(crate) fn owner(text: &str) -> Parsed<String> {
    if text.contains([':', '\0', '\n']) || text.contains(char::is_whitespace) {
        return Err(Problem::new(format!("{text:?} is no name, number or path")));
    }
    Ok(text.to_owned())
}

/// Capabilities with spaces or commas between; `CAP_` may be left out.
pub(crate) fn capabilities(text: &str) -> Parsed<CapabilitySet> {
    let mut set = CapabilitySet::EMPTY;
    for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let upper = word.to_ascii_uppercase();
        if upper == "ALL" {
            set = appc::Capability::all().chain(set.iter()).collect();
            continue;
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        let one: CapabilitySet = full.parse().map_err(|_| {
            let near = nearest(&full, appc::Capability::all().map(appc::Capability::name));
            let problem = Problem::new(format!("{word:?} is no capability"));
            match near {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => problem,
            }
        })?;
        set = set.union(one);
    }
    Ok(set)
}

pub(crate) fn seccomp(text: &str) -> Parsed<Isolator> {
    Ok(parsed::<SeccompSpec>(text)?.into())
}

pub(crate) fn memory(text: &str) -> Parsed<Quantity> {
    let quantity: Quantity = parsed(text)?;
    if quantity.value() < 4096 { Err(Problem::new("It must be at least 4096 bytes")) } else { Ok(quantity) }
}

pub(crate) fn cpu(text: &str) -> Parsed<Quantity> {
    let quantity: Quantity = parsed(text)?;
    if quantity.milli_value() == 0 { Err(Problem::new("It must be more than nothing")) } else { Ok(quantity) }
}

pub(crate) fn hostname(text: &str) -> Parsed<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if text.len() <= 64 && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(Problem::new(format!("{text:?} is no host name")))
}

/// The name of a unit without `.service`.
pub(crate) fn service(text: &str) -> Parsed<String> {
    let name = text.strip_suffix(".service").unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\".contains(c);
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(allowed) {
        let problem = Problem::new(format!("{text:?} cannot be the name of a service"));
        return Err(problem.hint("as in web or web.service; it cannot be a template or an instance of one"));
    }
    Ok(name.to_owned())
}

/// A port as `--port` takes it (`NAME:[IP:]HOSTPORT`), or by number: `[IP:]HOSTPORT:PODPORT[/tcp|/udp]`.
pub(crate) fn port(text: &str) -> Parsed<ExposedPort> {
    let (mapping, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let Some((outside, pod)) = mapping.rsplit_once(':').filter(|_| {
        // A name has a letter in it; an address too, when it is in brackets.
        let first = mapping.split(':').next().unwrap_or_default();
        let address = mapping.starts_with('[') || first.parse::<std::net::Ipv4Addr>().is_ok();
        address || (!first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit()))
    }) else {
        return parsed(text);
    };
    if !["tcp", "udp"].contains(&protocol) {
        return Err(Problem::new(format!("{protocol:?} is neither tcp nor udp")));
    }
    let pod_port: u16 = number(pod, 1, u16::MAX)?;
    let (ip, host) = match outside.rsplit_once(':') {
        None => (None, outside),
        Some((ip, host)) => {
            let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
            let ip = bare.parse().map_err(|_| Problem::new(format!("{bare:?} is not an IP address")))?;
            (Some(ip), host)
        }
    };
    let name = parsed(&format!("{pod_port}-{protocol}"))?;
    Ok(ExposedPort {
        host_port: number(host, 1, u16::MAX)?,
        host_ip: ip,
        pod_port: Some(Port {
            name: parsed(&format!("{pod_port}-{protocol}"))?,
            protocol: protocol.to_owned(),
            port: pod_port,
            count: 1,
            socket_activated: false,
        }),
        name,
    })
}

/// `RESOURCE=SOFT[:HARD]`
pub(crate) fn ulimit(text: &str) -> Parsed<String> {
    parsed::<ResourceLimits>(text).map_err(|problem| {
        let name = text.split('=').next().unwrap_or_default();
        match nearest(name, RESOURCES).filter(|near| *near != name) {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None => problem,
        }
    })?;
    Ok(text.to_owned())
}

/// A limit for the unit: what systemd reads is checked as far as a typo shows.
pub(crate) fn limit(text: &str) -> Parsed<String> {
    let number = text.trim_end_matches(['K', 'M', 'G', 'T', 'P', 'E', '%']);
    let good = text == "infinity" || text == "idle" || (!number.is_empty() && number.parse::<f64>().is_ok());
    if good && !text.contains(char::is_whitespace) {
        return Ok(text.to_owned());
    }
    Err(Problem::new(format!("{text:?} is no limit")).hint("as in 512M, 50%, 100 or infinity"))
}

#[cfg(test)]
mod tests;
