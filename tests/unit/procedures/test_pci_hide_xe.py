"""PCI devices kept for guests where xen-pciback is built into the kernel, as on XCP-ng."""

from __future__ import annotations

import pytest

from builder.procedures.errors import Refused
from tests.support.fake_host import FakeHost
from tests.unit.procedures.test_pci_hide import CARD, OTHER, do, undo


class Xcp(FakeHost):
    """XCP-ng, whose kernel has the driver built in: its command line is what xen-cmdline was told last."""

    QUESTIONS = (*FakeHost.QUESTIONS, "xl pci-assignable-list", "xe vm-list")

    def __init__(self, hide: str) -> None:
        self.told, self.runs = hide, hide
        super().__init__({
            "sh -c": "",
            "xl info": "xen_commandline : dom0_mem=2G\n",
            "xl list": "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\n",
            "cat /proc/cmdline": "",
            "test -e /sys/bus/pci/devices/": "",
            "readlink /sys/bus/pci/devices/": "../../../bus/pci/drivers/pciback\n",
            "xl pci-assignable-list": lambda _: self.runs.replace(")", ")\n").replace("(", "").replace(")", ""),
            "xapi-wait-init-complete": "",
            "xe vm-list": "\n",
            "/opt/xensource/libexec/xen-cmdline --get-dom0": lambda _: f"{self.told}\n",
            "/opt/xensource/libexec/xen-cmdline --set-dom0": lambda argv: self._tell(argv[2]),
            "/opt/xensource/libexec/xen-cmdline --delete-dom0": lambda _: self._tell(""),
        }, {"/etc/xensource-inventory": "INSTALLATION_UUID='a1fa0000-0000-4000-8000-000000000001'\n"},
            dialect="xe")  # fmt: skip
        self.on_reboot = self._start
        self._start()

    def _tell(self, hide: str) -> str:
        self.told = hide
        return ""

    def _start(self) -> None:
        self.runs = self.told.partition("=")[2]
        self.files["/proc/cmdline"] = f"root=LABEL=root {self.told} quiet\n".encode()


def test_what_somebody_else_hid_on_the_command_line_has_to_be_named_too() -> None:
    theirs = f"xen-pciback.hide=({OTHER})"
    host = Xcp(theirs)
    with pytest.raises(Refused, match=f"hides {OTHER} as well"):
        do(host, devices=CARD)
    assert host.changes == []
    assert do(host, devices=f"{OTHER},{CARD}").result == "applied"
    assert do(host, devices=f"{OTHER},{CARD}").result == "unchanged"
    assert host.told == f"xen-pciback.hide=({OTHER})({CARD})"
    assert undo(host).result == "undone" and host.told == theirs
    host = Xcp("")
    do(host, devices=CARD)
    assert do(host, devices=OTHER).result == "applied"  # what it hid itself is its own
