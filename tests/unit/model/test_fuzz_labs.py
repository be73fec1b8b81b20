"""Whatever stands in a lab file: a lab comes out, or LabFileError with findings that can be read."""

from __future__ import annotations

import random

import pytest

from builder.errors import LabFileError
from builder.model.lab import Lab
from builder.model.load import parse_lab
from builder.systems import traits
from tests.support.bad_labs import CASES
from tests.support.lab_files import LIMITS, SYSTEMS, marked
from tests.support.repo import ROOT, some
from tests.unit.model.test_bad_labs import JARGON

SHIPPED = [path.read_text() for path in some(sorted((ROOT / "labs").glob("*.yaml")))]
FULL = """\
name: full
description: "every key"
expires: 7d
networks: {lan: {mtu: 9000}, wan: }
defaults: &d
  system: host
  xen: {dom0_memory: 1GiB, dom0_max_vcpus: 1, dom0_vcpus_pin: true, com1: '115200,8n1', console: 'com1,vga',
    loglvl: all, guest_loglvl: error/all, noreboot: false, bridge: xenbr0, pciback_hide: ['00:19.0'],
    arguments: [iommu=no]}
nodes:
  a:
    release: 8.10
    cpus: 2
    memory: 4GiB
    firmware: bios
    machine: pc
    cpu_model: host-model
    management_nic: virtio
    source: {medium: x.iso}
    disks: [{name: d0, size: 16GiB, bus: sata, sector: 512e}, {size: 1.5TiB}, {size: 16GiB}]
    raid: [{name: md0, level: 5, disks: [d0, disk1, disk2]}]
    networks: [wan, {network: lan, mac: '52:54:00:00:00:01', model: e1000e, trunk: [5], addresses: [10.0.0.1/24],
      vlan_addresses: {5: ['fd00::1/64']}}, {network: lan, vlan: 5}]
    kernel: {arguments: quiet splash}
  b: {after: [a]}
"""
GOOD = [FULL, *SHIPPED]
BAD = [marked(bad.text).text for bad in CASES]
ALL = {**SYSTEMS, **traits()}
PIECES = (
    "\t", "\n", ":", ": ", "- ", "? ", "[", "]", "{", "}", ",", "&a ", "*a", "*d", "!!set ", "!x ", "'", '"', "|", ">",
    "#", "%", "@", "---\n", "...\n", "<<: *d\n", "\0", "\x7f", "\ud7ff", "\u2028", "é", "\\x00", "null", "~", "true",
    "-1", "0", "1e999", "0x10", "99999999999999999999", ".nan", "nodes:", "name:", "a:", "defaults:", "xen:", "4GB",
    "lan", "52:54:00:00:00:01", "00:19.0",
)  # fmt: skip


def mutated(generator: random.Random) -> bytes:
    """A file with one to six changes: pieces put in, parts cut, doubled, swapped or taken from another file."""
    text = generator.choice(GOOD if generator.random() < 0.6 else BAD)
    for _ in range(generator.choice((1, 1, 2, 4, 8))):
        at, to = sorted(generator.randrange(len(text) + 1) for _ in range(2))
        to = min(to, at + 40)
        kind = generator.randrange(7)
        if kind == 0:
            text = text[:at] + generator.choice(PIECES) + text[at:]
        elif kind == 1:
            text = text[:at] + text[to:]
        elif kind == 2:
            text = text[:to] + text[at:]
        elif kind == 3:
            text = text[:at] + generator.choice(PIECES) + text[to:]
        elif kind == 4:
            other = generator.choice(GOOD + BAD)
            text = text[:at] + other[at : at + 60] + text[to:]
        elif kind == 5:
            lines = text.split("\n")
            line = generator.randrange(len(lines))
            lines[line] = " " * generator.randrange(5) + lines[line].lstrip()
            text = "\n".join(lines)
        else:
            lines = text.split("\n")
            generator.shuffle(lines)
            text = "\n".join(lines)
    raw = text.encode("utf-8", errors="surrogatepass")
    if generator.random() < 0.05:
        at = generator.randrange(len(raw) + 1)
        raw = raw[:at] + bytes([generator.randrange(256)]) + raw[at:]
    return raw


def outcome(raw: bytes) -> Lab | tuple[object, ...]:
    try:
        return parse_lab(raw, ALL, limits=LIMITS).lab
    except LabFileError as error:
        return error.problems


@pytest.mark.parametrize("seed", range(8))
def test_mutated_files(seed: int) -> None:
    generator = random.Random(seed)
    labs = refused = 0
    for _ in range(400):
        raw = mutated(generator)
        try:
            lab = parse_lab(raw, ALL, limits=LIMITS).lab
        except LabFileError as error:
            refused += 1
            assert error.problems, raw
            lines = raw.count(b"\n") + raw.count(b"\r") + raw.count("\u2028".encode()) + raw.count(b"\xc2\x85") + 1
            for problem in error.problems:
                assert problem.code.startswith("lab-") and problem.message and problem.hint, raw
                assert "`nestlab schema` shows" not in problem.hint, (raw, problem)  # a kind of finding without words
                assert 1 <= problem.line <= lines and problem.column >= 1, (raw, problem)
                assert len(problem.message) < 500 and f"{problem.message}{problem.hint}".isprintable(), (raw, problem)
                assert not JARGON.search(f"{problem.message} {problem.hint}"), (raw, problem)
        else:
            labs += 1
            assert lab.nodes and all(node.memory > 0 for node in lab.nodes), raw
    assert labs > 20 and refused > 100, "mutations are neither all harmless nor all fatal"


def test_the_same_file_gives_the_same_result() -> None:
    generator = random.Random(99)
    for _ in range(100):
        raw = mutated(generator)
        assert outcome(raw) == outcome(raw), raw


def test_a_lab_survives_json() -> None:
    """What is kept of a lab that is up is its JSON; reading it back must give the very lab."""
    for text in GOOD:
        lab = parse_lab(text.encode(), ALL).lab
        assert Lab.model_validate_json(lab.model_dump_json()) == lab
