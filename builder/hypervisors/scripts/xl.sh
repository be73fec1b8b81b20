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

# up NAME CONFIG STARTED: the domain, which is ours when the file STARTED says so; another one of that name is an error.
up() {
    if running "$1"; then
        [ -e "$3" ] || fail "the domain $1 runs already, and was not started from here"
    else
        xl create "$2"
        : >"$3"
    fi
}

# install NAME CONFIG STARTED INSTALLED: starts the installer once and waits until it ends its domain.
install() {
    if [ -e "$4" ]; then
        return 0
    fi
    up "$1" "$2" "$3"
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
