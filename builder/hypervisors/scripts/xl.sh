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

# install NAME CONFIG MARK: starts the installer once and waits until it ends its domain.
install() {
    if [ -e "$3" ]; then
        return 0
    fi
    running "$1" || xl create "$2"
    waited=0
    while running "$1"; do
        [ "$waited" -lt "$LIMIT" ] || fail "$1 still installs after $LIMIT seconds: xl console $1"
        sleep "$PAUSE"
        waited=$((waited + PAUSE))
    done
    : >"$3"
}

# start NAME CONFIG
start() {
    running "$1" || xl create "$2"
}

# stop NAME
stop() {
    if running "$1"; then
        xl destroy "$1"
    fi
}

# eject NAME DEVICE MARK: an empty drive while the node installs. The installed host starts without one.
eject() {
    if [ ! -e "$3" ] && running "$1"; then
        xl cd-eject "$1" "$2"
    fi
}
