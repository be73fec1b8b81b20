"""The Debian installer itself, told of a mirror that is not there: what its scripts report over the network on the way,
and how the failure is called. Nothing is installed.
"""

from __future__ import annotations

import gzip
import queue
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.drivers.boot import BootFollower, Signal
from builder.drivers.hooks import HookListener
from builder.errors import NodeFailed
from builder.systems.debian.system import Debian
from tests.support.debian import install_node
from tests.support.debs import unpacked
from tests.support.installer import NETBOOT

pytestmark = pytest.mark.e2e

GATEWAY = "10.0.2.2"
"""This machine, as a guest of QEMU's user network sees it."""


def with_answers(initrd: Path, answers: dict[str, str], into: Path) -> Path:
    """The installer's initrd with the answers behind it."""
    tree = into / "tree"
    for path, text in answers.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], input=names.encode(), cwd=tree,
                            capture_output=True, check=True).stdout  # fmt: skip
    whole = into / "initrd"
    shutil.copy(initrd, whole)
    with whole.open("ab") as file:
        file.write(gzip.compress(packed, 1))
    return whole


@pytest.mark.parametrize("release", ["13"])
def test_the_installer_reports_its_steps_and_its_failure_has_a_name(release: str, tmp_path: Path) -> None:
    node = install_node(release, install={"mirror": f"http://{GATEWAY}:9/debian"})
    plan = Debian().plan(node)
    folder = unpacked(release, (NETBOOT[release],))
    kernel, initrd = (next(folder.rglob(f"text/**/amd64/{name}")) for name in ("linux", "initrd.gz"))
    answers = {answer.name: answer.content for answer in plan.answers if answer.delivery == "initrd"}
    assert "preseed.cfg" in answers
    console = tmp_path / "console.log"
    signals: queue.Queue[Signal] = queue.Queue()
    events: list[dict[str, Any]] = []

    def emit(kind: str, **data: Any) -> None:
        events.append({"kind": kind, **data})

    with HookListener(signals.put, log=tmp_path / "installer.log") as hooks:
        words = [*plan.media_edits[0].arguments, hooks.argument(GATEWAY), "ipv6.disable=1"]
        argv: list[str | Path] = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "pc", "-cpu", "max,-smap", "-m", "1024",
            "-smp", "2", "-display", "none", "-vga", "none", "-no-reboot", "-serial", f"file:{console}",
            "-kernel", kernel, "-initrd", with_answers(initrd, answers, tmp_path), "-append", " ".join(words),
            "-netdev", "user,id=n", "-device", f"e1000,netdev=n,mac={node.management_mac},romfile=",
        ]  # fmt: skip
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as machine:
            try:
                with pytest.raises(NodeFailed) as caught:
                    BootFollower(console, plan.boots[0].phases, "host", emit, signals, scale=12, least=300).follow()
            finally:
                machine.kill()
    assert caught.value.cause in ("mirror-failed", "mirror-unreachable")
    told = [event["text"] for event in events if event["kind"] == "line" and event.get("source") == "installer"]
    kept = (tmp_path / "installer.log").read_text()
    assert "step choose-mirror" in told
    assert "begin choose-mirror: step choose-mirror" in kept
    assert [event["phase"] for event in events if event["kind"] == "end" and event["outcome"] == "ok"] == [
        "installer's kernel", "answers",
    ]  # fmt: skip
