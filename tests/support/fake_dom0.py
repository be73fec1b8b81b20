"""A fake dom0 that starts with what its GRUB settings say, as Debian's does: the drop-ins are read by a real shell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.fake_host import FakeHost

GRUB_D = "/etc/default/grub.d/"
OURS = GRUB_D + "00-nestlab.cfg"
SETTINGS = """\
GRUB_CMDLINE_XEN="dom0_mem=1024M,max:1024M dom0_max_vcpus=2 dom0_vcpus_pin com1=115200,8n1 console=com1"
GRUB_CMDLINE_XEN_DEFAULT="loglvl=all guest_loglvl=all"
GRUB_CMDLINE_LINUX="console=ttyS0,115200n8 net.ifnames=0"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX_XEN_REPLACE="console=hvc0 net.ifnames=0 loglevel=6"
GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT=" "
"""
# What 20_linux_xen of grub-common 2.06 and 2.12 makes of them for an entry that is not the recovery one.
_MKCONFIG = """\
set -e
for file in "$@"; do . "$file"; done
if [ "${GRUB_CMDLINE_LINUX_XEN_REPLACE}" ]; then GRUB_CMDLINE_LINUX="${GRUB_CMDLINE_LINUX_XEN_REPLACE}"; fi
if [ "${GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT}" ]; then
  GRUB_CMDLINE_LINUX_DEFAULT="${GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT}"
fi
printf '%s\\n' "multiboot2 /boot/xen.gz placeholder ${GRUB_CMDLINE_XEN} ${GRUB_CMDLINE_XEN_DEFAULT}"
printf '%s\\n' "module2 /boot/vmlinuz placeholder root=/dev/sda1 ro ${GRUB_CMDLINE_LINUX} ${GRUB_CMDLINE_LINUX_DEFAULT}"
"""


def mkconfig(settings: dict[str, str], folder: Path) -> tuple[str, str]:
    """Xen's and the kernel's command line, after a POSIX shell has read these files in order of their names."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, (_, text) in enumerate(sorted(settings.items())):
        paths.append(folder / f"{number}.cfg")
        paths[-1].write_text(text)
    done = subprocess.run(
        ["sh", "-c", _MKCONFIG, "sh", *map(str, paths)], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stderr == ""
    # GRUB's own reader takes one round of backslashes away
    xen, kernel = (" ".join(re.sub(r"\\(.)", r"\1", line).split()[3:]) for line in done.stdout.splitlines())
    return xen, kernel


class FakeDom0(FakeHost):
    """`update-grub` makes /boot/grub/grub.cfg from the files in /etc/default/grub.d; a restart takes it from there."""

    def __init__(self, folder: Path, *, total: int = 4090, cpus: int = 4, settings: str = SETTINGS) -> None:
        super().__init__({}, {OURS: settings})
        self._folder = folder
        self.total, self.cpus = total, cpus
        self.used_kib = 200 * 1024
        self.guests: dict[str, int] = {}
        self.keys: list[str] = []
        self.answers |= {
            "update-grub": lambda _: self.update_grub(),
            "grep -qF": lambda argv: int(argv[3].encode() not in self.files["/boot/grub/grub.cfg"]),
            "xl info": lambda _: (
                f"nr_cpus : {cpus}\ntotal_memory : {total}\nfree_memory : 2700\n"
                f"xen_commandline : placeholder {self.xen}\n"
            ),
            "xl list": lambda _: self._list(),
            "xl vcpu-list 0": lambda _: self._vcpus(),
            "xl debug-keys": self._press,
            "xl dmesg": lambda _: "".join(self.keys),
            "nproc": lambda _: f"{self._number('dom0_max_vcpus', cpus)}\n",
            "dmesg": "[    0.0] Linux\n",
            "cat /proc/consoles": lambda _: self._consoles(),
            "ps -e": "?        systemd\nhvc0     agetty\n",
            "sh -c 'command -v update-grub'": "/usr/sbin/update-grub\n",
        }
        self.on_reboot = self.start
        self.update_grub()
        self.start()

    def update_grub(self) -> str:
        settings = {path: text.decode() for path, text in self.files.items() if path.startswith(GRUB_D)}
        xen, kernel = mkconfig(settings, self._folder)
        self.files["/boot/grub/grub.cfg"] = f"{xen}\n{kernel}\n".encode()
        return ""

    def start(self) -> None:
        self.xen, self.kernel = self.files["/boot/grub/grub.cfg"].decode().splitlines()
        self.files["/proc/cmdline"] = f"{self.kernel}\n".encode()
        size = self._number("dom0_mem", self.total) * 1024
        self.files["/proc/meminfo"] = f"MemTotal: {size - 40000} kB\nMemAvailable: {size - self.used_kib} kB\n".encode()

    def _number(self, key: str, default: int) -> int:
        words = dict(word.partition("=")[::2] for word in self.xen.split())
        digits = words.get(key, str(default)).partition(",")[0].rstrip("M")
        return int(digits)

    def _list(self) -> str:
        rows = [("Domain-0", 0, self._number("dom0_mem", self.total))]
        rows += [(name, number, mib) for number, (name, mib) in enumerate(self.guests.items(), 1)]
        head = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
        return head + "".join(f"{n:<40} {i:5} {m:5} {2:5}     r-----     149.5\n" for n, i, m in rows)

    def _vcpus(self) -> str:
        count = self._number("dom0_max_vcpus", self.cpus)
        pinned = "dom0_vcpus_pin" in self.xen.split()
        rows = [f"Domain-0   0   {n}   {n}   r--   83.5  {n if pinned else 'all'} / all\n" for n in range(count)]
        return "Name ID VCPU CPU State Time(s) Affinity (Hard / Soft)\n" + "".join(rows)

    def _consoles(self) -> str:
        found = [
            word.partition("=")[2].partition(",")[0] for word in self.kernel.split() if word.startswith("console=")
        ]
        return "".join(f"{name:<20} -W- (EC p  )  229:0\n" for name in found)

    def _press(self, argv: object) -> str:
        said = {"h": "(XEN) 'h' pressed -> showing installed handlers\n",
                "q": "(XEN) 'q' pressed\n(XEN) General information for domain 0:\n"}  # fmt: skip
        assert isinstance(argv, list | tuple)
        self.keys.append(said[argv[2]])
        return ""
