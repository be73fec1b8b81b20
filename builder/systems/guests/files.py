"""The files that a host gets for its guests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.errors import LabError
from builder.model.guests import FOLDER
from builder.model.lab import Guest, Node
from builder.model.plan import File
from builder.model.units import MIB
from builder.render.templates import Templates
from builder.systems.guests.domain import domain_xml
from builder.systems.guests.hosts import HOSTS, GuestHost
from builder.systems.guests.start import Start, disk_names, installation_of, start_of

SCRIPTS = "/usr/local/lib/nestlab/guests"
"""Below it, for each guest whose disks are made: make (run in the host) and inside (run in the guest's tree)."""
LIBVIRT = "/etc/libvirt/libxl"


def guest_files(node: Node, overrides: Path | None = None) -> tuple[File, ...]:
    """Everything that the guests of a node put into their host; nothing for a node without guests. `overrides` is a
    folder of the user's with templates of its own in `guests/`.

    Raises LabError for guests on a system that has none from files, and for what its release cannot do.
    """
    if not node.guests:
        return ()
    host = _host(node)
    templates = Templates("guests", overrides)
    return (*_domains(node, host, templates), *_links(node, host, templates), *_scripts(node, templates))


def guest_packages(node: Node) -> tuple[str, ...]:
    """Packages of the host's system that its guests need beside Xen, in a fixed order."""
    if not node.guests:
        return ()
    host = _host(node)
    asked = {word for guest in node.guests for word in _asks(guest)}
    return tuple(dict.fromkeys(name for word, names in host.packages.items() if word in asked for name in names))


def started_with_host(node: Node) -> tuple[str, ...]:
    """Names of the guests that xl starts with their host, in order: NetBSD's rc.conf lists them as xendomains."""
    return tuple(guest.name for guest in node.guests if guest.autostart and guest.manager == "xl")


def _asks(guest: Guest) -> Iterator[str]:
    yield guest.boot
    yield guest.manager
    if guest.made is not None:
        yield guest.made.by
    if any(disk.volume for disk in guest.disks):
        yield "volume"


def _host(node: Node) -> GuestHost:
    if node.system not in HOSTS:
        raise LabError(f"{node.name}: a host of {node.system} has no guests from files", hint="remove guests:")
    host = HOSTS[node.system]
    for guest in node.guests:
        if guest.made is not None and guest.made.by in host.lacks.get(node.release, ()):
            raise LabError(
                f"{node.name}: guest {guest.name}: release {node.release} has no package {guest.made.by}",
                hint="use by: debootstrap",
            )
    return host


def _domains(node: Node, host: GuestHost, templates: Templates) -> Iterator[File]:
    for guest in node.guests:
        starts = ((guest.name, start_of(guest, host)), (f"{guest.name}-install", installation_of(guest)))
        for name, start in starts:
            if start is None:
                continue
            if guest.manager == "libvirt" and not start.once:
                yield File(path=f"{LIBVIRT}/{name}.xml", content=domain_xml(node.name, guest, start), mode=0o600)
            elif guest.manager == "libvirt":
                # Not in libvirt's own folder: a second domain of that name must not stay when it has done its work.
                yield File(path=f"{SCRIPTS}/{guest.name}/install.xml", content=domain_xml(node.name, guest, start))
            else:
                path = f"{host.configs}/{name}{host.suffix}"
                yield File(path=path, content=_xl(guest, start, path, templates))


def _xl(guest: Guest, start: Start, path: str, templates: Templates) -> str:
    named = zip(disk_names(guest), guest.disks, strict=True)
    return templates.render(
        "domain.cfg",
        path=path,
        guest=guest,
        start=start,
        memory=guest.memory // MIB,
        maxmem=None if guest.maxmem is None else guest.maxmem // MIB,
        disks=[
            f"format={disk.format}, vdev={name}, access={'ro' if disk.readonly else 'rw'}, target={disk.path}"
            for name, disk in named
        ],
        vifs=[f"mac={vif.mac}, bridge={vif.bridge}" for vif in guest.vifs],
    )


def _links(node: Node, host: GuestHost, templates: Templates) -> Iterator[File]:
    started = [guest for guest in node.guests if guest.autostart]
    if not started or not host.links:
        return
    links = [
        (f"/etc/xen/auto/{guest.name}", f"{host.configs}/{guest.name}{host.suffix}")
        if guest.manager == "xl"
        else (f"{LIBVIRT}/autostart/{guest.name}.xml", f"{LIBVIRT}/{guest.name}.xml")
        for guest in started
    ]
    yield File(path="/etc/tmpfiles.d/nestlab-guests.conf", content=templates.render("links.conf", links=links))


def _scripts(node: Node, templates: Templates) -> Iterator[File]:
    files = sum(not disk.path.startswith("/dev/") for guest in node.guests for disk in guest.disks)
    for guest in node.guests:
        if guest.made is None or guest.made.by == "existing":
            continue
        values: dict[str, Any] = {
            "guest": guest,
            "made": guest.made,
            "mirror": None if guest.made.mirror is None else guest.made.mirror.rstrip("/"),
            "folder": f"{FOLDER}/{guest.name}",
            # NetBSD serves each file as a vnd, and has device nodes for four of them.
            "more_vnds": range(4, files) if node.system == "netbsd" else (),
            "scripts": f"{SCRIPTS}/{guest.name}",
            "install": f"{HOSTS[node.system].configs}/{guest.name}-install{HOSTS[node.system].suffix}",
        }
        text = templates.render(f"make/{guest.made.by}.sh", **values)
        yield File(path=f"{SCRIPTS}/{guest.name}/make", content=text, mode=0o755)
        if guest.os == "netbsd":
            text = templates.render("inside/netbsd.sh", **values)
            yield File(path=f"{SCRIPTS}/{guest.name}/inside", content=text, mode=0o755)
