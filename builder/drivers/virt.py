"""Domains: started, watched and destroyed through libvirt, embedded in this process by default.

libvirt is imported when it is first needed: everything that does not run a lab works without it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from builder.drivers.embed import leftovers, on_one_cpu, prepare_root, share_capabilities
from builder.drivers.reaper import become_subreaper
from builder.drivers.virt_errors import DomainError, DomainGone, explain, import_libvirt, is_gone
from builder.errors import LabError
from builder.model.runtime import MARK_NAMESPACE
from builder.paths import write_atomic
from builder.run import process_start_time

__all__ = [
    "Domain",
    "DomainError",
    "DomainEvent",
    "Libvirt",
    "become_subreaper",
    "embed_uri",
    "leftovers",
    "prepare_root",
    "share_capabilities",
]

_PNG_END = b"IEND\xaeB`\x82"

EventKind = Literal["started", "reboot", "shutdown", "destroyed", "crashed", "failed"]


@dataclass(frozen=True, slots=True)
class DomainEvent:
    """`shutdown` is a guest that ended by itself: powered off, or rebooted where rebooting ends it."""

    domain: str
    kind: EventKind


def embed_uri(root: Path) -> str:
    return f"qemu:///embed?root={root}"


@functools.cache
def _event_loop() -> threading.Thread:
    """libvirt has one event loop in a process, for good; it must turn before the embedded driver opens."""
    libvirt = import_libvirt()
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # errors are raised; also printed is noise
    libvirt.virEventRegisterDefaultImpl()

    def turn() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    thread = threading.Thread(target=turn, name="libvirt events", daemon=True)
    thread.start()
    return thread


class Libvirt:
    """One connection. All methods may be called from any thread."""

    def __init__(self, connection: Any, uri: str) -> None:
        self._connection = connection
        self.uri = uri
        root = parse_qs(urlsplit(uri).query).get("root")
        self._run = Path(root[0]) / "run/qemu" if root else None

    @classmethod
    def open(cls, uri: str) -> Libvirt:
        """`qemu:///embed?root=...` (after `prepare_root`), `qemu:///system`, `qemu+ssh://...`.

        Raises HostLacks when the binding or libvirt's QEMU driver is missing, LabError when it cannot be opened.
        """
        root = parse_qs(urlsplit(uri).query).get("root")
        if root:  # libvirt logs to stderr unless told otherwise before it is loaded
            os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", f"3:file:{root[0]}/libvirt.log")
        libvirt = import_libvirt()
        _event_loop()
        try:
            with on_one_cpu() if root else contextlib.nullcontext():
                return cls(libvirt.open(uri), uri)
        except libvirt.libvirtError as error:
            raise explain(error, f"cannot open {uri}") from None

    def close(self) -> None:
        """Domains go on running. libvirt keeps an embedded root for this process until that ends."""
        libvirt = import_libvirt()
        with contextlib.suppress(libvirt.libvirtError):
            self._connection.close()

    def __enter__(self) -> Libvirt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def machine_type(self, machine: str) -> str:
        """The versioned machine that `pc` or `q35` stands for here, such as pc-i440fx-7.2."""
        libvirt = import_libvirt()
        try:
            # The capabilities of one emulator: asking for all of them starts every QEMU that is installed.
            text = self._connection.getDomainCapabilities(None, "x86_64", machine, "qemu", 0)
        except libvirt.libvirtError as error:
            raise explain(error, f"machine {machine}") from None
        found = _parse(text).findtext("machine")
        if not found:
            raise LabError(f"libvirt does not say what machine '{machine}' stands for")
        return found

    def start(self, xml: str, *, paused: bool = False) -> Domain:
        """Start a transient domain: nothing of it stays in libvirt when it ends. Raises DomainError."""
        libvirt = import_libvirt()
        name = _parse(xml).findtext("name") or "?"
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0
        try:
            handle = self._connection.createXML(xml, flags)
        except libvirt.libvirtError as error:
            raise explain(error, "cannot be started", node=_mark(xml).get("node", name)) from None
        return self._domain(handle, xml)

    def find(self, name: str) -> Domain | None:
        """The running domain of that name, if it carries our mark."""
        libvirt = import_libvirt()
        try:
            handle = self._connection.lookupByName(name)
            xml = handle.XMLDesc(0)
        except libvirt.libvirtError as error:
            if is_gone(error):
                return None
            raise explain(error, "cannot be looked up", node=name) from None
        return self._domain(handle, xml) if _mark(xml) else None

    def ours(self, lab: str | None = None) -> list[Domain]:
        """Running domains that carry our mark (of one lab, or of any), by name."""
        libvirt = import_libvirt()
        found: list[Domain] = []
        try:
            handles = self._connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        except libvirt.libvirtError as error:
            raise explain(error, "domains cannot be listed") from None
        for handle in handles:
            with contextlib.suppress(libvirt.libvirtError):  # one that ended meanwhile
                domain = self._domain(handle, handle.XMLDesc(0))
                if domain.mark and lab in (None, domain.mark.get("lab")):
                    found.append(domain)
        return sorted(found, key=lambda domain: domain.name)

    def watch(self, on_event: Callable[[DomainEvent], None]) -> Callable[[], None]:
        """Hear of what happens to any domain; the returned call stops it. `on_event` runs in libvirt's event
        thread: it must return at once and not call libvirt."""
        libvirt = import_libvirt()
        kinds: Mapping[tuple[int, int], EventKind] = {
            (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN): "shutdown",
            (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED): "destroyed",
            (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): "crashed",
            (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED): "failed",
            (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED): "started",
        }

        def lifecycle(_connection: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
            kind = kinds.get((event, detail))
            if kind is not None:
                on_event(DomainEvent(domain.name(), kind))

        def reboot(_connection: Any, domain: Any, _opaque: Any) -> None:
            on_event(DomainEvent(domain.name(), "reboot"))

        register = self._connection.domainEventRegisterAny
        ids = [
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None),
            register(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, reboot, None),
        ]

        def stop() -> None:
            for callback in ids:
                with contextlib.suppress(libvirt.libvirtError):
                    self._connection.domainEventDeregisterAny(callback)

        return stop

    def _domain(self, handle: Any, xml: str) -> Domain:
        name = handle.name()
        pid = None
        if self._run is not None:
            with contextlib.suppress(OSError, ValueError):
                pid = int((self._run / f"{name}.pid").read_text())
        return Domain(self._connection, name=name, uuid=handle.UUIDString(), mark=_mark(xml), pid=pid)


class Domain:
    """A running domain. `mark` is what its metadata say (lab, node, expires), `pid` QEMU's process where it is
    known (embedded driver), with `start_time` in clock ticks since boot."""

    def __init__(self, connection: Any, *, name: str, uuid: str, mark: Mapping[str, str], pid: int | None) -> None:
        self._connection = connection
        self.name = name
        self.uuid = uuid
        self.mark = mark
        self.pid = pid
        self.start_time = process_start_time(pid) if pid is not None else None

    def is_running(self) -> bool:
        """Whether the guest can still do something (paused counts). QEMU itself is asked: libvirt may list a guest
        that powered off as running."""
        libvirt = import_libvirt()
        if self.pid is not None and process_start_time(self.pid) != self.start_time:
            return False
        try:
            state, _ = self._handle().state()
            if state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED):
                return False
            answer = self.qmp("query-status")
        except libvirt.libvirtError as error:
            failure = self._explain(error, "does not say whether it runs")
            if isinstance(failure, DomainGone):
                return False
            raise failure from None
        except DomainGone:
            return False
        return answer.get("status") not in ("shutdown", "guest-panicked", "internal-error")

    def lacks_space(self) -> bool:
        """Whether QEMU stopped the guest because the machine it runs on has no room for what the guest writes."""
        with contextlib.suppress(DomainError, import_libvirt().libvirtError):
            if self.qmp("query-status").get("status") == "io-error":
                devices = self.qmp("query-block").get("value", [])
                return any(device.get("io-status") == "nospace" for device in devices)
        return False

    def on_ending(self, do: Callable[[str], None]) -> Callable[[], None]:
        """Call `do` with QEMU's reason whenever the guest restarts its machine or ends it (`guest-reset`,
        `guest-shutdown`, `guest-panic`, ...), until the returned call is made. `do` runs in libvirt's event thread: it
        must return at once."""
        libvirt = import_libvirt()
        import libvirt_qemu  # noqa: PLC0415 - see the module

        def told(*event: Any) -> None:
            details = event[5]  # after connection, domain, name of the event, seconds and microseconds
            do(str(json.loads(details or "{}").get("reason", "")))

        numbers = []
        with contextlib.suppress(libvirt.libvirtError):  # one that ended at once says nothing more
            for event in ("RESET", "SHUTDOWN"):
                handle = self._handle()
                numbers.append(libvirt_qemu.qemuMonitorEventRegister(self._connection, handle, event, told, None, 0))

        def stop() -> None:
            for number in numbers:
                with contextlib.suppress(libvirt.libvirtError):
                    libvirt_qemu.qemuMonitorEventDeregister(self._connection, number)

        return stop

    def screenshot(self, to: Path) -> bool:
        """Keep what is on the screen as a PNG at `to`, whole or not at all; whether there was a screen and a guest to
        ask, and room."""
        part = to.with_name(f".{to.name}.new")
        with contextlib.suppress(LabError, OSError, import_libvirt().libvirtError):
            self.qmp("screendump", filename=str(part), format="png")
            if part.read_bytes().endswith(_PNG_END):  # QEMU does not say what its last write came to
                part.rename(to)
                return True
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        return False

    def fetch_screen(self, to: Path) -> bool:
        """The same by a stream of libvirt's, from whatever machine it runs on; where that gives a PPM, `to` ends so."""
        with contextlib.suppress(LabError, OSError, import_libvirt().libvirtError):
            stream = self._connection.newStream(0)
            kind, parts = self._handle().screenshot(stream, 0, 0), bytearray()
            while data := stream.recv(1 << 16):
                parts += data
            stream.finish()
            write_atomic(to.with_suffix(".png" if kind == "image/png" else ".ppm"), bytes(parts), mode=0o600)
            return True
        return False

    def destroy(self) -> None:
        """Pull the plug. A domain that is gone already is fine."""
        self._call("destroy", "cannot be destroyed", gone_is_fine=True)

    def reset(self) -> None:
        """Press reset. Raises DomainError."""
        self._call("reset", "cannot be reset")

    def shutdown(self) -> None:
        """Press the power button; the guest decides. Raises DomainError."""
        self._call("shutdown", "cannot be asked to shut down")

    def pause(self) -> None:
        self._call("suspend", "cannot be paused")

    def resume(self) -> None:
        self._call("resume", "cannot be resumed")

    def console(self) -> Any:
        """The serial console as a stream of libvirt's. Raises DomainError."""
        libvirt = import_libvirt()
        stream = self._connection.newStream(0)
        force = libvirt.VIR_DOMAIN_CONSOLE_FORCE  # of a connection that was lost
        self.change("its console cannot be opened", lambda it: it.openConsole(None, stream, force))
        return stream

    def xml(self) -> ET.Element:
        """The definition as libvirt has it now, with the names that it gave to devices. Raises DomainError."""
        libvirt = import_libvirt()
        try:
            return _parse(self._handle().XMLDesc(0))
        except libvirt.libvirtError as error:
            raise self._explain(error, "its devices cannot be looked up") from None

    def change(self, failure: str, do: Callable[[Any], object]) -> None:
        """Call `do` with libvirt's own object. Raises DomainError, with `failure` and libvirt's reason."""
        libvirt = import_libvirt()
        try:
            do(self._handle())
        except libvirt.libvirtError as error:
            raise self._explain(error, failure) from None

    def qmp(self, command: str, **arguments: Any) -> dict[str, Any]:
        """QEMU's own answer to a monitor command (its `return`). Raises DomainError, DomainGone when it ends."""
        libvirt = import_libvirt()
        import libvirt_qemu  # noqa: PLC0415 - see the module

        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        try:
            text = libvirt_qemu.qemuMonitorCommand(self._handle(), json.dumps(request), 0)
        except libvirt.libvirtError as error:
            raise self._explain(error, f"QEMU does not answer {command}") from None
        reply = json.loads(text)
        if "error" in reply:
            raise DomainError(f"{self.node}: QEMU refuses {command}: {reply['error'].get('desc')}")
        result = reply.get("return", {})
        return result if isinstance(result, dict) else {"value": result}

    @property
    def node(self) -> str:
        """The node's name, for messages."""
        return self.mark.get("node", self.name)

    def _handle(self) -> Any:
        # Looked up each time: an object kept would keep the connection open after close().
        return self._connection.lookupByUUIDString(self.uuid)

    def _call(self, method: str, failure: str, *, gone_is_fine: bool = False) -> None:
        libvirt = import_libvirt()
        try:
            getattr(self._handle(), method)()
        except libvirt.libvirtError as error:
            said = self._explain(error, failure)
            if gone_is_fine and isinstance(said, DomainGone):
                return
            raise said from None

    def _explain(self, error: Exception, failure: str) -> LabError:
        return explain(error, failure, node=self.node)


def _parse(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 - libvirt's answers and our own definitions


def _mark(xml: str) -> dict[str, str]:
    element = _parse(xml).find(f"metadata/{{{MARK_NAMESPACE}}}mark")
    return {} if element is None else dict(element.attrib)
