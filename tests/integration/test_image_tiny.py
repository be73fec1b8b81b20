"""A tiny image is built from real packages, booted, and answers on ssh with its node's own keys."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.images import tiny
from builder.images.build import build
from builder.images.hosts import read_host
from builder.images.store import Image, ImageStore
from builder.model.plan import File, Recipe

pytestmark = pytest.mark.integration

NETWORK = """\
ip link add link eth1 name eth1.10 type vlan id 10
ip link set eth1 mtu 9000
ip link add br0 type bridge
ip link set eth1.10 master br0
ip addr add 192.168.7.1/24 dev br0
for nic in eth1 eth1.10 br0; do ip link set $nic up; done
"""


def quiet(*_: Any, **__: Any) -> None:
    """Nobody listens to the phases here."""


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    cache = tmp_path_factory.mktemp("cache")
    recipe = Recipe(kind="initramfs", release="bookworm", modules=("e1000e", "virtio_blk", "sym53c8xx", "sd_mod"))
    return build(recipe, read_host(tools=False), ImageStore(cache), work=cache / "work", emit=quiet)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def node(image: Image, port: int, tmp_path: Path) -> Iterator[list[str]]:
    """A booted node; the value is the ssh command that reaches it."""
    for name in ("id", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    files = (
        File(path=tiny.AUTHORIZED_KEYS, content=(tmp_path / "id.pub").read_text(), mode=0o600),
        File(path=tiny.HOST_KEY, content=(tmp_path / "host").read_text(), mode=0o600),
        File(path=tiny.HOSTNAME, content="t1\n"),
        File(path=tiny.NETWORK, content=NETWORK),
    )
    assert image.initrd is not None and image.kernel is not None
    initrd = tiny.seed_initrd(image.initrd, files, tmp_path / "initrd")
    assert initrd.stat().st_mode & 0o777 == 0o600
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {(tmp_path / 'host.pub').read_text()}")
    log = tmp_path / "console.log"
    machine = subprocess.Popen(
        [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "pc", "-cpu", "max,-smap"),
            *("-m", "256", "-display", "none"),
            *("-vga", "none", "-serial", f"file:{log}", "-monitor", "none", "-no-reboot"),
            *("-kernel", image.kernel, "-initrd", initrd, "-append", " ".join(image.arguments)),
            *("-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "e1000,netdev=n0,romfile="),
            *("-netdev", "user,id=n1,restrict=on", "-device", "virtio-net-pci,netdev=n1,romfile="),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 90
        while tiny.READY not in (text := log.read_text(errors="replace") if log.exists() else ""):
            assert tiny.FAILED not in text, text[-2000:]
            assert time.monotonic() < deadline and machine.poll() is None, text[-2000:]
            time.sleep(0.1)
        options = ["BatchMode=yes", f"UserKnownHostsFile={tmp_path / 'known'}", "StrictHostKeyChecking=yes"]
        given = [word for option in options for word in ("-o", option)]
        yield ["ssh", "-i", str(tmp_path / "id"), *given, "-p", str(port), "root@127.0.0.1"]
    finally:
        machine.send_signal(signal.SIGKILL)
        machine.wait()


def ask(node: list[str], command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*node, command], capture_output=True, text=True, timeout=60, check=False)


def test_boots_answers_with_the_status_and_has_the_network_of_its_seed(node: list[str]) -> None:
    assert ask(node, "exit 7").returncode == 7
    assert ask(node, "hostname").stdout == "t1\n"
    assert "eth1.10" in ask(node, "cat /proc/net/vlan/config").stdout
    assert ask(node, "cat /sys/class/net/eth1/mtu").stdout == "9000\n"
    assert "192.168.7.1/24" in ask(node, "ip addr show br0").stdout
    assert ask(node, "readlink /sys/class/net/eth0/device/driver").stdout.strip().endswith("/e1000")
    assert ask(node, "readlink /sys/class/net/eth1/device/driver").stdout.strip().endswith("/virtio_net")
    # no disk controller here: its driver stays out
    assert "sym53c8xx" not in ask(node, "lsmod").stdout


def test_a_key_that_the_seed_does_not_name_is_refused(node: list[str], tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    other = [str(tmp_path / "other") if word == str(tmp_path / "id") else word for word in node]
    done = ask([*other[:1], "-o", "IdentitiesOnly=yes", *other[1:]], "true")
    assert done.returncode == 255 and "Permission denied" in done.stderr


def test_two_builds_give_equal_bytes_and_two_callers_build_once(image: Image, tmp_path: Path) -> None:
    assert image.initrd is not None and image.kernel is not None
    recipe = Recipe(kind="initramfs", release="bookworm", modules=("e1000e", "virtio_blk", "sym53c8xx", "sd_mod"))
    seen: list[tuple[Any, Any]] = []

    def emit(kind: Any, **data: Any) -> None:
        seen.append((kind, data.get("phase")))

    results: list[Image] = []
    host, store = read_host(tools=False), ImageStore(tmp_path)
    callers = [
        threading.Thread(target=lambda: results.append(build(recipe, host, store, work=tmp_path / "w", emit=emit)))
        for _ in range(2)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert seen.count(("begin", "assemble")) == 1
    assert results[0] == results[1]
    assert results[0].initrd is not None and results[0].kernel is not None
    assert results[0].initrd.read_bytes() == image.initrd.read_bytes()
    assert results[0].kernel.read_bytes() == image.kernel.read_bytes()
    assert not list((tmp_path / "w").iterdir())
