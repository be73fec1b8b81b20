# shellcheck shell=sh
# A node under Xen's xl. Run as root in dom0.
need xl "run this in a dom0"

# Where the xl that watches a domain writes how it ended.
XL_LOGS=${XL_LOGS:-/var/log/xen}
# An installation writes more than this many KiB; what panics at its start does not.
LEAST=${LEAST:-16384}

# blank PATH BYTES: a sparse disk; one that is there is kept.
blank() {
    [ -e "$1" ] || truncate -s "$2" -- "$1"
}

# present PATH
present() {
    [ -e "$1" ] || fail "$1 is missing: copy what prepare.sh made"
}

# running NAME: whether there is such a domain. `xl domid` ends alike for one that is not there and for its own failure.
running() {
    domains=$(xl list) || fail "xl list failed, so that nobody knows whether $1 runs"
    printf '%s\n' "$domains" | awk -v name="$1" 'NR > 1 && $1 == name { found = 1 } END { exit !found }'
}

# This start of dom0, by which a domain that ended is told from one that went with dom0.
this_start() { cat /proc/sys/kernel/random/boot_id; }

# up NAME CONFIG STARTED: the domain, which is ours when the file STARTED says so; another one of that name is an error.
up() {
    if running "$1"; then
        [ -e "$3" ] || fail "the domain $1 runs already, and was not started from here"
    else
        xl create "$2"
        this_start >"$3"
    fi
}

# settled NAME STARTED DISKS...: fails for an installer that did not end by itself, or left the disks next to empty: a
# Xen that panics reboots its machine as well.
settled() {
    settling=$1 settling_start=$2 log=$XL_LOGS/xl-$1.log
    shift 2
    [ -r "$log" ] || fail "nobody knows how the installer of $settling ended: no $log (XL_LOGS names its folder)"
    # 0 is poweroff and 1 reboot, in the words of xl_vmcontrol.c. A domain that was destroyed has no such line.
    reason=$(sed -n 's/.*has shut down, reason code \([^ ]*\) .*/\1/p' "$log" | tail -n 1)
    written=0
    for disk in "$@"; do
        used=$(du -k -- "$disk") || fail "du failed, so that nobody knows what is on $disk"
        written=$((written + ${used%%[!0-9]*}))
    done
    case $reason in
        0 | 1) [ "$written" -le "$LEAST" ] || return 0 ;;
    esac
    rm -f -- "$settling_start"
    fail "the installer of $settling ended without having installed it (reason ${reason:-unknown}, $written KiB on" \
        "its disks): see $log and, at the next try, xl console $settling. start.sh tries again, from disks that are" \
        "empty if remove.sh and create.sh run first"
}

# install NAME CONFIG STARTED INSTALLED DISKS...: starts the installer once and waits until it ends its domain. One that
# an interrupted run had started may have ended since: it is not started again.
install() {
    name=$1 config=$2 started=$3 mark=$4
    shift 4
    if [ -e "$mark" ]; then
        return 0
    fi
    if running "$name" || [ ! -e "$started" ] || [ "$(cat "$started")" != "$(this_start)" ]; then
        up "$name" "$config" "$started"
    fi
    await_end "$name" ": xl console $name" running "$name"
    settled "$name" "$started" "$@"
    rm -f -- "$started"
    : >"$mark"
}

# stop NAME STARTED
stop() {
    if [ -e "$2" ] && running "$1"; then
        xl destroy "$1"
    fi
    rm -f -- "$2"
}

# eject NAME DEVICE INSTALLED: an empty drive while the node installs. The installed host starts without one.
eject() {
    if [ ! -e "$3" ] && running "$1"; then
        xl cd-eject "$1" "$2"
    fi
}
