//! Hosts whose process 1 is not systemd: what works there, and what rkt says of what does not.

use tests::case::{Case, Stage1, app_lines};
use tests::host::{Exec, Output, Running};

const REASON: &str = "systemd is not process 1 of this host, so nobody has handed us controllers";

/// The shared host, seen without `/run`: there is no systemd, no bus, no machined and no journald to be found.
struct Without {
    case: Case,
    /// Keeps the view.
    sleeper: Running,
}

impl Without {
    fn new(stage1: Stage1) -> Without {
        let case = Case::alone(stage1);
        let script = "mount -t tmpfs none /run && echo $$ is up && exec sleep 1000";
        let mut sleeper = case.host().exec("unshare").args(["--mount", "sh", "-c", script]).spawn();
        sleeper.wait_for_stdout("is up");
        let without = Without { case, sleeper };
        assert_eq!(without.exec(["ls", "-A", "/run"].map(str::to_owned)).ok().stdout, "");
        without
    }

    fn exec(&self, words: impl IntoIterator<Item = String>) -> Exec<'static> {
        let pid = self.sleeper.stdout().split(' ').next().unwrap_or_default().to_owned();
        self.case.host().exec("nsenter").args(["--mount", "--target", &pid]).args(words)
    }

    fn rkt(&self, args: &[&str]) -> Exec<'static> {
        self.exec(self.case.rkt_words()).args(args.iter().copied())
    }

    /// Runs a shell script as the only app of a pod, with these options of the image.
    fn run_sh(&self, options: &[&str], script: &str) -> Exec<'static> {
        self.exec(self.case.run_words("pod"))
            .args([self.case.busybox(), "--exec=/bin/sh"])
            .args(options.iter().copied())
            .args(["--", "-c", script])
    }

    /// Where the pod stands: below the group of whoever started it, since nobody can be asked for a scope.
    fn group(&self) -> String {
        let own = self.case.host().sh("sed -n s,^0::/,,p /proc/self/cgroup");
        format!("{}/pod-{}", own.trimmed(), self.case.uuid())
    }

    fn has_group(&self) -> bool {
        self.case.host().path("/sys/fs/cgroup").join(self.group()).exists()
    }

    fn collect(&self) {
        self.rkt(&["gc", "--grace-period=0s"]).ok();
        assert_eq!(self.rkt(&["list", "--no-legend"]).ok().stdout, "");
        assert_eq!(self.case.pod_dir(&self.case.uuid()), None);
    }

    /// What the app wrote to both streams; the supervisor of a pod puts its standard error into the standard output.
    fn assert_wrote(&self, output: &Output, stdout: &[&str], stderr: &[&str]) {
        let errors: Vec<&str> = output.stderr.lines().collect();
        match self.case.stage1() {
            Stage1::Fly => {
                assert_eq!(output.stdout.lines().collect::<Vec<_>>(), stdout, "{output}");
                assert_eq!(errors, stderr, "{output}");
            }
            _ => {
                assert_eq!(app_lines(&output.stdout), [stdout, stderr].concat(), "{output}");
                assert_eq!(errors, [""; 0], "{output}");
            }
        }
    }
}

fn runs_to_its_end(stage1: Stage1) {
    let without = Without::new(stage1);
    let output = without.run_sh(&[], "echo out; echo err >&2; exit 7").fails(7);
    // No word of what is missing: the pod has not asked for it.
    without.assert_wrote(&output, &["out"], &["err"]);
    without.rkt(&["status", &without.case.uuid()]).ok().prints("state=exited");
    without.collect();
    assert!(!without.has_group());
}

#[test]
fn a_fly_pod_runs_to_its_end() {
    runs_to_its_end(Stage1::Fly);
}

#[test]
fn an_nspawn_pod_runs_to_its_end() {
    runs_to_its_end(Stage1::Nspawn);
}

fn is_seen_entered_and_stopped(stage1: Stage1) {
    let without = Without::new(stage1);
    let script = "trap 'echo asked to stop; exit 3' TERM; echo is up; while :; do sleep 0.05; done";
    let mut pod = without.run_sh(&[], script).spawn();
    pod.wait_for_stdout("is up");
    let uuid = without.case.uuid();
    without.rkt(&["status", &uuid]).ok().prints("state=running");
    let group = without.group();
    assert!(!without.case.host().cgroup_pids(&group).is_empty(), "nobody in {group}");
    let entered = without.rkt(&["enter", &uuid, "/bin/sh", "-c", "echo from inside"]).ok();
    assert_eq!(app_lines(&entered.stdout), ["from inside"]);
    without.rkt(&["stop", &uuid]).ok();
    let output = pod.wait(std::time::Duration::from_secs(20)).code(3);
    assert!(app_lines(&output.stdout).contains(&"asked to stop"), "{output}");
    without.rkt(&["status", &uuid]).ok().prints("state=exited");
    without.collect();
    assert!(!without.has_group());
}

#[test]
fn a_fly_pod_is_seen_entered_and_stopped() {
    is_seen_entered_and_stopped(Stage1::Fly);
}

#[test]
fn an_nspawn_pod_is_seen_entered_and_stopped() {
    is_seen_entered_and_stopped(Stage1::Nspawn);
}

#[test]
fn a_pod_has_a_network_of_its_own() {
    let mut without = Without::new(Stage1::Nspawn);
    without.case = without.case.with_net("--net=default");
    let output = without.run_sh(&[], "ip -4 -o addr show dev eth0; ip route").ok();
    let lines = app_lines(&output.stdout);
    assert!(lines.iter().any(|line| line.contains("inet 172.16.28.")), "{output}");
    assert!(lines.iter().any(|line| line.starts_with("default via 172.16.28.1")), "{output}");
    without.collect();
}

const LIMITS: [&str; 2] = ["--memory=64Mi", "--pids-limit=9"];

/// Who put a limit on an app under fly learns of each that is missing, and why.
#[test]
fn a_fly_pod_warns_of_limits() {
    let without = Without::new(Stage1::Fly);
    let output = without.run_sh(&LIMITS, "echo out").ok();
    let warnings = ["resource/memory", "coreos.com/rkt/stage2/pids-limit"].map(|isolator| {
        format!("warning: app \"busybox\": the isolator {isolator:?} is not enforced: {REASON}")
    });
    without.assert_wrote(&output, &["out"], &warnings.each_ref().map(String::as_str));
}

#[test]
fn an_nspawn_pod_refuses_limits() {
    let without = Without::new(Stage1::Nspawn);
    for (option, isolator) in LIMITS.iter().zip(["resource/memory", "coreos.com/rkt/stage2/pids-limit"]) {
        let output = without.run_sh(&[option], "echo out").fails(254);
        assert_eq!(output.stdout, "", "{output}");
        let refusal = format!(
            "run: App \"busybox\" asks for a limit of its own ({isolator}), which cannot be enforced: {REASON}. "
        );
        let way_out = output.stderr.strip_prefix(&refusal).unwrap_or_default();
        assert!(way_out.lines().count() == 1, "{output}");
        without.collect();
        assert!(!without.has_group());
    }
    // The limit is all that was in the way.
    let output = without.run_sh(&[], "echo out").ok();
    without.assert_wrote(&output, &["out"], &[]);
    without.collect();
}

#[test]
fn logs_of_a_fly_pod_name_the_way_to_have_some() {
    let without = Without::new(Stage1::Fly);
    without.run_sh(&[], "echo out").ok();
    let output = without.rkt(&["logs", &without.case.uuid()]).fails(254);
    assert_eq!(output.stdout, "", "{output}");
    output
        .says("its app writes to where rkt itself wrote, which was not the journal")
        .says("or with a stage1 that has a supervisor");
}
