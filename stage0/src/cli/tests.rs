use super::*;

fn ask(line: &str) -> Result<Parsed, Mistake> {
    parse(line.split_whitespace().map(OsString::from).collect())
}

/// The command that a line names.
fn command_of(line: &str) -> String {
    match ask(line) {
        Ok(Parsed::Command { entry, .. }) => entry.path.join(" "),
        Ok(Parsed::Help(text)) => format!("help: {}", text.lines().nth(1).unwrap_or_default().trim()),
        Ok(Parsed::NoCommand(_)) => "no command".to_owned(),
        Err((command, UsageError(message))) => format!("{command}: {message}"),
    }
}

#[test]
fn commands_are_found() {
    for (line, command) in [
        ("run x", "run"),
        ("image list", "image list"),
        ("ima li", "image list"),
        ("im l", "image list"),
        ("li", "list"),
        ("run-p x", "run-prepared"),
        ("--debug run x", "run"),
        ("--dir /tmp run x", "run"),
        ("--dir=/tmp --insecure-options=image fetch x", "fetch"),
        ("--net=host --debug run x", "run"),
        ("--net run x", "run"),
        ("--pull-policy=new fetch x", "fetch"),
        ("--pull-policy new fetch x", "fetch"),
        ("--pretty-print=false config", "config"),
        ("image --full list", "image list"),
        ("", "no command"),
        ("--debug", "no command"),
        ("image", "no command"),
        ("--help", "help: rkt - rkt, the application container runner"),
        ("image --help", "help: image - Operate on image(s) in the local store"),
        ("run --help", "help: run - Run image(s) in a pod in rkt"),
        ("-h run", "help: run - Run image(s) in a pod in rkt"),
        ("nonsense", "rkt: unknown command \"nonsense\" for \"rkt\""),
        ("image nonsense", "rkt: unknown command \"nonsense\" for \"rkt image\""),
        ("st x", "rkt: ambiguous command \"st\" for \"rkt\": status, stop"),
        ("--colour run x", "rkt: unknown flag: --colour"),
        ("run --colour x", "run: unknown flag: --colour"),
        ("list --colour", "list: unknown flag: --colour"),
        ("run x --colour", "run: unknown flag: --colour"),
        ("--exec=/x list", "list: unknown flag: --exec"),
        ("run --exec=/x y", "run: --exec must follow an image"),
        ("--exec=/x run y", "run: --exec must follow an image"),
        ("run --dir", "run: flag needs an argument: --dir"),
        ("--dir", "rkt: flag needs an argument: --dir"),
        ("list -x", "list: unknown shorthand flag in -x (flags start with two dashes)"),
        ("list --full=perhaps", "list: invalid argument \"perhaps\" for --full: must be true or false"),
        (
            "--insecure-options=everything list",
            "list: invalid argument \"everything\" for --insecure-options: unknown option, allowed are \"none\", \
             \"image\", \"tls\", \"ondisk\", \"http\", \"pubkey\", \"capabilities\", \"paths\", \"seccomp\", \
             \"all-fetch\", \"all-run\", \"all\"",
        ),
        ("list ---", "list: bad flag syntax: ---"),
    ] {
        assert_eq!(command_of(line), command, "{line:?}");
    }
}

/// The words that reach the grammar of images, and the flags of the pod.
fn words_of(line: &str) -> (Vec<String>, Vec<String>) {
    let Ok(Parsed::Command { matches, .. }) = ask(line) else { panic!("{line:?}") };
    let all =
        |id: &str| -> Vec<String> { matches.get_many::<String>(id).unwrap_or_default().cloned().collect() };
    let volumes = all("volume").into_iter().chain(all("mount")).chain(all("lists")).collect();
    (all("images"), volumes)
}

#[test]
fn flags_of_pod_and_image_are_told_apart() {
    for (line, images, pod) in [
        ("run a", "a", "default"),
        ("run --volume=v --mount m a", "a", "v m default"),
        ("--volume=v run --mount m a", "a", "v m default"),
        ("run a --exec /x b --exec=/y", "a --exec=/x b --exec=/y", "default"),
        ("run a --mount m", "a --mount=m", "default"),
        ("run a --volume v --net=host --name n b", "a --name=n b", "v host"),
        ("run a --readonly-rootfs b", "a --readonly-rootfs b", "default"),
        ("run a --readonly-rootfs=false b", "a --readonly-rootfs=false b", "default"),
        ("run --net a", "a", "default"),
        ("run --net=host a -- --net=none -x --- b", "a -- --net=none -x --- b", "host"),
        ("run a -- x", "a -- x", "default"),
        ("run a -- -- ---", "a -- -- ---", "default"),
        ("run a --- b", "a b", "default"),
        ("run -- a", "a", "default"),
        ("run a --exec --volume", "a --exec=--volume", "default"),
    ] {
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words_of(line), (split(images), split(pod)), "{line:?}");
    }
}

#[test]
fn the_last_of_two_wins() {
    let Ok(Parsed::Command { matches, .. }) = ask("--debug --dir=/a --dir /b list --debug=false") else {
        panic!();
    };
    assert_eq!(matches.get_one::<bool>("debug"), Some(&false));
    assert_eq!(matches.get_one::<std::path::PathBuf>("dir").unwrap().as_os_str(), "/b");
}

#[test]
fn the_whole_tree_is_sound() {
    command().debug_assert();
    for entry in &TABLE {
        definition(entry).debug_assert();
        assert!(GROUPS.iter().any(|(group, _)| *group == entry.path[0]) || entry.path.len() == 1);
    }
}

#[test]
fn help_has_its_layout() {
    let text = help_text(&["completion"]);
    assert_eq!(
        text,
        "NAME:\n\
         \tcompletion - Output shell completion code for the specified shell\n\
         \n\
         USAGE:\n\
         \trkt completion SHELL\n\
         \n\
         DESCRIPTION:\n\
         \tPrints code that completes rkt's commands and flags. SHELL is bash.\n\
         \n\
         \tTo use it at once: source <(rkt completion bash)\n\
         \n\
         GLOBAL OPTIONS:\n\
         \x20     --debug[=false]\t\t\tprint out more debug information to stderr\n\
         \x20     --dir=/var/lib/rkt\t\trkt data directory\n\
         \x20     --insecure-options=none\t\tcomma-separated list of security features to disable. Allowed values: \
         \"none\", \"image\", \"tls\", \"ondisk\", \"http\", \"pubkey\", \"capabilities\", \"paths\", \"seccomp\", \
         \"all-fetch\", \"all-run\", \"all\"\n\
         \x20     --local-config=/etc/rkt\t\tlocal configuration directory\n\
         \x20     --system-config=/usr/lib/rkt\tsystem configuration directory\n\
         \x20     --trust-keys-from-https[=false]\tautomatically trust gpg keys fetched from https\n\
         \x20     --user-config=\t\t\tuser configuration directory\n"
    );
    let run = help_text(&["run"]);
    for flag in
        ["--net[=default]", "--hostname=\"\"", "--exec=\"\"", "--interactive[=false]", "--uuid-file-save="]
    {
        assert!(run.contains(&format!("      {flag}\t")), "{flag} is not in {run}");
    }
    for hidden in ["--store-only", "--cap-retain", "--cpuprofile"] {
        assert!(!run.contains(&format!("{hidden}=")) && !run.contains(&format!("{hidden}[")), "{hidden}");
    }
    let root = help_text(&[]);
    for part in ["VERSION:\n", "\timage list\t", "\trun-prepared\t", "GLOBAL OPTIONS"] {
        assert!(root.contains(part), "{part}");
    }
    assert!(!root.contains("\timage fetch"), "hidden");
}
