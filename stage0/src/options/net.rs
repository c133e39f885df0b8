//! `--net`: which networks a pod joins.

use anyhow::{Context, Result};
use appc::value::{NetList, NetMode};

/// `--net` with its default.
#[derive(Debug, clap::Args)]
pub(crate) struct NetArgs {
    /// configure the pod's networking. Optionally, pass a list of user-configured networks to load and set
    /// arguments to pass to each network, respectively. Syntax: --net[=n[:args], ...]
    #[arg(
        long = "net",
        default_value = "default",
        default_missing_value = "default",
        num_args = 0..=1,
        require_equals = true
    )]
    lists: Vec<String>,
}

impl NetArgs {
    /// What all flags together ask for. `none` beats `host`, and both beat everything else.
    pub(crate) fn parse(&self) -> Result<NetList> {
        self.lists.join(",").parse().context("--net")
    }
}

/// The value as a stage1 takes it.
pub(crate) fn argument(net: &NetList) -> String {
    match net.mode() {
        NetMode::None => "none".to_owned(),
        NetMode::Host => "host".to_owned(),
        NetMode::Networks => net.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lists: &[&str]) -> Result<NetList> {
        NetArgs { lists: lists.iter().map(|list| (*list).to_owned()).collect() }.parse()
    }

    #[test]
    fn flags_add_up() {
        for (lists, text) in [
            (&["default"] as &[&str], "default"),
            (&["none"], "none"),
            (&["host"], "host"),
            (&["a", "b:IP=1.2.3.4"], "a,b:IP=1.2.3.4"),
            (&["a,none,host"], "none"),
            (&["a", "host"], "host"),
        ] {
            assert_eq!(argument(&parse(lists).unwrap()), text, "{lists:?}");
        }
        assert!(parse(&["a", "a"]).is_err());
    }
}
