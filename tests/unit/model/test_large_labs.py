"""Files made to take long: as large as a lab file may be, with as many mistakes as fit. Each is answered in seconds."""

from __future__ import annotations

import resource

import pytest

from tests.support.lab_files import LIMITS, problems_of
from tests.support.pace import assert_quick

HEAD = "name: t\nnetworks: {l: }\ndefaults: {system: host}\nnodes:\n"
TRUNK = ", ".join(str(vlan) for vlan in range(2, 4095))
BAD = {
    "unknown keys": HEAD + "  a:\n" + "".join(f"    cpu{n}: 1\n" for n in range(40_000)),
    "keys given twice": HEAD + "  a: {" + ",".join(["cpus: 1"] * 60_000) + "}\n",
    "keys without value": HEAD + "  a:\n" + "".join(f"    c{n}:\n" for n in range(40_000)),
    "wrong values": HEAD + "".join(f"  n{n}: {{cpus: 0}}\n" for n in range(30_000)),
    "unknown systems": "name: t\nnodes:\n" + "".join(f"  n{n}: {{system: hose{n}}}\n" for n in range(4_000)),
    "unknown networks": f"name: t\nnetworks: {{{', '.join(f'n{n}: ' for n in range(4096))}}}\n"
    + "defaults: {system: host}\nnodes:\n" + "".join(f"  n{n}: {{networks: [k{n}, j{n}]}}\n" for n in range(4_000)),
    "waiting for nobody": HEAD + "".join(f"  n{n}: {{after: [k{n}, j{n}, i{n}]}}\n" for n in range(4_000)),
    "waiting in a circle": HEAD
    + "  n0: {after: [n3999]}\n" + "".join(f"  n{n}: {{after: [n{n-1}]}}\n" for n in range(1, 4_000)),
    "below the minimum": HEAD + "".join(f"  n{n}: {{memory: 1MiB}}\n" for n in range(4_000)),
    "one address": HEAD
    + "".join(f"  n{n}: {{networks: [{{network: l, addresses: [10.0.0.1/8]}}]}}\n" for n in range(4_000)),
    "wide trunks": HEAD + "".join(f"  n{n}: {{networks: [{{network: l, trunk: [{TRUNK}, 2]}}]}}\n" for n in range(40)),
    "an endless text": HEAD + "  a: {memory: " + "1" * 3_000_000 + "GB}\n",
    "arguments": HEAD + "  a: {kernel: {arguments: '" + "a " * 1_900_000 + "'}}\n",
    "tabs": HEAD + "\ta: 1\n" * 200_000,
    "control characters": "\x01" * 2_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_many_mistakes_take_no_long_time(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with assert_quick(5):
        found = problems_of(BAD[name], limits=LIMITS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert found and len("\n".join(f"{p.message} {p.hint}" for p in found)) < 40_000
