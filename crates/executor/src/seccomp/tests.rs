use super::program::{ENOSYS, EPERM, errno};
use super::*;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// What the kernel would return for a call: the few instructions that we make, interpreted.
fn run(program: &[Instruction], audit: u32, number: u32, arguments: [u32; 6]) -> u32 {
    let (mut at, mut accumulator, mut steps) = (0, 0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        steps += 1;
        assert!(steps < 40, "the bisection is too deep");
        at += 1;
        match code {
            0x20 => {
                accumulator = match k {
                    0 => number,
                    4 => audit,
                    _ => arguments[(k as usize - 16) / 8],
                }
            }
            0x54 => accumulator &= k,
            0x15 => at += usize::from(if accumulator == k { jt } else { jf }),
            0x35 => at += usize::from(if accumulator >= k { jt } else { jf }),
            0x05 => at += k as usize,
            0x06 => return k,
            other => panic!("unexpected instruction {other:#x}"),
        }
    }
}

fn of(name: &str, audit: u32) -> u32 {
    let index = ARCHITECTURES.iter().position(|&known| known == audit).expect("it is built in");
    number(name, index).unwrap_or_else(|| panic!("{name} has no number"))
}

fn call(program: &[Instruction], audit: u32, name: &str) -> u32 {
    run(program, audit, of(name, audit), [0; 6])
}

#[test]
fn every_list_is_read_and_names_known_calls() {
    let mut unknown = std::collections::BTreeSet::new();
    for name in [
        "@rkt/default-whitelist",
        "@rkt/default-blacklist",
        "@systemd/clock",
        "@systemd/default-whitelist",
        "@systemd/mount",
        "@systemd/network-io",
        "@systemd/obsolete",
        "@systemd/privileged",
        "@systemd/process",
        "@systemd/raw-io",
    ] {
        let entries = sets::parse(wildcard(name).unwrap()).unwrap();
        assert!(!entries.is_empty(), "{name}");
        let is_known = |call: &str| NAMES.binary_search_by_key(&call, |known| known.0).is_ok();
        unknown.extend(entries.iter().map(|entry| entry.name).filter(|call| !is_known(call)));
    }
    // Calls of other architectures, some that only ever had a name, and one that is newer than the table.
    let expected = "break cacheflush file_setattr pciconfig_iobase pciconfig_read pciconfig_write recv \
                    riscv_flush_icache riscv_hwprobe s390_pci_mmio_read s390_pci_mmio_write send set_tls swapcontext";
    assert_eq!(unknown.into_iter().collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn default_list_decides() {
    for audit in [X86_64, I386] {
        for (name, wanted) in [
            ("read", ALLOW),
            ("execve", ALLOW),
            ("statx", ALLOW),
            ("openat2", ALLOW),
            ("close_range", ALLOW),
            ("landlock_create_ruleset", ALLOW),
            ("clone3", ENOSYS),
            ("mount", EPERM),
            ("unshare", EPERM),
            ("setns", EPERM),
            ("bpf", EPERM),
            ("fsopen", EPERM),
            ("io_uring_setup", EPERM),
            ("init_module", EPERM),
            ("ptrace", EPERM),
            ("keyctl", EPERM),
        ] {
            assert_eq!(call(DEFAULT, audit, name), wanted, "{name} on {audit:#x}");
        }
        assert_eq!(run(DEFAULT, audit, 1000, [0; 6]), ENOSYS);
        assert_eq!(run(DEFAULT, audit, u32::MAX, [0; 6]), ENOSYS);
    }
    assert_eq!(run(DEFAULT, X86_64, 0x4000_0000, [0; 6]), ENOSYS, "x32 read");
    assert_eq!(run(DEFAULT, 0xc000_00b7, 0, [0; 6]), KILL, "arm64");
}

#[test]
fn default_list_looks_at_arguments() {
    let new_user = 0x1000_0000;
    for (name, arguments, wanted) in [
        ("clone", [0x0011, 0, 0, 0, 0, 0], ALLOW),
        ("clone", [new_user | 0x11, 0, 0, 0, 0, 0], EPERM),
        ("clone", [0x4000_0000, 0, 0, 0, 0, 0], EPERM),
        ("socket", [2, 1, 0, 0, 0, 0], ALLOW),
        ("socket", [40, 1, 0, 0, 0, 0], EPERM),
        ("ioctl", [0, 0x5401, 0, 0, 0, 0], ALLOW),
        ("ioctl", [0, 0x5412, 0, 0, 0, 0], EPERM),
    ] {
        assert_eq!(run(DEFAULT, X86_64, of(name, X86_64), arguments), wanted, "{name} {arguments:x?}");
    }
}

#[test]
fn baseline_gives_back_what_a_capability_is_for() {
    let all = baseline(|_| false);
    assert_eq!(all.len(), 1);
    let without_time = baseline(|capability| capability == "CAP_SYS_TIME");
    let decide = |filters: &[&[Instruction]], name: &str| {
        filters.iter().map(|filter| call(filter, X86_64, name)).min().unwrap()
    };
    for (name, full, time) in [
        ("read", ALLOW, ALLOW),
        ("mount", ALLOW, ALLOW),
        ("clone3", ALLOW, ALLOW),
        ("bpf", EPERM, EPERM),
        ("keyctl", EPERM, EPERM),
        ("finit_module", EPERM, EPERM),
        ("clock_settime", EPERM, ALLOW),
    ] {
        assert_eq!(decide(&all, name), full, "{name}");
        assert_eq!(decide(&without_time, name), time, "{name}");
    }
    for filter in all {
        assert_eq!(run(filter, X86_64, 0x4000_0000 | of("init_module", X86_64), [0; 6]), ENOSYS, "x32");
    }
}

fn custom(kind: SetKind, set: &[&str], errno: Option<&str>) -> Vec<Instruction> {
    match compile(kind, set, errno).expect("the set is good").seccomp {
        Seccomp::Custom(filter) => filter.instructions,
        other => panic!("{set:?} gives {other:?}"),
    }
}

#[test]
fn retain_sets() {
    let filter = custom(SetKind::Retain, &["write", "mount"], None);
    for (name, wanted) in [
        ("write", ALLOW),
        ("mount", ALLOW),
        ("execve", ALLOW),
        ("mmap", ALLOW),
        ("read", KILL),
        ("bpf", KILL),
    ] {
        assert_eq!(call(&filter, X86_64, name), wanted, "{name}");
        assert_eq!(call(&filter, I386, name), wanted, "{name}");
    }
    let filter = custom(SetKind::Retain, &["@rkt/default-whitelist", "clone"], Some("EXFULL"));
    assert_eq!(call(&filter, X86_64, "read"), ALLOW);
    assert_eq!(call(&filter, X86_64, "mount"), errno(54));
    assert_eq!(run(&filter, X86_64, of("clone", X86_64), [0x1000_0000; 6]), ALLOW, "named outright");
    assert_eq!(run(&filter, X86_64, of("socket", X86_64), [40; 6]), EPERM, "from the list");
}

#[test]
fn remove_sets() {
    let filter = custom(SetKind::Remove, &["mkdir", "@systemd/clock"], Some("ENOSYS"));
    for (name, wanted) in
        [("mkdir", ENOSYS), ("clock_settime", ENOSYS), ("mount", ALLOW), ("read", ALLOW), ("clone3", ALLOW)]
    {
        assert_eq!(call(&filter, X86_64, name), wanted, "{name}");
        assert_eq!(call(&filter, I386, name), wanted, "{name}");
    }
    assert_eq!(run(&filter, X86_64, 0x4000_0000 | of("mkdir", X86_64), [0; 6]), ENOSYS, "x32");
    let filter = custom(SetKind::Remove, &["connect"], Some("EACCES"));
    assert_eq!(call(&filter, I386, "socketcall"), errno(13));
    assert_eq!(call(&filter, I386, "ipc"), ALLOW);
}

#[test]
fn wildcards_with_a_meaning_of_their_own() {
    let none = |seccomp| Ok(Compiled { seccomp, ignored: Vec::new() });
    assert_eq!(compile(SetKind::Retain, &["@appc.io/all"], None), none(Seccomp::Off));
    assert_eq!(compile(SetKind::Remove, &["@appc.io/empty"], None), none(Seccomp::Default));
    assert_eq!(compile(SetKind::Remove, &["@appc.io/all"], None), Err(SetError::NothingLeft));
    let odd = compile(SetKind::Remove, &["mkdir", "@who/knows", "no_such_call"], None).unwrap();
    assert_eq!(odd.ignored, ["@who/knows", "no_such_call"]);
    let bad = compile(SetKind::Remove, &["mkdir"], Some("EWHAT"));
    assert_eq!(bad, Err(SetError::UnknownErrno("EWHAT".to_owned())));
}

#[test]
fn names_of_numbers() {
    assert_eq!(call_name(X86_64, 165), Some("mount"));
    assert_eq!(call_name(I386, 21), Some("mount"));
    assert_eq!(call_name(X86_64, 9999), None);
}
