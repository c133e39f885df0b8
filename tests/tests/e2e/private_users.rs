//! `--private-users`: pods whose users are none of the host's.

use tests::case::{Case, Stage1, app_lines, eventually};
use tests::host::Running;
use tests::images;

#[track_caller]
fn start(case: &Case, id: &str, words: &[&str]) -> Running {
    let mut pod = case.run_as(id, [&["--private-users"], words].concat()).spawn();
    pod.wait_for_stdout("up");
    pod
}

/// First host id of a pod's users, as the kernel has it: not what we wrote down.
fn first_id(case: &Case, uuid: &str) -> u32 {
    let script = format!(
        "pid=$(rkt status {uuid} | sed -n s/^pid=//p); awk '{{ print $1, $2, $3 }}' /proc/$pid/uid_map /proc/$pid/gid_map"
    );
    let output = case.host().sh(&script).success();
    let maps: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(maps.len(), 2, "{output}");
    assert_eq!(maps[0], maps[1], "{output}");
    let words: Vec<&str> = maps[0].split(' ').collect();
    assert_eq!((words[0], words[2]), ("0", "65536"), "{output}");
    words[1].parse().unwrap_or_default()
}

#[test]
fn no_user_of_a_pod_is_one_of_the_host_or_of_another_pod() {
    let case = Case::new(Stage1::Nspawn);
    let wait = ["--exec=/bin/sh", "--", "-c", "echo up; sleep 1000"];
    let mut firsts = Vec::new();
    let mut pods = Vec::new();
    for id in ["one", "two", "three"] {
        pods.push(start(&case, id, &[&[case.busybox()], &wait[..]].concat()));
        firsts.push(first_id(&case, &case.uuid_as(id)));
    }
    // One that is only prepared has its users, too.
    let words = [
        "prepare",
        "--private-users",
        &case.stage1().flag(),
        case.busybox(),
        "--exec=/bin/cat",
        "--",
        "/proc/self/uid_map",
    ];
    let prepared = case.rkt(words).ok().trimmed().to_owned();
    pods.push(start(&case, "four", &[&[case.busybox()], &wait[..]].concat()));
    firsts.push(first_id(&case, &case.uuid_as("four")));
    let shown = case.rkt(["run-prepared", "--net=host", &prepared]).ok();
    let map: Vec<u32> = app_lines(&shown.stdout)
        .iter()
        .flat_map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>())
        .collect();
    firsts.push(map[1]);
    for (index, first) in firsts.iter().enumerate() {
        assert!(*first >= 65_536 && first % 65_536 == 0, "{firsts:?}");
        assert!(firsts[..index].iter().all(|other| other.abs_diff(*first) >= 65_536), "{firsts:?}");
    }
    // Root of a pod is a stranger to the host.
    for id in ["one", "two", "three", "four"] {
        let uid = format!("stat -c %u /proc/$(rkt status {} | sed -n s/^pid=//p)", case.uuid_as(id));
        let uid: u32 = case.host().sh(&uid).success().trimmed().parse().expect("a user's number");
        assert!(firsts.contains(&uid), "{uid}: {firsts:?}");
    }
    drop(pods);
}

#[test]
fn owners_are_right_inside_and_outside() {
    let case = Case::new(Stage1::Nspawn);
    let shared = case.tmp("shared");
    case.host()
        .sh(&format!("mkdir -p {shared}; echo a >{shared}/alices; chown 1001:1002 {shared}/alices; echo r >{shared}/roots; chmod 600 {shared}/*"))
        .success();
    let volume = format!("--volume=shared,kind=host,source={shared}");
    let script = "echo up; id -u; cat /shared/roots; stat -c '%n %u:%g' /shared/alices /home/alice /etc/passwd /empty /; \
                  echo new >/shared/new; echo new >/empty/new; echo new >/root/new; chown 1001:1002 /shared/new; stat -c '%n %u:%g' /shared/new /empty/new /root/new; \
                  cat /proc/self/uid_map; mknod /tmp/n c 1 3 || echo no node; mount -t tmpfs x /tmp || echo no mount; grep -E 'Seccomp:|CapBnd' /proc/self/status";
    let words = [
        &volume,
        "--volume=empty,kind=empty,uid=1001,gid=1002",
        "--mount=volume=shared,target=/shared",
        "--mount=volume=empty,target=/empty",
        case.busybox(),
        "--exec=/bin/sh",
        "--",
        "-c",
        script,
    ];
    let output = case.run([&["--private-users"], &words[..]].concat()).ok();
    let lines = app_lines(&output.stdout);
    for line in [
        "0",
        "r",
        "/shared/alices 1001:1002",
        "/home/alice 1001:1002",
        "/etc/passwd 0:0",
        "/empty 1001:1002",
        "/ 0:0",
        "/shared/new 1001:1002",
        "/empty/new 0:0",
        "/root/new 0:0",
        "no node",
        "no mount",
        "Seccomp:\t2",
    ] {
        assert!(lines.contains(&line), "{line}: {output}");
    }
    // On the host they are whose they say they are: neither those of the image, which all pods share, nor those of the volume changed.
    let outside = format!("stat -c %u:%g {shared}/new {shared}/alices {shared}/roots");
    assert_eq!(case.host().sh(&outside).success().stdout, "1001:1002\n1001:1002\n0:0\n");
    let plain = case
        .run_as(
            "plain",
            [case.busybox(), "--exec=/bin/stat", "--", "-c", "%u:%g", "/home/alice", "/etc/passwd"],
        )
        .ok();
    assert!(app_lines(&plain.stdout).contains(&"1001:1002"), "{plain}");
    // The pod can be removed, whoever owns what it wrote.
    let uuid = case.uuid();
    case.rkt(["rm", &uuid]).ok();
    assert_eq!(case.pod_dir(&uuid), None);
}

#[test]
fn users_of_the_image_and_entering_work_as_ever() {
    let case = Case::new(Stage1::Nspawn);
    let words = [
        case.busybox(),
        "--user=alice",
        "--group=staff",
        "--exec=/bin/sh",
        "--",
        "-c",
        "echo up; sleep 1000",
    ];
    let _pod = start(&case, "pod", &words);
    let uuid = case.uuid();
    let script = "id -u; readlink /proc/self/ns/user; readlink /proc/1/ns/user; touch /home/alice/x && stat -c %U /home/alice/x; grep -c . /proc/self/uid_map";
    let output = case.rkt(["enter", &uuid, "/bin/sh", "-c", script]).ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 2]), ("1001", "alice"), "{output}");
    case.rkt(["logs", "--app=busybox", &uuid]).ok().prints("up");
    // What entered is in the pod's user namespace and not in the host's.
    let host = case.host().sh("readlink /proc/self/ns/user").success().stdout;
    assert_ne!(lines[1], host.trim(), "{output}");
    let terminal = ["--quiet", "--return", "--command"];
    let command = format!(
        "{} enter {uuid} /bin/sh -c 'test -t 0 && test -w /dev/tty && echo terminal'",
        case.rkt_words().join(" ")
    );
    case.host().exec("script").args(terminal).args([&command, "/dev/null"]).ok().prints("terminal");
}

#[test]
fn copies_belong_to_the_pod_as_well() {
    let case = Case::new(Stage1::Nspawn);
    let words = [
        "--no-overlay",
        "--private-users",
        case.busybox(),
        "--exec=/bin/stat",
        "--",
        "-c",
        "%n %u:%g",
        "/home/alice",
        "/bin/busybox",
    ];
    let output = case.run(words).ok();
    let lines = app_lines(&output.stdout);
    assert!(lines.contains(&"/home/alice 1001:1002") && lines.contains(&"/bin/busybox 0:0"), "{output}");
    let dir = case.pod_dir(&case.uuid()).unwrap_or_default();
    let owner = format!("stat -c %u {dir}/stage1/rootfs/opt/stage2/busybox/rootfs/bin/busybox");
    let owner: u32 = case.host().sh(&owner).success().trimmed().parse().unwrap_or_default();
    assert!(owner >= 65_536, "{owner}");
}

#[test]
fn ranges_of_the_administrator_are_kept_to() {
    let case = Case::new(Stage1::Nspawn).with_data();
    let host = case.host();
    // The files are those of the whole host, where other tests start such pods: they are changed for these three alone.
    let given = case.tmp("given");
    host.write(&given, "alice:100000:65536\nrkt:3000000000:131072\n");
    let change =
        format!("mount --bind {given} /etc/subuid && mount --bind {given} /etc/subgid && exec \"$@\"");
    let outputs = ["one", "two", "three"].map(|id| {
        let mut words =
            vec!["-m".to_owned(), "sh".to_owned(), "-c".to_owned(), change.clone(), "sh".to_owned()];
        words.extend(case.run_words(id));
        words.extend(
            ["--private-users", case.busybox(), "--exec=/bin/cat", "--", "/proc/self/uid_map"]
                .map(str::to_owned),
        );
        host.exec("unshare").args(words).output()
    });
    let [one, two, three] = outputs;
    let mut firsts: Vec<String> = [&one, &two]
        .iter()
        .filter_map(|output| {
            app_lines(&output.stdout)
                .iter()
                .find_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
        })
        .collect();
    firsts.sort();
    assert_eq!(firsts, ["3000000000", "3000065536"], "{one} {two}");
    three.code(254).says("no free range of 65536 ids");
}

#[test]
fn fly_has_the_users_of_the_host() {
    let case = Case::new(Stage1::Fly);
    case.run(["--private-users", images::BUSYBOX_NAME, "--exec=/bin/true"])
        .fails(254)
        .says("--private-users");
}

#[test]
fn an_exported_image_has_the_owners_that_the_app_saw() {
    // What is exported has the name of the image that all tests share.
    let case = Case::alone(Stage1::Nspawn);
    for (id, flags) in [
        ("overlay", &["--private-users"][..]),
        ("copy", &["--private-users", "--no-overlay"]),
        ("plain", &[]),
    ] {
        let script = "touch /home/alice/new && chown 1001:1002 /home/alice/new && rm /etc/group && mkdir /made && echo me >/made/file";
        case.run_as(id, [flags, &[case.busybox(), "--exec=/bin/sh", "--", "-c", script]].concat()).ok();
        let out = case.tmp(&format!("{id}.aci"));
        case.rkt(["export", &case.uuid_as(id), &out]).ok();
        let list = case.host().exec("tar").args(["--numeric-owner", "-tvzf", &out]).ok();
        let owner = |path: &str| {
            let line = list
                .stdout
                .lines()
                .find(|line| line.trim_end_matches('/').ends_with(path))
                .unwrap_or_default();
            line.split_whitespace().nth(1).unwrap_or_default().to_owned()
        };
        for (path, wanted) in [
            ("rootfs/home/alice/new", "1001/1002"),
            ("rootfs/home/alice", "1001/1002"),
            ("rootfs/made/file", "0/0"),
            ("rootfs/bin/busybox", "0/0"),
            ("manifest", "0/0"),
        ] {
            assert_eq!(owner(path), wanted, "{id} {path}: {list}");
        }
        assert!(!list.stdout.contains("etc/group"), "{id}: {list}");
        // It is an image.
        let again =
            case.run_as(&format!("{id}-again"), [out.as_str(), "--exec=/bin/cat", "--", "/made/file"]).ok();
        assert!(app_lines(&again.stdout).contains(&"me"), "{again}");
        case.rkt(["export", &case.uuid_as(id), &out]).fails(254).says("--overwrite");
        case.rkt(["export", "--overwrite", &case.uuid_as(id), &out]).ok();
    }
    case.rkt(["export", &case.uuid_as("plain"), "/tmp/x.tar"]).fails(254).says(".aci");
    let _pod = case.start_sh("echo up; sleep 1000");
    case.rkt(["export", &case.uuid(), "/tmp/x.aci"]).fails(254).says("only pods that have exited");
}

/// As a service, without a scope and without anything handed down to it.
#[test]
fn a_unit_needs_nothing_for_them() {
    for net in ["--net=host", "--net=none"] {
        let case = Case::new(Stage1::Nspawn).with_net(net);
        let mut words = case.run_words("pod");
        words.extend(
            ["--private-users", case.busybox(), "--exec=/bin/cat", "--", "/proc/self/uid_map"]
                .map(str::to_owned),
        );
        let unit = case.service("pod", &words, "");
        case.systemctl(&["start", &unit]);
        let map = case.journal(&["-t", "busybox", "-u", &unit], "65536");
        let first = map.split_whitespace().nth(1);
        assert!(first.is_some_and(|first| first != "0"), "{map}");
        eventually("the unit to end", || (case.property(&unit, "ActiveState") == "inactive").then_some(()));
        assert_eq!(case.property(&unit, "Result"), "success");
    }
}
