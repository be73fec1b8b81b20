"""Host procedures on real Xen, the short way: one that tries xl, one that asks a guest. None restarts the host, which
takes minutes under emulation.

All of them, with the restart after and everything undone, are the nightly part `procedures`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from builder.lifecycle.world import LabWorld
from builder.procedures.guests import DRILL_GUEST, drill_guest
from builder.procedures.xlconf import PATH as XL_CONF
from tests.e2e.debian_dom0.conftest import NAME
from tests.support.lab import Bench

pytestmark = pytest.mark.e2e


def procedure(here: Bench, verb: str, *words: str, timeout: float = 900) -> dict[str, Any]:
    """The outcome, as JSON."""
    done = here.run("procedure", verb, NAME, "dom0", *words, "-o", "json", timeout=timeout, check=True)
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def test_guests_larger_than_the_free_memory_are_refused_and_dom0_keeps_its_own(here: Bench) -> None:
    """The image says so already; without its line there is something to change."""
    host = LabWorld(NAME, here.places).host("dom0")
    ours = host.read(XL_CONF)
    host.write(XL_CONF, b"".join(line for line in ours.splitlines(True) if not line.startswith(b"autoballoon")))
    try:
        done = procedure(here, "run", "autoballoon-off")
        assert done["result"] == "applied"
        seen = {each["what"]: each["seen"] for each in done["evidence"]}
        assert seen["a guest with 64 MiB more than is free"] == "it was refused"
        assert seen["dom0's memory after that"] == "1024MiB"
        assert procedure(here, "run", "autoballoon-off", "prove=false")["result"] == "unchanged"
        assert procedure(here, "undo", "autoballoon-off")["result"] == "undone"
    finally:
        host.write(XL_CONF, ours)


def test_a_guests_memory_goes_down_and_comes_back(here: Bench) -> None:
    host = LabWorld(NAME, here.places).host("dom0")
    with drill_guest(host):
        done = procedure(here, "run", "guest-memory", f"guest={DRILL_GUEST}", "size=160MiB")
        assert (done["result"], done["evidence"][0]["ok"]) == ("applied", True)
        refused = here.run("procedure", "run", NAME, "dom0", "dom0-memory", "size=1280MiB", timeout=200)
        assert refused.returncode == 1
        assert f"guests run on it: {DRILL_GUEST} [guests-run]" in refused.stderr.replace("\n", " ")
        assert procedure(here, "undo", "guest-memory")["result"] == "undone"
