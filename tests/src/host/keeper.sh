# Owns one namespace host: starts it, waits for the end of its own standard input, and then leaves nothing behind.
# The test process holds the other end of that pipe, so this also happens when it is killed.
#
# Run as: unshare --mount --propagation private -- sh -c THIS keeper BOOT_SH WORK ROOT DATA PRODUCT
#   BOOT_SH  the text of the script that becomes the host's process 1
#   WORK     a directory for mount points (never seen outside of this mount namespace)
#   ROOT     the host's cached root, never written to
#   DATA     empty for a data directory on tmpfs, else a directory on a real file system, removed at the end
#   PRODUCT  empty, or a tree to copy over the root
# Prints "pid N" once the host's process 1 exists as pid N of the machine.
set -eu
boot_sh=$1 work=$2 root=$3 data=$4 product=$5

# A private view of the machine's cgroup2 tree: the host gets a group of its own there.
mount -t tmpfs -o mode=700 rkt-test-host "$work"
mkdir "$work/cgroup" "$work/root"
mount -t cgroup2 cgroup2 "$work/cgroup"

drop_group() {
    [ -d "$1" ] || return 0
    echo 1 >"$1/cgroup.kill" 2>/dev/null || :
    for _ in $(seq 100); do
        # Another keeper may be at it too.
        [ -d "$1" ] || return 0
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null && return 0
        sleep 0.02
    done
    echo "cannot remove cgroup $1" >&2
}
# Groups whose keeper was killed before it could clean up.
for group in "$work"/cgroup/rkt-test-host-*; do
    [ -d "/proc/${group##*-}" ] || drop_group "$group"
done

group=$work/cgroup/rkt-test-host-$$
mkdir "$group"
(
    echo 0 >"$group/cgroup.procs"
    exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child=KILL --cgroup --uts --ipc --net --propagation private -- \
        sh -c "$boot_sh" boot "$work/root" "$root" "$data" "$product" </dev/null >&2
) &
unshare=$!

pid=
while [ -z "$pid" ] && [ -d /proc/$unshare ]; do
    pid=$(cat /proc/$unshare/task/$unshare/children 2>/dev/null || :)
    pid=${pid%% *}
    [ -n "$pid" ] || sleep 0.005
done
echo "pid $pid"

cat >/dev/null
kill -KILL $unshare 2>/dev/null || :
wait $unshare 2>/dev/null || :
drop_group "$group"
[ -z "$data" ] || rm -rf --one-file-system "$data"
