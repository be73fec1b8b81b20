# shellcheck shell=sh
# What ESXi and Workstation have in common.

# present PATH
present() {
    [ -e "$1" ] || fail "$1 is missing: copy what prepare.sh made"
}

# place FROM TO: the machine's own file in its folder; one that is there is the product's now and is kept.
place() {
    [ -e "$2" ] || cp -- "$1" "$2"
}

# without_medium FILE: what is left out of a drive at the next start.
without_medium() {
    if [ -e "$1" ]; then
        sed 's/^sata0:0\.startConnected = .*/sata0:0.startConnected = "FALSE"/' "$1" >"$1.new"
        mv -- "$1.new" "$1"
    fi
}
