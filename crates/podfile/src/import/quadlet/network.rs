//! Ports and networks.

use super::{Fate, Reader, Result};

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
        let name = text.split(':').next().unwrap_or_default();
        match name {
            "host" | "none" => self.pod_line("Network", name),
            "" | "bridge" | "pasta" | "slirp4netns" | "private" => self.pod_line("Network", "default"),
            "container" | "ns" => Err(Fate::Lost("a pod has networks of its own: put the apps into one pod")),
            _ => {
                let bare = name.strip_suffix(".network").unwrap_or(name).to_owned();
                self.pod_line("Network", &bare)?;
                Err(Fate::Changed("a network of this name must be configured in /etc/rkt/net.d"))
            }
        }
    }
}
