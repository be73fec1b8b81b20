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
from builder.procedures.secure_boot_certs import NAMES, Judged, is_newer, judge

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

# The digest of each of a guest's variables: its uuid, then GUID and name of each.
_DIGESTS = """\
guest=$1; shift
while [ $# -gt 1 ]; do
  echo "$2 $(varstore-get "$guest" "$1" "$2" | sha256sum | cut -d' ' -f1)"; shift 2
done
"""
# The same of what is behind the signatures of the pool's files, where 8.3 has them.
_POOLS = """\
for name do
  file=/var/lib/varstored/$name.auth; [ -e "$file" ] || continue
  skip=$((17 + $(od -An -tu4 -j16 -N4 "$file")))
  echo "$name $(tail -c "+$skip" "$file" | sha256sum | cut -d' ' -f1)"
done
"""
# Variables as .auth files without a signature, which varstore-set takes (it does not ask for one): the folder, the
# guest's uuid, then GUID and name of each. An early time: what the guest's system sets later has to be later.
_KEEP = r"""
set -e
[ ! -e "$1" ] || exit 0
folder=$1 guest=$2; shift 2
rm -rf "$folder.new"; mkdir -p -m 0700 "$folder.new"
while [ $# -gt 1 ]; do
  { printf '\320\7\1\1\0\0\0\0\0\0\0\0\0\0\0\0\30\0\0\0\0\2\361\16'
    printf '\235\322\257\112\337\150\356\111\212\251\064\175\067\126\145\247'
    varstore-get "$guest" "$1" "$2"; } >"$folder.new/$2.auth"
  shift 2
done
mv "$folder.new" "$folder"
"""
_KEPT = "/var/lib/nestlab/secure-boot-guests"


class Asked(Options):
    guest: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", description="the guest's name or uuid")
    enable: bool = Field(True, description="false: the guest boots whatever it likes")
    variable: Literal["", "PK", "KEK", "db", "dbx"] = Field("", description="one variable of this guest to be changed")
    file: str = Field("", pattern=r"^(/.*)?$", description="the .auth file for it; without, the variable is taken out")
    clear: bool = Field(False, description="the pool's variables for the guest's own, or for those it lacks")


class GuestState(State):
    """`secure` is the platform key, empty for none; `variables` are the guest's with their digests, `pools` those that
    the pool has on the host's disk (8.3, `newer`); `holds`: the one that is asked for is what the file says."""

    passing: ClassVar[frozenset[str]] = frozenset(
        {"vm", "power", "firmware", "newer", "pools", "file", "tools", "holds"}
    )

    vm: str
    power: str
    firmware: str
    secure: str
    newer: bool
    variables: Mapping[str, str]
    pools: Mapping[str, str]
    file: Judged | None
    tools: bool
    holds: bool = False


class _Xe(Way[Asked, GuestState]):
    state = GuestState
    sample = GuestState(
        vm="VM-UUID", power="halted", firmware="uefi", secure="", newer=True, pools={},
        variables={"KEK": "1", "PK": "2", "db": "3"}, file=None, tools=True,
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> GuestState:
        vm = xe.vm(host, asked.guest)
        newer = is_newer(host)
        rows = (line.split() for line in host.run(["varstore-ls", vm]).stdout.splitlines())
        pairs = [word for row in rows if len(row) == 2 and GUIDS.get(row[1]) == row[0] for word in row]
        file = judge(host, [asked.file]).get(asked.file) if asked.file else None
        words = (vm, GUIDS.get(asked.variable, ""), asked.variable, asked.file)
        return GuestState(
            vm=vm,
            power=xe.param(host, "vm", vm, "power-state"),
            firmware=xe.map_key(host, "vm", vm, "HVM-boot-params", "firmware"),
            secure=xe.map_key(host, "vm", vm, "platform", "secureboot"),
            newer=newer,
            variables=_digests(host, _DIGESTS, vm, *pairs),
            pools=_digests(host, _POOLS, *NAMES) if newer else {},
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
            (not state.newer or not asked.enable or not asked.file or "PK" in {asked.variable, *state.variables},
             "setup-mode",
             f"{asked.guest} has no PK, and would get none once it has a {asked.variable}: Secure Boot would stay off",
             "clear=true gives it the pool's variables; then set the one that is to differ"),
        )  # fmt: skip
        return unmet(rules)

    def advice(self, state: GuestState, asked: Asked) -> tuple[str, ...]:
        said = []
        if asked.variable == "dbx" and not asked.file:
            said.append("without dbx whatever was signed with a revoked certificate still boots")
        if asked.enable and not state.variables and not (asked.file or asked.clear):
            when = "first start; clear=true if it was started before" if state.newer else "next start"
            said.append(f"the guest has no variables yet: it gets the pool's at its {when}, if the pool has any")
        gone = asked.variable if asked.variable and not asked.file else ""
        if gone and not state.newer:
            said.append(f"{gone} comes back at the guest's next start, if the pool has it")
        elif asked.enable and gone in {"db", "KEK"}:
            said.append(f"without {gone} nothing boots" if gone == "db" else "without KEK no system updates db or dbx")
        elif asked.enable and gone == "PK":
            said.append("without PK the guest is in setup mode: Secure Boot is off, whatever XAPI's switch says")
        return tuple(said)

    def actions(self, state: GuestState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        wanted = str(asked.enable).lower()
        if (state.secure or "false") != wanted:
            todo.append(xe.set_key("vm", state.vm, "platform", "secureboot", wanted))
        change = _change(state, asked)
        if change is not None:
            pairs = [word for name in _touched(asked) if name in state.variables for word in (GUIDS[name], name)]
            todo += [run("sh", "-c", _KEEP, "sh", f"{_KEPT}/{state.vm}", state.vm, *pairs), change]
        return tuple(todo)

    def undo(self, state: GuestState, before: GuestState, asked: Asked) -> tuple[Action, ...]:
        todo: list[Action] = []
        if state.secure != before.secure:
            todo.append(xe.set_key("vm", state.vm, "platform", "secureboot", before.secure))
        for name in _touched(asked):
            kept = f"{_KEPT}/{state.vm}/{name}.auth"
            if name not in before.variables and name in state.variables:
                todo.append(run("varstore-rm", state.vm, GUIDS[name], name))
            elif state.variables.get(name) != before.variables.get(name):
                todo.append(run("varstore-set", state.vm, GUIDS[name], name, ATTRIBUTES, kept))
        return (*todo, *([run("rm", "-rf", "--", f"{_KEPT}/{state.vm}")] if _touched(asked) else []))

    def check_undone(self, world: World, host: Host, before: GuestState, asked: Asked) -> tuple[Evidence, ...]:
        """Of variables only those that were changed: a start in between may have brought others."""
        now = self.see(world, host, asked)
        return (
            same("secure", before.secure, now.secure),
            *(same(name, before.variables.get(name), now.variables.get(name)) for name in _touched(asked)),
        )

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        found = [same("Secure Boot of the guest by XAPI", str(asked.enable).lower(), now.secure or "false")]
        if asked.clear and now.newer:
            found.append(same("the guest's variables are those in /var/lib/varstored", now.pools, now.variables))
        elif asked.clear:
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


def _touched(asked: Asked) -> tuple[str, ...]:
    """Names of the variables that are changed, or may be."""
    return NAMES if asked.clear else (asked.variable,) if asked.variable else ()


def _change(state: GuestState, asked: Asked) -> Action | None:
    """What changes variables. 8.2 gives a guest at each start what it lacks of the pool's; 8.3 only at the first of
    all, and copies them when it is told to."""
    if asked.clear and state.newer:
        return run("varstore-sb-state", state.vm, "user") if state.variables != state.pools else None
    if asked.clear:
        return run("varstore-sb-state", state.vm, "setup") if state.variables else None
    if not asked.variable:
        return None
    words = (state.vm, GUIDS[asked.variable], asked.variable)
    if asked.file:
        return None if state.holds else run("varstore-set", *words, ATTRIBUTES, asked.file)
    return run("varstore-rm", *words) if asked.variable in state.variables else None


def _digests(host: Host, script: str, *words: str) -> dict[str, str]:
    out = host.run(["sh", "-c", script, "sh", *words]).stdout
    return {row[0]: row[1] for line in out.splitlines() if len(row := line.split()) == 2}


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
    "are taken anew from the pool: at once on 8.3, at its next start on 8.2. Within the guest `mokutil --sb-state`, or "
    "the last byte of the variable SecureBoot, says what came of it; its firmware menu cannot change it. Undone, the "
    "switch and the variables are as they were.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=(
        "XCP-ng guide: Guest UEFI Secure Boot",
        "UEFI specification 2.10: 3.3, 8.2",
        "varstored: varstored.c, tools",
    ),
    refuses={
        "not-uefi": "the guest boots by BIOS",
        "running": "the guest is not shut down",
        "no-tools": "the host has no varstored-tools",
        "not-auth": "file= is no .auth file",
        "setup-mode": "8.3: a variable for a guest without PK, which Secure Boot needs",
        "which": "file= without variable=, or clear=true with one",
    },
    drill=Drill(options={"guest": "web"}, reason="it needs an XCP-ng host and a UEFI guest on it"),
    dead=(
        Dead(
            says="dmesg -i secureboot tells within a Linux guest",
            why="dmesg has no option -i: dmesg | grep -i 'secure boot' does",
        ),
        Dead(
            says="a variable that was taken out comes back at the guest's next start",
            why="so on 8.2; varstored of 8.3 gives a guest the pool's at the first start of all, and varstore-sb-state "
            "GUEST user copies them later",
        ),
        Dead(
            says="only the PV drivers from Citrix work with Secure Boot",
            why="that was so while XCP-ng's own driver key was expired (2021); a guest tells which are signed",
        ),
    ),
    subject="guest",
    bound=("variable",),
)
