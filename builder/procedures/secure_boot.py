"""Secure Boot of one guest: on or off, its variables one by one, or all of them anew from its pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import xe
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Refusal,
    State,
    Way,
    holds,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask
from builder.procedures.secure_boot_certs import Judged, judge

_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_IMAGES = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
GUIDS: Mapping[str, str] = {"PK": _GLOBAL, "KEK": _GLOBAL, "db": _IMAGES, "dbx": _IMAGES}
ATTRIBUTES = "0x27"
"""Kept, for boot services and at run time, changed only with a signature."""

# Whether a guest's variable (a guest's uuid, GUID, name) holds what an .auth file has behind its signature: 16 bytes of
# time, then the certificate with its own length in front.
_HOLDS = """\
skip=$((17 + $(od -An -tu4 -j16 -N4 "$4")))
[ "$(varstore-get "$1" "$2" "$3" | sha256sum)" = "$(tail -c "+$skip" "$4" | sha256sum)" ]
"""


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name or uuid")
    enable: bool = Field(True, description="false: the guest boots whatever it likes")
    variable: Literal["", "PK", "KEK", "db", "dbx"] = Field("", description="one variable of this guest to be changed")
    file: str = Field("", pattern=r"^(/.*)?$", description="the .auth file for it; without, the variable is taken out")
    clear: bool = Field(False, description="take all variables out: the guest gets the pool's at its next start")


class GuestState(State):
    """`secure` is the platform key, empty for none; `variables` are those that the guest has; `holds`: the one that is
    asked for is what the file says."""

    passing: ClassVar[frozenset[str]] = frozenset({"vm", "power", "firmware", "variables", "file", "tools", "holds"})

    vm: str
    power: str
    firmware: str
    secure: str
    variables: tuple[str, ...]
    file: Judged | None
    tools: bool
    holds: bool = False


class _Xe(Way[Asked, GuestState]):
    state = GuestState
    sample = GuestState(
        vm="VM-UUID", power="halted", firmware="uefi", secure="", variables=("KEK", "PK", "db"), file=None, tools=True
    )

    def look(self, host: Host, asked: Asked) -> GuestState:
        vm = xe.vm(host, asked.guest)
        listed = host.run(["varstore-ls", vm])
        rows = (line.split() for line in listed.stdout.splitlines())
        file = judge(host, [asked.file]).get(asked.file) if asked.file else None
        words = (vm, GUIDS.get(asked.variable, ""), asked.variable, asked.file)
        return GuestState(
            vm=vm,
            power=xe.param(host, "vm", vm, "power-state"),
            firmware=xe.map_key(host, "vm", vm, "HVM-boot-params", "firmware"),
            secure=xe.map_key(host, "vm", vm, "platform", "secureboot"),
            variables=tuple(sorted(row[1] for row in rows if len(row) == 2 and GUIDS.get(row[1]) == row[0])),
            file=file,
            holds=file is not None and file.kind == "auth" and host.run(["sh", "-c", _HOLDS, "sh", *words]).ok,
            tools=host.run(["sh", "-c", "command -v varstore-ls"]).ok,
        )

    def refusals(self, state: GuestState, asked: Asked) -> tuple[Refusal, ...]:
        rules = (
            (state.firmware == "uefi", "not-uefi",
             f"{asked.guest} boots by {state.firmware or 'BIOS'}: Secure Boot is for UEFI guests",
             "make a guest with UEFI; the firmware of one that is installed is better left as it is"),
            (state.power == "halted", "running", f"{asked.guest} is {state.power}: meanwhile its variables are its own",
             f"xe vm-shutdown uuid={state.vm}"),
            (state.tools, "no-tools", "the host has no varstore-ls", "XCP-ng 8.2.1 or later has varstored-tools"),
            (state.file is None or state.file.kind == "auth", "not-auth",
             f"{asked.file} {'is not there' if state.file and state.file.kind == 'absent' else 'is no .auth file'}",
             "/opt/xensource/libexec/create-auth db db.auth CERTIFICATE.pem makes one"),
            (not (asked.file and not asked.variable) and not (asked.clear and asked.variable), "which",
             "file= is for one variable, and clear=true is for all of them", "say variable=db, or leave file= out"),
        )  # fmt: skip
        return unmet(rules)

    def advice(self, state: GuestState, asked: Asked) -> tuple[str, ...]:
        said = []
        if asked.variable == "dbx" and not asked.file:
            said.append("without dbx whatever was signed with a revoked certificate still boots")
        if asked.enable and not state.variables and not asked.file:
            said.append("the guest has no variables yet: it gets the pool's at its next start, if the pool has any")
        return tuple(said)

    def actions(self, state: GuestState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        wanted = str(asked.enable).lower()
        if (state.secure or "false") != wanted:
            todo.append(xe.set_key("vm", state.vm, "platform", "secureboot", wanted))
        if asked.clear and state.variables:
            todo.append(run("varstore-sb-state", state.vm, "setup"))
        elif asked.variable and asked.file and not state.holds:
            todo.append(run("varstore-set", state.vm, GUIDS[asked.variable], asked.variable, ATTRIBUTES, asked.file))
        elif asked.variable and not asked.file and asked.variable in state.variables:
            todo.append(run("varstore-rm", state.vm, GUIDS[asked.variable], asked.variable))
        return tuple(todo)

    def undo(self, state: GuestState, before: GuestState, asked: Asked) -> tuple[Action, ...]:
        """A variable cannot be read back with its signature: it goes, and the pool's comes at the next start."""
        todo: list[Action] = []
        if state.secure != before.secure:
            todo.append(xe.set_key("vm", state.vm, "platform", "secureboot", before.secure))
        if asked.variable and asked.file and not before.holds and asked.variable in state.variables:
            todo.append(run("varstore-rm", state.vm, GUIDS[asked.variable], asked.variable))
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        found = [same("Secure Boot of the guest by XAPI", str(asked.enable).lower(), now.secure or "false")]
        if asked.clear:
            found.append(same("variables in the guest's own store", "none", " ".join(now.variables) or "none"))
        elif asked.file:
            found.append(same(f"{asked.variable} in the guest's own store is what {asked.file} holds", True, now.holds))
        elif asked.variable:
            found.append(same(f"{asked.variable} in the guest's own store", False, asked.variable in now.variables))
        known = host.run(["xe", "help", "vm-get-secureboot-readiness"])
        if known.ok and "vm-get-secureboot-readiness" in known.stdout:
            said = ask(host, "xe", "vm-get-secureboot-readiness", f"uuid={now.vm}").strip()
            right = _readiness(now, asked)
            found.append(holds("XAPI's word on it", " or ".join(right), said, said in right))
        return tuple(found)


def _readiness(now: GuestState, asked: Asked) -> tuple[str, ...]:
    """What XAPI calls a guest that is as it was asked for and has these variables, as VM.get_secureboot_readiness tells
    it (xapi_vm.ml). Without any of them it looks at whether the guest has ever been started."""
    if not asked.enable:
        return ("disabled",) if now.firmware == "uefi" else ("not_supported",)
    if not now.variables:
        return ("first_boot", "setup_mode")
    if "PK" not in now.variables:
        return ("setup_mode",)
    if not {"KEK", "db"} <= {*now.variables}:
        return ("certs_incomplete",)
    return ("ready",) if "dbx" in now.variables else ("ready_no_dbx",)


PROCEDURE = Procedure(
    name="secure-boot",
    title="Secure Boot of a guest",
    summary="A UEFI guest boots what is signed, or whatever it likes; one variable of it is set or taken out, or all "
    "are taken anew from the pool. Within the guest `mokutil --sb-state`, or the last byte of the variable SecureBoot, "
    "says what came of it; its firmware menu cannot change it. Undone, the switch is as it was, and a variable that "
    "was set is gone: the guest gets the pool's at its next start.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=("XCP-ng guide: Guest UEFI Secure Boot", "UEFI specification 2.10: 3.3, 8.2", "varstored-tools"),
    refuses={
        "not-uefi": "the guest boots by BIOS",
        "running": "the guest is not shut down",
        "no-tools": "the host has no varstored-tools",
        "not-auth": "file= is no .auth file",
        "which": "file= without variable=, or clear=true with one",
    },
    drill=Drill(options={"guest": "web"}, reason="it needs an XCP-ng host and a UEFI guest on it"),
    dead=(
        Dead(
            says="only the PV drivers from Citrix work with Secure Boot",
            why="that was so while XCP-ng's own driver key was expired (2021); a guest tells which are signed",
        ),
    ),
    subject="guest",
    bound=("variable",),
)
