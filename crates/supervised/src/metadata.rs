//! The metadata service: where it is, as the apps of a pod see it.

use executor::AppSpec;
use network::Joined;
use stage1::Result;
use stage1::args::Run;
use sys::namespace::{self, Kind};

use std::os::fd::AsFd;

/// Tells the apps of a pod that is registered; `false` when the pod is not. What the supervisor reads has to be written after it.
/// Where the service is, is known only in the pod's network.
///
/// # Errors
/// When the pod has no way there.
pub fn announce(run: &Run, joined: Option<&Joined>, specs: &mut [AppSpec]) -> Result<bool> {
    if run.mds_token.is_none() {
        return Ok(false);
    }
    let routes = || {
        let Some(joined) = joined else { return Ok(String::new()) };
        let own = namespace::open(None, Kind::Network)?;
        namespace::join(joined.netns.as_fd(), Kind::Network)?;
        let routes = std::fs::read_to_string("/proc/self/net/route");
        namespace::join(own.as_fd(), Kind::Network)?;
        routes
    };
    stage1::metadata::announce(run, routes, specs)?;
    Ok(true)
}
