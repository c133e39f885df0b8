//! Standard streams of apps, and `rkt attach`.

use std::time::Duration;

use tests::case::{Case, Stage1, eventually};
use tests::host::Running;

under_supervised_walls!(
    says_what_there_is_to_attach_to,
    connects_streams_until_the_app_ends,
    passes_everything_on_without_waiting_for_one_side,
    mixes_what_several_clients_send,
    gives_up_a_client_that_takes_nothing,
    shares_a_terminal_whose_size_follows,
    detaches_from_a_terminal,
    keeps_the_terminal_over_handlers,
);

/// Starts a pod whose app has these streams and prints to its log, which is not attached, that it is `up`.
#[track_caller]
fn start(case: &Case, flags: &[&str], script: &str) -> Running {
    let up = format!("echo up >&2; {script}");
    let words = [&[case.busybox(), "--exec=/bin/sh"], flags, &["--", "-c", &up]].concat();
    let mut pod = case.run(words).spawn();
    pod.wait_for_stdout("up");
    pod
}

/// A shell command that runs `rkt attach` on a terminal of 31 lines and 91 columns, as `script` makes it.
fn on_terminal(case: &Case, before: &str) -> String {
    let attach = [case.rkt_words(), vec!["attach".to_owned(), case.uuid()]].concat().join(" ");
    format!("stty rows 31 cols 91; {before} {attach}; echo status $?")
}

fn says_what_there_is_to_attach_to(case: &Case) {
    let _pod = start(case, &["--stdin=stream", "--stdout=stream"], "exec sleep 1000");
    let uuid = case.uuid();
    let list = case.rkt(["attach", "--mode=list", &uuid]).ok();
    let json = list.json();
    assert_eq!(json["version"], 1);
    let names =
        json["targets"].as_array().map(|targets| targets.iter().map(|one| one["name"].clone()).collect());
    assert_eq!(names, Some(vec!["stdin".into(), "stdout".into()]), "{list}");
    assert!(list.stdout.contains("\n    \"targets\": ["), "{list}");
    case.rkt(["attach", "--mode=stderr", &uuid])
        .fails(254)
        .says("has no stderr to attach to: it has stdin, stdout");
    case.rkt(["attach", "--mode=tty", &uuid]).fails(254).says("has no tty-in to attach to");
    case.rkt(["attach", "--mode=tty,stdin", &uuid]).fails(254).says("exclude each other");
    case.rkt(["attach", "--app=other", &uuid]).fails(254).says("no app \"other\"");
}

fn connects_streams_until_the_app_ends(case: &Case) {
    let script = "while read line; do echo out $line; echo err $line >&2; test $line = end && exit 7; done";
    let mut pod = case
        .run([
            case.busybox(),
            "--exec=/bin/sh",
            "--stdin=stream",
            "--stdout=stream",
            "--stderr=stream",
            "--",
            "-c",
            script,
        ])
        .spawn();
    let uuid = case.uuid();
    case.rkt(["status", "--wait-ready=30s", &uuid]).ok();
    // A client that goes away takes nothing with it.
    case.rkt(["attach", "--mode=stdin", &uuid]).input("one\n").ok();
    pod.wait_for_stdout("err one");
    let output = case.rkt(["attach", &uuid]).input("two\nend\n").fails(7);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out two\nout end\n", "err two\nerr end\n")
    );
    // All of it is in the log as well.
    let log = pod.wait(Duration::from_secs(20)).code(7);
    for line in ["out one", "out two", "err end"] {
        assert!(log.stdout.contains(line), "{log}");
    }
    case.rkt(["logs", "--app=busybox", &uuid]).ok().prints("out two");
    case.rkt(["attach", &uuid]).fails(254).says("is not running");
}

fn passes_everything_on_without_waiting_for_one_side(case: &Case) {
    let _pod = start(case, &["--stdin=stream", "--stdout=stream"], "exec head -c 3000000");
    let script = format!(
        "head -c 3000000 /dev/urandom >/tmp/{0}/in && \"$@\" </tmp/{0}/in >/tmp/{0}/out && cmp /tmp/{0}/in /tmp/{0}/out",
        case.name()
    );
    let mut words = vec!["-c".to_owned(), script, "sh".to_owned()];
    words.extend(case.rkt_words());
    words.extend(["attach".to_owned(), case.uuid()]);
    case.host().exec("sh").args(words).limit(Duration::from_secs(300)).ok();
}

fn mixes_what_several_clients_send(case: &Case) {
    let script = "n=0; while test $n -lt 40 && read line; do echo \"$line\"; n=$((n+1)); done";
    let _pod = start(case, &["--stdin=stream", "--stdout=stream"], script);
    let uuid = case.uuid();
    let mut sees = case.rkt(["attach", "--mode=stdout", &uuid]).spawn();
    let lines = |name: &str| (0..20).map(|n| format!("{name} {n}\n")).collect::<String>();
    // Whoever only looks is there before anybody sends.
    std::thread::sleep(Duration::from_millis(300));
    let senders =
        ["a", "b"].map(|name| case.rkt(["attach", "--mode=stdin", &uuid]).input(lines(name)).spawn());
    sees.wait_for_stdout("19");
    let output = sees.wait(Duration::from_secs(20)).success();
    for name in ["a", "b"] {
        let own: String = output.stdout.split_inclusive('\n').filter(|line| line.starts_with(name)).collect();
        assert_eq!(own, lines(name), "{output}");
    }
    for sender in senders {
        sender.wait(Duration::from_secs(20)).success();
    }
}

fn gives_up_a_client_that_takes_nothing(case: &Case) {
    let script = "head -c 2000000 /dev/zero | tr '\\0' 'x'; echo done >&2; exec sleep 1000";
    let words = [case.busybox(), "--exec=/bin/sh", "--stdin=stream", "--stdout=stream", "--", "-c"];
    let go = format!("echo up >&2; read go; {script}");
    let mut pod = case.run(words.iter().copied().chain([go.as_str()])).spawn();
    pod.wait_for_stdout("up");
    let uuid = case.uuid();
    let stopped = format!(
        "{} attach --mode=stdout {uuid} & pid=$!; sleep 1; kill -STOP $pid; echo $pid; wait",
        case.rkt_words().join(" ")
    );
    let mut client = case.host().exec("sh").args(["-c", &stopped]).spawn();
    client.wait_for_stdout("\n");
    case.rkt(["attach", "--mode=stdin", &uuid]).input("go\n").ok();
    // The app waits for its client, but not for ever.
    pod.wait_for_stdout("done");
}

fn shares_a_terminal_whose_size_follows(case: &Case) {
    let script = "trap 'busybox stty size' WINCH; test -t 0 && test -t 1 && test -t 2 && while true; do sleep 0.1; done";
    let streams = ["--stdin=tty", "--stdout=tty", "--stderr=tty"];
    let words = [&[case.busybox(), "--exec=/bin/sh"], &streams[..], &["--", "-c", script]].concat();
    let _pod = case.run(words).spawn();
    case.rkt(["status", "--wait-ready=30s", &case.uuid()]).ok();
    // Each size comes when the one before has been seen, however long that takes.
    let seen = |size: &str| case.tmp(&size.replace(' ', "-"));
    let wait = |size: &str| format!("until test -e {}; do sleep 0.1; done", seen(size));
    let resize = format!(
        "tty=$(tty); ({}; stty -F $tty cols 100; {}; stty -F $tty rows 40) &",
        wait("31 91"),
        wait("31 100")
    );
    let args = ["--quiet", "--return", "--command", &on_terminal(case, &resize), "/dev/null"];
    let mut client = case.host().exec("script").args(args).input("").spawn();
    for size in ["31 91", "31 100", "40 100"] {
        client.wait_for_stdout(size);
        case.host().write(&seen(size), "");
    }
}

fn detaches_from_a_terminal(case: &Case) {
    let script = "while read line; do echo \"read $line\"; done";
    let words = ["--stdin=tty", "--stdout=tty", "--", "-c", script];
    let _pod = case.run([&[case.busybox(), "--exec=/bin/sh"], &words[..]].concat()).spawn();
    let uuid = case.uuid();
    case.rkt(["status", "--wait-ready=30s", &uuid]).ok();
    for line in ["first", "second"] {
        // The escape characters come when the terminal is in raw mode.
        let typed = format!("(sleep 1; printf '{line}\\n'; sleep 0.5; printf '\\035\\035\\035'; sleep 5)");
        let command = on_terminal(case, "");
        let script = format!("{typed} | script --quiet --return --command '{command}' /dev/null");
        case.host().exec("sh").args(["-c", &script]).ok().prints(&format!("read {line}")).prints("status 0");
    }
    assert_eq!(case.state(&uuid), "running");
    case.rkt(["stop", &uuid]).ok();
}

fn keeps_the_terminal_over_handlers(case: &Case) {
    let handlers = serde_json::json!({"eventHandlers": [
        {"name": "pre-start", "exec": ["/bin/sh", "-c", "echo before"]},
        {"name": "post-stop", "exec": ["/bin/sh", "-c", "echo after"]},
    ]});
    let image = tests::images::busybox("example.com/handlers")
        .app(&["/bin/sh", "-c", "read line; echo $line"], &handlers);
    let path = case.image("handlers.aci", image.build());
    let pod = case.run([path.as_str(), "--stdin=tty", "--stdout=tty"]).spawn();
    let uuid = case.uuid();
    case.rkt(["status", "--wait-ready=30s", &uuid]).ok();
    let output = case.rkt(["attach", &uuid]).input("typed\n").ok();
    assert!(output.stdout.contains("typed\r\n") && output.stdout.contains("after\r\n"), "{output}");
    pod.wait(Duration::from_secs(20)).success();
}

#[test]
fn fly_has_nobody_to_attach_to() {
    let case = Case::new(Stage1::Fly);
    for flag in ["--stdin=stream", "--stdout=tty", "--stderr=stream"] {
        case.run([case.busybox(), flag, "--exec=/bin/true"]).fails(254).says("nobody to attach to");
    }
    let _pod = case.start_sh("echo up; exec sleep 1000");
    case.rkt(["attach", &case.uuid()]).fails(254).says("no \"attach\" entrypoint");
}

under_both_walls!(streams_of_mode_null);

fn streams_of_mode_null(case: &Case) {
    let script = "cat; echo out; echo err >&2; echo to the other end >/dev/null; exit 4";
    let words = [
        case.busybox(),
        "--exec=/bin/sh",
        "--stdin=null",
        "--stdout=null",
        "--stderr=null",
        "--",
        "-c",
        script,
    ];
    let output = case.run(words).input("typed").fails(4);
    // An emulated machine says that it is one, in one line.
    let said: Vec<_> = output.stderr.lines().filter(|line| !line.contains("(TCG)")).collect();
    assert!(output.stdout.is_empty() && said.is_empty(), "{output}");
}

/// In a unit, the lines of a stream are in the journal under the app's own name, as those of any app are.
#[test]
fn a_stream_of_a_unit_is_in_its_journal() {
    let case = Case::new(Stage1::Nspawn);
    let mut words = case.run_words("pod");
    let app = [
        "--exec=/bin/sh",
        "--stdin=stream",
        "--stdout=stream",
        "--",
        "-c",
        "echo '<4>hello'; read line; echo $line; exec sleep 1000",
    ];
    words.push(case.busybox().to_owned());
    words.extend(app.map(str::to_owned));
    let unit = case.service("pod", &words, "");
    case.systemctl(&["start", &unit]);
    let uuid = case.uuid();
    eventually("the pod", || {
        Some(()).filter(|()| case.rkt(["attach", "--mode=list", &uuid]).output().code == 0)
    });
    case.rkt(["attach", "--mode=stdin", &uuid]).input("typed\n").ok();
    case.journal(&["-u", &unit, "-t", "busybox", "-p", "4"], "hello");
    case.journal(&["-u", &unit, "-t", "busybox"], "typed");
    case.systemctl(&["stop", &unit]);
}
