"""Another version of Xen; the one before it stays on the boot menu, and is booted while the new one is not proven."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from builder.errors import LabError
from builder.model.host import Host, World
from builder.model.lab import Value
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Reboot,
    Refusal,
    Remove,
    State,
    Way,
    Write,
    run,
    same,
    unmet,
)  # fmt: skip
from builder.procedures.asking import ask, families, read_text
from builder.procedures.boot import GRUB_CFG
from builder.procedures.grubcfg import (
    boot_environment,
    default_of,
    entry_of,
    hypervisor_of,
    menu_script,
    with_hypervisor,
)

ENTRY = "nestlab-xen-fallback"
TITLE = "Xen as before its upgrade"
FILE = "nestlab-fallback-xen.gz"
"""Not `xen*`: GRUB's own script makes entries for every file of that name."""
SCRIPT = "/etc/grub.d/42_nestlab-xen-fallback"
DROP_IN = "/etc/default/grub.d/zz-nestlab-xen-upgrade.cfg"
_WHY = "the hypervisor is what the machine starts with"
_NO_QUESTIONS = ("env", "DEBIAN_FRONTEND=noninteractive")


class Family(Value):
    """How a kind of host keeps its packages and its boot menu. `ask` prints `pkg NAME VERSION` for each installed
    package made from Xen's sources, `own NAME` for the one that the hypervisor's file is of, `has VERSION` for each
    version of the hypervisor that the host's package sources have, and `newest VERSION`; $1 is the hypervisor's file
    in /boot."""

    config: str
    prefix: str
    ask: str
    install: tuple[str, ...]
    update: tuple[str, ...]


FAMILIES: Mapping[str, Family] = {
    "debian": Family(
        config=GRUB_CFG,
        prefix="grub",
        ask=r"""
dpkg-query -W -f '${db:Status-Abbrev} ${source:Package} ${Package} ${Version}\n' |
  sed -n 's/^ii  *xen \([^ ]*\) \([^ ]*\)$/pkg \1 \2/p'
package=$(dpkg-query -S "/boot/$1" 2>/dev/null | cut -d: -f1)
if [ -n "$package" ]; then
  echo "own $package"
  apt-cache madison "$package" | sed -n 's/^[^|]*| *\([^ |]*\) *|.*Packages.*/has \1/p'
  apt-cache policy "$package" | sed -n 's/^ *Candidate: \([^(].*\)/newest \1/p'
fi
""",
        install=(*_NO_QUESTIONS, "apt-get", "install", "-y", "-q", "--only-upgrade", "--allow-downgrades",
                 "-o", "Dpkg::Options::=--force-confold"),
        update=("update-grub",),
    ),
    "suse": Family(
        config="/boot/grub2/grub.cfg",
        prefix="grub2",
        ask=r"""
rpm -qa --qf '%{SOURCERPM} pkg %{NAME} %{VERSION}-%{RELEASE}\n' | sed -n 's/^xen-[0-9][^ ]* \(pkg .*\)/\1/p'
zypper -q --non-interactive search -s -t package --match-exact xen 2>/dev/null |
  sed -n 's/^[^|]*| *xen *|[^|]*| *\([^ |]*\) *|.*/has \1/p'
zypper -q --non-interactive info xen 2>/dev/null | sed -n 's/^Version *: */newest /p'
""",
        install=("zypper", "--non-interactive", "install", "--oldpackage", "--force-resolution"),
        update=("grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"),
    ),
}  # fmt: skip
_VARIABLE = "nestlab_default"
_GUARDED = re.compile(r"^# in the place of: (.*)$", re.MULTILINE)
# A boot loader that cannot write its environment would start the same entry for ever.
_WRITABLE = r"""
where=$(findmnt -no SOURCE,FSTYPE --target /boot)
set -- $where
case "$(lsblk -dnro TYPE "${1%%\[*}" 2>/dev/null) $2" in
"part ext"* | "disk ext"* | "part vfat" | "part xfs") echo yes ;;
esac
"""


# That Xen told this version and no longer one that begins like it: Debian has it in brackets, SUSE behind two words.
_TOLD = 'xl dmesg | grep -F "Xen version" | grep -qF -e "(Debian $1)" -e "Xen version $1 "'


class Asked(Options):
    version: str = Field(
        "", pattern=r"^[A-Za-z0-9.+~_:-]*$", description="the packages' version; without, the newest that is offered"
    )


class XenState(State):
    """`running` is the version that Xen told when it started; `packages` those made from its sources; `offered` what
    can be installed, `newest` what is installed without more. `default` is the host's own entry, not the one to fall
    back to, `entry` its text; `kept`: there is one to fall back to, `guarded`: it is what boots by itself. `saved`:
    what boots by itself can be said without making the menu anew, where that is the way (SUSE)."""

    passing: ClassVar[frozenset[str]] = frozenset(
        {"family", "packages", "offered", "newest", "default", "entry", "kept", "guarded", "one_shot", "saved"}
    )

    family: str
    running: str
    packages: Mapping[str, str]
    offered: tuple[str, ...]
    newest: str
    default: str
    entry: str
    kept: bool
    guarded: bool
    one_shot: bool
    saved: bool = True


class _Xl(Way[Asked, XenState]):
    state = XenState
    sample = XenState(
        family="debian", running="4.20.2+7-1", offered=("4.20.4+63-1", "4.20.2+7-1"), newest="4.20.4+63-1",
        packages={"xen-hypervisor-4.20-amd64": "4.20.2+7-1", "xen-utils-4.20": "4.20.2+7-1"},
        default="Debian GNU/Linux, with Xen hypervisor",
        entry="menuentry 'Debian GNU/Linux, with Xen hypervisor' {\n"
        "\tmultiboot2\t/boot/xen-4.20-amd64.gz placeholder dom0_mem=1024M,max:1024M\n"
        "\tmodule2\t/boot/vmlinuz-6.12 placeholder root=LABEL=root ro\n\tmodule2\t/boot/initrd.img-6.12\n}",
        kept=False, guarded=False, one_shot=True,
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> XenState:  # noqa: ARG002
        family = _family(host)
        kind = FAMILIES[family]
        config = read_text(host, kind.config) or ""
        environment = boot_environment(host, kind.prefix)
        guard = _GUARDED.search(read_text(host, DROP_IN) or "")
        guarded = guard[1] if guard else environment.get(_VARIABLE, "")
        default = guarded or default_of(config) or environment.get("saved_entry") or "0"
        entry = entry_of(config, default)
        said = ask(host, "sh", "-c", kind.ask, "sh", hypervisor_of(entry))
        rows = [words for line in said.splitlines() if len(words := line.split()) > 1]
        return XenState(
            family=family,
            running=running(host),
            packages=_of_series(
                {row[1]: row[2] for row in rows if row[0] == "pkg" and len(row) == 3},
                next((row[1] for row in rows if row[0] == "own"), ""),
            ),
            offered=tuple(dict.fromkeys(row[1] for row in rows if row[0] == "has")),
            newest=next((row[1] for row in rows if row[0] == "newest"), ""),
            default=default,
            entry=entry,
            kept=ENTRY in config,
            guarded=bool(guarded),
            one_shot=ask(host, "sh", "-c", _WRITABLE).strip() == "yes",
            saved=family != "suse" or not default_of(config),
        )

    def refusals(self, state: XenState, asked: Asked) -> tuple[Refusal, ...]:
        rules = (
            (bool(hypervisor_of(state.entry)), "xen-not-default",
             f"what is booted by itself ({state.default}) starts no Xen",
             "make the entry with Xen the default first: what starts after the upgrade must be it"),
            (not asked.version or asked.version in state.offered, "not-offered",
             f"the host's package sources have no Xen {asked.version}: they have {' '.join(state.offered) or 'none'}",
             "have the host read them anew: apt-get update, zypper refresh"),
            (state.running == _installed(state) or state.kept, "installed-not-running",
             f"Xen {_installed(state)} is installed, {state.running or 'an unknown one'} runs: the file of the running "
             "one is not there to be kept", "restart the host first: maintenance then=restart"),
            (state.one_shot, "no-one-shot",
             "GRUB cannot write to the file system of /boot (LVM, RAID, btrfs): nothing can be started just once",
             "put /boot on a plain partition with ext4"),
            (state.saved, "default-fixed",
             f"GRUB boots {state.default} by itself, whatever grub2-set-default says: the one before could not be what "
             "boots while the new one is not proven", "GRUB_DEFAULT=saved in /etc/default/grub, and grub2-mkconfig"),
        )  # fmt: skip
        return unmet(rules)

    def advice(self, state: XenState, asked: Asked) -> tuple[str, ...]:
        if state.newest or asked.version:
            return ()
        return ("the host's package sources offer no Xen: have it read them anew (apt-get update, zypper refresh)",)

    def actions(self, state: XenState, asked: Asked) -> tuple[Action, ...]:
        kind = FAMILIES[state.family]
        target = asked.version or state.newest
        if not target or (target == state.running == _installed(state) and not state.guarded):
            return ()
        keep = () if state.kept else (run("cp", "-p", f"/boot/{hypervisor_of(state.entry)}", f"/boot/{FILE}"),)
        return (
            *keep,
            *_entry(state),
            *_guard(state),
            run(*kind.update, seconds=120),
            run("grep", "-qF", "--", ENTRY, kind.config, hint="the entry to fall back to is not on the boot menu"),
            run(*kind.install, *_pinned(dict.fromkeys(state.packages, target)), seconds=1800),
            run(*kind.update, seconds=120),
            run(f"{kind.prefix}-reboot", state.default),
            Reboot(f"{_WHY}; where the new one does not start, pulling the plug brings back the one before"),
            run("sh", "-c", _TOLD, "sh", target,
                hint="the new Xen did not start: the one before it runs, and boots by itself"),
            *_unguard(state),
        )  # fmt: skip

    def undo(self, state: XenState, before: XenState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        """With the old packages where they are still offered; else by the entry that was kept, which stays then."""
        kind = FAMILIES[before.family]
        reboot = () if state.running == before.running else (Reboot(_WHY),)
        # the file goes last: as long as its entry may boot by itself it is there
        gone: tuple[Action, ...] = (Remove(SCRIPT), *_unguard(state), Remove(f"/boot/{FILE}"))
        if _installed(state) == _installed(before):
            return (*gone, *reboot) if state.kept or state.guarded or reboot else ()
        if _installed(before) in state.offered:
            return (run(*kind.install, *_pinned(before.packages), seconds=1800), *gone, *reboot)
        return (*_entry(state), *_guard(state), run(*kind.update, seconds=120), *reboot) if reboot else ()

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        found = [
            same("version that Xen told when it started", asked.version or _installed(now), now.running),
            same("xl answers", True, host.run(["xl", "list"]).ok),
        ]
        if now.kept:
            kind = FAMILIES[now.family]
            by_itself = default_of(read_text(host, kind.config) or "") or boot_environment(host, kind.prefix).get(
                "saved_entry"
            )
            found.append(same("GRUB boots by itself", now.default, by_itself or "0"))
        return tuple(found)


def running(host: Host) -> str:
    """The packages' version that the running Xen says it was made as, in the first line of its log; empty when that is
    no longer there."""
    found = re.search(r"Xen version (\S+) \((?:Debian ([^\s)]+))?", ask(host, "xl", "dmesg"))
    return (found[2] or found[1]) if found else ""


def _entry(state: XenState) -> tuple[Action, ...]:
    """What to fall back to: the kept hypervisor, with the kernel of now. One of an upgrade before may be gone."""
    if not hypervisor_of(state.entry):
        return ()
    return (Write(SCRIPT, menu_script(with_hypervisor(state.entry, FILE, title=TITLE, entry_id=ENTRY)), mode=0o755),)


def _of_series(packages: Mapping[str, str], own: str) -> Mapping[str, str]:
    """Without those of another series of Xen, which stand beside it with versions of their own (Debian)."""
    mine = re.findall(r"\d+\.\d+", own)
    return {name: version for name, version in packages.items()
            if not mine or re.findall(r"\d+\.\d+", name) in ([], mine)}  # fmt: skip


def _guard(state: XenState) -> tuple[Action, ...]:
    """The one before boots by itself; which entry did so until now is kept with it."""
    if state.family == "debian":
        return (Write(DROP_IN, f"# in the place of: {state.default}\nGRUB_DEFAULT={ENTRY}\n"),)
    return (run("grub2-editenv", "-", "set", f"{_VARIABLE}={state.default}"), run("grub2-set-default", ENTRY))


def _unguard(state: XenState) -> tuple[Action, ...]:
    update = run(*FAMILIES[state.family].update, seconds=120)
    if state.family == "debian":
        return (Remove(DROP_IN), update)
    return (run("grub2-set-default", state.default), run("grub2-editenv", "-", "unset", _VARIABLE), update)


def _pinned(packages: Mapping[str, str]) -> list[str]:
    return [f"{name}={version}" for name, version in sorted(packages.items())]


def _family(host: Host) -> str:
    words = families(host)
    found = next((name for name in FAMILIES if name in words), "")
    if not found:
        raise LabError(
            f"{host.name} is neither a Debian nor a SUSE host: how its Xen is kept is not known",
            hint="NetBSD: see what older documents say, on the page of xen-upgrade",
        )
    return found


def _installed(state: XenState) -> str:
    """The version of the hypervisor's package."""
    found = (version for name, version in state.packages.items() if re.match(r"xen-hypervisor-[0-9]|xen$", name))
    return next(found, "")


PROCEDURE = Procedure(
    name="xen-upgrade",
    title="Upgrade of Xen, with the one before to fall back to",
    summary="The hypervisor and its tools become another version (Debian, SUSE). The one that runs is kept first, with "
    "its boot entry as it stands, and is what boots by itself until the new one was seen running: when that does not "
    "start, pulling the plug is enough. Undone, the old version runs again: its packages where they are still "
    "offered, else by the entry that was kept.",
    options=Asked,
    ways={"xl": _Xl()},
    sources=(
        "NetBSD Xen HowTo: Updating NetBSD in a dom0, Upgrading Xen versions",
        "Debian wiki: Xen, Upgrading/transition",
        "openSUSE xen README: Upgrading the Host Operating System",
        "GRUB manual: grub-reboot, the environment block",
    ),
    refuses={
        "xen-not-default": "what the host boots by itself starts no Xen",
        "not-offered": "version= is not in the host's package sources",
        "installed-not-running": "another Xen than the installed one runs, and none was kept",
        "no-one-shot": "GRUB cannot write to /boot's file system",
        "default-fixed": "what GRUB boots by itself is fixed in its menu (SUSE)",
    },
    drill=Drill(
        reason="it needs another version of Xen in the host's package sources; with one, version= drills it, back as "
        "well: nestlab procedure drill LAB xen-upgrade version=VERSION",
    ),
    dead=(
        Dead(
            says="menu=Xen.ok:load /netbsd-XEN3PAE_DOM0.ok.gz console=pc;multiboot /xen.ok.gz in /boot.cfg",
            why="the same idea, still good on NetBSD: copy xen.gz and the kernel to the .ok names before the new ones "
            "are put there. NetBSD's loader starts no entry just once: somebody has to choose it at the console",
        ),
        Dead(
            says="remove the Xen packages by hand and install the new ones; xen2libvirt for guests of xend",
            why="packages of two Xen versions stand side by side since Debian 7, and xend's guests are long gone",
        ),
    ),
)
