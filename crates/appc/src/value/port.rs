//! `--port`.

use std::net::IpAddr;
use std::str::FromStr;

use super::{Problem, Syntax, ValueError};
use crate::ExposedPort;

/// What `--port` says is what a pod manifest keeps.
pub type PortMapping = ExposedPort;

impl FromStr for ExposedPort {
    type Err = ValueError;

    /// Reads the syntax of `--port`. Unlike rkt 1.x it takes IPv6 addresses too, in brackets or not.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        const SYNTAX: Syntax = Syntax { kind: "Port", syntax: "NAME:HOSTPORT or NAME:HOSTIP:HOSTPORT" };
        SYNTAX.parse(text, |text| {
            let (name, rest) = text.split_once(':').ok_or(Problem::Missing("HOSTPORT"))?;
            let (address, port) = match rest.rsplit_once(':') {
                Some((address, port)) => (Some(address), port),
                None => (None, rest),
            };
            let host_ip = address
                .map(|text| {
                    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
                    let parsed: Result<IpAddr, _> = bare.unwrap_or(text).parse();
                    parsed.map_err(|_| Problem::form(text, "is not an IP address"))
                })
                .transpose()?;
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            let host_port = port.parse().ok().filter(|port| digits && *port > 0);
            let host_port =
                host_port.ok_or_else(|| Problem::form(port, "must be a number from 1 to 65535"))?;
            Ok(Self { name: name.parse()?, host_port, host_ip, pod_port: None })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings() {
        for (text, name, ip, port) in [
            ("http:8080", "http", None, 8080),
            ("80-tcp:1", "80-tcp", None, 1),
            ("http:127.0.0.1:65535", "http", Some("127.0.0.1"), 65535),
            ("http:[::1]:80", "http", Some("::1"), 80),
            ("http:2001:db8::1:80", "http", Some("2001:db8::1"), 80),
        ] {
            let mapping: PortMapping = text.parse().unwrap();
            assert_eq!((mapping.name.as_str(), mapping.host_port), (name, port), "{text}");
            assert_eq!(mapping.host_ip, ip.map(|ip| ip.parse().unwrap()), "{text}");
        }
        for (text, problem) in [
            ("http", "HOSTPORT is missing"),
            ("http:", "\"\" must be a number"),
            ("http:0", "\"0\" must be a number"),
            ("http:65536", "must be a number from 1 to 65535"),
            ("http:+80", "\"+80\" must be a number"),
            ("http:localhost:80", "\"localhost\" is not an IP address"),
            (":80", "AC name must not be empty"),
            ("Http:80", "is not a valid AC name"),
            ("http:1.2.3.4:", "\"\" must be a number"),
        ] {
            let error = text.parse::<PortMapping>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
