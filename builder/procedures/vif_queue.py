"""Longer queues towards guests: fewer frames lost when one does not take them as fast as they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures.api import (
    Action,
    Card,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    State,
    Way,
    Write,
    as_it_was,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import ask, read_text
from builder.procedures.vifs import EACH

PATH = "/etc/udev/rules.d/zz-nestlab-vif-queue.rules"
_VIFS = EACH + 'for vif in $(each_vif); do echo "$vif $(cat "/sys/class/net/$vif/tx_queue_len")"; done'
# An interface of such a name that is no guest's: what udev makes of it is what it makes of a guest's.
_PROVE = r"""
ip link add name vif32000.9 txqueuelen 7 type bridge || exit 1
trap 'ip link delete dev vif32000.9' EXIT
for i in $(seq 50); do
  now=$(cat /sys/class/net/vif32000.9/tx_queue_len)
  [ "$now" = 7 ] || break
  sleep 0.2
done
echo "$now"
"""


class Asked(Options):
    length: int = Field(1000, ge=1, le=100000, description="frames that wait for a guest; drivers begin with 32")


class _State(State):
    """`rule` is our file; `vifs` are the guests' interfaces that are there, with their lengths."""

    passing: ClassVar[frozenset[str]] = frozenset({"vifs"})

    rule: str | None
    vifs: Mapping[str, int]


class _Any(Way[Asked, _State]):
    """udev does it, in dom0 of either kind."""

    state = _State
    sample = _State(rule=None, vifs={"vif1.0": 32})

    def look(self, host: Host, asked: Asked) -> _State:  # noqa: ARG002
        rows = (line.split() for line in ask(host, "sh", "-c", _VIFS).splitlines())
        return _State(rule=read_text(host, PATH), vifs={row[0]: int(row[1]) for row in rows if len(row) == 2})

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:
        rule = _rule(asked.length)
        files = () if state.rule == rule else (Write(PATH, rule), run("udevadm", "control", "--reload"))
        return (*files, *(_set(vif, asked.length) for vif, now in state.vifs.items() if now != asked.length))

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        files: tuple[Action, ...] = ()
        if state.rule != before.rule:
            old = as_it_was(PATH, before.rule)
            files = (old, run("udevadm", "control", "--reload"))
        back = {vif: before.vifs[vif] for vif, now in state.vifs.items() if before.vifs.get(vif, now) != now}
        return (*files, *(_set(vif, length) for vif, length in back.items()))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        made = ask(host, "sh", "-c", _PROVE, timeout=300).strip()
        return (
            same("queue of an interface that is added now", str(asked.length), made),
            *(same(f"queue of {vif}", asked.length, now) for vif, now in self.look(host, asked).vifs.items()),
        )


def _rule(length: int) -> str:
    return (
        "# Written by `nestlab procedure run`: vif-queue. Interfaces of guests, as they are added.\n"
        f'ACTION=="add", SUBSYSTEM=="net", KERNEL=="vif*", ATTR{{tx_queue_len}}="{length}"\n'
    )


def _set(vif: str, length: int) -> Action:
    return run("ip", "link", "set", "dev", vif, "txqueuelen", str(length))


PROCEDURE = Procedure(
    name="vif-queue",
    title="Queue length towards guests",
    summary="Frames for a guest wait in a queue of its interface in dom0: interfaces that are there and those that are "
    "added later get one of this length.",
    options=Asked,
    ways={"xl": _Any(), "xe": _Any()},
    sources=("Debian wiki: Xen, Packetloss / txqueuelen 32", "udev(7)", "ip-link(8): txqueuelen"),
    refuses={},
    drill=Drill(options={"length": "1200"}, guest=True, card=Card()),
    dead=(
        Dead(
            says="ip link set qlen 1000 dev vif-mydomU",
            why="still right for one interface, until its guest is started again",
        ),
    ),
)
