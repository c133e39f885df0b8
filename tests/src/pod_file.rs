//! Pod files of a test, and the units that the generator makes of them.

use crate::case::{Case, Stage1, eventually};

/// A pod file of its own name in the directory of the administrator.
#[derive(Debug)]
pub struct PodFile<'a> {
    case: &'a Case,
    name: String,
}

impl Stage1 {
    /// The word for it in `Isolation=`.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.file().trim_start_matches("stage1-").trim_end_matches(".aci")
    }
}

impl<'a> PodFile<'a> {
    /// The pod `NAME-ID` of this test, which gets its file by [`PodFile::write`].
    #[must_use]
    pub fn new(case: &'a Case, id: &str) -> PodFile<'a> {
        PodFile { case, name: format!("{}-{id}", case.name()) }
    }

    /// A pod with the test's wall and `pod` in `[Pod]`, whose app runs `script` and has `app` in `[App]`. The rest follows.
    #[must_use]
    pub fn sh(case: &'a Case, id: &str, pod: &str, script: &str, app: &str, rest: &str) -> PodFile<'a> {
        let file = PodFile::new(case, id);
        // A machine has no network of the host, and no other is asked for here.
        let none = case.stage1() == Stage1::Kvm && !pod.contains("Network=");
        let network = if none { "Network=none\n" } else { "" };
        let script = script.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%").replace('\n', "\\n");
        file.write(&format!(
            "[Pod]\nIsolation={}\nInsecureOptions=image\n{network}{pod}\n[App app]\nImage={}\nExec=/bin/sh -c \"{script}\"\n{app}\n{rest}\n",
            case.stage1().word(),
            case.busybox(),
        ));
        file
    }

    /// The name of the pod.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unit that runs it.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("rkt-pod@{}.service", self.name)
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/etc/rkt/pods/{}.pod", self.name)
    }

    /// Writes the file and lets systemd read it.
    pub fn write(&self, text: &str) {
        self.case.host().write(&self.path(), text);
        self.case.know_unit(&self.unit());
        self.reload();
    }

    /// Writes a drop-in and lets systemd read it.
    pub fn drop_in(&self, name: &str, text: &str) {
        self.case.host().write(&format!("{}.d/{name}.conf", self.path()), text);
        self.reload();
    }

    /// Lets systemd read everything anew.
    pub fn reload(&self) {
        self.case.systemctl(&["daemon-reload"]);
    }

    /// Starts the unit and waits until it is active.
    #[track_caller]
    pub fn start(&self) {
        self.case.systemctl(&["start", &self.unit()]);
        assert_eq!(self.property("ActiveState"), "active");
    }

    /// One property of the unit.
    #[track_caller]
    #[must_use]
    pub fn property(&self, property: &str) -> String {
        self.case.property(&self.unit(), property)
    }

    /// Waits until the unit has failed.
    #[track_caller]
    pub fn wait_for_failure(&self) {
        eventually("the unit to fail", || (self.property("ActiveState") == "failed").then_some(()));
    }

    /// The UUID of the pod that runs, or ran last.
    #[must_use]
    pub fn uuid(&self) -> String {
        let path = self.case.host().path(format!("/run/rkt/units/{}.uuid", self.name));
        std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    }

    /// `rkt enter` in its app.
    #[track_caller]
    #[must_use]
    pub fn enter(&self, command: &[&str]) -> String {
        let words = ["enter", "--app=app"].into_iter().map(str::to_owned).chain([self.uuid()]);
        self.case.rkt(words.chain(command.iter().map(|word| (*word).to_owned()))).ok().stdout
    }
}

impl Drop for PodFile<'_> {
    fn drop(&mut self) {
        let _ = self.case.host().exec("systemctl").args(["stop", "--no-block", &self.unit()]).output();
    }
}
