#!/bin/sh
# host: NetBSD 10 on wd0
#
# The medium's init starts this as root on the console, in place of its own installer, and would start it again if it
# ended: it does not end. It uses what is on the medium: /bin, /sbin and a little of /usr. `nestlab render` made this
# file; what its checks mean is told by `nestlab explain CODE`.

PATH=/sbin:/bin:/usr/sbin:/usr/bin
export PATH
umask 022

medium=
target=/targetroot
work=/tmp/nestlab
disks=wd0
root=wd0
xen=418
step='begin'

# Marks on the console by which an installation is followed.
say() {
    echo "nestlab: $*"
}

# The end, in every case: off, restart, or a shell. This process stays.
finish() {
    sync
    case $1 in
        poweroff) shutdown -p now ;;
        reboot) shutdown -r now ;;
        shell)
            say 'waiting: this is a shell on the console'
            exec /bin/sh
            ;;
    esac
    while :; do
        sleep 60
    done
}

fail() {
    say "failed: $step: $*"
    finish poweroff
}

# A command that has to work.
must() {
    "$@" || fail "$*"
}

# Prints the file of a set.
set_file() {
    for each in "$medium/amd64/binary/sets/$1.tar.xz" "$medium/amd64/binary/sets/$1.tgz"; do
        if [ -f "$each" ]; then
            echo "$each"
            return 0
        fi
    done
    return 1
}

# Prints the version in a package's name, without the revision of its packaging (nb3).
version_of() {
    version=${1##*-}
    version=${version%.tgz}
    echo "${version%nb*}"
}

# The hypervisor and its tools talk in a language of their version.
same_version() {
    if [ -z "$1" ] || [ -z "$2" ] || [ "$(version_of "$1")" != "$(version_of "$2")" ]; then
        fail "xenkernel$xen and xentools$xen do not match: ${1##*/}, ${2##*/}"
    fi
}

# Prints the file of a package, if there is exactly one.
package_file() {
    set -- "$packages/$1"-*.tgz
    if [ $# -eq 1 ] && [ -f "$1" ]; then
        echo "$1"
    fi
}

sectors_of() {
    disklabel "$1" 2> /dev/null | sed -n 's/^total sectors: *//p'
}

# DISK: forgets what was on it, and sets `size`, in sectors.
clear_disk() {
    dkctl "$1" listwedges 2> /dev/null | sed -n 's/^\(dk[0-9]*\):.*/\1/p' > "$work/wedges" ||
        fail "the wedges of $1 are not known"
    while read -r wedge; do
        must dkctl "$1" delwedge "$wedge"
    done < "$work/wedges"
    known_size "$1"
    must dd if=/dev/zero of="/dev/r${1}d" bs=1048576 count=4
    must dd if=/dev/zero of="/dev/r${1}d" bs=512 count=2048 seek=$((size - 2048))
}

known_size() {
    size=$(sectors_of "$1")
    case $size in
        '' | *[!0-9]*) fail "the size of $1 is not known" ;;
    esac
}

# DISK and the lines of its partitions: writes a label for `size` sectors.
write_label() {
    disk=$1
    shift
    {
        echo 'type: unknown'
        echo "disk: $disk"
        echo 'label: nestlab'
        echo 'flags:'
        echo 'bytes/sector: 512'
        echo 'sectors/track: 32'
        echo 'tracks/cylinder: 64'
        echo 'sectors/cylinder: 2048'
        echo "cylinders: $((size / 2048))"
        echo "total sectors: $size"
        echo 'rpm: 3600'
        echo 'interleave: 1'
        echo 'trackskew: 0'
        echo 'cylinderskew: 0'
        echo 'headswitch: 0'
        echo 'track-to-track seek: 0'
        echo 'drivedata: 0'
        echo
        echo '8 partitions:'
        for line in "$@"; do
            echo "$line"
        done
    } > "$work/label.$disk"
    must disklabel -R -r "$disk" "$work/label.$disk"
}

# DISK: one partition of NetBSD's kind from the first MiB to the end, active, with the standard boot code.
partition_disk() {
    must fdisk -f -i -u -0 -a -s "169/2048/$((size - 2048))" "/dev/r${1}d"
    must fdisk -f -i -c /usr/mdec/mbr "/dev/r${1}d"
}

unpack_set() {
    file=$(set_file "$1") || fail "the set $1 is not on the medium"
    { gzip -dc < "$file" || : > "$work/broken"; } | tar -xpf - -C "$target" || fail "the set $1 cannot be unpacked"
    if [ -e "$work/broken" ]; then
        fail "the set $1 is broken"
    fi
}

# MODE PATH: a file of the host from the medium.
put() {
    must mkdir -p "$target${2%/*}"
    must cp "$medium/nestlab/host$2" "$target$2"
    must chown 0:0 "$target$2"
    must chmod "$1" "$target$2"
}

if ! mkdir "$work"; then
    say 'this script has run before; it does not install twice'
    finish shell
fi
say 'the installer has started'

step='look at the machine'
for disk in $disks; do
    case " $(sysctl -n hw.disknames) " in
        *" $disk "*) ;;
        *) fail "there is no disk $disk" ;;
    esac
done

step='look at the medium'
for set in modules rescue base etc kern-GENERIC; do
    set_file "$set" > /dev/null || fail "the set $set is not on the medium"
done
if [ ! -f "$medium/amd64/binary/kernel/netbsd-XEN3_DOM0.gz" ]; then
    fail 'the kernel netbsd-XEN3_DOM0.gz is not on the medium'
fi
packages=$medium/nestlab/packages
same_version "$(package_file "xenkernel$xen")" "$(package_file "xentools$xen")"
say 'the medium is complete'

step='prepare the disks'
for array in raid0 raid1 raid2 raid3; do
    if raidctl -s "$array" > /dev/null 2>&1; then
        must raidctl -u "$array"
    fi
done
for disk in $disks; do
    clear_disk "$disk"
    partition_disk "$disk"
    write_label "$disk" \
        "a: $((size - 2048 - 2097152)) 2048 4.2BSD 2048 16384 0" \
        "b: 2097152 $((size - 2097152)) swap" \
        "c: $((size - 2048)) 2048 unused 0 0" \
        "d: $size 0 unused 0 0"
done
must newfs -O 2 "/dev/r${root}a"
must mount -o async "/dev/${root}a" "$target"
say 'the disks are ready'

step='unpack the sets'
for set in modules rescue base etc kern-GENERIC; do
    unpack_set "$set"
done
must mkdir -p "$target/kern" "$target/proc" "$target/var/shm"
must chroot "$target" /bin/sh -c 'cd /dev && sh MAKEDEV all xen vnd4 vnd5 vnd6 vnd7 vnd8 vnd9 vnd10 vnd11 vnd12 vnd13 vnd14 vnd15'
say 'the sets are unpacked'

step='install the packages'
path=/var/tmp/nestlab-packages
must mkdir -p "$target$path"
must cp "$packages"/*.tgz "$target$path/"
must chroot "$target" /usr/bin/env PKG_PATH="$path" /usr/sbin/pkg_add "xenkernel$xen" "xentools$xen"
same_version "$(chroot "$target" /usr/sbin/pkg_info -e "xenkernel$xen")" \
    "$(chroot "$target" /usr/sbin/pkg_info -e "xentools$xen")"
must rm -r "$target$path"
must cp "$target/usr/pkg/xen$xen-kernel/xen.gz" "$target/xen.gz"
for script in "$target"/usr/pkg/share/examples/rc.d/xen*; do
    must cp "$script" "$target/etc/rc.d/"
    must chmod 0555 "$target/etc/rc.d/${script##*/}"
done
if [ ! -f "$target/etc/rc.d/xencommons" ]; then
    fail 'the package has no rc.d script xencommons'
fi
say 'the packages are installed'

step='configure the host'
put 0644 /boot.cfg
put 0644 /etc/rc.conf
put 0644 /etc/fstab
put 0644 /etc/ttys
put 0644 /etc/ifconfig.wm0
put 0644 /etc/ifconfig.wm1
put 0644 /etc/ifconfig.bridge0
put 0644 /etc/ifconfig.bridge1
put 0644 /etc/npf.conf
put 0644 /etc/sysctl.conf
put 0644 /etc/ntp.conf
must ln -fs /usr/share/zoneinfo/Europe/Paris "$target/etc/localtime"
must chroot "$target" /usr/sbin/usermod -p '*' root
{
    echo 'PermitRootLogin prohibit-password'
    cat "$target/etc/ssh/sshd_config"
} > "$work/sshd_config" || fail 'sshd_config cannot be read'
must cp "$work/sshd_config" "$target/etc/ssh/sshd_config"
chroot "$target" /sbin/rndctl -S /var/db/entropy-file || say 'random numbers begin without a seed'

# Files of this host alone, keys above all, come on a small volume beside the medium: a second CD, or a disk.
step='look for the volume'
must mkdir "$work/volume"
for name in $(sysctl -n hw.disknames); do
    case " $disks $root " in
        *" $name "*) continue ;;
    esac
    case $name in
        cd*) part=a ;;
        *) part=d ;;
    esac
    if mount -t cd9660 -o rdonly "/dev/$name$part" "$work/volume" 2> /dev/null; then
        if [ -d "$work/volume/seed" ]; then
            must cp -R "$work/volume/seed/." "$target/"
        fi
        must umount "$work/volume"
    fi
done
for key in "$target"/etc/ssh/ssh_host_*_key; do
    if [ -f "$key" ]; then
        must chown 0:0 "$key"
        must chmod 0600 "$key"
    fi
done
if [ -d "$target/root/.ssh" ]; then
    must chown -R 0:0 "$target/root/.ssh"
    must chmod 0700 "$target/root/.ssh"
fi
if [ -f "$target/root/.ssh/authorized_keys" ]; then
    must chmod 0600 "$target/root/.ssh/authorized_keys"
fi

step='make it bootable'
must cp "$medium/amd64/binary/kernel/netbsd-XEN3_DOM0.gz" "$target/netbsd-XEN3_DOM0.gz"
# What was installed first stays beside what updates will bring.
must cp "$target/netbsd-XEN3_DOM0.gz" "$target/netbsd-XEN3_DOM0.ok"
must cp "$target/xen.gz" "$target/xen.ok"
must cp "$target/netbsd" "$target/netbsd.ok"
must cp /usr/mdec/boot "$target/boot"
for disk in $disks; do
    must installboot -v -o timeout=5,console=com0,speed=115200 "/dev/r${disk}a" /usr/mdec/bootxx_ffsv2
done
say 'the boot blocks are written'

step='end'
must umount "$target"
say 'the host is installed'
finish poweroff
