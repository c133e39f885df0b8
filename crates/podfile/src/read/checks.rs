//! What does not fit together.

use std::rc::Rc;

use appc::Volume;
use appc::sysctl::Sysctl;
use appc::value::NetMode;

use super::Reader;
use crate::diagnostic::{Diagnostic, Place, Source, nearest};
use crate::pod::{App, AppSettings, Ipc, Isolation, Restart};

/// The keys of `[Pod]` whose place is the manifest of a pod that has one.
const OF_THE_MANIFEST: &[&str] = &[
    "PublishPort",
    "Volume",
    "Mount",
    "Sysctl",
    "Pull",
    "Environment",
    "EnvironmentFile",
    "PassEnvironment",
    "Annotation",
];

impl Reader<'_> {
    pub(super) fn check_app(&mut self, settings: &AppSettings, place: &Place) {
        if !settings.exec.is_empty() && settings.command.is_some() {
            let hint =
                "Exec= is the whole command line, Command= what follows the image's entrypoint".to_owned();
            self.error(place.clone(), "Exec= and Command= exclude each other", Some(hint));
        }
        for mount in &settings.mounts {
            if !self.pod.volumes.iter().any(|volume| volume.name == mount.volume) {
                let known = self.pod.volumes.iter().map(|volume| volume.name.as_str());
                let hint = nearest(mount.volume.as_str(), known).map_or_else(
                    || "Volume= of [Pod] defines it".to_owned(),
                    |near| format!("did you mean {near}?"),
                );
                let text = format!("Mount=: there is no volume {:?}", mount.volume.as_str());
                self.error(place.clone(), text, Some(hint));
            }
        }
    }

    pub(super) fn check_pod(&mut self, main: &Rc<Source>, apps: &[App]) {
        let twice = |volumes: &[Volume]| {
            let repeated = volumes
                .iter()
                .enumerate()
                .find(|(at, volume)| volumes[..*at].iter().any(|other| other.name == volume.name));
            repeated.map(|(_, volume)| volume.name.to_string())
        };
        if let Some(name) = twice(&self.pod.volumes) {
            let place = self.place("Volume", main);
            self.error(place, format!("There are two volumes called {name:?}"), None);
        }
        for mount in self.pod.mounts.clone() {
            if !self.pod.volumes.iter().any(|volume| volume.name == mount.volume) {
                let place = self.place("Mount", main);
                let hint = "Volume= defines it".to_owned();
                self.error(place, format!("There is no volume {:?}", mount.volume.as_str()), Some(hint));
            }
        }
        if self.pod.isolation.is_some() && self.pod.stage1.is_some() {
            let place = self.place("Stage1", main);
            self.error(place, "Isolation= and Stage1= exclude each other", None);
        }
        let mode = self.pod.network().mode();
        if !self.pod.ports.is_empty() && mode != NetMode::Networks {
            let place = self.place("PublishPort", main);
            let hint = "it needs a network of the pod's own, as with Network=default".to_owned();
            self.error(place, "Ports are published for pods with networks only", Some(hint));
        }
        if self.pod.proxy.is_some() && self.handed.socket.is_empty() {
            let place = self.place("Proxy", main);
            let hint = "[Socket] says where connections come in, as in ListenStream=80".to_owned();
            self.error(place, "Proxy= needs a section [Socket]", Some(hint));
        }
        if self.pod.proxy.is_some() && mode == NetMode::None {
            let place = self.place("Proxy", main);
            self.error(place, "A pod with Network=none cannot be reached by Proxy=", None);
        }
        self.check_sysctls(main, mode);
        if self.pod.isolation == Some(Isolation::Kvm) {
            if mode == NetMode::Host {
                let place = self.place("Network", main);
                let hint = "use Network=default or Network=none".to_owned();
                self.error(place, "A pod with Isolation=kvm cannot have the network of the host", Some(hint));
            }
            if self.pod.ipc == Some(Ipc::Parent) {
                let place = self.place("IPC", main);
                let hint = "leave IPC= out".to_owned();
                self.error(place, "A pod with Isolation=kvm cannot have the IPC of the host", Some(hint));
            }
        }
        if self.pod.isolation == Some(Isolation::Fly) {
            self.tell_what_a_chroot_has_not(main, apps);
            if self.pod.private_users == Some(true) {
                let place = self.place("PrivateUsers", main);
                let hint = "leave PrivateUsers= out, or use Isolation=nspawn".to_owned();
                self.error(place, "A pod with Isolation=fly has the users of the host", Some(hint));
            }
            if mode != NetMode::Host {
                let place = self.place("Network", main);
                let hint = "leave Network= out, or use Isolation=nspawn".to_owned();
                self.error(place, "A pod with Isolation=fly has the network of the host", Some(hint));
            }
            if apps.len() > 1 {
                let place = self.place("Isolation", main);
                self.error(place, "A pod with Isolation=fly has one app only", None);
            }
        }
    }

    /// A pod with a manifest has no use for keys that would stand in it.
    pub(super) fn refuse_what_the_manifest_says(&mut self, main: &Rc<Source>) {
        for name in OF_THE_MANIFEST {
            if self.places.iter().any(|(key, _)| key == name) {
                let place = self.place(name, main);
                let hint = "say it in the manifest, or write [App] in place of Manifest=".to_owned();
                self.error(place, format!("{name}= has no effect on a pod with Manifest="), Some(hint));
            }
        }
    }

    /// What a pod may say for other walls, and a chroot passes over.
    fn tell_what_a_chroot_has_not(&mut self, main: &Rc<Source>, apps: &[App]) {
        let any = |has: fn(&AppSettings) -> bool| apps.iter().any(|app| has(&app.settings));
        let restarts = |app: &AppSettings| app.restart.is_some_and(|policy| policy != Restart::No);
        for (is_said, key, what) in [
            (self.pod.hostname.is_some(), "HostName", "a chroot has the name of the host"),
            (self.pod.ipc == Some(Ipc::Private), "IPC", "a chroot has the IPC of the host"),
            (
                any(restarts),
                "Restart",
                "nobody is left who could start the app again; Restart= of [Service] starts the pod",
            ),
            (
                any(|app| app.cpu_shares.is_some()),
                "CPUShares",
                "there is one app only; CPUWeight= of [Pod] is its share",
            ),
        ] {
            if is_said {
                let text = format!("{key}= has no effect with Isolation=fly: {what}");
                self.diagnostics.push(Diagnostic::warning(self.place(key, main), text));
            }
        }
    }

    /// A parameter must belong to something that the pod has of its own.
    fn check_sysctls(&mut self, main: &Rc<Source>, mode: NetMode) {
        let isolation = self.pod.isolation;
        let problem = self.pod.sysctls.keys().find_map(|name| match Sysctl::owner(name) {
            _ if isolation == Some(Isolation::Fly) => Some((
                format!("{name} is the host's in a pod with Isolation=fly"),
                "leave Sysctl= out, or use Isolation=nspawn",
            )),
            Ok(Sysctl::Network) if mode == NetMode::Host => Some((
                format!("{name} is the host's in a pod with Network=host"),
                "give the pod a network of its own, or set it on the host; see sysctl.d(5)",
            )),
            Ok(Sysctl::Ipc) if self.pod.ipc == Some(Ipc::Parent) => Some((
                format!("{name} is the host's in a pod with IPC=parent"),
                "leave IPC= out, or set it on the host; see sysctl.d(5)",
            )),
            _ => None,
        });
        if let Some((text, hint)) = problem {
            let place = self.place("Sysctl", main);
            self.error(place, text, Some(hint.to_owned()));
        }
    }
}
