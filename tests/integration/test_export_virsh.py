"""The scripts of an export to libvirt, run against the real virsh and a libvirt of their own (without a daemon). It has
no networks, and nothing is started: that needs KVM."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.drivers.virt import embed_uri, prepare_root
from tests.support.exports import HOSTILE_QUOTED, export, lab, two_nodes

pytestmark = pytest.mark.integration


class Host:
    """A libvirt in a folder, and an export whose disks are in a place with a name that is made to be misread."""

    def __init__(self, root: Path, scratch: Path) -> None:
        prepare_root(root, root / "cache")
        self.uri, self.out, self.disks = embed_uri(root), scratch / "out", scratch / HOSTILE_QUOTED
        self.disks.mkdir()
        made = lab(*(node.model_copy(update={"nics": ()}) for node in two_nodes().nodes), networks=())
        for name, file in export("libvirt", made, folder=str(self.disks)).items():
            path = self.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content)
        with (self.out / "lib.sh").open("a") as library:  # whether KVM nests here is not what is tested
            library.write("\nnesting() { :; }\n")
        self.bring()

    def bring(self) -> None:
        """What prepare.sh makes."""
        image = self.disks / "demo-ready-root.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
        (self.disks / "demo-host.iso").write_bytes(bytes(2048))

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, env={"LIBVIRT_DEFAULT_URI": self.uri, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, text=True,
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip

    def script(self, name: str) -> None:
        done = self.run("dash", self.out / name)
        assert done.returncode == 0, f"{name}: {done.stderr}"

    def domains(self) -> set[str]:
        return set(self.run("virsh", "-q", "list", "--all", "--name").stdout.split())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    root = Path(tempfile.mkdtemp(prefix="nlx-", dir="/tmp"))
    yield Host(root, tmp_path)
    shutil.rmtree(root)


def test_domains_are_defined_ejected_and_removed(host: Host) -> None:
    for _ in range(2):
        host.script("create.sh")
        assert host.domains() == {"demo-host", "demo-ready"}
    kept = host.run("virsh", "domblklist", "demo-host").stdout
    assert str(host.disks / "demo-host.iso") in kept and str(host.disks / "demo-host-system.qcow2") in kept
    for _ in range(2):
        host.script("eject.sh")
        assert re.search(r"^ *hdc +-$", host.run("virsh", "domblklist", "demo-host").stdout, re.MULTILINE)
    for _ in range(2):
        host.script("remove.sh")
        assert host.domains() == set()
    assert [path.name for path in host.disks.iterdir()] == ["demo-host.iso"], "media are kept"


def test_a_domain_of_somebody_else_is_left_alone(host: Host) -> None:
    text = (host.out / "host/domain.xml").read_text()
    bare = host.out / "bare.xml"
    bare.write_text(re.sub(r"<metadata>.*</metadata>", "", text, flags=re.DOTALL))
    assert host.run("virsh", "define", bare).returncode == 0
    for name in ("create.sh", "remove.sh"):
        done = host.run("dash", host.out / name)
        assert done.returncode == 1 and "was not exported by nestlab" in done.stderr
    assert "demo-host" in host.domains()
