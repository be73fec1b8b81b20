"""Settings that documents name and hosts still read: each stands where `nestlab explain` says, when the lab file asks
for it in the words that it gives."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from fnmatch import fnmatch

import pytest

from builder.model.load import parse_lab
from builder.systems import SYSTEMS, living_settings, load_system, traits

# Every setting that is not always there is asked for.
LAB = """\
name: living
networks: {lan: {}}
defaults:
  memory: 8GiB
  networks: [lan]
nodes:
  debian:
    system: debian
    disks: [{size: 16GiB}]
    kernel: {arguments: [earlyprintk=xen]}
    guests:
      - {name: pygrub, boot: pygrub, autostart: true, disks: [{size: 1GiB}]}
  debian-12:
    system: debian
    release: 12
    disks: [{size: 16GiB}]
    guests:
      - {name: made, disks: [{size: 1GiB}], make: {by: xen-tools, release: bookworm}}
  suse:
    system: suse
    source: {medium: x.iso}
    disks: [{size: 60GiB}]
    xen: {pciback_hide: ["03:00.0"]}
    install: {hotplug_timeout: 10, loop_devices: 128}
    guests:
      - {name: reads, boot: pvgrub2, disks: [{size: 1GiB}], vifs: [{}]}
  netbsd:
    system: netbsd
    source: {medium: x.iso}
    disks: [{size: 16GiB}]
    xen: {dom0_max_vcpus: 2}
    guests:
      - name: behind
        os: netbsd
        autostart: true
        disks: [{size: 1GiB}, {size: 1GiB}, {size: 1GiB}, {size: 1GiB}, {size: 1GiB}]
  hidden:
    system: netbsd
    source: {medium: x.iso}
    disks: [{size: 16GiB}]
    xen: {console: vga, pciback_hide: ["03:00.0"]}
    install: {guests: {mode: nat}}
  rhel:
    system: rhel
    source: {medium: x.iso}
    disks: [{size: 60GiB}, {size: 60GiB}, {size: 60GiB}, {size: 60GiB}]
    raid: [{name: system, level: 10, disks: [disk0, disk1, disk2, disk3]}]
    install: {extent: 64MiB, trim: discard, quirks: [x9scm-nic]}
  xcpng:
    system: xcpng
    source: {medium: x.iso}
    disks: [{size: 60GiB}]
"""


@functools.cache
def written(system: str) -> Mapping[str, str]:
    """Every file of that system's hosts, by its path there, and every answer."""
    found: dict[str, str] = {}
    for node in parse_lab(LAB.encode(), traits()).lab.nodes:
        if node.system != system:
            continue
        plan = load_system(system).plan(node)
        files = [*plan.seed, *(plan.recipe.files if plan.recipe else ())]
        for path, text in [(f.path, f.content) for f in files] + [(f.name, f.content) for f in plan.answers]:
            found[path] = found.get(path, "") + text
    return found


ROWS = living_settings()


@pytest.mark.parametrize(("system", "name"), [row[:2] for row in ROWS], ids=[f"{row[0]}: {row[1]}" for row in ROWS])
def test_it_stands_where_it_is_said_to(system: str, name: str) -> None:
    row = next(row for of, word, row in ROWS if (of, word) == (system, name))
    assert row.does.endswith(".") and row.lab and row.source
    files = written(system)
    holding = [text for path, text in files.items() if fnmatch(path, f"*{row.file}")] or [files.get("autoinst.xml", "")]
    assert any(row.written in text for text in holding), (row.file, list(files))


def test_every_system_has_some() -> None:
    assert {row[0] for row in ROWS} == set(SYSTEMS) - {"tiny"}
