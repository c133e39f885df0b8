//! From manifests to what the executor understands.

use executor::AppSpec;
use executor::spec::{EventHandlers, InputMode, OutputMode};

use crate::args::Insecure;
use crate::environment::environment;
use crate::input::AppInput;
use crate::{Error, Result, isolators};

/// The annotation of an image whose app tells by sd_notify(3) when it is ready.
const SUPPORTS_NOTIFY: &str = "appc.io/executor/supports-systemd-notify";

/// The annotation of an app that has the number of the signal that asks it to end.
/// Of an app in a pod: the number or name of the signal that asks it to end.
const STOP_SIGNAL: &str = "coreos.com/rkt/stage2/stop-signal";
/// Of an image that was made for other engines: the same.
const STOP_SIGNAL_OF_IMAGE: &str = "appc.io/docker/stopsignal";

/// The kind of wall around an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A container: everything that is not asked for is taken away.
    Contained,
    /// A change of root only: nothing is taken away but what the app asks for.
    Fly,
}

/// Whether groups of apps can have limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limits {
    /// These controllers enforce them.
    Enforced(Vec<String>),
    /// Why not, as the rest of a sentence.
    Impossible(String),
}

/// What the user and the host say about all apps of a pod.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The kind of wall.
    pub policy: Policy,
    /// Restrictions that are switched off.
    pub insecure: Insecure,
    /// The app has the terminal.
    pub interactive: bool,
    /// `TERM` of the terminal.
    pub term: Option<&'a str>,
    /// How often apps that notify must show signs of life.
    pub watchdog_usec: Option<u64>,
    /// Limits of apps.
    pub limits: &'a Limits,
}

/// Says what `app` is to the executor. Mounts and sockets are for the caller to fill in.
///
/// # Errors
/// For what cannot be done; what can be left out is told to `warnings`.
pub fn build(app: &AppInput, options: &Options<'_>, warnings: &mut Vec<String>) -> Result<AppSpec> {
    let own = &app.app;
    if own.exec.first().is_none_or(String::is_empty) {
        return Err(Error::Refused(format!(
            "image {:?} has an empty \"exec\" (try --exec=BINARY)",
            app.image.name.as_str()
        )));
    }
    let mut spec = AppSpec::new(app.name(), &[]);
    spec.exec.clone_from(&own.exec);
    spec.user.clone_from(&own.user);
    spec.group.clone_from(&own.group);
    spec.supplementary_gids.clone_from(&own.supplementary_gids);
    if let Some(directory) = &own.working_directory {
        spec.working_directory.clone_from(directory);
    }
    let interactive = options.interactive;
    (spec.stdin, spec.stdout, spec.stderr) = streams(app, interactive)?;
    let on_terminal = interactive || spec.stdin == InputMode::Tty;
    let term = options.term.filter(|_| on_terminal && own.environment.get("TERM").is_none());
    let told: Vec<(&str, &str)> = term.map(|term| ("TERM", term)).into_iter().collect();
    spec.environment = environment(app.name(), &own.environment, &told);
    spec.search_path = own.environment.get("PATH").map(str::to_owned);
    spec.read_only_root = app.runtime.read_only_root_fs;
    spec.notify = notifies(app)?;
    spec.stop_signal = stop_signal(app);
    spec.watchdog_usec = options.watchdog_usec.filter(|_| spec.notify);
    let handler = |kind| own.event_handler(kind).map(<[String]>::to_vec);
    spec.event_handlers = EventHandlers {
        pre_start: handler(appc::EventHandlerKind::PreStart),
        post_stop: handler(appc::EventHandlerKind::PostStop),
    };
    match options.policy {
        Policy::Contained => spec.path_protection = !options.insecure.paths,
        Policy::Fly => {
            spec.path_protection = false;
            spec.api_filesystems = false;
            if spec.event_handlers != EventHandlers::default() {
                warnings.push(format!("app {:?}: event handlers are not run by this stage1", app.name()));
                spec.event_handlers = EventHandlers::default();
            }
        }
    }
    isolators::apply(app, options, &mut spec, warnings)?;
    Ok(spec)
}

/// The environment of an app as the file `/rkt/env/APP` has it.
pub fn environment_file(spec: &AppSpec) -> String {
    crate::environment::to_file(&spec.environment)
}

/// The number of the signal that asks an app to end, where it is not SIGTERM: what the pod says, or else its image. What is no
/// signal is nobody's wish.
pub fn stop_signal(app: &AppInput) -> Option<i32> {
    let of_pod = app.runtime.annotations.get(STOP_SIGNAL);
    sys::signal::number(of_pod.or_else(|| app.image.annotations.get(STOP_SIGNAL_OF_IMAGE))?)
}

/// How long apps may take to end before they are killed, in milliseconds: what the pod says, or ten seconds.
pub fn stop_grace_ms(pod: &appc::PodManifest) -> u64 {
    let said = pod.annotations.get("coreos.com/rkt/stage1/stop-timeout-ms");
    said.and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

/// How often the unit that started us must hear from us, when it must.
pub fn watchdog() -> Option<u64> {
    let variable = |name| std::env::var(name).ok();
    let for_us = match variable("WATCHDOG_PID") {
        Some(pid) => pid.parse() == Ok(rustix::process::getpid().as_raw_nonzero().get()),
        None => true,
    };
    variable("WATCHDOG_USEC")?.parse().ok().filter(|&usec| usec > 0 && for_us)
}

fn notifies(app: &AppInput) -> Result<bool> {
    // What the pod says of it counts more than what the image does.
    let own = app.runtime.annotations.get(SUPPORTS_NOTIFY);
    match own.or_else(|| app.image.annotations.get(SUPPORTS_NOTIFY)) {
        None | Some("false" | "0" | "f" | "F" | "False" | "FALSE") => Ok(false),
        Some("true" | "1" | "t" | "T" | "True" | "TRUE") => Ok(true),
        Some(other) => Err(Error::Refused(format!(
            "App {:?} has the annotation {SUPPORTS_NOTIFY}={other:?}; it must be true or false",
            app.name()
        ))),
    }
}

/// Where the standard streams of an app lead: annotations of the app, unless the terminal is asked for.
fn streams(app: &AppInput, interactive: bool) -> Result<(InputMode, OutputMode, OutputMode)> {
    if interactive {
        return Ok((InputMode::Interactive, OutputMode::Interactive, OutputMode::Interactive));
    }
    let mode = |stream: &str| app.runtime.annotations.get(&format!("coreos.com/rkt/stage2/{stream}"));
    let bad = |stream: &str, mode: &str| {
        Error::Refused(format!("App {:?} cannot have {stream} of mode {mode:?}", app.name()))
    };
    let input = match mode("stdin") {
        None | Some("" | "null") => InputMode::Null,
        Some("interactive") => InputMode::Interactive,
        Some("stream") => InputMode::Stream,
        Some("tty") => InputMode::Tty,
        Some(other) => return Err(bad("stdin", other)),
    };
    let output = |stream: &str| match mode(stream) {
        None | Some("" | "log") => Ok(OutputMode::Log),
        Some("null") => Ok(OutputMode::Null),
        Some("interactive") => Ok(OutputMode::Interactive),
        Some("stream") => Ok(OutputMode::Stream),
        Some("tty") => Ok(OutputMode::Tty),
        Some(other) => Err(bad(stream, other)),
    };
    Ok((input, output("stdout")?, output("stderr")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use appc::{ImageManifest, PodManifest};
    use executor::spec::Seccomp;

    /// An app of an image with the given parts of JSON.
    fn app(app: &str, annotations: &str, runtime: &str) -> AppInput {
        let image = format!(
            r#"{{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/web","app":{{"exec":["/srv","-x"],"user":"web","group":"7"{app}}}{annotations}}}"#
        );
        let id = "0".repeat(64);
        let pod = format!(
            r#"{{"acKind":"PodManifest","acVersion":"0.8.11","apps":[{{"name":"web","image":{{"id":"sha512-{id}"}}{runtime}}}]}}"#
        );
        let image = ImageManifest::parse(image.as_bytes()).unwrap();
        let runtime = PodManifest::parse(pod.as_bytes()).unwrap().apps.remove(0);
        AppInput::new(runtime, image).unwrap()
    }

    fn options(limits: &Limits) -> Options<'_> {
        Options {
            policy: Policy::Contained,
            insecure: Insecure::default(),
            interactive: false,
            term: Some("xterm"),
            watchdog_usec: None,
            limits,
        }
    }

    fn enforced() -> Limits {
        Limits::Enforced(vec!["cpu".to_owned(), "memory".to_owned()])
    }

    fn isolator(name: &str, value: &str) -> String {
        format!(r#","isolators":[{{"name":"{name}","value":{value}}}]"#)
    }

    fn built(input: &AppInput, options: &Options<'_>) -> (AppSpec, Vec<String>) {
        let mut warnings = Vec::new();
        let spec = build(input, options, &mut warnings).unwrap();
        (spec, warnings)
    }

    #[test]
    fn the_plain_app() {
        let limits = enforced();
        let (spec, warnings) = built(&app("", "", ""), &options(&limits));
        assert!(warnings.is_empty());
        assert_eq!((spec.name.as_str(), spec.exec.join(" ").as_str()), ("web", "/srv -x"));
        assert_eq!(
            (spec.user.as_str(), spec.group.as_str(), spec.working_directory.as_str()),
            ("web", "7", "/")
        );
        assert_eq!(spec.seccomp, Seccomp::Default);
        assert_eq!(spec.capabilities.as_ref().map(Vec::len), Some(14));
        assert_eq!(spec.search_path, None);
        assert!(spec.path_protection && spec.api_filesystems && !spec.notify && !spec.no_new_privileges);
        assert_eq!((spec.stdin, spec.stdout), (InputMode::Null, OutputMode::Log));
        assert!(!spec.environment.iter().any(|(name, _)| name == "TERM"));
    }

    #[test]
    fn fly_takes_nothing_away() {
        let limits = Limits::Impossible("no".to_owned());
        let fly = Options { policy: Policy::Fly, ..options(&limits) };
        let (spec, warnings) = built(&app("", "", ""), &fly);
        assert_eq!((spec.seccomp, spec.capabilities), (Seccomp::Off, None));
        assert!(warnings.is_empty() && !spec.path_protection && !spec.api_filesystems);

        let asked = isolator("os/linux/capabilities-retain-set", r#"{"set":["CAP_KILL"]}"#);
        let (spec, _) = built(&app(&asked, "", ""), &fly);
        assert_eq!(spec.capabilities, Some(vec!["CAP_KILL".to_owned()]));

        for (name, value) in [
            ("resource/memory", r#"{"limit":"16Mi"}"#),
            ("resource/block-iops", r#"{"default":true,"limit":"5"}"#),
            ("os/linux/cpu-shares", "5"),
            ("os/linux/apparmor-profile", r#"{"profile":"x"}"#),
            ("example.com/unknown", "1"),
        ] {
            let (spec, warnings) = built(&app(&isolator(name, value), "", ""), &fly);
            assert!(spec.cgroup.is_empty());
            assert_eq!(warnings.len(), 1, "{name}");
            assert!(warnings[0].contains(name), "{warnings:?}");
        }
        let handlers = r#","eventHandlers":[{"name":"pre-start","exec":["/x"]}]"#;
        let (spec, warnings) = built(&app(handlers, "", ""), &fly);
        assert_eq!((spec.event_handlers, warnings.len()), (EventHandlers::default(), 1));
    }

    #[test]
    fn what_a_container_does_not_enforce_is_refused() {
        let limits = enforced();
        for (name, value) in [
            ("resource/network-bandwidth", r#"{"default":true,"limit":"5"}"#),
            ("os/linux/selinux-context", r#"{"user":"u","role":"r","type":"t","level":"l"}"#),
            ("os/linux/apparmor-profile", r#"{"profile":"x"}"#),
            ("example.com/unknown", "1"),
        ] {
            let input = app(&isolator(name, value), "", "");
            let error = build(&input, &options(&limits), &mut Vec::new()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("\"web\""), "{error}");
        }
    }

    #[test]
    fn limits_need_a_group_that_can_have_them() {
        let limits = enforced();
        let both = r#","isolators":[{"name":"resource/memory","value":{"limit":"16Mi"}},
            {"name":"resource/cpu","value":{"limit":"250m"}},{"name":"os/linux/cpu-shares","value":2048},
            {"name":"os/linux/oom-score-adj","value":-7},{"name":"os/linux/no-new-privileges","value":true}]"#;
        let input = app(both, "", "");
        let (spec, warnings) = built(&input, &options(&limits));
        assert!(warnings.is_empty());
        assert_eq!(spec.cgroup.memory_bytes, Some(16 << 20));
        assert_eq!((spec.cgroup.cpu_milli, spec.cgroup.cpu_weight), (Some(250), Some(200)));
        assert_eq!((spec.oom_score_adj, spec.no_new_privileges), (Some(-7), true));

        let only_cpu = Limits::Enforced(vec!["cpu".to_owned()]);
        let (spec, warnings) = built(&input, &options(&only_cpu));
        assert_eq!((spec.cgroup.memory_bytes, spec.cgroup.cpu_milli), (None, Some(250)));
        assert_eq!(warnings, ["resource/memory isolator set but support disabled in the kernel, skipping"]);

        let impossible = Limits::Impossible("web.service has no Delegate=yes".to_owned());
        let error = build(&input, &options(&impossible), &mut Vec::new()).unwrap_err().to_string();
        assert!(
            error.contains("resource/memory") && error.contains("a unit that has Delegate=yes"),
            "{error}"
        );
        // Without limits nobody cares.
        assert!(built(&app("", "", ""), &options(&impossible)).1.is_empty());
    }

    #[test]
    fn switched_off_restrictions() {
        let limits = enforced();
        let insecure = Insecure { capabilities: true, paths: true, seccomp: true };
        let isolators = isolator("os/linux/capabilities-retain-set", r#"{"set":["CAP_KILL"]}"#);
        let (spec, _) = built(&app(&isolators, "", ""), &Options { insecure, ..options(&limits) });
        assert_eq!((spec.capabilities, spec.seccomp, spec.path_protection), (None, Seccomp::Off, false));
    }

    #[test]
    fn seccomp_sets_are_compiled() {
        let limits = enforced();
        let set =
            isolator("os/linux/seccomp-remove-set", r#"{"set":["mkdir","no_such_call"],"errno":"ENOSYS"}"#);
        let (spec, warnings) = built(&app(&set, "", ""), &options(&limits));
        assert!(matches!(spec.seccomp, Seccomp::Custom(_)));
        assert_eq!(warnings, ["app \"web\": unknown system calls in its seccomp set: no_such_call"]);
    }

    #[test]
    fn readiness_and_signs_of_life() {
        let limits = enforced();
        let annotation = |value: &str| {
            let annotations = format!(r#","annotations":[{{"name":"{SUPPORTS_NOTIFY}","value":"{value}"}}]"#);
            app("", &annotations, "")
        };
        let options = Options { watchdog_usec: Some(5_000_000), ..options(&limits) };
        let (spec, _) = built(&annotation("true"), &options);
        assert_eq!((spec.notify, spec.watchdog_usec), (true, Some(5_000_000)));
        let (spec, _) = built(&annotation("false"), &options);
        assert_eq!((spec.notify, spec.watchdog_usec), (false, None));
        assert!(build(&annotation("maybe"), &options, &mut Vec::new()).is_err());
    }

    #[test]
    fn streams_by_annotation_or_terminal() {
        let limits = enforced();
        let annotated = |stream: &str, mode: &str| {
            let annotations =
                format!(r#","annotations":[{{"name":"coreos.com/rkt/stage2/{stream}","value":"{mode}"}}]"#);
            app("", "", &annotations)
        };
        let (spec, _) = built(&annotated("stdin", "tty"), &options(&limits));
        assert_eq!((spec.stdin, spec.stdout), (InputMode::Tty, OutputMode::Log));
        let (spec, _) = built(&annotated("stderr", "null"), &options(&limits));
        assert_eq!((spec.stdout, spec.stderr), (OutputMode::Log, OutputMode::Null));
        for (stream, mode) in [("stdin", "log"), ("stdout", "nowhere")] {
            assert!(build(&annotated(stream, mode), &options(&limits), &mut Vec::new()).is_err());
        }
        let interactive = Options { interactive: true, ..options(&limits) };
        let (spec, _) = built(&annotated("stdin", "stream"), &interactive);
        assert_eq!((spec.stdin, spec.stderr), (InputMode::Interactive, OutputMode::Interactive));
        assert!(spec.environment.contains(&("TERM".to_owned(), "xterm".to_owned())));
        let own =
            app(r#","environment":[{"name":"TERM","value":"dumb"},{"name":"PATH","value":"/x"}]"#, "", "");
        let (spec, _) = built(&own, &interactive);
        assert!(spec.environment.contains(&("TERM".to_owned(), "dumb".to_owned())));
        assert_eq!(spec.search_path.as_deref(), Some("/x"));
    }

    #[test]
    fn there_must_be_something_to_execute() {
        let mut input = app("", "", "");
        input.app.exec.clear();
        let limits = enforced();
        let error = build(&input, &options(&limits), &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "image \"example.com/web\" has an empty \"exec\" (try --exec=BINARY)");
    }
}
