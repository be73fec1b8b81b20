# shellcheck shell=sh
# A lab under libvirt, on the system connection (or the one that LIBVIRT_DEFAULT_URI names). Run as root.
need virsh "apt-get install libvirt-clients libvirt-daemon-system"
need qemu-img "apt-get install qemu-utils"
LIBVIRT_DEFAULT_URI=${LIBVIRT_DEFAULT_URI:-qemu:///system}
export LIBVIRT_DEFAULT_URI
MARK=urn:nestlab:export:1

# nesting: whether this host's KVM passes hardware virtualization on, and has the paging it needs.
nesting() {
    for vendor in intel amd; do
        file=/sys/module/kvm_$vendor/parameters/nested
        if [ -e "$file" ]; then
            case $(cat "$file") in
                Y | 1) ;;
                *) fail "nesting is off: echo 'options kvm_$vendor nested=1' >/etc/modprobe.d/kvm.conf and reload kvm_$vendor" ;;
            esac
            if [ "$vendor" = intel ] && ! grep -qw ept /proc/cpuinfo; then
                fail "this processor has no EPT, which nested Xen needs"
            fi
            return 0
        fi
    done
    fail "KVM is not loaded on this host"
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
    virsh net-info "$1" >/dev/null 2>&1 || virsh net-define "$2"
    active=$(virsh net-list --name)
    printf '%s\n' "$active" | grep -Fqx -e "$1" || virsh net-start "$1"
}

# unnetwork NAME
unnetwork() {
    if virsh net-info "$1" >/dev/null 2>&1; then
        virsh net-destroy "$1" >/dev/null 2>&1 || say "$1 was not active"
        virsh net-undefine "$1"
    fi
}

# ours NAME: fails for a domain that another made.
ours() {
    # libvirt 11 ends with 0 for a domain without it, too
    [ -n "$(virsh metadata "$1" "$MARK" 2>/dev/null)" ] || fail "the domain $1 is there, and was not exported by nestlab"
}

# define NAME FILE: one that is there is kept, with its medium out if it was taken out.
define() {
    if virsh dominfo "$1" >/dev/null 2>&1; then
        ours "$1"
        say "$1 is there"
        return 0
    fi
    virsh define --validate "$2"
}

running() {
    active=$(virsh list --name)
    printf '%s\n' "$active" | grep -Fqx -e "$1"
}

# start NAME
start() {
    running "$1" || virsh start "$1"
}

# is_empty NAME DEVICE: whether the medium is out of the drive.
is_empty() {
    drives=$(virsh domblklist "$1")
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
    if ! virsh dominfo "$1" >/dev/null 2>&1 || is_empty "$1" "$2"; then
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
    if virsh dominfo "$1" >/dev/null 2>&1; then
        ours "$1"
        if running "$1"; then
            virsh destroy "$1"
        fi
        virsh undefine "$1" --nvram --managed-save --snapshots-metadata
    fi
}
