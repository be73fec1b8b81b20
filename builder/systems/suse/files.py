"""What is put into the host beside packages, and the scripts that the installer runs: ours, then the user's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.errors import LabError
from builder.model.lab import Node
from builder.model.plan import File
from builder.render.templates import Templates
from builder.systems.guests.files import guest_files
from builder.systems.suse.arguments import grub_variables
from builder.systems.suse.options import Hook, SuseInstall
from builder.systems.suse.releases import Release
from builder.systems.suse.storage import Storage

HOTPLUG_UNIT = "xen-LIBXL_HOTPLUG_TIMEOUT.service"


@dataclass(frozen=True, slots=True)
class Script:
    """`name` is a file name, of its own among all scripts. `chroot`: inside the new system."""

    name: str
    content: str
    interpreter: str = "/bin/sh"
    chroot: bool = True


@dataclass(frozen=True, slots=True)
class Scripts:
    """By the stage at which they run: before anything, with the disks mounted, with the packages installed, and at the
    host's first start."""

    pre: tuple[Script, ...]
    partitioned: tuple[Script, ...]
    post: tuple[Script, ...]
    first_boot: tuple[Script, ...]


def host_files(node: Node, options: SuseInstall, templates: Templates) -> tuple[File, ...]:
    """Raises LabError for a file of the user's that the answers cannot carry, or that is ours."""
    made = [_own(templates, "etc/xen/xl.conf", bridge=node.xen.bridge)]
    if options.hotplug_timeout is not None:
        unit = f"etc/systemd/system/{HOTPLUG_UNIT}"
        made.append(_own(templates, unit, hotplug_timeout=options.hotplug_timeout))
    if options.loop_devices is not None:
        made.append(_own(templates, "etc/modprobe.d/50-nestlab-loop.conf", loop_devices=options.loop_devices))
    if node.xen.pciback_hide:
        made.append(_own(templates, "etc/dracut.conf.d/50-nestlab-pciback.conf"))
    for user in options.users:
        if user.admin:
            rule = f"{user.name} ALL=(ALL) NOPASSWD: ALL\n"
            made.append(File(path=f"/etc/sudoers.d/nestlab-{user.name}", content=rule, mode=0o440))
    made += guest_files(node, templates.overrides)
    for each in options.files:
        if each.path in {file.path for file in made}:
            raise LabError(f"{node.name}: install.files: {each.path} is there already", hint="give it another path")
        if not each.file.content:
            raise LabError(f"{node.name}: install.files: {each.file.path} is empty", hint="YaST writes no empty files")
        made.append(File(path=each.path, content=carried(each.file.content, each.file.path), mode=int(each.mode, 8)))
    return tuple(made)


def scripts(node: Node, options: SuseInstall, release: Release, storage: Storage, templates: Templates) -> Scripts:
    agama = release.installer == "agama"
    finish = templates.render(
        "scripts/finish.sh",
        release=release,
        users=_users_by_script(options) if agama else (),
        memberships=list(_memberships(options)) if agama else [],
        key_files=list(_keys(options)) if agama else [],
        services_on=(*services_on(options), *(("firewalld.service",) if options.firewall else ())) if agama else (),
        services_off=(*services_off(options), *(() if options.firewall else ("firewalld.service",))) if agama else (),
        grub_lines=grub_variables(node, release) if agama else (),
    )
    ours = {name: templates.render(f"scripts/{name}") for name in ("mark-answers.sh", "mark-disks.sh", "done.sh")}
    copies = storage.copies_of_esp
    esp = [Script("copy-esp.sh", templates.render("scripts/copy-esp.sh", copies=copies))] if copies else []
    return Scripts(
        pre=(Script("mark-answers.sh", ours["mark-answers.sh"]), *_hooks("pre", options.pre)),
        partitioned=(Script("mark-disks.sh", ours["mark-disks.sh"]), *_hooks("partitioned", options.partitioned)),
        post=(
            Script("volume.sh", templates.render("scripts/volume.sh"), chroot=False),
            Script("finish.sh", finish),
            *_hooks("post", options.post),
            Script("done.sh", ours["done.sh"]),
        ),
        first_boot=(*esp, *_hooks("first-boot", options.first_boot)),
    )


def services_on(options: SuseInstall) -> tuple[str, ...]:
    own = ["sshd.service", "xencommons.service", "xendomains.service"]
    own += [HOTPLUG_UNIT] if options.hotplug_timeout is not None else []
    own += ["fstrim.timer"] if options.trim == "timer" else []
    own += ["chronyd.service"] if options.ntp else []
    return (*own, *(each for each in options.services_on if each not in own))


def services_off(options: SuseInstall) -> tuple[str, ...]:
    own = ["fstrim.timer"] if options.trim != "timer" else []
    return (*own, *(each for each in options.services_off if each not in own))


def carried(text: str, said: str) -> str:
    """The text, which XML and a shell can carry. Raises LabError for control characters; `said` names the file."""
    for character in text:
        if (character < " " and character not in "\n\t") or character in "\x7f\ufffe\uffff":
            what = "the line ends of another system" if character == "\r" else f"the character {character!a}"
            raise LabError(f"{said} holds {what}, which the answers cannot carry", hint="save it as plain UNIX text")
    return text


def _own(templates: Templates, path: str, **values: object) -> File:
    return File(path=f"/{path}", content=templates.render(f"host/{path}", **values))


def _hooks(stage: str, hooks: Sequence[Hook]) -> Iterator[Script]:
    for number, hook in enumerate(hooks, 1):
        content = carried(hook.file.content, hook.file.path)
        yield Script(f"{stage}-{number}", content, hook.interpreter, hook.chroot)


def _users_by_script(options: SuseInstall) -> tuple[object, ...]:
    """All but the one that Agama makes itself: the first that has a password."""
    first = agama_user(options)
    return tuple(user for user in options.users if user.name != first)


def agama_user(options: SuseInstall) -> str | None:
    return next((user.name for user in options.users if user.password is not None), None)


def _memberships(options: SuseInstall) -> Iterator[tuple[str, str]]:
    for group, names in members(options).items():
        for name in names:
            yield group, name


def members(options: SuseInstall) -> dict[str, list[str]]:
    """The users of each group that is named, in the order of the lab."""
    made: dict[str, list[str]] = {}
    for user in options.users:
        for group in dict.fromkeys((*(("wheel",) if user.admin else ()), *user.groups)):
            made.setdefault(group, []).append(user.name)
    return made


def _keys(options: SuseInstall) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Agama of 16.0 takes one key, root's: all others, and root's further ones, are appended by our script."""
    if len(options.root_keys) > 1:
        yield "root", options.root_keys[1:]
    for user in options.users:
        if user.keys:
            yield user.name, user.keys
