//! Ports and networks.

use super::{Fate, Reader, Result};

/// Networks whose addresses nobody asks for. Podman's own one is another than rkt's.
const HAVE_NONE: [&str; 3] = ["Network=host", "Network=none", "Network=default"];

impl Reader<'_> {
    pub(super) fn publish(&mut self, text: &str) -> Result<Fate> {
        let (mapping, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let Some((outside, inside)) = mapping.rsplit_once(':') else {
            return Err(Fate::Lost("there are no ports of the host by chance: write HOSTPORT:PODPORT"));
        };
        let (ip, host) = outside.rsplit_once(':').map_or(("", outside), |(ip, host)| (ip, host));
        if host.is_empty() {
            return Err(Fate::Lost("there are no ports of the host by chance: write HOSTPORT:PODPORT"));
        }
        let range = |text: &str| -> Option<(u16, u16)> {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        let (Some(from), Some(to)) = (range(host), range(inside)) else {
            return Err(Fate::Bad(format!("{text:?} is no mapping of ports")));
        };
        if from.1 < from.0 || from.1 - from.0 != to.1.wrapping_sub(to.0) || from.1 - from.0 > 1000 {
            return Err(Fate::Bad(format!("{text:?} is no mapping of ports")));
        }
        let ip = if ip.is_empty() || ip == "0.0.0.0" { String::new() } else { format!("{ip}:") };
        for offset in 0..=from.1 - from.0 {
            let (host, pod) = (from.0 + offset, to.0 + offset);
            self.output.pod.push(format!("PublishPort={ip}{host}:{pod}/{protocol}"));
        }
        Ok(Fate::Done)
    }

    pub(super) fn network(&mut self, text: &str) -> Result<Fate> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        match name {
            "host" | "none" => self.pod_line("Network", name),
            "" | "bridge" | "pasta" | "slirp4netns" | "private" => {
                self.pod_line("Network", "default")?;
                if options.is_empty() {
                    return Ok(Fate::Done);
                }
                Err(Fate::Changed(
                    "its options are left out: the network \"default\" is configured in /etc/rkt/net.d",
                ))
            }
            "container" | "ns" => Err(Fate::Lost("a pod has networks of its own: put the apps into one pod")),
            _ => {
                let mut line = name.strip_suffix(".network").unwrap_or(name).to_owned();
                let mut others = false;
                for option in options.split(',').filter(|option| !option.is_empty()) {
                    match option.strip_prefix("ip=") {
                        Some(address) if !address.contains(':') => line.push_str(&format!(":IP={address}")),
                        _ => others = true,
                    }
                }
                self.pod_line("Network", &line)?;
                Err(Fate::Changed(if others {
                    "a network of this name must be configured in /etc/rkt/net.d; options other than an IPv4 address are left out"
                } else {
                    "a network of this name must be configured in /etc/rkt/net.d"
                }))
            }
        }
    }

    /// Gives the pod's network the address that `IP=` asks for.
    pub(super) fn place_address(&mut self) {
        let Some(one) = self.address.take() else { return };
        let address = self.text(&one);
        let is_network = |line: &&mut String| line.starts_with("Network=");
        let mut networks: Vec<&mut String> = self.output.pod.iter_mut().filter(is_network).collect();
        let fate = match networks.as_mut_slice() {
            [network] if !HAVE_NONE.contains(&network.as_str()) && !network.contains(':') => {
                network.push_str(&format!(":IP={address}"));
                Fate::Done
            }
            _ => Fate::Lost("an address belongs to a network that is configured: Network=NAME:IP=ADDRESS"),
        };
        self.note(&one, fate);
    }
}
