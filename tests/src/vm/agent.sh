#!/bin/sh
# Runs what the test process asks for, one command at a time on each port, as a login session would run it.
#
#   asked     SCRIPT-LENGTH INPUT-LENGTH SECONDS\n  script  input
#   answered  STATUS OUTPUT-LENGTH ERRORS-LENGTH\n  output  errors
#
# Says "up BOOT-ID" on each port first.
session=/sys/fs/cgroup/user.slice/session-test.scope
systemd-run --scope --quiet --slice=user.slice --unit=session-test --property=Delegate=yes sleep infinity &
until [ -d "$session" ]; do sleep 0.05; done

serve() {
    work=$(mktemp -d /run/rkt-vm-agent.XXXXXX)
    exec 3<>"$1"
    echo "up $(cat /proc/sys/kernel/random/boot_id)" >&3
    while :; do
        # Nobody is connected.
        IFS=' ' read -r script input seconds <&3 || { sleep 0.1; continue; }
        head -c "$script" <&3 >"$work/script"
        head -c "$input" <&3 >"$work/input"
        (
            exec 3>&-
            echo 0 >"$session/cgroup.procs"
            cd /
            exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb \
                timeout --kill-after=2 "$seconds" sh -e "$work/script"
        ) <"$work/input" >"$work/output" 2>"$work/errors"
        status=$?
        { echo "$status $(stat -c %s "$work/output") $(stat -c %s "$work/errors")"; cat "$work/output" "$work/errors"; } >&3
    done
}
for port in /dev/vport*; do serve "$port" & done
wait
