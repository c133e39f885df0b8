//! How machines are made on this host: variables of the environment, then files.
//!
//! ```text
//! RKT_KVM_ACCEL                        kvm (default) or tcg                        "accelerator"
//! RKT_KVM_MACHINE                      microvm or q35; see `Qemu::usual_model`     "machine"
//! RKT_KVM_KERNEL, RKT_KVM_INITRD       instead of those of the stage1              "kernel", "initrd"
//! RKT_KVM_LINK                         vsock where there is (default), or serial   "link"
//! RKT_KVM_READY_SEC                    how long the guest may take to start        "readySec"
//! RKT_HYPERVISOR_EXTRA_KERNEL_PARAMS   put behind the guest's kernel command line  "kernelParameters"
//! ```
//! Files: `kvm.d/*.json` of the local configuration (`/etc/rkt`), which win over those of the system (`/usr/lib/rkt`), each with
//! `"rktKind": "kvm", "rktVersion": "v1"`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use stage1::{Context, Error, Result};

/// Who shall execute the guest's instructions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Accelerate {
    /// The processor, or nobody.
    #[default]
    Kvm,
    /// Emulation.
    Tcg,
}

/// The hardware that the guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Model {
    /// Virtio devices at fixed addresses and nothing else.
    Microvm,
    /// A PC with PCI Express.
    Q35,
}

/// What monitor and guest talk over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Channel {
    /// vsock where the host has it, else a port of virtio-serial.
    #[default]
    Vsock,
    /// A port of virtio-serial.
    Serial,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Settings {
    rkt_kind: String,
    rkt_version: String,
    accelerator: Option<Accelerate>,
    machine: Option<Model>,
    link: Option<Channel>,
    pub(crate) kernel: Option<PathBuf>,
    pub(crate) initrd: Option<PathBuf>,
    ready_sec: Option<u64>,
    pub(crate) kernel_parameters: Option<String>,
}

impl Settings {
    /// Reads them. `local` is the directory of the local configuration.
    pub(crate) fn read(local: &Path) -> Result<Self> {
        let mut settings = Settings::from_environment(|name| std::env::var(name).ok())?;
        for directory in [local, Path::new("/usr/lib/rkt")] {
            let directory = directory.join("kvm.d");
            let mut files: Vec<PathBuf> = match std::fs::read_dir(&directory) {
                Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).step(|| format!("list {}", directory.display())),
            };
            files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
            // Those later in the alphabet win, as for all of rkt's configuration.
            files.sort_by(|one, other| other.cmp(one));
            for file in files {
                let text = std::fs::read(&file).step(|| format!("read {}", file.display()))?;
                settings = settings.or(Settings::parse(&file, &text)?);
            }
        }
        Ok(settings)
    }

    fn parse(file: &Path, text: &[u8]) -> Result<Self> {
        let wrong = |why: String| Error::Refused(format!("{}: {why}", file.display()));
        let settings: Settings = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        if settings.rkt_kind != "kvm" || settings.rkt_version != "v1" {
            return Err(wrong("it must have \"rktKind\": \"kvm\" and \"rktVersion\": \"v1\"".to_owned()));
        }
        Ok(settings)
    }

    fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let wrong = |name: &str, value: &str, expected: &str| {
            Error::Refused(format!("{name} cannot be {value:?}: it is {expected}"))
        };
        Ok(Settings {
            accelerator: match set("RKT_KVM_ACCEL").as_deref() {
                None => None,
                Some("kvm") => Some(Accelerate::Kvm),
                Some("tcg") => Some(Accelerate::Tcg),
                Some(other) => return Err(wrong("RKT_KVM_ACCEL", other, "kvm or tcg")),
            },
            machine: match set("RKT_KVM_MACHINE").as_deref() {
                None => None,
                Some("microvm") => Some(Model::Microvm),
                Some("q35") => Some(Model::Q35),
                Some(other) => return Err(wrong("RKT_KVM_MACHINE", other, "microvm or q35")),
            },
            link: match set("RKT_KVM_LINK").as_deref() {
                None => None,
                Some("vsock") => Some(Channel::Vsock),
                Some("serial") => Some(Channel::Serial),
                Some(other) => return Err(wrong("RKT_KVM_LINK", other, "vsock or serial")),
            },
            kernel: set("RKT_KVM_KERNEL").map(PathBuf::from),
            initrd: set("RKT_KVM_INITRD").map(PathBuf::from),
            ready_sec: match set("RKT_KVM_READY_SEC") {
                None => None,
                Some(text) => match text.parse() {
                    Ok(seconds @ 1..=3600) => Some(seconds),
                    _ => return Err(wrong("RKT_KVM_READY_SEC", &text, "a number of seconds, 1 to 3600")),
                },
            },
            kernel_parameters: set("RKT_HYPERVISOR_EXTRA_KERNEL_PARAMS"),
            ..Settings::default()
        })
    }

    fn or(self, other: Settings) -> Self {
        Settings {
            accelerator: self.accelerator.or(other.accelerator),
            machine: self.machine.or(other.machine),
            link: self.link.or(other.link),
            kernel: self.kernel.or(other.kernel),
            initrd: self.initrd.or(other.initrd),
            ready_sec: self.ready_sec.or(other.ready_sec),
            kernel_parameters: self.kernel_parameters.or(other.kernel_parameters),
            ..self
        }
    }

    /// Who shall execute the guest's instructions.
    pub(crate) fn accelerate(&self) -> Accelerate {
        self.accelerator.unwrap_or_default()
    }

    /// The hardware that the guest sees, if somebody has chosen it.
    pub(crate) fn model(&self) -> Option<Model> {
        self.machine
    }

    /// What monitor and guest talk over.
    pub(crate) fn link(&self) -> Channel {
        self.link.unwrap_or_default()
    }

    /// How long the guest may take until its supervisor runs.
    pub(crate) fn ready_limit(&self) -> Duration {
        let usual = match self.accelerate() {
            Accelerate::Kvm => 20,
            Accelerate::Tcg => 120,
        };
        Duration::from_secs(self.ready_sec.unwrap_or(usual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_environment(|name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables() {
        let all = environment(&[
            ("RKT_KVM_ACCEL", "tcg"),
            ("RKT_KVM_MACHINE", "q35"),
            ("RKT_KVM_KERNEL", "/boot/vmlinuz"),
            ("RKT_KVM_LINK", "serial"),
            ("RKT_KVM_INITRD", ""),
            ("RKT_KVM_READY_SEC", "3"),
            ("RKT_HYPERVISOR_EXTRA_KERNEL_PARAMS", "a b"),
        ])
        .unwrap();
        assert_eq!((all.accelerate(), all.model()), (Accelerate::Tcg, Some(Model::Q35)));
        assert_eq!((all.link(), Settings::default().link()), (Channel::Serial, Channel::Vsock));
        assert_eq!((all.kernel.as_deref(), all.initrd.as_deref()), (Some(Path::new("/boot/vmlinuz")), None));
        assert_eq!((all.ready_limit().as_secs(), all.kernel_parameters.as_deref()), (3, Some("a b")));
        for (name, value) in [
            ("RKT_KVM_ACCEL", "auto"),
            ("RKT_KVM_MACHINE", "pc"),
            ("RKT_KVM_LINK", "usb"),
            ("RKT_KVM_READY_SEC", "0"),
            ("RKT_KVM_READY_SEC", "soon"),
        ] {
            let error = environment(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn files_are_for_what_variables_leave_open() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::create_dir_all(dir.path().join("kvm.d")).unwrap();
            std::fs::write(dir.path().join("kvm.d").join(name), text).unwrap();
        };
        let head = r#""rktKind":"kvm","rktVersion":"v1""#;
        write("10.json", &format!(r#"{{{head},"accelerator":"tcg","readySec":7}}"#));
        write("20.json", &format!(r#"{{{head},"machine":"q35","readySec":8}}"#));
        write("notes.txt", "?");
        let settings = Settings::read(dir.path()).unwrap();
        assert_eq!((settings.accelerate(), settings.model()), (Accelerate::Tcg, Some(Model::Q35)));
        assert_eq!(settings.ready_limit().as_secs(), 8);
        for wrong in ["{", r#"{"rktKind":"kvm"}"#, &format!("{{{head},\"accel\":1}}")] {
            write("30.json", wrong);
            assert!(Settings::read(dir.path()).unwrap_err().to_string().contains("30.json"), "{wrong}");
        }
    }
}
