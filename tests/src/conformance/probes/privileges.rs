//! Privileges: capabilities, system calls, and what the kernel shows.

use serde_json::json;

use super::{default, isolator};
use crate::conformance::{Ask, Control, Probe};

/// Giving a file away must fail, and becoming another user must work.
const NO_CHOWN: &str = r#"perl -e 'open my $file, ">", "/file" or die;
    my $chown = chown 1001, 1001, "/file"; $> = 1001; my $became = $> == 1001;
    print "$ENV{AC_APP_NAME} ", !$became ? "odd" : $chown ? "free" : "held", "\n"'"#;

/// mkdir must fail with EXDEV, and opening a file must work.
const NO_MKDIR: &str = r#"perl -e 'my $path = "/directory"; $! = 0; syscall 83, $path, 0755; my $error = $! + 0; open my $file, ">", "/file" or die;
    print "$ENV{AC_APP_NAME} ", $error == 18 ? "held" : $error == 0 ? "free" : "odd $error", "\n"'"#;

/// mount, which is not in the list, must fail with EXDEV, and mkdir must work.
const NO_MOUNT: &str = r#"perl -e '$! = 0; syscall 165, 0, 0, 0, 0, 0; my $error = $! + 0; mkdir "/directory" or die;
    print "$ENV{AC_APP_NAME} ", $error == 18 ? "held" : "free", "\n"'"#;

/// A program with the setuid bit of another user must not run as that user.
const NO_SETUID: &str = r#"cp /usr/bin/perl /setuid && chown 1001 /setuid && chmod 4755 /setuid || v odd
    user=$(/setuid -e 'print $>'); case $user in 0) v held;; 1001) v free;; *) v odd $user;; esac"#;

/// A higher priority takes CAP_SYS_NICE, which the default set lacks; a lower one takes nothing.
const NO_NICE: &str = r#"perl -e 'my $lower = setpriority 0, 0, 5; my $higher = setpriority 0, 0, 1;
    print "$ENV{AC_APP_NAME} ", !$lower ? "odd" : $higher ? "free" : "held", "\n"'"#;

/// kcmp must fail with EPERM, statx must be there, and what no kernel has must be unknown.
const DEFAULT_CALLS: &str = r#"perl -e 'my $try = sub { $! = 0; syscall $_[0], 0, 0, 0, 0, 0; $! + 0 };
    my ($kcmp, $statx, $future) = map { $try->($_) } 312, 332, 999;
    print "$ENV{AC_APP_NAME} ", ($statx == 1 || $future != 38) ? "odd $statx $future" : $kcmp == 1 ? "held" : "free", "\n"'"#;

/// The list of kernel modules must be hidden, /proc/self must not.
const HIDDEN: &str =
    r#"[ -e /proc/self/status ] || v odd; [ -n "$(ls -A /sys/module 2>/dev/null)" ] && v free || v held"#;

/// A device node of the app's own making must be dead, and /dev/zero must work.
const DEVICES: &str = r"mknod /zero c 1 5 && head -c1 /dev/zero >/dev/null || v odd
    head -c1 /zero >/dev/null 2>&1 && v free || v held";

/// A message of 5,000 bytes must be too long, and one of 4,000 not.
const MESSAGES: &str = r#"perl -e 'my $queue = msgget 0, 01600; die unless defined $queue;
    my ($short, $long) = map { msgsnd($queue, pack("l! a*", 1, "x" x $_), 04000) ? 1 : 0 } 4000, 5000; msgctl $queue, 0, 0;
    print "$ENV{AC_APP_NAME} ", !$short ? "odd" : $long ? "free" : "held", "\n"'"#;

pub(super) fn probes() -> Vec<Probe> {
    let set = |names: &[&str]| json!({"set": names});
    let parameters = json!({"name": "os/unix/sysctl", "value": {"kernel.msgmax": "4096"}});
    let calls = |names: &[&str]| json!({"set": names, "errno": "EXDEV"});
    vec![
        isolator(
            "os/linux/capabilities-retain-set",
            &set(&["CAP_SETUID", "CAP_DAC_OVERRIDE"]),
            &[("--caps-retain", &["--caps-retain=CAP_SETUID,CAP_DAC_OVERRIDE"])],
            NO_CHOWN,
        ),
        isolator(
            "os/linux/capabilities-remove-set",
            &set(&["CAP_CHOWN"]),
            &[("--caps-remove", &["--caps-remove=CAP_CHOWN"])],
            NO_CHOWN,
        ),
        isolator(
            "os/linux/seccomp-retain-set",
            &calls(&["@rkt/default-whitelist"]),
            &[("--seccomp", &["--seccomp=mode=retain,errno=EXDEV,@docker/default-whitelist"])],
            NO_MOUNT,
        ),
        isolator(
            "os/linux/seccomp-remove-set",
            &calls(&["mkdir"]),
            &[("--seccomp", &["--seccomp=mode=remove,errno=EXDEV,mkdir"])],
            NO_MKDIR,
        ),
        isolator("os/linux/no-new-privileges", &json!(true), &[], NO_SETUID),
        default("the default capabilities", Control::SwitchedOff("--insecure-options=capabilities"), NO_NICE),
        default(
            "the default system calls",
            Control::SwitchedOff("--insecure-options=seccomp"),
            DEFAULT_CALLS,
        ),
        default("paths of the kernel", Control::SwitchedOff("--insecure-options=paths"), HIDDEN),
        Probe {
            row: "os/unix/sysctl of the pod",
            ways: vec![("pod manifest", Ask { pod: json!({"isolators": [parameters]}), ..Ask::default() })],
            script: MESSAGES,
            control: Control::OtherPod,
            named: "os/unix/sysctl",
        },
        default("device nodes", Control::None, DEVICES),
    ]
}
