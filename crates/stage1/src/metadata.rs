//! What apps are told of the metadata service: `AC_METADATA_URL`.

use std::net::{IpAddr, Ipv4Addr};

use executor::AppSpec;

use crate::args::{Network, Run};
use crate::error::Context;
use crate::{Error, Result};

/// Where the service listens for apps.
const PORT: u16 = 18112;
/// In which variable apps find it.
const VARIABLE: &str = "AC_METADATA_URL";

/// Tells the apps of a pod that is registered where the service is, seen from the pod. `routes` is the table of IPv4 routes in the
/// pod's network (`/proc/net/route`), where it has one of its own: its gateway is the host.
///
/// # Errors
/// When there is no way to the host.
pub fn announce(
    run: &Run,
    routes: impl FnOnce() -> std::io::Result<String>,
    specs: &mut [AppSpec],
) -> Result<()> {
    let Some(token) = &run.mds_token else { return Ok(()) };
    let host = match &run.network {
        Network::Host => Ipv4Addr::LOCALHOST,
        Network::None => return Err(unreachable()),
        Network::Named(_) => {
            let routes = routes().step(|| "read the routes of the pod".to_owned())?;
            gateway(&routes).ok_or_else(unreachable)?
        }
    };
    for spec in specs {
        spec.environment.retain(|(name, _)| name != VARIABLE);
        spec.environment.push((VARIABLE.to_owned(), format!("http://{host}:{PORT}/{token}")));
    }
    Ok(())
}

fn unreachable() -> Error {
    Error::Refused(
        "The pod's networks have no way to the metadata service of the host (--mds-register): join one that has a gateway, such as \
         --net=default"
            .to_owned(),
    )
}

/// The gateway of the default route.
fn gateway(routes: &str) -> Option<Ipv4Addr> {
    sys::routes::parse4(routes).find_map(|route| match route.gateway? {
        IpAddr::V4(gateway) if route.destination.1 == 0 => Some(gateway),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                          eth0\t001C10AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                          eth0\t00000000\t011C10AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";

    fn announced(net: &str, routes: &'static str) -> Result<Vec<(String, String)>> {
        let flags = [
            format!("--net={net}"),
            "--mds-token=t".to_owned(),
            "6ba7b810-9dad-41d1-80b4-00c04fd430c8".to_owned(),
        ];
        let run = Run::parse(flags.map(Into::into).to_vec()).unwrap();
        let mut specs = [AppSpec::new("a", &["/a"])];
        announce(&run, || Ok(routes.to_owned()), &mut specs)?;
        let [spec] = specs;
        Ok(spec.environment)
    }

    #[test]
    fn the_host_as_the_pod_sees_it() {
        let url = |host: &str| vec![(VARIABLE.to_owned(), format!("http://{host}:18112/t"))];
        assert_eq!(announced("host", "").unwrap(), url("127.0.0.1"));
        assert_eq!(announced("default", ROUTES).unwrap(), url("172.16.28.1"));
        assert!(announced("default", "Iface\n").is_err());
        assert!(announced("none", ROUTES).is_err());
    }
}
