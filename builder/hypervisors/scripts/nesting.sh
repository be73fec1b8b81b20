# shellcheck shell=sh
# Where the kernel tells about KVM and the processor.
SYS_MODULE=${SYS_MODULE:-/sys/module}
CPUINFO=${CPUINFO:-/proc/cpuinfo}

# nesting: whether this host's KVM passes hardware virtualization on, and has the paging it needs.
nesting() {
    for vendor in intel amd; do
        file=$SYS_MODULE/kvm_$vendor/parameters/nested
        if [ -e "$file" ]; then
            case $(cat "$file") in
                Y | 1) ;;
                *) fail "nesting is off: echo 'options kvm_$vendor nested=1' >/etc/modprobe.d/kvm.conf" \
                    "and reload kvm_$vendor" ;;
            esac
            if [ "$vendor" = intel ] && ! grep -qw ept "$CPUINFO"; then
                fail "this processor has no EPT, which nested Xen needs"
            fi
            return 0
        fi
    done
    fail "KVM is not loaded on this host"
}
