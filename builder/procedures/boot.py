"""Procedures that change what Xen and dom0's kernel are started with: seen in what runs, undone by key.

Each procedure owns some keys and no two own the same one, so they can be applied and undone in any order.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, TypeVar

from builder.errors import LabError
from builder.model.host import Host, World
from builder.model.lab import Value
from builder.procedures.api import Action, Evidence, Options, Reboot, Refusal, Remove, Run, State, Way, Write, run, same
from builder.procedures.asking import kernel_arguments, read_text, xen_arguments
from builder.render.arguments import KernelArguments
from builder.render.quoting import grub_words, shell_double

GRUB_CFG = "/boot/grub/grub.cfg"
XEN_CMDLINE = "/opt/xensource/libexec/xen-cmdline"
UNREAD = ("find", "/etc/default/grub.d", "-maxdepth", "1", "(", "-type", "d", "-o", "-name", "zz-nestlab-*", ")",
          "-newer", GRUB_CFG)  # fmt: skip
"""Says what of nestlab's is newer than GRUB's menu; the folder is when a file went away."""

Keys = Mapping[str, str]
"""Key of an argument -> its arguments on a command line, joined by a space; empty for none."""

OptionsT = TypeVar("OptionsT", bound=Options)


class BootSettings(Value):
    """`xen` and `kernel` are the arguments to be there, in order; the keys are all that are taken out first. `grub` are
    further lines of GRUB's own settings."""

    xen_keys: tuple[str, ...] = ()
    xen: tuple[str, ...] = ()
    kernel_keys: tuple[str, ...] = ()
    kernel: tuple[str, ...] = ()
    grub: tuple[str, ...] = ()

    def running(self) -> Keys:
        """What `running_keys` finds once the host was started with these."""
        return _by_key(self, KernelArguments(self.xen), KernelArguments(self.kernel))


class BootState(State):
    """`configured` is what the boot loader's settings hold (its own keys), `running` what the host was started with.
    `survey` is what else the procedure wants to know before it decides."""

    passing: ClassVar[frozenset[str]] = frozenset({"survey"})

    configured: Keys
    running: Keys
    survey: Mapping[str, str]


class Loader(Protocol):
    """How the next start's arguments are kept on a kind of host."""

    def configured(self, host: Host, name: str, settings: BootSettings) -> Keys: ...

    def refusals(self, survey: Mapping[str, str]) -> tuple[Refusal, ...]: ...

    def survey(self, host: Host) -> Mapping[str, str]: ...

    def set(self, name: str, now: Keys, settings: BootSettings) -> tuple[Action, ...]: ...

    def restore(self, name: str, now: Keys, before: Keys) -> tuple[Action, ...]: ...

    def apply(self, settings: BootSettings | None) -> tuple[Action, ...]:
        """What makes changed settings count at the next start, and looks whether they will."""
        ...


class Grub:
    """Debian's GRUB: a drop-in of the procedure's own, read last, which edits what the files before it set."""

    @staticmethod
    def path(name: str) -> str:
        return f"/etc/default/grub.d/zz-nestlab-{name}.cfg"

    def configured(self, host: Host, name: str, settings: BootSettings) -> Keys:  # noqa: ARG002 - the file is whole
        return {"drop-in": read_text(host, self.path(name)) or ""}

    def survey(self, host: Host) -> Mapping[str, str]:
        """`unread`: a drop-in came, changed or went after the last update-grub, so the next start does not know it."""
        return {
            "update-grub": "yes" if host.run(["sh", "-c", "command -v update-grub"]).ok else "no",
            "unread": "yes" if host.run(UNREAD).stdout.strip() else "no",
        }

    def refusals(self, survey: Mapping[str, str]) -> tuple[Refusal, ...]:
        if survey.get("update-grub") == "yes":
            return ()
        return (
            Refusal(
                code="no-update-grub",
                message="the host has no update-grub: how its boot arguments are kept is not known",
                hint="this way is for Debian hosts; boot settings of others belong in their lab file",
            ),
        )

    def set(self, name: str, now: Keys, settings: BootSettings) -> tuple[Action, ...]:
        wanted = drop_in(name, settings)
        return () if now["drop-in"] == wanted else (Write(self.path(name), wanted),)

    def restore(self, name: str, now: Keys, before: Keys) -> tuple[Action, ...]:
        if now == before:
            return ()
        return (Write(self.path(name), before["drop-in"]) if before["drop-in"] else Remove(self.path(name)),)

    def apply(self, settings: BootSettings | None) -> tuple[Action, ...]:
        wanted = (*settings.xen, *settings.kernel) if settings else ()
        hint = f"the argument did not reach {GRUB_CFG}: is GRUB_DISABLE_SUBMENU or a script in /etc/grub.d in the way?"
        looks = [run("grep", "-qF", "--", grub_words([word]), GRUB_CFG, hint=hint) for word in wanted]
        return (run("update-grub", seconds=120), *looks)


class XenCmdline:
    """XCP-ng's own tool, which edits the entries for BIOS and UEFI alike."""

    def configured(self, host: Host, name: str, settings: BootSettings) -> Keys:  # noqa: ARG002 - by key, not by name
        asked = [("xen", key) for key in settings.xen_keys] + [("dom0", key) for key in settings.kernel_keys]
        found = {}
        for layer, key in asked:
            result = host.run([XEN_CMDLINE, f"--get-{layer}", key])
            if not result.ok:
                raise LabError(f"{host.name}: {XEN_CMDLINE} failed: {result.stderr.strip()}", hint="is this XCP-ng?")
            found[f"{layer} {key}"] = result.stdout.strip()
        return found

    def survey(self, host: Host) -> Mapping[str, str]:  # noqa: ARG002 - nothing more to ask
        return {}

    def refusals(self, survey: Mapping[str, str]) -> tuple[Refusal, ...]:  # noqa: ARG002
        return ()

    def set(self, name: str, now: Keys, settings: BootSettings) -> tuple[Action, ...]:  # noqa: ARG002
        by_key = settings.running()
        wanted = {place.replace("kernel ", "dom0 "): arguments for place, arguments in by_key.items()}
        return _edits(now, wanted)

    def restore(self, name: str, now: Keys, before: Keys) -> tuple[Action, ...]:  # noqa: ARG002
        return _edits(now, before)

    def apply(self, settings: BootSettings | None) -> tuple[Action, ...]:  # noqa: ARG002 - it edits what is read at boot
        return ()


def _edits(now: Keys, wanted: Keys) -> tuple[Run, ...]:
    """Calls of xen-cmdline that lead from one to the other. A key that stands several times is set in one call."""
    calls = []
    for place, arguments in wanted.items():
        layer, _, key = place.partition(" ")
        if now.get(place, "") == arguments:
            continue
        if arguments:
            calls.append(run(XEN_CMDLINE, f"--set-{layer}", *arguments.split()))
        else:
            calls.append(run(XEN_CMDLINE, f"--delete-{layer}", key))
    return tuple(calls)


_HEAD = """\
# Written by `nestlab procedure run`: {name}. update-grub reads this file last: the keys named here are taken out of
# what was set before and set anew. Without this file, and after update-grub, all is as it was.
nestlab_without() {{
  printf ' %s \\n' "$1" | tr '\\t' ' ' | sed -E ':a; s/ ('"$2"')(=[^ ]*)? / /; ta; s/^ +//; s/ +$//'
}}
"""
_XEN = """\
GRUB_CMDLINE_XEN="$(nestlab_without "${{GRUB_CMDLINE_XEN:-}}" '{keys}') {arguments}"
GRUB_CMDLINE_XEN_DEFAULT="$(nestlab_without "${{GRUB_CMDLINE_XEN_DEFAULT:-}}" '{keys}')"
"""
# The REPLACE values are those of Xen's entries alone; where they are empty GRUB takes the plain ones, so they are made
# from these, and never empty.
_KERNEL = """\
GRUB_CMDLINE_LINUX_XEN_REPLACE="$(nestlab_without "${{GRUB_CMDLINE_LINUX_XEN_REPLACE:-${{GRUB_CMDLINE_LINUX:-}}}}" \\
  '{keys}') {arguments}"
GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT="$(nestlab_without \\
  "${{GRUB_CMDLINE_LINUX_XEN_REPLACE_DEFAULT:-${{GRUB_CMDLINE_LINUX_DEFAULT:-}}}}" '{keys}') "
"""


def drop_in(name: str, settings: BootSettings) -> str:
    """The file for /etc/default/grub.d that takes these keys out and puts these arguments in."""
    text = _HEAD.format(name=name)
    if settings.xen_keys:
        text += _XEN.format(keys=_pattern(settings.xen_keys), arguments=shell_double(grub_words(settings.xen)))
    if settings.kernel_keys:
        text += _KERNEL.format(keys=_pattern(settings.kernel_keys), arguments=shell_double(grub_words(settings.kernel)))
    return text + "".join(f"{line}\n" for line in settings.grub)


def _pattern(keys: Sequence[str]) -> str:
    """A regular expression (ERE) for keys as Linux compares them: `-` and `_` are one character."""
    return "|".join(key.replace("_", "-").replace("-", "[-_]").replace(".", r"\.") for key in keys)


def running_keys(host: Host, settings: BootSettings) -> Keys:
    """The procedure's keys on the command lines of what runs now."""
    return _by_key(settings, xen_arguments(host), kernel_arguments(host))


def _by_key(settings: BootSettings, xen: KernelArguments, kernel: KernelArguments) -> Keys:
    found = {f"xen {key}": _of_key(xen, key) for key in settings.xen_keys}
    return found | {f"kernel {key}": _of_key(kernel, key) for key in settings.kernel_keys}


def _of_key(arguments: KernelArguments, key: str) -> str:
    others = set(arguments.without(key))
    return " ".join(item for item in arguments if item not in others)


class BootWay(Way[OptionsT, BootState]):
    """A procedure that is a change of boot arguments. `name` is its drop-in's, when `file_name` does not say more."""

    state = BootState
    name: str

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        first = {"drop-in": ""} if isinstance(loader, Grub) else {}
        self.sample = BootState(configured=first, running={}, survey=self.sample_survey())

    @abstractmethod
    def settings(self, asked: OptionsT) -> BootSettings:
        """The keys that this procedure owns and what they are to be. Pure."""

    def survey(self, host: Host, asked: OptionsT) -> Mapping[str, str]:  # noqa: ARG002 - most need to know nothing more
        return {}

    def sample_survey(self) -> Mapping[str, str]:
        """A survey such as a host gives, for the documents."""
        return {"update-grub": "yes"}

    def judge(self, survey: Mapping[str, str], asked: OptionsT) -> tuple[Refusal, ...]:  # noqa: ARG002 - most refuse nothing
        return ()

    def seen(self, host: Host, asked: OptionsT) -> tuple[Evidence, ...]:  # noqa: ARG002 - beside the command lines themselves
        return ()

    def file_name(self, asked: OptionsT) -> str:  # noqa: ARG002 - one file for most
        return self.name

    def look(self, host: Host, asked: OptionsT) -> BootState:
        settings = self.settings(asked)
        return BootState(
            configured=self.loader.configured(host, self.file_name(asked), settings),
            running=running_keys(host, settings),
            survey={**self.loader.survey(host), **self.survey(host, asked)},
        )

    def refusals(self, state: BootState, asked: OptionsT) -> tuple[Refusal, ...]:
        return (*self.loader.refusals(state.survey), *self.judge(state.survey, asked))

    def actions(self, state: BootState, asked: OptionsT) -> tuple[Action, ...]:
        settings = self.settings(asked)
        changes = self.loader.set(self.file_name(asked), state.configured, settings)
        starts_so = state.running == settings.running()
        if starts_so and not any(state.configured.values()):
            return ()  # the host's own settings say the same already
        if starts_so:
            return (*changes, *self.loader.apply(settings)) if changes or _unread(state) else ()
        return (*changes, *self.loader.apply(settings), Reboot("Xen and dom0's kernel read their arguments at start"))

    def undo(self, state: BootState, before: BootState, asked: OptionsT) -> tuple[Action, ...]:
        changes = self.loader.restore(self.file_name(asked), state.configured, before.configured)
        if state.running == before.running:
            return (*changes, *self.loader.apply(None)) if changes or _unread(state) else ()
        return (*changes, *self.loader.apply(None), Reboot("Xen and dom0's kernel read their arguments at start"))

    def check(self, world: World, host: Host, asked: OptionsT) -> tuple[Evidence, ...]:  # noqa: ARG002 - one host is enough
        settings = self.settings(asked)
        running = running_keys(host, settings)
        started = tuple(
            same(f"{'Xen' if key.startswith('xen ') else 'dom0 kernel'} started with", wanted or _nothing(key),
                 running[key] or _nothing(key))
            for key, wanted in settings.running().items()
        )  # fmt: skip
        return (*started, *self.seen(host, asked))


def _unread(state: BootState) -> bool:
    """Whoever was stopped between a drop-in and update-grub left a menu that the files do not say."""
    return state.survey.get("unread") == "yes"


def _nothing(key: str) -> str:
    return f"no {key.partition(' ')[2]}"
