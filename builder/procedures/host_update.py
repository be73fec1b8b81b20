"""All packages of a host up to date, its kernel and initrd with them; the kernel before stays on the boot menu."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from builder.errors import LabError
from builder.model.host import Host, World
from builder.procedures import host_update_xe
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Procedure,
    Reboot,
    Refusal,
    Remove,
    State,
    Way,
    Write,
    holds,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, families, read_text
from builder.procedures.grubcfg import (
    boot_environment,
    default_of,
    entry_of,
    hypervisor_of,
    menu_script,
    with_hypervisor,
)
from builder.procedures.update_families import FAMILIES, Asked

ENTRY = "nestlab-kernel-fallback"
TITLE = "The kernel before the update"
SCRIPT = "/etc/grub.d/43_nestlab-kernel-fallback"
DROP_IN = "/etc/default/grub.d/zz-nestlab-host-update.cfg"
KERNEL, INITRD = "nestlab-fallback-vmlinuz", "nestlab-fallback-initrd"
"""Copies in /boot. Not `vmlinuz*`: GRUB's own script makes entries for every file of that name."""
_VARIABLE = "nestlab_kernel_default"
"""In SUSE's GRUB environment: what booted by itself before the kernel before the update does."""
_WHY = "a kernel is what the machine starts with"


class UpdateState(State):
    """`pending`: package -> its new version; `kernels` the last one last; `entry` the text of what boots by itself.
    `build` is what tells the running kernel from others of its name, `installed` the same of the newest one's file,
    where that is known. `owner` is the running one's package, `copies` the MiB that a copy of it and its initrd takes.
    `copied`: the entry that is kept starts such a copy. `guarded`: it is what boots by itself, once this was undone.
    """

    passing: ClassVar[frozenset[str]] = frozenset(
        {"family", "pending", "added", "gone", "kernels", "unfinished", "room", "entry", "default", "kept", "guarded",
         "build", "installed", "owner", "copies", "copied"}
    )  # fmt: skip

    family: str = "debian"
    running: str
    pending: Mapping[str, str]
    added: tuple[str, ...]
    gone: tuple[str, ...]
    kernels: tuple[str, ...]
    unfinished: tuple[str, ...]
    room: int
    entry: str
    default: str
    kept: bool
    guarded: bool
    build: str = ""
    installed: str = ""
    owner: str = ""
    copies: int = 0
    copied: bool = False


class _Xl(Way[Asked, UpdateState]):
    state = UpdateState
    sample = UpdateState(
        running="6.12.1-amd64", pending={"linux-image-amd64": "6.12.2-1", "openssl": "3.5.2-1"},
        added=("linux-image-6.12.2-amd64",), gone=(), kernels=("6.12.1-amd64",), unfinished=(), room=1000,
        default="Debian GNU/Linux, with Xen hypervisor", kept=False, guarded=False,
        entry="menuentry 'Debian GNU/Linux, with Xen hypervisor' {\n"
        "\tmultiboot2\t/boot/xen-4.20-amd64.gz placeholder\n\tmodule2\t/boot/vmlinuz-6.12.1-amd64 placeholder\n"
        "\tmodule2\t--nounzip\t/boot/initrd.img-6.12.1-amd64\n}",
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> UpdateState:  # noqa: ARG002
        words = families(host)
        family = next((name for name in FAMILIES if name in words), "")
        if not family:
            raise LabError(f"{host.name} is neither a Debian nor a SUSE host: how it is updated is not known",
                           hint="NetBSD: see what older documents say, on the page of xen-upgrade")  # fmt: skip
        kind = FAMILIES[family]
        said = ask(host, "sh", "-c", kind.look, timeout=600)
        rows = [words for line in said.splitlines() if len(words := line.split()) > 1]
        config = read_text(host, kind.config) or ""
        script = read_text(host, SCRIPT)
        environment = boot_environment(host, kind.prefix)
        default = default_of(config) or environment.get("saved_entry") or "0"
        if family == "suse" and default == ENTRY:
            default = environment.get(_VARIABLE, default)
        return UpdateState(
            family=family,
            running=ask(host, "uname", "-r").strip(),
            pending={row[1]: row[3] for row in rows if row[0] == "up"},
            added=of_kind(rows, "new"),
            gone=of_kind(rows, "gone"),
            kernels=of_kind(rows, "kernel"),
            unfinished=of_kind(rows, "unfinished"),
            room=int(next(iter(of_kind(rows, "room")), "0")),
            entry=entry_of(config, default),
            default=default,
            kept=script is not None,
            copied=KERNEL in (script or ""),
            guarded=read_text(host, DROP_IN) is not None or bool(environment.get(_VARIABLE)),
            build=next((" ".join(row[1:]) for row in rows if row[0] == "build"), ""),
            installed=next((" ".join(row[1:]) for row in rows if row[0] == "installed"), ""),
            owner=next(iter(of_kind(rows, "owner")), ""),
            copies=int(next(iter(of_kind(rows, "copies")), "0")),
        )

    def refusals(self, state: UpdateState, asked: Asked) -> tuple[Refusal, ...]:
        kind = FAMILIES[state.family]
        xen = sorted(name for name in state.pending if re.match(kind.hypervisor, name))
        room = asked.room + (state.copies if _writes_over(state) and not state.kept else 0)
        rules = (
            (not xen, "xen-pending", f"{' '.join(xen)} is among the updates: it would come with no way back",
             "nestlab procedure run LAB NODE xen-upgrade first"),
            (bool(hypervisor_of(state.entry)) or state.kept, "xen-not-default",
             f"what is booted by itself ({state.default}) starts no Xen", "make the entry with Xen the default first"),
            (not state.gone, "removes", f"the update would take away {' '.join(state.gone)}",
             "look why (apt-get -s dist-upgrade, zypper update --dry-run), and do that by hand"),
            (not state.unfinished, "unfinished", f"{' '.join(state.unfinished)} is half installed",
             f"{kind.finish} finishes it"),
            (not _replaced(state) or state.kept, "installed-not-running",
             f"another build of {state.running} is installed than the one that runs: its file is not there to be kept",
             "restart the host first: maintenance then=restart"),
            (state.room >= room, "no-room", f"/boot has {state.room}MiB free, and {room} are needed",
             "remove kernels not needed"),
        )  # fmt: skip
        return unmet(rules)

    def actions(self, state: UpdateState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        if not state.pending and state.running == _latest(state) and not _replaced(state):
            return ()
        kind = FAMILIES[state.family]
        return (
            *(() if state.kept or state.guarded else _keep(state)),
            *(_unguard(state) if state.guarded else ()),
            run(*kind.update, seconds=3600, hint=f"{kind.finish}, and run this again"),
            run("sh", "-c", kind.rebuild, seconds=600),
            run(*kind.menu, seconds=120),
            Reboot(_WHY),
        )

    def undo(self, state: UpdateState, before: UpdateState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        """Packages are not made old again: their sources have the new ones alone. The kernel before is booted. Raises
        LabError when that one is gone."""
        menu = run(*FAMILIES[state.family].menu, seconds=120)
        if state.running == before.running and before.build in ("", state.build):
            if not state.kept or state.guarded:
                return ()  # guarded: this undo restarted the host, and was stopped before it could say so
            if before.guarded:
                return _guard(state)
            return (Remove(SCRIPT), Remove(f"/boot/{KERNEL}"), Remove(f"/boot/{INITRD}"), *_unguard(state), menu)
        if not state.kept or not (state.copied or before.running in state.kernels):
            raise LabError(
                f"the kernel before, {before.running}, is not in /boot any more, or its entry is gone: a host that "
                "boots it by itself would not start",
                hint="install that kernel's package again, and undo this then",
            )
        return (*_guard(state), Reboot(_WHY))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        made_for = ask(host, "sh", "-c", FAMILIES[now.family].initrd, "sh", now.running, timeout=300).split()
        return (
            same("packages that could be newer", "none", " ".join(sorted(now.pending)) or "none"),
            same("kernel that runs", now.kernels[-1], now.running),
            *((same("its build", now.installed, now.build),) if now.installed else ()),
            holds(
                "what its initrd has modules of",
                now.running,
                " ".join(made_for) or "nothing",
                made_for == [now.running],
            ),
            same("xl answers", True, host.run(["xl", "list"]).ok),
        )

    def check_undone(self, world: World, host: Host, before: UpdateState, asked: Asked) -> tuple[Evidence, ...]:
        found = super().check_undone(world, host, before, asked)
        if not before.build:
            return found
        return (*found, same("its build", before.build, " ".join(ask(host, "uname", "-v").split())))


def _latest(state: UpdateState) -> str:
    return state.kernels[-1] if state.kernels else state.running


def _replaced(state: UpdateState) -> bool:
    """The newest kernel has the name of the running one, and is another."""
    return state.running == _latest(state) and state.installed not in ("", state.build)


def _writes_over(state: UpdateState) -> bool:
    """The update puts a kernel in the place of the one that runs, by its name."""
    return bool(state.owner) and state.owner in state.pending


def _keep(state: UpdateState) -> tuple[Action, ...]:
    """An entry with the kernel that runs, which need not be the newest one. A file that is going to be another is
    copied, with its initrd; the modules of one name go with each other's kernels."""
    entry = with_hypervisor(state.entry, hypervisor_of(state.entry), title=TITLE, entry_id=ENTRY)
    entry = re.sub(rf"(?<=-){re.escape(_latest(state))}(?=\s)", lambda _: state.running, entry)
    copies: tuple[Action, ...] = ()
    if _writes_over(state):
        files = {f"vmlinuz-{state.running}": KERNEL, f"initrd.img-{state.running}": INITRD}
        copies = tuple(run("cp", "-p", f"/boot/{name}", f"/boot/{copy}", seconds=120) for name, copy in files.items())
        for name, copy in files.items():
            entry = re.sub(rf"(?<=[\s/]){re.escape(name)}(?=\s)", copy, entry)
    return (*copies, Write(SCRIPT, menu_script(entry), mode=0o755))


def _guard(state: UpdateState) -> tuple[Action, ...]:
    """The entry that is kept boots by itself."""
    menu = run(*FAMILIES[state.family].menu, seconds=120)
    if state.family == "debian":
        text = f"# Written by `nestlab procedure undo`: host-update.\nGRUB_DEFAULT={ENTRY}\n"
        return (Write(DROP_IN, text), menu)
    keep = run("grub2-editenv", "-", "set", f"{_VARIABLE}={state.default}")
    return (menu, keep, run("grub2-set-default", ENTRY))


def _unguard(state: UpdateState) -> tuple[Action, ...]:
    """The host's own entry boots by itself again."""
    if state.family == "debian":
        return (Remove(DROP_IN),)
    if not state.guarded:
        return ()
    return (run("grub2-set-default", state.default), run("grub2-editenv", "-", "unset", _VARIABLE))


def of_kind(rows: Sequence[Sequence[str]], kind: str) -> tuple[str, ...]:
    return tuple(row[1] for row in rows if row[0] == kind)


PROCEDURE = Procedure(
    name="host-update",
    title="A host up to date, its kernel and initrd with it",
    summary="Every package becomes the newest that the host's sources have, the newest kernel's initrd is made anew, "
    "and the host restarts into it. The boot entry with the kernel before stays, of copies where the new one has its "
    "name. Undone, that kernel runs again, and boots by itself; packages stay, as no source has the old ones. By apt "
    "(Debian), zypper (SUSE) and yum (XCP-ng: the pool's coordinator first; this is not undone, as XAPI makes its "
    "database new).",
    options=Asked,
    ways={"xl": _Xl(), "xe": host_update_xe.Xe()},
    sources=(
        "Debian wiki: Xen, Upgrading/transition",
        "NetBSD Xen HowTo: Updating NetBSD in a dom0",
        "openSUSE xen README: Upgrading the Host Operating System",
        "XCP-ng guide: Updates and Upgrades (software RAID)",
        "apt-get(8), zypper(8), yum(8), dracut(8)",
    ),
    refuses={
        "xen-pending": "a new hypervisor is among the updates: xen-upgrade keeps the old one",
        "xen-not-default": "what the host boots by itself starts no Xen",
        "removes": "packages would be taken away",
        "unfinished": "a package is half installed; a transaction of yum's was aborted (xe)",
        "coordinator-first": "the pool's coordinator is to have the new XAPI first (xe)",
        "installed-not-running": "another build of the running kernel is installed, and none was kept",
        "no-room": "/boot has no room for another kernel",
    },
    drill=Drill(reason="it needs a host whose sources have something newer than it; what they have changes by the day"),
    dead=(
        Dead(
            says="update the non-Xen kernel for rescue purposes as well",
            why="on Debian it is one kernel: it starts with Xen below it or without",
        ),
        Dead(
            says="dracut --force by hand after each update, with a list of options",
            why="packages do it by themselves, with the settings in /etc/dracut.conf.d or /etc/initramfs-tools",
        ),
    ),
)
