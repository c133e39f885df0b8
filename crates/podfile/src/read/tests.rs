use super::*;
use crate::specifier::HostFacts;

fn source(path: &str, text: &str) -> Rc<Source> {
    Rc::new(Source { path: path.to_owned(), text: text.to_owned() })
}

fn outcome(name: &str, main: &str, drop_ins: &[&str]) -> Outcome {
    let host = HostFacts { hostname: "box".to_owned(), ..HostFacts::default() };
    let drop_ins: Vec<_> =
        drop_ins.iter().enumerate().map(|(at, text)| source(&format!("{at}.conf"), text)).collect();
    read(&source("f.pod", main), &drop_ins, &Specifiers { name: name.parse().unwrap(), host })
}

fn good(name: &str, main: &str, drop_ins: &[&str]) -> PodFile {
    let outcome = outcome(name, main, drop_ins);
    let texts: Vec<String> = outcome.diagnostics.iter().map(ToString::to_string).collect();
    assert!(outcome.is_good(), "{}", texts.join("\n"));
    outcome.file
}

/// The messages and hints of what is wrong.
fn problems(main: &str, drop_ins: &[&str]) -> Vec<String> {
    let show = |one: &Diagnostic| match &one.hint {
        Some(hint) => format!("{} ({hint})", one.brief()),
        None => one.brief(),
    };
    outcome("web", main, drop_ins).diagnostics.iter().map(show).collect()
}

#[test]
fn the_least_pod() {
    let file = good("web", "[App]\nImage=docker://nginx\n", &[]);
    assert_eq!((file.apps[0].name.as_str(), file.apps[0].image.as_str()), ("web", "docker://nginx"));
    assert_eq!(file.pod.network().to_string(), "default");
    assert_eq!(file.unit(), "rkt-pod@web.service");
    let file = good("my_DB@one", "[Pod]\nIsolation=fly\nService=db.service\n[App]\nImage=x\n", &[]);
    assert_eq!((file.apps[0].name.as_str(), file.unit().as_str()), ("my-db", "db.service"));
    assert_eq!(file.pod.network().to_string(), "host");
}

#[test]
fn drop_ins_come_over_the_file() {
    let main = "[Pod]\nIsolation=nspawn\nVolume=a\nEnvironment=A=1 B=2\n[App]\nImage=x\nExec=/a b\nArgs=c\n";
    let over = "[Pod]\nIsolation=kvm\nVolume=\nVolume=b:/srv\nEnvironment=C=3\n[App]\nArgs=d\nExec=/z\n";
    let file = good("web", main, &[over, "[App web]\nUser=alice\n"]);
    assert_eq!(file.pod.isolation, Some(Isolation::Kvm));
    assert_eq!(file.pod.volumes.iter().map(|volume| volume.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(file.pod.environment.len(), 3);
    let settings = &file.apps[0].settings;
    assert_eq!((settings.args.join(" "), settings.exec.join(" ")), ("c d".to_owned(), "/z".to_owned()));
    assert_eq!(settings.user.as_deref(), Some("alice"));
}

#[test]
fn several_apps_have_names() {
    let main = "[App a]\nImage=x\n[App]\nName=b\nImage=y\n[App a]\nUser=u\n";
    let file = good("web", main, &["[App b]\nUser=v\n[App c]\nImage=z\n"]);
    let shown: Vec<_> = file
        .apps
        .iter()
        .map(|app| (app.name.as_str(), app.image.as_str(), app.settings.user.as_deref()))
        .collect();
    assert_eq!(shown, [("a", "x", Some("u")), ("b", "y", Some("v")), ("c", "z", None)]);
    assert_eq!(
        problems("[App a]\nImage=x\n[App]\nImage=y\n", &["[App]\nUser=u\n", "[App aa]\nUser=u\n"]),
        [
            "0.conf:1:1: The pod has several apps ([App NAME] says which one is meant)",
            "f.pod:3:1: Each app of a pod with several needs a name ([App NAME] names it)",
            "1.conf:1:1: App \"aa\" has no image (did you mean [App a]?)",
        ]
    );
    assert_eq!(
        problems("[App a]\nImage=x\n[App]\nName=a\nImage=y\n", &[]),
        ["f.pod:3:1: There are two apps called \"a\""]
    );
}

#[test]
fn specifiers_stand_for_names() {
    let file = good(
        "db@one",
        "[Pod]\nHostName=%i-%H\nMemoryMax=50%\n[App]\nImage=x\nArgs=%p 100%%\n[Unit]\nDescription=%i %n\n",
        &[],
    );
    assert_eq!(file.pod.hostname.as_deref(), Some("one-box"));
    assert_eq!(file.apps[0].settings.args, ["db", "100%"]);
    assert_eq!(file.pod.limits["MemoryMax"], "50%");
    assert_eq!(file.handed.unit[0].value.text, "%i %n");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let main = "[Pod]\nIsolatoin=fly\nIsolation=docker\nUser=x\nNetwork=a b%q\nPublishPort=80\nStopTimeout=soon\n\
                [App]\nImage=x\nMount=dta:/srv\nExec='/a\nAddCapability=NET_ADMN\nX-Mine=1\n\
                [Servce]\nA=b\n[Service]\nExecStart=/x\nRestart=always\n[X-Other]\n";
    assert_eq!(
        problems(main, &[]),
        [
            "f.pod:2:1: [Pod] has no key Isolatoin= (did you mean Isolation=?)",
            "f.pod:3:11: Isolation=: \"docker\" is none of fly, nspawn, kvm (another stage1 is named by Stage1=)",
            "f.pod:4:1: [Pod] has no key User= (it is a key of [App])",
            "f.pod:5:12: There is no specifier %q (write %% for a percent sign)",
            "f.pod:6:13: PublishPort=: Port \"80\": HOSTPORT is missing (the syntax is NAME:HOSTPORT or \
             NAME:HOSTIP:HOSTPORT) (the syntax is \
             PublishPort=NAME:[IP:]HOSTPORT|[IP:]HOSTPORT:PODPORT[/tcp|/udp])",
            "f.pod:7:13: StopTimeout=: \"soon\" is no span of time (as in 90, 1min 30s, 500ms)",
            "f.pod:11:6: Exec=: The quote ' does not end (the syntax is Exec=PROGRAM [ARGUMENT…])",
            "f.pod:12:15: AddCapability=: \"NET_ADMN\" is no capability (did you mean CAP_NET_ADMIN?)",
            "f.pod:14:1: There is no section [Servce] (did you mean [Service]?)",
            "f.pod:17:1: ExecStart= of [Service] is rkt's own in the unit of a pod (Exec= of [App] names the program of an \
             app)",
            "f.pod:8:1: Mount=: there is no volume \"dta\" (Volume= of [Pod] defines it)",
        ]
    );
}

#[test]
fn what_does_not_fit_together() {
    for (main, message) in [
        ("[Pod]\n", "f.pod:1:1: The pod has no app (a section [App] with Image= says what runs)"),
        ("[App]\n", "f.pod:1:1: App \"web\" has no image (Image= names it, as in Image=docker://nginx)"),
        (
            "[Pod]\nManifest=web.json\n[App]\nImage=x\n",
            "f.pod:3:1: A pod with Manifest= cannot have sections [App]",
        ),
        (
            "[Pod]\nIsolation=fly\nStage1=/x\n[App]\nImage=x\n",
            "f.pod:3:1: Isolation= and Stage1= exclude each other",
        ),
        (
            "[Pod]\nNetwork=host\nPublishPort=1:1\n[App]\nImage=x\n",
            "f.pod:3:1: Ports are published for pods with networks only (it needs a network of the pod's own, as with \
             Network=default)",
        ),
        (
            "[Pod]\nIsolation=fly\nNetwork=default\n[App]\nImage=x\n",
            "f.pod:3:1: A pod with Isolation=fly has the network of the host (leave Network= out, or use \
             Isolation=nspawn)",
        ),
        (
            "[Pod]\nIsolation=fly\n[App a]\nImage=x\n[App b]\nImage=x\n",
            "f.pod:2:1: A pod with Isolation=fly has one app only",
        ),
        (
            "[Pod]\nIsolation=kvm\nNetwork=host\n[App]\nImage=x\n",
            "f.pod:3:1: A pod with Isolation=kvm cannot have the network of the host (use Network=default or Network=none)",
        ),
        (
            "[Pod]\nIsolation=kvm\nIPC=parent\n[App]\nImage=x\n",
            "f.pod:3:1: A pod with Isolation=kvm cannot have the IPC of the host (leave IPC= out)",
        ),
        (
            "[Pod]\nIsolation=fly\nHostName=box\n[App]\nImage=x\n",
            "f.pod:3:1: HostName= has no effect with Isolation=fly: a chroot has the name of the host",
        ),
        (
            "[Pod]\nIsolation=fly\nIPC=private\n[App]\nImage=x\n",
            "f.pod:3:1: IPC= has no effect with Isolation=fly: a chroot has the IPC of the host",
        ),
        (
            "[Pod]\nIsolation=fly\n[App]\nImage=x\nRestart=always\n",
            "f.pod:1:1: Restart= has no effect with Isolation=fly: nobody is left who could start the app again; Restart= of \
             [Service] starts the pod",
        ),
        (
            "[Pod]\nIsolation=fly\nPrivateUsers=yes\n[App]\nImage=x\n",
            "f.pod:3:1: A pod with Isolation=fly has the users of the host (leave PrivateUsers= out, or use Isolation=nspawn)",
        ),
        (
            "[Pod]\nIsolation=fly\nSysctl=kernel.msgmax=1\n[App]\nImage=x\n",
            "f.pod:3:1: kernel.msgmax is the host's in a pod with Isolation=fly (leave Sysctl= out, or use Isolation=nspawn)",
        ),
        (
            "[Pod]\nSysctl=net.core.somaxconn=1 kernel.sem=1\nNetwork=host\n[App]\nImage=x\n",
            "f.pod:2:1: net.core.somaxconn is the host's in a pod with Network=host (give the pod a network of its own, or set \
             it on the host; see sysctl.d(5))",
        ),
        (
            "[Pod]\nIPC=parent\nSysctl=kernel.sem=1\n[App]\nImage=x\n",
            "f.pod:3:1: kernel.sem is the host's in a pod with IPC=parent (leave IPC= out, or set it on the host; see \
             sysctl.d(5))",
        ),
        (
            "[Pod]\nManifest=a.json\nVolume=data\n",
            "f.pod:3:1: Volume= has no effect on a pod with Manifest= (say it in the manifest, or write [App] in place of \
             Manifest=)",
        ),
        ("[Pod]\nVolume=a\nVolume=a\n[App]\nImage=x\n", "f.pod:3:1: There are two volumes called \"a\""),
        ("[Pod a]\n[App]\nImage=x\n", "f.pod:1:1: [Pod] takes no name, but has \"a\""),
        (
            "[App]\nImage=x\nExec=/a\nCommand=b\n",
            "f.pod:1:1: Exec= and Command= exclude each other (Exec= is the whole command line, Command= what follows \
             the image's entrypoint)",
        ),
    ] {
        assert_eq!(problems(main, &[]), [message], "{main}");
    }
}

#[test]
fn an_empty_assignment_resets() {
    for key in POD {
        let mut pod = Pod::default();
        (key.reset)(&mut pod);
        assert_eq!(pod, Pod::default(), "{}", key.name);
    }
    let file = good("web", "[App]\nImage=x\nCredentials=\nSockets=a\nSockets=\nSockets=b c\n", &[]);
    assert_eq!(file.apps[0].settings.credentials, Some(vec![]));
    assert_eq!(file.apps[0].settings.sockets, Some(vec!["b".to_owned(), "c".to_owned()]));
}
