//! The options that a pod was started with, for entrypoints that come later: the file `runtime-config`.

use serde::Serialize;

use crate::args::{Insecure, Ipc, Run};
use crate::{Context, Pod, Result};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuntimeConfig<'a> {
    #[serde(rename = "MetadataServiceURL")]
    metadata_service_url: &'a str,
    private_users: String,
    #[serde(rename = "MDSToken")]
    mds_token: &'a str,
    hostname: String,
    debug: bool,
    mutable: bool,
    resolv_conf_mode: &'a str,
    etc_hosts_mode: &'a str,
    net_list: String,
    interactive: bool,
    insecure_options: InsecureOptions,
    #[serde(rename = "IPCMode")]
    ipc_mode: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct InsecureOptions {
    disable_paths: bool,
    disable_capabilities: bool,
    disable_seccomp: bool,
}

/// What later entrypoints want to know of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Apps come and go.
    pub mutable: bool,
    /// Restrictions that are switched off.
    pub insecure: Insecure,
}

/// Reads it again.
///
/// # Errors
/// When it cannot be read.
pub fn read(dir: &pod::PodDir) -> Result<Remembered> {
    let Some(json) = dir.runtime_config_json()? else { return Ok(Remembered::default()) };
    let config: serde_json::Value = serde_json::from_slice(&json)
        .map_err(std::io::Error::from)
        .step(|| "read runtime-config".to_owned())?;
    let switched = |name: &str| config["InsecureOptions"][name].as_bool().unwrap_or_default();
    Ok(Remembered {
        mutable: config["Mutable"].as_bool().unwrap_or_default(),
        insecure: Insecure {
            capabilities: switched("DisableCapabilities"),
            paths: switched("DisablePaths"),
            seccomp: switched("DisableSeccomp"),
        },
    })
}

/// Writes it.
pub fn write(pod: &Pod, run: &Run) -> Result<()> {
    Ok(pod.current.dir.write("runtime-config", &to_json(run))?)
}

fn to_json(run: &Run) -> Vec<u8> {
    let config = RuntimeConfig {
        metadata_service_url: "",
        private_users: run
            .private_users
            .map_or_else(String::new, |(first, count)| format!("{first}:{count}")),
        mds_token: run.mds_token.as_deref().unwrap_or(""),
        hostname: run.hostname(),
        debug: run.debug,
        mutable: run.mutable,
        resolv_conf_mode: run.resolv_conf.as_str(),
        etc_hosts_mode: run.hosts.as_str(),
        net_list: run.network.to_string(),
        interactive: run.interactive,
        insecure_options: InsecureOptions {
            disable_paths: run.insecure.paths,
            disable_capabilities: run.insecure.capabilities,
            disable_seccomp: run.insecure.seccomp,
        },
        ipc_mode: match run.ipc {
            Ipc::Private => "private",
            Ipc::Parent => "parent",
        },
    };
    // Strings and booleans always serialise.
    serde_json::to_vec(&config).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_names_that_others_read() {
        let arguments =
            ["--net=host", "--hostname=h", "--disable-paths", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"];
        let run = Run::parse(arguments.map(Into::into).to_vec()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let dir = pod::PodDir::from(sys::path::open_directory(directory.path()).unwrap());
        assert_eq!(read(&dir).unwrap(), Remembered::default());
        dir.write("runtime-config", &to_json(&run)).unwrap();
        let insecure = Insecure { paths: true, ..Insecure::default() };
        assert_eq!(read(&dir).unwrap(), Remembered { mutable: false, insecure });
        assert_eq!(
            String::from_utf8(to_json(&run)).unwrap(),
            r#"{"MetadataServiceURL":"","PrivateUsers":"","MDSToken":"","Hostname":"h","Debug":false,"Mutable":false,"ResolvConfMode":"default","EtcHostsMode":"default","NetList":"host","Interactive":false,"InsecureOptions":{"DisablePaths":true,"DisableCapabilities":false,"DisableSeccomp":false},"IPCMode":"private"}"#
        );
    }
}
