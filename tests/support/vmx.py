"""libvirt's own reader of .vmx files as judge. Its driver for VMware Player is part of libvirt, and asks only that two
programs be there: here are two scripts that answer as an idle Player does, which is all they can do."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

_STAND_INS = {
    "vmrun": "#!/bin/sh\necho 'Total running VMs: 0'\n",
    "vmplayer": "#!/bin/sh\necho 'VMware Player 12.5.9 build-7535481'\n",
}


def for_libvirt(text: str) -> str:
    """libvirt wants a name for each custom network, which Workstation finds by its vmnet alone."""
    return re.sub(r'^(ethernet\d+)\.vnet = "(\w+)"$', r'\g<0>\n\1.networkName = "\2"', text, flags=re.MULTILINE)


def read_vmx(text: str) -> tuple[str, str]:
    """What libvirt has against a .vmx file (nothing when it takes it), and the domain that it reads.

    `firmware = "bios"` and key names that it does not know it does not look at.
    """
    with tempfile.TemporaryDirectory(prefix="nlv-", dir="/tmp") as folder:
        for name, script in _STAND_INS.items():
            path = Path(folder) / name
            path.write_text(script)
            path.chmod(0o755)
        file = Path(folder) / "machine.vmx"
        file.write_text(text)
        done = subprocess.run(
            ["virsh", "-c", "vmwareplayer:///session", "domxml-from-native", "vmware-vmx", str(file)],
            capture_output=True, text=True, check=False, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        )  # fmt: skip
    return (done.stderr.strip() if done.returncode else ""), done.stdout
