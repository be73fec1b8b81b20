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

# aside NAME FILE: the console's log of the last run goes to a name with a number. Over one that is there a starting
# machine asks whether to replace it or to append, and waits; the answer in the .vmx is not heeded by every product.
aside() {
    log=${2%/*}/$1-console.log
    if [ -e "$log" ]; then
        number=1
        while [ -e "$log.$number" ]; do
            number=$((number + 1))
        done
        mv -- "$log" "$log.$number"
    fi
}

_OUT='sata0:0.startConnected = "FALSE"'

# has_medium FILE: whether the drive has its medium at the next start. Products leave the line out when it has.
has_medium() { [ -e "$1" ] && ! grep -Fqx -e "$_OUT" "$1"; }

# without_medium FILE: only of a machine that is off; the product writes this file while it is on.
without_medium() {
    if [ -e "$1" ]; then
        awk -v out="$_OUT" '!/^sata0:0\.startConnected/ { print } END { print out }' "$1" >"$1.new"
        mv -- "$1.new" "$1"
    fi
}
