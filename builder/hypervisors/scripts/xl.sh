# shellcheck shell=sh
# A node under Xen's xl. Run as root in dom0.
need xl "run this in a dom0"

# blank PATH BYTES: a sparse disk; one that is there is kept.
blank() {
    [ -e "$1" ] || truncate -s "$2" -- "$1"
}

# present PATH
present() {
    [ -e "$1" ] || fail "$1 is missing: copy what prepare.sh made"
}

running() { xl domid "$1" >/dev/null 2>&1; }

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

# install NAME CONFIG STARTED INSTALLED: starts the installer once and waits until it ends its domain. One that an
# interrupted run had started may have ended since: it is not started again.
install() {
    if [ -e "$4" ]; then
        return 0
    fi
    if running "$1" || [ ! -e "$3" ] || [ "$(cat "$3")" != "$(this_start)" ]; then
        up "$1" "$2" "$3"
    fi
    await_end "$1" ": xl console $1" running "$1"
    rm -f -- "$3"
    : >"$4"
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
