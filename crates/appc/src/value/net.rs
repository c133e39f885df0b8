//! `--net`.

use std::fmt;
use std::str::FromStr;

use super::{Problem, Syntax, ValueError};

/// What `--net` asks for: networks by name, each with its arguments, or one of the words `none`, `host` and `all`.
///
/// Its text is what it was read from, and what a stage1 gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetList(pub Vec<NetRequest>);

/// One network of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetRequest {
    /// The name, or `none`, `host`, `all`.
    pub name: String,
    /// Arguments for the network's plugins, in their order.
    pub arguments: Vec<(String, String)>,
}

/// What the list amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetMode {
    /// `none` is in the list: a network namespace with loopback alone.
    None,
    /// `host` is in the list: the network of the host.
    Host,
    /// A network namespace with the networks of the list.
    Networks,
}

impl NetList {
    /// What the list amounts to.
    pub fn mode(&self) -> NetMode {
        if self.contains("none") {
            NetMode::None
        } else if self.contains("host") {
            NetMode::Host
        } else {
            NetMode::Networks
        }
    }

    /// Whether every configured network is asked for.
    pub fn all(&self) -> bool {
        self.contains("all")
    }

    /// Whether `name` is in the list.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The entry of the network `name`.
    pub fn get(&self, name: &str) -> Option<&NetRequest> {
        self.0.iter().find(|network| network.name == name)
    }
}

impl Default for NetList {
    /// What holds without `--net`: the network `default`.
    fn default() -> Self {
        Self(vec![NetRequest { name: "default".to_owned(), arguments: Vec::new() }])
    }
}

impl FromStr for NetList {
    type Err = ValueError;

    /// Reads the syntax of `--net`. Several flags are one list: join their values with commas.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax {
            kind: "Network",
            syntax: "none, host, all or NET[:ARG=VALUE[;ARG=VALUE]…], with commas between networks",
        };
        SYNTAX.parse(text, |text| {
            let mut list = Self(Vec::new());
            for item in text.split(',') {
                let network: NetRequest = item.parse()?;
                if list.contains(&network.name) {
                    return Err(Problem::Repeated(network.name));
                }
                list.0.push(network);
            }
            Ok(list)
        })
    }
}

impl FromStr for NetRequest {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let (name, arguments) =
            text.split_once(':').map_or((text, None), |(name, arguments)| (name, Some(arguments)));
        if name.is_empty() {
            return Err(Problem::Missing("the name of a network"));
        }
        let mut pairs = Vec::new();
        if let Some(arguments) = arguments {
            if matches!(name, "none" | "host" | "all") {
                return Err(Problem::form(name, "takes no arguments"));
            }
            if arguments.contains(':') {
                return Err(Problem::form(text, "has a second \":\""));
            }
            for argument in arguments.split(';') {
                match argument.split_once('=') {
                    Some((key, value)) if !key.is_empty() => pairs.push((key.to_owned(), value.to_owned())),
                    _ => return Err(Problem::NoValue(argument.to_owned())),
                }
            }
        }
        Ok(Self { name: name.to_owned(), arguments: pairs })
    }
}

impl fmt::Display for NetRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (i, (key, value)) in self.arguments.iter().enumerate() {
            write!(f, "{}{key}={value}", if i == 0 { ':' } else { ';' })?;
        }
        Ok(())
    }
}

impl fmt::Display for NetList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, network) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            network.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (text, mode) in [
            ("default", NetMode::Networks),
            ("all", NetMode::Networks),
            ("none", NetMode::None),
            ("host", NetMode::Host),
            ("a,none,host", NetMode::None),
            ("a,host", NetMode::Host),
            ("default:IP=172.16.28.33", NetMode::Networks),
            ("a:IP=1.2.3.4;MTU=1450,b,c:X=", NetMode::Networks),
        ] {
            let list: NetList = text.parse().unwrap();
            assert_eq!((list.mode(), list.to_string().as_str()), (mode, text));
        }
        let list: NetList = "a:IP=1.2.3.4;X=y=z,all".parse().unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(list.get("a").unwrap().arguments, [pair("IP", "1.2.3.4"), pair("X", "y=z")]);
        assert!(list.all() && !NetList::default().all() && NetList::default().contains("default"));
        for (text, problem) in [
            ("", "the name of a network is missing"),
            ("a,", "the name of a network is missing"),
            (":x=y", "the name of a network is missing"),
            ("a,b,a:x=y", "\"a\" is there more than once"),
            ("all:x=y", "\"all\" takes no arguments"),
            ("host:x=y", "\"host\" takes no arguments"),
            ("a:x=y:z", "has a second \":\""),
            ("a:", "\"\" is not KEY=VALUE"),
            ("a:x", "\"x\" is not KEY=VALUE"),
            ("a:x=y;", "\"\" is not KEY=VALUE"),
        ] {
            let error = text.parse::<NetList>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
