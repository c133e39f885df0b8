//! The values of keys.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use appc::extension::{RESOURCES, ResourceLimits};
use appc::sysctl::Sysctl;
use appc::{CapabilitySet, ExposedPort, Isolator, Mount, Port, Quantity, SeccompSpec, Volume, VolumeKind};

use crate::diagnostic::nearest;
use crate::pod::{Bind, EnvironmentFile, Isolation, Ready, Signal, Tmpfs};
use crate::words::{self, WordError};

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
    const SIGNALS: &[(&str, i32)] = &[
        ("SIGHUP", 1),
        ("SIGINT", 2),
        ("SIGQUIT", 3),
        ("SIGKILL", 9),
        ("SIGUSR1", 10),
        ("SIGUSR2", 12),
        ("SIGALRM", 14),
        ("SIGTERM", 15),
        ("SIGCONT", 18),
        ("SIGWINCH", 28),
        ("SIGIO", 29),
        ("SIGPWR", 30),
    ];
    let known = SIGNALS.iter().find(|(name, number)| {
        *name == text || name.strip_prefix("SIG") == Some(text) || number.to_string() == text
    });
    known.map(|&(name, number)| Signal { name, number }).ok_or_else(|| {
        let near = nearest(text, SIGNALS.iter().map(|(name, _)| *name));
        Problem::new(format!("{text:?} is no signal"))
            .hint(near.map_or_else(|| "as in SIGHUP".to_owned(), |near| format!("did you mean {near}?")))
    })
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

/// A volume as `--volume` takes it, or short: `NAME:/source[:ro]`, or `NAME` for an empty one.
pub(crate) fn volume(text: &str) -> Parsed<Volume> {
    if text.contains("kind=") {
        return parsed(text);
    }
    let mut parts = text.splitn(3, ':');
    let name = parsed(parts.next().unwrap_or_default())?;
    let kind = match parts.next() {
        None => VolumeKind::empty(),
        Some(source) => {
            let read_only = match parts.next() {
                None => None,
                Some("ro") => Some(true),
                Some("rw") => Some(false),
                Some(other) => return Err(Problem::new(format!("{other:?} is neither ro nor rw"))),
            };
            VolumeKind::Host { source: path(source)?, read_only, recursive: None }
        }
    };
    Ok(Volume { name, kind })
}

/// A mount as `--mount` takes it, or short: `VOLUME:/target`.
pub(crate) fn mount(text: &str) -> Parsed<Mount> {
    if text.contains("volume=") || text.contains("target=") {
        return parsed(text);
    }
    let Some((volume, target)) = text.split_once(':') else {
        return Err(Problem::new(format!("{text:?} is not VOLUME:/path")));
    };
    Ok(Mount { volume: parsed(volume)?, path: path(target)?, app_volume: None })
}

/// `/source[:/target[:option,…]]`
pub(crate) fn bind(text: &str) -> Parsed<Bind> {
    let mut parts = text.splitn(3, ':');
    let source = path(parts.next().unwrap_or_default())?;
    let target = parts.next().map_or_else(|| Ok(source.clone()), path)?;
    let mut bind = Bind { source, target, read_only: false, recursive: None };
    for option in parts.next().unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => bind.read_only = true,
            "rw" => bind.read_only = false,
            "rbind" => bind.recursive = Some(true),
            "norbind" => bind.recursive = Some(false),
            _ => return Err(Problem::new(format!("{option:?} is none of ro, rw, rbind, norbind"))),
        }
    }
    Ok(bind)
}

/// `/target[:option,…]`
pub(crate) fn tmpfs(text: &str) -> Parsed<Tmpfs> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut tmpfs = Tmpfs { target: path(target)?, mode: 0o755, uid: 0, gid: 0 };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "mode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                tmpfs.mode = mode.ok_or_else(|| Problem::new(format!("{value:?} is no octal mode")))?;
            }
            "uid" => tmpfs.uid = number(value, 0, u32::MAX - 1)?,
            "gid" => tmpfs.gid = number(value, 0, u32::MAX - 1)?,
            _ => return Err(Problem::new(format!("{option:?} is none of mode=, uid=, gid="))),
        }
    }
    Ok(tmpfs)
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
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, milliseconds) in [
            ("5", 5_000),
            ("1min 30s", 90_000),
            ("1min30", 90_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("2 days", 172_800_000),
        ] {
            assert_eq!(span(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        assert_eq!(span("infinity").unwrap(), Duration::MAX);
        for text in ["", "x", "5 lightyears", "-1", "1..2", "1e400", "s"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports() {
        for (text, name, ip, host, pod) in [
            ("8080:80", "80-tcp", None, 8080, Some((80, "tcp"))),
            ("53:53/udp", "53-udp", None, 53, Some((53, "udp"))),
            ("127.0.0.1:8080:80", "80-tcp", Some("127.0.0.1"), 8080, Some((80, "tcp"))),
            ("[::1]:8080:80", "80-tcp", Some("::1"), 8080, Some((80, "tcp"))),
            ("http:8080", "http", None, 8080, None),
            ("http:127.0.0.1:8080", "http", Some("127.0.0.1"), 8080, None),
            ("80-tcp:8080", "80-tcp", None, 8080, None),
        ] {
            let port = port(text).unwrap();
            assert_eq!((port.name.as_str(), port.host_port), (name, host), "{text}");
            assert_eq!(port.host_ip, ip.map(|ip| ip.parse().unwrap()), "{text}");
            let found = port.pod_port.as_ref().map(|port| (port.port, port.protocol.as_str()));
            assert_eq!(found, pod, "{text}");
        }
        for text in ["80", "80:", ":80", "0:80", "80:0", "80:80/sctp", "1.2.3:80:80", "x", "[::1:80:80"] {
            assert!(port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes_and_mounts() {
        let host = |text: &str| match volume(text).unwrap().kind {
            VolumeKind::Host { source, read_only, .. } => (source, read_only),
            VolumeKind::Empty { .. } => panic!("{text}"),
        };
        assert_eq!(host("data:/srv"), ("/srv".to_owned(), None));
        assert_eq!(host("data:/srv:ro"), ("/srv".to_owned(), Some(true)));
        assert_eq!(host("data,kind=host,source=/x"), ("/x".to_owned(), None));
        assert_eq!(volume("data").unwrap().kind, VolumeKind::empty());
        for text in ["", "data:srv", "data:/srv:rx", "Data", "data,kind=other"] {
            assert!(volume(text).is_err(), "{text}");
        }
        for text in ["data:/srv", "volume=data,target=/srv"] {
            let mount = mount(text).unwrap();
            assert_eq!((mount.volume.as_str(), mount.path.as_str()), ("data", "/srv"));
        }
        for text in ["data", "data:srv", "data:/a/../b", "volume=data"] {
            assert!(mount(text).is_err(), "{text}");
        }
        let found = bind("/a:/b:ro,rbind").unwrap();
        assert_eq!((found.target.as_str(), found.read_only, found.recursive), ("/b", true, Some(true)));
        assert_eq!(bind("/a").unwrap().target, "/a");
        assert!(bind("a:/b").is_err() && bind("/a:/b:x").is_err() && bind("").is_err());
        assert_eq!(tmpfs("/run:mode=1777,uid=5").unwrap().mode, 0o1777);
        assert!(tmpfs("/run:mode=9").is_err() && tmpfs("run").is_err() && tmpfs("/run:size=1").is_err());
    }

    #[test]
    fn kernel_parameters() {
        let good = sysctl("net.ipv4.ping_group_range=0 2147483647").unwrap();
        assert_eq!(good.1, "0 2147483647");
        let hint = |text: &str| sysctl(text).unwrap_err().hint.unwrap_or_default();
        assert_eq!(hint("vm.swappiness=1"), "set it there; see sysctl.d(5)");
        assert_eq!(hint("net/core/somaxconn=1"), "as in net.core.somaxconn=1024");
        assert!(sysctl("net.core.somaxconn").is_err() && sysctl("=1").is_err());
    }

    #[test]
    fn words_of_a_few() {
        assert!(boolean("Yes").unwrap() && !boolean("off").unwrap() && boolean("maybe").is_err());
        assert_eq!(isolation("nspwan").unwrap_err().hint.unwrap(), "did you mean nspawn?");
        assert!(isolation("docker").unwrap_err().hint.unwrap().contains("Stage1="));
        for text in ["SIGHUP", "HUP", "1"] {
            assert_eq!(signal(text).unwrap().number, 1);
        }
        assert_eq!(signal("SIGUSR").unwrap_err().hint.unwrap(), "did you mean SIGUSR1?");
        assert_eq!(capabilities("net_admin, CAP_KILL").unwrap().iter().count(), 2);
        assert_eq!(capabilities("NET_ADMN").unwrap_err().hint.unwrap(), "did you mean CAP_NET_ADMIN?");
        assert_eq!(service("web.service").unwrap(), "web");
        assert!(service("a@b").is_err() && service("").is_err() && service("a/b").is_err());
        assert!(
            limit("512M").is_ok() && limit("50%").is_ok() && limit("1 2").is_err() && limit("M").is_err()
        );
        assert_eq!(number("-5", -10, 10).unwrap(), -5);
        assert!(number::<u32>("+5", 0, 10).is_err() && number("11", 0, 10).is_err());
    }
}
