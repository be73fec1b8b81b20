# shellcheck shell=sh
# A lab under libvirt, on the system connection (or the one that LIBVIRT_DEFAULT_URI names). Run as root.
need virsh "apt-get install libvirt-clients libvirt-daemon-system"
need qemu-img "apt-get install qemu-utils"
LIBVIRT_DEFAULT_URI=${LIBVIRT_DEFAULT_URI:-qemu:///system}
export LIBVIRT_DEFAULT_URI
MARK=urn:nestlab:export:1

# listed NAME LIST...: whether that list of virsh has the name. A virsh that fails ends the script: what it cannot tell
# of is neither absent nor off.
listed() {
    sought=$1
    shift
    names=$(virsh "$@" --name) || fail "virsh $1 failed, so that nobody knows about $sought"
    printf '%s\n' "$names" | grep -Fqx -e "$sought"
}

# blank PATH BYTES
blank() {
    [ -e "$1" ] || qemu-img create -q -f qcow2 "$1" "$2"
}

# present PATH
present() {
    [ -e "$1" ] || fail "$1 is missing: copy what prepare.sh made"
}

# network NAME FILE
network() {
    listed "$1" net-list --all || virsh net-define "$2"
    listed "$1" net-list || virsh net-start "$1"
}

# unnetwork NAME
unnetwork() {
    if listed "$1" net-list --all; then
        if listed "$1" net-list; then
            virsh net-destroy "$1"
        fi
        virsh net-undefine "$1"
    fi
}

# ours NAME: fails for a domain that another made.
ours() {
    known=$(virsh dumpxml --inactive "$1") || fail "virsh dumpxml failed, so that nobody knows whose $1 is"
    case $known in
        *"$MARK"*) ;;
        *) fail "the domain $1 is there, and was not exported by nestlab" ;;
    esac
}

# firmware FILE: fails for a domain whose firmware is not on this host.
firmware() {
    code=$(sed -n 's|.*<loader[^>]*>\(.*\)</loader>.*|\1|p' "$1")
    template=$(sed -n 's|.*<nvram .*template="\([^"]*\)".*|\1|p' "$1")
    for file in "$code" "$template"; do
        if [ -n "$file" ] && [ ! -e "$file" ]; then
            fail "the UEFI firmware $file is not on this host: apt-get install ovmf on Debian and Ubuntu. Elsewhere" \
                "it has other names: write those of one without secure boot (see /usr/share/qemu/firmware/*.json)" \
                "into <loader> and <nvram> of $1"
        fi
    done
}

# define NAME FILE: one that is there is kept, with its medium out if it was taken out.
define() {
    if listed "$1" list --all; then
        ours "$1"
        say "$1 is there"
        return 0
    fi
    firmware "$2"
    virsh define --validate "$2"
}

running() { listed "$1" list; }

# start NAME
start() {
    running "$1" || virsh start "$1"
}

# is_empty NAME DEVICE: whether the medium is out of the drive.
is_empty() {
    drives=$(virsh domblklist "$1") || fail "virsh domblklist failed, so that nobody knows what is in $1's drive"
    printf '%s\n' "$drives" | awk -v drive="$2" '$1 == drive && $2 == "-" { empty = 1 } END { exit !empty }'
}

# finish NAME DEVICE: waits until the installer has switched the machine off (when it does), takes the medium out, and
# starts it again. A drive that is empty says that this was done.
finish() {
    if ! is_empty "$1" "$2"; then
        await_end "$1" ": virsh console $1" running "$1"
        eject "$1" "$2"
    fi
    start "$1"
}

# eject NAME DEVICE: an empty drive, now and at the next start.
eject() {
    if ! listed "$1" list --all || is_empty "$1" "$2"; then
        return 0
    fi
    if running "$1"; then
        virsh change-media "$1" "$2" --eject --force --live --config
    else
        virsh change-media "$1" "$2" --eject --force --config
    fi
}

# remove NAME
remove() {
    if listed "$1" list --all; then
        ours "$1"
        if running "$1"; then
            virsh destroy "$1"
        fi
        virsh undefine "$1" --nvram --managed-save --snapshots-metadata
    fi
}
