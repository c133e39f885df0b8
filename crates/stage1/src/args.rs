//! The arguments of the entrypoints.
//!
//! Flags are written `--name=value` or `--name value`, switches `--name` or `--name=true`; one dash does as well as two,
//! as in Go's flag package, whose callers must go on working. They end at the first argument that is none, or at `--`.

use std::ffi::OsString;

use appc::value::{NetList, NetMode};

/// Why arguments make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A flag that the entrypoint does not have.
    #[error("Unknown flag {0:?}: this stage1 has an older interface than the rkt that calls it")]
    UnknownFlag(String),
    /// A flag without its value.
    #[error("Flag --{0} needs a value")]
    NoValue(&'static str),
    /// A value that the flag cannot have.
    #[error("Flag --{flag} cannot be {value:?}: {expected}")]
    BadValue {
        /// The flag.
        flag: &'static str,
        /// What it was set to.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// A flag or argument that must be there.
    #[error("Missing argument: {0}")]
    Missing(&'static str),
    /// Too many arguments.
    #[error("Unexpected argument {0:?}")]
    Unexpected(String),
    /// An argument that is no text.
    #[error("Argument {0:?} is not valid UTF-8")]
    NotText(OsString),
}

type Result<T> = std::result::Result<T, ArgumentError>;

/// A flag is a switch, or takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Switch,
    Value,
}

/// Arguments, taken apart.
#[derive(Debug, Default)]
struct Parsed {
    /// In the order in which they came; the last one of a name counts.
    flags: Vec<(&'static str, String)>,
    rest: Vec<String>,
}

impl Parsed {
    fn parse(arguments: Vec<OsString>, known: &[(&'static str, Kind)]) -> Result<Self> {
        let mut parsed = Parsed::default();
        let mut arguments =
            arguments.into_iter().map(|argument| argument.into_string().map_err(ArgumentError::NotText));
        while let Some(argument) = arguments.next().transpose()? {
            if argument == "--" {
                break;
            }
            let Some(flag) = argument.strip_prefix('-').filter(|flag| !flag.is_empty()) else {
                parsed.rest.push(argument);
                break;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let Some(&(name, kind)) = known.iter().find(|(known, _)| *known == name) else {
                return Err(ArgumentError::UnknownFlag(argument));
            };
            let value = match (kind, value) {
                (_, Some(value)) => value,
                (Kind::Switch, None) => "true".to_owned(),
                (Kind::Value, None) => arguments.next().transpose()?.ok_or(ArgumentError::NoValue(name))?,
            };
            parsed.flags.push((name, value));
        }
        for argument in arguments {
            parsed.rest.push(argument?);
        }
        Ok(parsed)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    fn switch(&self, flag: &'static str) -> Result<bool> {
        match self.value(flag) {
            None => Ok(false),
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
            Some(value) => Err(ArgumentError::BadValue {
                flag,
                value: value.to_owned(),
                expected: "it is true or false",
            }),
        }
    }

    /// The only argument that is no flag: the pod's UUID.
    fn uuid(&self) -> Result<pod::PodUuid> {
        match self.rest.as_slice() {
            [] => Err(ArgumentError::Missing("the UUID of the pod")),
            [uuid] => uuid.parse().map_err(|_| ArgumentError::BadValue {
                flag: "uuid",
                value: uuid.clone(),
                expected: "it is the UUID of a pod",
            }),
            [_, more, ..] => Err(ArgumentError::Unexpected(more.clone())),
        }
    }
}

/// The network of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    Host,
    /// One of its own, with nothing but the loopback interface.
    None,
    /// One of its own, with these networks.
    Named(NetList),
}

impl Network {
    fn parse(list: &str) -> Result<Self> {
        let parsed: NetList = list.parse().map_err(|_| ArgumentError::BadValue {
            flag: "net",
            value: list.to_owned(),
            expected: "it is none, host, all or NETWORK[:ARGUMENT=VALUE[;…]], with commas between networks",
        })?;
        Ok(match parsed.mode() {
            NetMode::None => Network::None,
            NetMode::Host => Network::Host,
            NetMode::Networks => Network::Named(parsed),
        })
    }
}

impl std::fmt::Display for Network {
    /// As `--net` writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Network::Host => f.write_str("host"),
            Network::None => f.write_str("none"),
            Network::Named(list) => list.fmt(f),
        }
    }
}

/// Where `resolv.conf` or `hosts` of the apps comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileMode {
    /// What the network says, else the image's own.
    #[default]
    Default,
    /// The host's.
    Host,
    /// stage0 has written it.
    Stage0,
    /// The image's own.
    None,
}

impl FileMode {
    /// As `--dns-conf-mode` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            FileMode::Default => "default",
            FileMode::Host => "host",
            FileMode::Stage0 => "stage0",
            FileMode::None => "none",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [FileMode::Default, FileMode::Host, FileMode::Stage0, FileMode::None]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// Whose System V IPC and message queues a pod sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ipc {
    /// Its own.
    #[default]
    Private,
    /// Those of whoever started it.
    Parent,
}

/// Restrictions that the user has switched off (`--insecure-options`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Insecure {
    /// Capabilities are not restricted.
    pub capabilities: bool,
    /// Nothing below `/proc` and `/sys` is hidden or protected.
    pub paths: bool,
    /// System calls are not filtered.
    pub seccomp: bool,
}

/// Arguments of `run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Say what is done.
    pub debug: bool,
    /// `--net`.
    pub network: Network,
    /// The app is connected to the terminal.
    pub interactive: bool,
    /// First id and number of ids of the pod's user namespace, if it has one.
    pub private_users: Option<(u32, u32)>,
    /// Token of the metadata service.
    pub mds_token: Option<String>,
    /// Where the administrator's configuration is.
    pub local_config: Option<String>,
    /// The pod's host name.
    pub hostname: Option<String>,
    /// `resolv.conf`.
    pub resolv_conf: FileMode,
    /// `hosts`.
    pub hosts: FileMode,
    /// Restrictions that are switched off.
    pub insecure: Insecure,
    /// Apps come and go.
    pub mutable: bool,
    /// `--ipc`.
    pub ipc: Ipc,
    /// The pod.
    pub uuid: pod::PodUuid,
}

impl Run {
    /// Reads them.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self> {
        use Kind::{Switch, Value};
        let parsed = Parsed::parse(
            arguments,
            &[
                ("debug", Switch),
                ("net", Value),
                ("interactive", Switch),
                ("private-users", Value),
                ("mds-token", Value),
                ("local-config", Value),
                ("hostname", Value),
                ("dns-conf-mode", Value),
                ("disable-capabilities-restriction", Switch),
                ("disable-paths", Switch),
                ("disable-seccomp", Switch),
                ("mutable", Switch),
                ("ipc", Value),
            ],
        )?;
        let text = |name| parsed.value(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let (resolv_conf, hosts) = dns_conf_mode(parsed.value("dns-conf-mode").unwrap_or(""))?;
        Ok(Run {
            debug: parsed.switch("debug")?,
            network: Network::parse(parsed.value("net").unwrap_or("default"))?,
            interactive: parsed.switch("interactive")?,
            private_users: text("private-users").as_deref().map(private_users).transpose()?,
            mds_token: text("mds-token"),
            local_config: text("local-config"),
            hostname: text("hostname"),
            resolv_conf,
            hosts,
            insecure: Insecure {
                capabilities: parsed.switch("disable-capabilities-restriction")?,
                paths: parsed.switch("disable-paths")?,
                seccomp: parsed.switch("disable-seccomp")?,
            },
            mutable: parsed.switch("mutable")?,
            ipc: match parsed.value("ipc").unwrap_or("auto") {
                "" | "auto" | "private" => Ipc::Private,
                "parent" => Ipc::Parent,
                value => {
                    let expected = "it is auto, private or parent";
                    return Err(ArgumentError::BadValue { flag: "ipc", value: value.to_owned(), expected });
                }
            },
            uuid: parsed.uuid()?,
        })
    }

    /// The pod's host name.
    pub fn hostname(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| machine_name(self.uuid))
    }
}

/// The name of a pod as a machine.
pub fn machine_name(uuid: pod::PodUuid) -> String {
    format!("rkt-{uuid}")
}

fn private_users(text: &str) -> Result<(u32, u32)> {
    let numbers = text.split_once(':').and_then(|(first, count)| {
        let (first, count): (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
        (count > 0 && first.checked_add(count).is_some()).then_some((first, count))
    });
    numbers.ok_or_else(|| ArgumentError::BadValue {
        flag: "private-users",
        value: text.to_owned(),
        expected: "it is FIRST:COUNT",
    })
}

fn dns_conf_mode(text: &str) -> Result<(FileMode, FileMode)> {
    let (mut resolv, mut hosts) = (FileMode::default(), FileMode::default());
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let mode = pair.split_once('=').and_then(|(key, value)| Some((key, FileMode::parse(value)?)));
        match mode {
            Some(("resolv", mode)) => resolv = mode,
            Some(("hosts", mode)) if mode != FileMode::None => hosts = mode,
            _ => {
                return Err(ArgumentError::BadValue {
                    flag: "dns-conf-mode",
                    value: text.to_owned(),
                    expected: "it is resolv=host|stage0|none|default,hosts=host|stage0|default",
                });
            }
        }
    }
    Ok((resolv, hosts))
}

/// Arguments of `enter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enter {
    /// Process 1 of the pod, on the host.
    pub pid: i32,
    /// The app; without one, the pod itself is meant.
    pub app: Option<String>,
    /// What to run.
    pub command: Vec<String>,
}

impl Enter {
    /// Reads them.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self> {
        let parsed = Parsed::parse(arguments, &[("pid", Kind::Value), ("appname", Kind::Value)])?;
        let pid = parsed.value("pid").ok_or(ArgumentError::Missing("--pid"))?;
        if parsed.rest.is_empty() {
            return Err(ArgumentError::Missing("the command to run"));
        }
        Ok(Enter {
            pid: pid.parse().ok().filter(|pid| *pid > 0).ok_or_else(|| ArgumentError::BadValue {
                flag: "pid",
                value: pid.to_owned(),
                expected: "it is the number of a process",
            })?,
            app: parsed.value("appname").filter(|app| !app.is_empty()).map(str::to_owned),
            command: parsed.rest,
        })
    }
}

/// Which streams of an app to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachAction {
    /// Say which there are.
    List,
    /// All there are.
    Auto,
    /// These, by their names: `stdin`, `stdout`, `stderr`, `tty-in`, `tty-out`.
    Custom(Vec<&'static str>),
}

/// Arguments of `attach`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// What to do.
    pub action: AttachAction,
    /// The app.
    pub app: String,
}

impl Attach {
    /// Reads them.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self> {
        use Kind::{Switch, Value};
        const STREAMS: [&str; 5] = ["stdin", "stdout", "stderr", "tty-in", "tty-out"];
        let mut known = vec![("action", Value), ("app", Value), ("debug", Switch)];
        known.extend(STREAMS.map(|stream| (stream, Switch)));
        let parsed = Parsed::parse(arguments, &known)?;
        if let Some(more) = parsed.rest.first() {
            return Err(ArgumentError::Unexpected(more.clone()));
        }
        let action = match parsed.value("action") {
            Some("list") => AttachAction::List,
            Some("auto-attach") => AttachAction::Auto,
            Some("custom-attach") => {
                let mut wanted = Vec::new();
                for stream in STREAMS {
                    if parsed.switch(stream)? {
                        wanted.push(stream);
                    }
                }
                AttachAction::Custom(wanted)
            }
            None => return Err(ArgumentError::Missing("--action")),
            Some(value) => {
                let expected = "it is list, auto-attach or custom-attach";
                return Err(ArgumentError::BadValue { flag: "action", value: value.to_owned(), expected });
            }
        };
        let app = parsed.value("app").filter(|app| !app.is_empty()).ok_or(ArgumentError::Missing("--app"))?;
        Ok(Attach { action, app: app.to_owned() })
    }
}

/// What is done with an app of a mutable pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppOperation {
    /// It becomes one of the pod's.
    Add,
    /// It runs.
    Start,
    /// It ends.
    Stop,
    /// It is no longer one of the pod's.
    Remove,
}

/// Arguments of `app/add`, `app/start`, `app/stop` and `app/rm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Which of them.
    pub operation: AppOperation,
    /// The app.
    pub app: String,
    /// Say what is done.
    pub debug: bool,
}

impl App {
    /// Reads them.
    pub fn parse(operation: AppOperation, arguments: Vec<OsString>) -> Result<Self> {
        use Kind::{Switch, Value};
        let known = [("app", Value), ("uuid", Value), ("debug", Switch), ("local-config", Value)];
        let parsed = Parsed::parse(arguments, &known)?;
        let app = parsed.value("app").filter(|app| !app.is_empty()).ok_or(ArgumentError::Missing("--app"))?;
        Ok(App { operation, app: app.to_owned(), debug: parsed.switch("debug")? })
    }
}

/// Arguments of `gc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gc {
    /// Say what is done.
    pub debug: bool,
    /// The pod.
    pub uuid: pod::PodUuid,
}

impl Gc {
    /// Reads them.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self> {
        let parsed = Parsed::parse(arguments, &[("debug", Kind::Switch), ("local-config", Kind::Value)])?;
        Ok(Gc { debug: parsed.switch("debug")?, uuid: parsed.uuid()? })
    }
}

/// Arguments of `stop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Kill instead of asking.
    pub force: bool,
    /// Say what is done.
    pub debug: bool,
    /// The pod.
    pub uuid: pod::PodUuid,
}

impl Stop {
    /// Reads them.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self> {
        let parsed = Parsed::parse(arguments, &[("force", Kind::Switch), ("debug", Kind::Switch)])?;
        Ok(Stop { force: parsed.switch("force")?, debug: parsed.switch("debug")?, uuid: parsed.uuid()? })
    }
}

/// Arguments of `signal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The app whose program gets it.
    pub app: String,
    /// Its number.
    pub number: i32,
    /// The pod.
    pub uuid: pod::PodUuid,
}

impl Signal {
    /// Reads them.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self> {
        let flags = [("app", Kind::Value), ("signal", Kind::Value), ("debug", Kind::Switch)];
        let parsed = Parsed::parse(arguments, &flags)?;
        let missing = ArgumentError::Missing;
        let number = parsed.value("signal").and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| missing("the number of a signal (--signal)"))?;
        let app = parsed.value("app").ok_or_else(|| missing("the name of the app (--app)"))?.to_owned();
        Ok(Signal { app, number, uuid: parsed.uuid()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(|word| OsString::from(word.replace("UUID", UUID))).collect()
    }

    #[test]
    fn run_with_everything() {
        let run = Run::parse(words(
            "--debug --net=host --interactive --private-users=65536:65536 --mds-token=abc --local-config /etc/rkt \
             --hostname=box --dns-conf-mode=resolv=host,hosts=stage0 --disable-capabilities-restriction \
             --disable-paths=true --disable-seccomp=1 --mutable=false --ipc=parent UUID",
        ))
        .unwrap();
        assert_eq!(
            run,
            Run {
                debug: true,
                network: Network::Host,
                interactive: true,
                private_users: Some((65536, 65536)),
                mds_token: Some("abc".to_owned()),
                local_config: Some("/etc/rkt".to_owned()),
                hostname: Some("box".to_owned()),
                resolv_conf: FileMode::Host,
                hosts: FileMode::Stage0,
                insecure: Insecure { capabilities: true, paths: true, seccomp: true },
                mutable: false,
                ipc: Ipc::Parent,
                uuid: UUID.parse().unwrap(),
            }
        );
    }

    #[test]
    fn run_with_nothing() {
        let run = Run::parse(words("UUID")).unwrap();
        assert_eq!(run.network, Network::Named(NetList::default()));
        assert_eq!(run.hostname(), format!("rkt-{UUID}"));
        assert!(!run.debug && run.insecure == Insecure::default());
        // As the Go rkt's own stage0 might write it.
        assert!(Run::parse(words("-debug --net none UUID")).is_ok_and(|run| run.network == Network::None));
    }

    #[test]
    fn networks() {
        for (list, network) in [
            ("host", Network::Host),
            ("none", Network::None),
            ("a,none,host", Network::None),
            ("a,host", Network::Host),
            ("a:ARG=1,b", Network::Named("a:ARG=1,b".parse().unwrap())),
        ] {
            let parsed = Network::parse(list).unwrap();
            assert_eq!(parsed, network, "{list}");
            assert_eq!(Network::parse(&parsed.to_string()).unwrap(), network, "{list}");
        }
        for bad in ["", "a,,b", "a:ARG", "a,a"] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_arguments_name_themselves() {
        for (line, message) in [
            ("", "Missing argument: the UUID of the pod"),
            ("nonsense", "Flag --uuid cannot be \"nonsense\": it is the UUID of a pod"),
            ("UUID more", "Unexpected argument \"more\""),
            (
                "--future UUID",
                "Unknown flag \"--future\": this stage1 has an older interface than the rkt that calls it",
            ),
            ("--net", "Flag --net needs a value"),
            ("--debug=maybe UUID", "Flag --debug cannot be \"maybe\": it is true or false"),
            ("--ipc=x UUID", "Flag --ipc cannot be \"x\": it is auto, private or parent"),
            ("--private-users=5 UUID", "Flag --private-users cannot be \"5\": it is FIRST:COUNT"),
            (
                "--private-users=4294967295:2 UUID",
                "Flag --private-users cannot be \"4294967295:2\": it is FIRST:COUNT",
            ),
            (
                "--dns-conf-mode=resolv=x UUID",
                "Flag --dns-conf-mode cannot be \"resolv=x\": it is \
                 resolv=host|stage0|none|default,hosts=host|stage0|default",
            ),
        ] {
            assert_eq!(Run::parse(words(line)).unwrap_err().to_string(), message, "{line}");
        }
        assert!(Run::parse(words("--dns-conf-mode=hosts=none UUID")).is_err());
    }

    #[test]
    fn enter_takes_the_command_as_it_is() {
        let enter = Enter::parse(words("--pid=7 --appname=web -- /bin/sh -c --pid=8 --")).unwrap();
        assert_eq!((enter.pid, enter.app.as_deref()), (7, Some("web")));
        assert_eq!(enter.command, ["/bin/sh", "-c", "--pid=8", "--"]);
        let enter = Enter::parse(words("--pid 7 ls -l")).unwrap();
        assert_eq!((enter.app, enter.command.join(" ").as_str()), (None, "ls -l"));
        for line in ["--pid=0 -- ls", "--pid=x -- ls", "--appname=a -- ls", "--pid=1 --"] {
            assert!(Enter::parse(words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn gc_and_stop() {
        assert!(Gc::parse(words("--debug --local-config=/etc/rkt UUID")).is_ok_and(|gc| gc.debug));
        assert!(Stop::parse(words("--force UUID")).is_ok_and(|stop| stop.force));
        assert!(Stop::parse(words("UUID")).is_ok_and(|stop| !stop.force));
        let signal = Signal::parse(words("--app=web --signal=1 UUID")).unwrap();
        assert_eq!((signal.app.as_str(), signal.number), ("web", 1));
        assert!(Signal::parse(words("--app=web UUID")).is_err());
    }

    #[test]
    fn attach() {
        let parse = |words: &[&str]| Attach::parse(words.iter().map(OsString::from).collect());
        let action = |words| parse(words).unwrap().action;
        assert_eq!(action(&["--action=list", "--app=a", "--debug=false"]), AttachAction::List);
        assert_eq!(action(&["--action=auto-attach", "--app=a"]), AttachAction::Auto);
        assert_eq!(
            action(&["--action=custom-attach", "--tty-in=true", "--tty-out=false", "--stderr", "--app=a"]),
            AttachAction::Custom(vec!["stderr", "tty-in"])
        );
        for wrong in [
            &["--action=list"][..],
            &["--app=a"],
            &["--action=x", "--app=a"],
            &["--action=list", "--app=a", "b"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
