"""How kinds of hosts bring their packages up to date: what they would do, do, and make a kernel's initrd with."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from builder.model.lab import Value
from builder.procedures.api import Options

# Kernels in /boot, the last one last, and how many MiB are free there.
_BOOT = r"""
ls /boot/vmlinuz-[0-9]* | sed 's/.*vmlinuz-/kernel /' | sort -V
echo "room $(df -B1M --output=avail /boot | tail -1)"
"""
LATEST = "$(ls /boot/vmlinuz-[0-9]* | sed s/.*vmlinuz-// | sort -V | tail -1)"
"""In a shell: the newest kernel there is."""
_DRACUT_MODULES = "s|.* \\(usr/\\)*lib/modules/\\([^/]*\\)/.*|\\2|p"


class Asked(Options):
    room: int = Field(200, ge=0, description="MiB that must be free in /boot, where the new kernel and its initrd go")


class Family(Value):
    """`look` prints `up NAME OLD NEW`, `new NAME`, `gone NAME` for what an update would do, `unfinished NAME`,
    `kernel VERSION` and `room MIB`; where kernels are written over, also `build`, `installed`, `owner` and `copies`.
    `initrd` prints for which kernels the initrd of $1 has modules, `rebuild` makes that of the newest one. `hypervisor`
    matches the package that a new Xen comes with, `finish` is what to do after an update that failed; `config` and
    `prefix` are GRUB's."""

    config: str
    prefix: str
    look: str
    hypervisor: str
    update: tuple[str, ...]
    rebuild: str
    initrd: str
    menu: tuple[str, ...]
    finish: str


# zypper's status is 102 when the host should be restarted, and 103 when it brought itself up to date first and is to be
# called again: zypper(8), EXIT CODES.
_ZYPPER = """\
zypper --non-interactive update --auto-agree-with-licenses
status=$?
[ "$status" != 103 ] || { zypper --non-interactive update --auto-agree-with-licenses; status=$?; }
[ "$status" != 102 ] || exit 0
exit "$status"
"""
_ZYPPER_LOOK = r"""
zypper -q --non-interactive list-updates -t package |
  awk -F '|' 'NF == 6 && $1 ~ /^v/ { gsub(/ /, ""); print "up", $3, $4, $5 }'
zypper --non-interactive update --dry-run --auto-agree-with-licenses |
  awk '/going to be installed:$/ && /NEW/ { kind = "new"; next }
    /going to be REMOVED:$/ { kind = "gone"; next }
    /:$/ || !/^  / { kind = "" }
    kind != "" { for (i = 1; i <= NF; i++) print kind, $i }'
"""
# What apt would do, without doing it; and a package that a stop in the middle left unfinished.
_APT_LOOK = r"""
apt-get -s -q dist-upgrade | sed -n \
  -e 's/^Inst \([^ ]*\) \[\([^]]*\)\] (\([^ ]*\).*/up \1 \2 \3/p' \
  -e 's/^Inst \([^ ]*\) (.*/new \1/p' -e 's/^Remv \([^ ]*\).*/gone \1/p'
dpkg --audit | sed -n '/^ [a-z0-9]/s/^ \([^ ]*\).*/unfinished \1/p'
"""
# A new kernel may come under the name of the old one, and in its place. Its build tells them apart: of the one that
# runs, and of the newest file, where a bzImage has it (Linux' Documentation/arch/x86/boot.rst: kernel_version, 0x20e).
# And what package the running one is from, and how many MiB a copy of it and of its initrd takes.
_APT_KERNEL = rf"""
echo "build $(uname -v)"
file="/boot/vmlinuz-{LATEST}"
if [ "$(dd if="$file" bs=1 skip=514 count=4 2>/dev/null)" = HdrS ]; then
  at=$(od -An -tu2 -j526 -N2 "$file")
  echo "installed $(dd if="$file" bs=1 skip=$((at + 512)) count=256 2>/dev/null | tr '\0' '\n' |
    sed -n '1s/^[^ ]* ([^)]*) //p')"
fi
dpkg-query -S "/boot/vmlinuz-$(uname -r)" 2>/dev/null | sed -n 's/^\([^:]*\):.*/owner \1/p'
echo "copies $(du -cm "/boot/vmlinuz-$(uname -r)" "/boot/initrd.img-$(uname -r)" 2>/dev/null | sed -n '$s/[^0-9].*//p')"
"""
FAMILIES: Mapping[str, Family] = {
    "debian": Family(
        config="/boot/grub/grub.cfg",
        prefix="grub",
        look=_APT_LOOK + _BOOT + _APT_KERNEL,
        hypervisor=r"xen-hypervisor-[0-9]",
        update=("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q", "-o",
                "Dpkg::Options::=--force-confold", "dist-upgrade"),
        rebuild=f'update-initramfs -u -k "{LATEST}"',
        initrd='lsinitramfs "/boot/initrd.img-$1" | sed -n "s|^\\(usr/\\)*lib/modules/\\([^/]*\\)/.*|\\2|p" | sort -u',
        menu=("update-grub",),
        finish="dpkg --configure -a",
    ),
    "suse": Family(
        config="/boot/grub2/grub.cfg",
        prefix="grub2",
        look=_ZYPPER_LOOK + _BOOT,
        hypervisor=r"xen$",
        update=("sh", "-c", _ZYPPER),
        rebuild=f'v="{LATEST}"; dracut --force "/boot/initrd-$v" "$v"',
        initrd=f'lsinitrd "/boot/initrd-$1" | sed -n "{_DRACUT_MODULES}" | sort -u',
        menu=("grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"),
        finish="zypper verify",
    ),
}  # fmt: skip

# yum: status 100 is that there is something newer, a line `NAME.ARCH VERSION REPOSITORY` each, wrapped where it is
# long. What it would take away is in its own plan, which --assumeno ends at; a star marks a transaction that was
# aborted: yum(8). What is installed counts from the next start on: rpm tells when that was (INSTALLTIME), the kernel
# when it was started (btime), both in seconds since 1970.
YUM_LOOK = (
    r"""
said=$(mktemp)
trap 'rm -f "$said"' EXIT
yum -q check-update >"$said" 2>&1
status=$?
case $status in
0 | 100) ;;
*) cat "$said" >&2; exit "$status" ;;
esac
sed '/^Obsoleting/,$d' "$said" | awk 'NF == 0 { n = 0 }
  { for (i = 1; i <= NF; i++) word[n++] = $i }
  n == 3 { name = word[0]; sub(/\.[^.]*$/, "", name); print "up", name, "-", word[1]; n = 0 }'
[ "$status" = 0 ] || yum -q update --assumeno 2>/dev/null |
  awk '/^Removing/ { gone = 1; next } /^[^ ]/ { gone = 0 }
    gone && NF > 3 { print "gone", $1 }'
rpm -q --qf '%{INSTALLTIME} %{NAME}\n' kernel xen-hypervisor xapi-core 2>/dev/null |
  awk -v "start=$(sed -n 's/^btime //p' /proc/stat)" '$1 + 0 > start + 0 { print "since", $2 }'
yum -q history list 2>/dev/null |
  awk -F '|' '$1 + 0 { if ($5 ~ /[*]/) print "unfinished", "transaction-" $1 + 0; exit }'
"""
    + _BOOT
)
YUM_REBUILD = f'v="{LATEST}"; dracut --force -M "/boot/initrd-$v.img" "$v"'
# Modules and, where the host has arrays, its mdadm.conf.
YUM_INITRD = (
    f'lsinitrd "/boot/initrd-$1.img" | sed -n -e "{_DRACUT_MODULES}" -e "s|.* etc/mdadm.conf$|mdadm.conf|p" | sort -u'
)
