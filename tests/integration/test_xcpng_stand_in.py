"""The stand-in installer's parts on this machine, with real programs: disk layout, boot menu, scripts, host files."""

from __future__ import annotations

import io
import itertools
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from builder.model.load import read_lab
from builder.systems import load_system, traits
from labs.checks import test_xcpng
from tests.integration.media_sources import sh
from tests.support.xcpng_answer_cases import RIGHT
from tests.support.xcpng_installer.contents import RELEASES
from tests.support.xcpng_installer.inside import answers as reading
from tests.support.xcpng_installer.inside import disks, found, host_files, install
from tests.support.xcpng_installer.inside.install import Arguments
from tests.support.xcpng_installer.inside.loader import Menu, memory_of_dom0, menu_text
from tests.support.xcpng_installer.inside.stages import Stages
from tests.support.xcpng_installer.inside.tools import Log, Tools
from tests.support.xcpng_installer.labs import LEFT_OUT, Firmware, lab_text

pytestmark = pytest.mark.integration

MENU = Menu("XCP-ng", "root-abcdef", "4.20", "6.12.1", 2640, 2, ("com1", "115200,8n1"), True, True)
XEN_CMDLINE = Path(__file__).parents[1] / "support/xcpng_installer/shell/xen-cmdline"


@pytest.mark.parametrize(("uefi", "storage"), [(False, True), (True, True), (False, False), (True, False)])
def test_sfdisk_makes_the_documented_layout(uefi: bool, storage: bool, tmp_path: Path) -> None:
    """Sizes of the documents: logs 4 GiB, backup 18, root 18, boot 0.5, swap 1, and the rest as number 3."""
    disk = tmp_path / "disk0"
    with disk.open("wb") as file:
        file.truncate(60 << 30)
    parts = disks.layout(uefi=uefi, storage=storage)
    sh("sfdisk", "-q", disk, stdin=disks.table(str(disk), parts).encode())
    told = json.loads(sh("sfdisk", "--json", disk))["partitiontable"]
    assert told["label"] == "gpt"
    in_order = sorted(told["partitions"], key=lambda part: part["start"])
    assert in_order[0]["start"] == 2048
    sizes = {int(part["node"].rpartition("p")[2]): part["size"] * 512 / (1 << 30) for part in in_order}
    boot = 4 if storage else 3
    assert {number: sizes[number] for number in (5, 2, 1, boot, 6)} == {5: 4, 2: 18, 1: 18, boot: 0.5, 6: 1}
    assert (len(sizes), list(sizes)[:5]) == (6 if storage else 5, [5, 2, 1, boot, 6])
    assert not storage or 18 < sizes[3] < 18.6
    problems = sh("sgdisk", "-v", disk)
    assert "No problems found" in problems


def test_the_menu_is_one_that_grub_reads(tmp_path: Path) -> None:
    path = tmp_path / "grub.cfg"
    path.write_text(menu_text(MENU))
    sh("grub-script-check", path)
    assert "rd.auto" in path.read_text()


def test_xen_cmdline_changes_every_entry_but_the_fallback(tmp_path: Path) -> None:
    """Run with the paths of the host in a scratch folder: it knows none but the absolute ones."""
    path = tmp_path / "grub.cfg"
    path.write_text(menu_text(MENU))
    script = tmp_path / "xen-cmdline"
    script.write_text(
        XEN_CMDLINE.read_text().replace("/boot/grub/grub.cfg", str(path)).replace("/boot/efi", "/nowhere")
    )

    def run(*words: str) -> str:
        return subprocess.run(["sh", script, *words], check=True, capture_output=True, text=True).stdout.strip()

    run("--set-xen", "dom0_mem=4096M,max:4096M")
    run("--set-dom0", "xen-pciback.hide=(0000:03:00.0)")
    assert run("--get-xen", "dom0_mem") == "dom0_mem=4096M,max:4096M"
    assert run("--get-dom0", "xen-pciback.hide") == "xen-pciback.hide=(0000:03:00.0)"
    assert run("--list-xen").split()[:2] == ["com1=115200,8n1", "console=com1,vga"]
    text = path.read_text()
    assert (text.count("dom0_mem=4096M"), text.count("dom0_mem=2640M")) == (3, 2)
    sh("grub-script-check", path)
    run("--delete-dom0", "xen-pciback.hide")
    assert run("--get-dom0", "xen-pciback.hide") == ""
    assert "pciback" not in path.read_text()


def test_memory_of_dom0_is_the_documented_part() -> None:
    """1 GiB and 5 % of the host, in steps of 16 MiB, at most 8 GiB."""
    assert [memory_of_dom0(gib << 10) for gib in (4, 8, 64, 256)] == [1232, 1440, 4304, 8192]


@pytest.fixture
def stages(tmp_path: Path) -> Stages:
    return Stages(Tools(Log(io.StringIO())), tmp_path / "scripts")


def test_scripts_get_their_stage_and_arguments_and_may_fail(stages: Stages, tmp_path: Path) -> None:
    script, told = tmp_path / "one", tmp_path / "told"
    script.write_text(f'#!/bin/bash\necho "$XS_STAGE $*" >>{told}\nexit 7\n')
    stages.scripts = {"filesystem-populated": [f"file://{script}", f"file://{script}"], "misspelt": ["file:///none"]}
    stages.run("installation-start")
    stages.run("filesystem-populated", "/tmp/root")
    assert told.read_text() == "filesystem-populated /tmp/root\n" * 2


@pytest.mark.parametrize(
    ("text", "why"),
    [("echo\n", "Missing interpreter"), ("#!/usr/bin/perl\n", "Invalid interpreter"), ("", "Missing interpreter"),
     ("#!/usr/bin/env python3\n", "Invalid interpreter"), (None, "Unable to fetch script")],
)  # fmt: skip
def test_scripts_that_stop_the_installation(stages: Stages, tmp_path: Path, text: str | None, why: str) -> None:
    script = tmp_path / "one"
    if text is not None:
        script.write_text(text)
    stages.scripts = {"installation-start": [f"file://{script}"]}
    with pytest.raises(RuntimeError, match=why):
        stages.run("installation-start")


def test_host_files_say_what_was_answered(tmp_path: Path) -> None:
    machine = reading.Machine({"eth0": "52:54:00:00:00:01"}, lambda _: 512, lambda path: path)
    said = reading.AnswerFile(RIGHT.replace("<hostname>host<", "<hostname>host.lab.example<"), "8.3").answers(machine)
    for name in ("etc/dhcp/dhclient.d/chrony.sh", "etc/chrony.conf"):
        host_files.write(tmp_path / name, "server 0.centos.pool.ntp.org iburst")
    host_files.write_names(tmp_path, said)
    host_files.write_network(tmp_path, said)
    host_files.write_time(tmp_path, said)
    host_files.write_storage(tmp_path, said, "/dev/sda3")
    host_files.write_fstab(tmp_path, disks.layout(uefi=True, storage=True), "abcdef")

    def text(name: str) -> str:
        return (tmp_path / name).read_text()

    assert text("etc/resolv.conf") == "search lab.example\nnameserver 192.0.2.53\n"
    assert "LABEL='eth0'\nMODE='static'\nIP='192.0.2.5'\n" in text(f"{host_files.FIRST_BOOT}/management.conf")
    assert text("etc/chrony.conf") == "server ntp.example iburst\n"
    assert "XSPARTITIONS='/dev/sda3 /dev/sdb'\nXSTYPE='ext'\n" in text(f"{host_files.FIRST_BOOT}/default-storage.conf")
    assert re.search(r"^LABEL=BOOT-ABCDEF\s+/boot/efi\s+vfat", text("etc/fstab"), re.MULTILINE)
    # A link of a host that is not here: it leads nowhere on this machine, or to this machine's.
    assert str((tmp_path / "etc/localtime").readlink()) == "../usr/share/zoneinfo/Etc/UTC"


def test_arguments_of_the_installer() -> None:
    words = "install rt_answerfile=file:///answerfile.xml 'network_config=static:ip=1;netmask=2' console=tty0"
    said = Arguments.read(f"{words} console=hvc0")
    assert said.answers == ("rt_answerfile", "file:///answerfile.xml")
    assert (said.serial, said.network_device) == (True, "")
    assert said.given["network_config"] == "static:ip=1;netmask=2"
    assert Arguments.read("answerfile=http://192.0.2.1/a").network_device == "all"
    assert Arguments.read("answerfile=http://192.0.2.1/a network_device=ETH1").network_device == "eth1"
    assert not Arguments.read("console=hvc0 console=tty0").serial


@pytest.fixture
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[install.Installer, io.StringIO]]:
    """An installer on this machine that sees a made-up one, and gets no further than its answers."""
    monkeypatch.setattr(install, "ROOT", tmp_path / "root")
    monkeypatch.setattr(install, "RELEASE", tmp_path / "release")
    monkeypatch.setattr(found, "link_disks", lambda: None)
    cards = {"eth0": "52:54:00:00:00:01"}
    monkeypatch.setattr(found, "machine", lambda _: reading.Machine(cards, disks.sector_of, lambda path: path))

    def make(line: str, release: str = "8.3") -> tuple[install.Installer, io.StringIO]:
        (tmp_path / "release").write_text(RELEASES[release].line)
        said = io.StringIO()
        made = install.Installer(Arguments.read(line), Log(said))
        made.stages = Stages(made.tools, tmp_path / "scripts")
        return made, said

    return make


def test_refused_answers_run_the_first_and_the_last_scripts(
    installer: Callable[..., tuple[install.Installer, io.StringIO]], tmp_path: Path
) -> None:
    """A disk that is not there: found out while the answers are read, and told as an error of input and output."""
    for stage in ("installation-start", "installation-complete"):
        (tmp_path / stage).write_text(f'#!/bin/sh\necho "{stage} $*" >>{tmp_path}/told\n')
    scripts = "".join(
        f'<script stage="{stage}" type="url">file://{tmp_path}/{stage}</script>'
        for stage in ("installation-start", "installation-complete")
    )
    answers = tmp_path / "answers.xml"
    answers.write_text(RIGHT.replace(">sda<", ">no-such-disk<").replace("</installation>", f"{scripts}</installation>"))
    made, said = installer(f"install rt_answerfile=file://{answers} console=hvc0")
    made.go()
    text = said.getvalue()
    marks = ["Setup - Version 8.3.0", "Installer Version", "Processing XML answerfile for installation",
             "INSTALL FAILED.", "No such file or directory: '/sys/block/no-such-disk"]  # fmt: skip
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert (tmp_path / "told").read_text() == "installation-start \ninstallation-complete 1\n"
    assert "completed successfully" not in text


@pytest.mark.parametrize(
    ("release", "line", "why"),
    [("8.3", "console=hvc0", "no answer file"), ("8.2", "rt_answerfile=file:///x console=hvc0", "nobody said install")],
)
def test_it_waits_where_the_real_one_shows_a_screen(
    installer: Callable[..., tuple[install.Installer, io.StringIO]], release: str, line: str, why: str
) -> None:
    made, said = installer(line, release)
    with pytest.raises(install.WaitsForSomebody, match=why):
        made.go()
    assert ("dropping back to interactive mode" in said.getvalue()) == (release == "8.2")


@pytest.mark.parametrize("word", ["no-gpgcheck", "no-repo-gpgcheck"])
def test_signatures_are_not_switched_off_on_the_line(
    installer: Callable[..., tuple[install.Installer, io.StringIO]], word: str
) -> None:
    made, said = installer(f"install rt_answerfile=file:///none {word}")
    made.go()
    assert "gpgcheck settings on CLI would be ignored" in said.getvalue()


def test_the_lab_files_for_it_are_right(tmp_path: Path) -> None:
    for release, firmware in itertools.product(("8.2", "8.3"), get_args(Firmware)):
        for raid in (False, True):
            path = tmp_path / "lab.yaml"
            path.write_text(lab_text(tmp_path / "x.iso", release, firmware, raid=raid, scripts=tmp_path))
            plan = load_system("xcpng").plan(read_lab(path, traits()).nodes[0])
            assert {finding.severity for finding in plan.findings} <= {"warning"}
            assert plan.checks == ("test_xcpng.py",)


def test_what_is_left_out_on_it_is_known_to_the_checks() -> None:
    own = {name for name in dir(test_xcpng) if name.startswith("test_")}
    assert set(LEFT_OUT) <= own
