//! `--dns` and `--hosts-entry`.

use std::net::IpAddr;
use std::str::FromStr;

use super::{Problem, Syntax, ValueError};

/// What one `--dns` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsList {
    /// These servers.
    Servers(Vec<IpAddr>),
    /// The host's `/etc/resolv.conf`; excludes every other flag about name servers.
    Host,
    /// The image's own `/etc/resolv.conf`; excludes every other flag about name servers.
    None,
}

/// Reads an IP address.
fn address(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| Problem::form(text, "is not an IP address"))
}

impl FromStr for DnsList {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax { kind: "Name server", syntax: "IP[,IP]…, host or none" };
        SYNTAX.parse(text, |text| {
            let words: Vec<&str> = text.split(',').collect();
            match words.as_slice() {
                ["host"] => Ok(Self::Host),
                ["none"] => Ok(Self::None),
                words if words.contains(&"host") => Err(Problem::NotAlone("host")),
                words if words.contains(&"none") => Err(Problem::NotAlone("none")),
                words => Ok(Self::Servers(words.iter().map(|word| address(word)).collect::<Result<_, _>>()?)),
            }
        })
    }
}

/// What one `--hosts-entry` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostsEntry {
    /// These lines of `/etc/hosts`: addresses in their order, each with its names.
    Names(Vec<(IpAddr, Vec<String>)>),
    /// The host's `/etc/hosts`; excludes names.
    Host,
}

impl FromStr for HostsEntry {
    type Err = ValueError;

    /// Reads the syntax of `--hosts-entry`. Several flags are one list: join their values with commas.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax { kind: "Hosts entry", syntax: "IP=NAME[,IP=NAME]… or host" };
        SYNTAX.parse(text, |text| {
            let words: Vec<&str> = text.split(',').collect();
            if words.iter().all(|word| *word == "host") {
                return Ok(Self::Host);
            }
            if words.contains(&"host") {
                return Err(Problem::NotAlone("host"));
            }
            let mut lines: Vec<(IpAddr, Vec<String>)> = Vec::new();
            for word in words {
                let (ip, name) = word.split_once('=').ok_or_else(|| Problem::NoValue(word.to_owned()))?;
                let ip = address(ip)?;
                if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#')
                {
                    return Err(Problem::form(name, "is not the name of a host"));
                }
                match lines.iter_mut().find(|(known, _)| *known == ip) {
                    Some((_, names)) => names.push(name.to_owned()),
                    None => lines.push((ip, vec![name.to_owned()])),
                }
            }
            Ok(Self::Names(lines))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn name_servers() {
        for (text, list) in [
            ("8.8.8.8", Ok(DnsList::Servers(vec![ip("8.8.8.8")]))),
            ("8.8.8.8,2001:db8::1", Ok(DnsList::Servers(vec![ip("8.8.8.8"), ip("2001:db8::1")]))),
            ("host", Ok(DnsList::Host)),
            ("none", Ok(DnsList::None)),
            ("host,8.8.8.8", Err("\"host\" must stand alone")),
            ("8.8.8.8,none", Err("\"none\" must stand alone")),
            ("", Err("\"\" is not an IP address")),
            ("8.8.8.8,", Err("\"\" is not an IP address")),
            ("dns.example.com", Err("\"dns.example.com\" is not an IP address")),
        ] {
            match (text.parse::<DnsList>(), list) {
                (Ok(found), Ok(list)) => assert_eq!(found, list),
                (Err(found), Err(problem)) => assert!(found.to_string().contains(problem), "{found}"),
                (found, _) => panic!("{text:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn hosts_entries() {
        let line = |address: &str, names: &[&str]| {
            (ip(address), names.iter().map(|name| (*name).to_owned()).collect())
        };
        for (text, entry) in [
            ("10.0.0.1=db", Ok(HostsEntry::Names(vec![line("10.0.0.1", &["db"])]))),
            (
                "10.0.0.1=db,::1=six,10.0.0.1=db.example.com",
                Ok(HostsEntry::Names(vec![
                    line("10.0.0.1", &["db", "db.example.com"]),
                    line("::1", &["six"]),
                ])),
            ),
            ("host", Ok(HostsEntry::Host)),
            ("host,host", Ok(HostsEntry::Host)),
            ("host,10.0.0.1=db", Err("\"host\" must stand alone")),
            ("", Err("\"\" is not KEY=VALUE")),
            ("10.0.0.1", Err("\"10.0.0.1\" is not KEY=VALUE")),
            ("db=10.0.0.1", Err("\"db\" is not an IP address")),
            ("10.0.0.1=", Err("\"\" is not the name of a host")),
            ("10.0.0.1=a b", Err("\"a b\" is not the name of a host")),
            ("10.0.0.1=a\n", Err("is not the name of a host")),
        ] {
            match (text.parse::<HostsEntry>(), entry) {
                (Ok(found), Ok(entry)) => assert_eq!(found, entry),
                (Err(found), Err(problem)) => assert!(found.to_string().contains(problem), "{found}"),
                (found, _) => panic!("{text:?}: {found:?}"),
            }
        }
    }
}
