//! Limits: of control groups, which take controllers and so a machine, and of processes.

use serde_json::json;

use super::{annotation, isolator};
use crate::conformance::{Ask, Control, Probe};

/// A child takes 96 MiB. It must be killed for that, and its parent must not.
const MEMORY: &str = r#"perl -e 'my $size = 96 << 20; my $pid = fork;
    if (!$pid) { my $hog = "x" x $size; exit 0 }
    waitpid $pid, 0;
    print "$ENV{AC_APP_NAME} ", ($? & 127) == 9 ? "held" : $? == 0 ? "free" : "odd $?", "\n"'"#;

/// Takes as much processor time as it gets in four seconds.
const CPU: &str = r#"perl -e 'my ($user, $system) = times; my $end = time + 4; 1 while time < $end;
    my ($user_now, $system_now) = times; my $used = $user_now + $system_now - $user - $system;
    print "$ENV{AC_APP_NAME} ", $used < 1.0 ? "held" : $used > 1.5 ? "free" : "odd $used", "\n"'"#;

/// The same, while the neighbour does it too; they wait for each other.
const CPU_SHARES: &str = r#"perl -e 'open my $file, ">", "/shared/$ENV{AC_APP_NAME}" or die;
    for (1 .. 80) { last if -e "/shared/subject" && -e "/shared/neighbour"; select undef, undef, undef, 0.1 }
    my ($user, $system) = times; my $end = time + 5; 1 while time < $end;
    my ($user_now, $system_now) = times; my $used = $user_now + $system_now - $user - $system;
    print "$ENV{AC_APP_NAME} ", $used < 1.5 ? "held" : $used > 2.0 ? "free" : "odd $used", "\n"'"#;

/// Sixty children at one time: ten of them can be, more than that cannot.
const PIDS: &str = r#"perl -e 'my @children; my $failed = 0;
    for (1 .. 60) { my $pid = fork; if (!defined $pid) { $failed++; next }
        if (!$pid) { select undef, undef, undef, 100; exit } push @children, $pid }
    kill 9, @children; waitpid $_, 0 for @children;
    print "$ENV{AC_APP_NAME} ", @children < 10 ? "odd" : $failed ? "held" : "free", "\n"'"#;

/// 160 writes past the page cache.
const OPERATIONS: &str = r"start=$(date +%s); dd if=/dev/zero of=/shared/$AC_APP_NAME bs=4k count=160 oflag=direct 2>/dev/null || v odd
    took=$(($(date +%s) - start)); [ $took -ge 6 ] && v held || { [ $took -le 4 ] && v free || v odd $took; }";

/// 4 MiB past the page cache.
const BANDWIDTH: &str = r"start=$(date +%s); dd if=/dev/zero of=/shared/$AC_APP_NAME bs=256k count=16 oflag=direct 2>/dev/null || v odd
    took=$(($(date +%s) - start)); [ $took -ge 6 ] && v held || { [ $took -le 4 ] && v free || v odd $took; }";

/// What the kernel makes of it: how soon it would kill this process, which is 666 for most.
const OOM: &str = "[ $(cat /proc/self/oom_score) -gt 1000 ] && v held || v free";

/// A hundred open files, the first thirty of which must work.
const NOFILE: &str = r#"perl -e 'my @files; for (1 .. 100) { open my $file, "<", "/dev/null" or last; push @files, $file }
    print "$ENV{AC_APP_NAME} ", @files < 30 ? "odd" : @files < 100 ? "held" : "free", "\n"'"#;

pub(super) fn probes() -> Vec<Probe> {
    let of_pod = |row, name: &'static str, value, script| {
        let pod = json!({"isolators": [{"name": name, "value": value}]});
        let ways = vec![("pod manifest", Ask { pod, ..Ask::default() })];
        Probe { row, ways, script, control: Control::OtherPod, named: name }
    };
    let all_disks = |limit: &str| json!({"default": true, "limit": limit});
    vec![
        isolator("resource/memory", &json!({"limit": "48Mi"}), &[("--memory", &["--memory=48Mi"])], MEMORY),
        isolator("resource/cpu", &json!({"limit": "100m"}), &[("--cpu", &["--cpu=100m"])], CPU),
        isolator("os/linux/cpu-shares", &json!(8), &[("--cpu-shares", &["--cpu-shares=8"])], CPU_SHARES),
        annotation("pids-limit", "20", ("--pids-limit", &["--pids-limit=20"]), PIDS),
        isolator("resource/block-iops", &all_disks("20"), &[], OPERATIONS),
        isolator("resource/block-bandwidth", &all_disks("512Ki"), &[], BANDWIDTH),
        of_pod("resource/memory of the pod", "resource/memory", json!({"limit": "48Mi"}), MEMORY),
        of_pod("resource/cpu of the pod", "resource/cpu", json!({"limit": "100m"}), CPU),
        isolator(
            "os/linux/oom-score-adj",
            &json!(700),
            &[("--oom-score-adj", &["--oom-score-adj=700"])],
            OOM,
        ),
        annotation("rlimits", "nofile=64", ("--rlimit", &["--rlimit=nofile=48:64"]), NOFILE),
    ]
}
