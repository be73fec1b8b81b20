"""What a Xen host of SUSE's is known to get wrong: arguments on the wrong line, memory that comes and goes, guests
whose addresses change, and names of tools that are gone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from builder.systems.suse.judge.dead import DEAD_WORDS
from builder.systems.suse.judge.reading import Element
from builder.systems.suse.judge.report import Report
from builder.systems.target import Target

# Words that only Xen reads (docs/misc/xen-command-line), and words that only Linux reads. Both have iommu= and
# crashkernel=.
HYPERVISORS = re.compile(
    r"dom0_\w+|com[12]|loglvl|guest_loglvl|noreboot|ucode|sched|cpufreq|spec-ctrl|watchdog|sync_console"
    r"|no-real-mode|credit2_\w+|gnttab_\w+|crashkernel_xen"
)
LINUXS = re.compile(
    r"quiet|splash|root|ro|rw|resume|rd\.\S+|net\.ifnames|biosdevname|mitigations|xen-pciback\.\w+|pciback\.\w+"
    r"|earlyprintk|loglevel|systemd\.\S+|security|apparmor|selinux|ipv6\.\w+|elevator|init"
)
_DOM0_MEMORY = re.compile(r"\bdom0_mem=([^\s\"']+)")
_SIZE = re.compile(r"([0-9]+)([bkmgt]?)", re.IGNORECASE)
_UNITS = {"b": 1, "": 1 << 10, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DOM0_LEAST = 1 << 30
_PATTERNS = ("xen_server",)
_PACKAGES = ("xen", "xen-tools")
_XL_CONF = "/etc/xen/xl.conf"
_UNIT = "/etc/systemd/system/xen-LIBXL_HOTPLUG_TIMEOUT.service"
_GUESTS = re.compile(r"/etc/xen/(?!scripts/|xl\.conf)(?:vm/|auto/)?[^/]+")
_VIF = re.compile(r"^\s*vif\s*=\s*\[(.*?)\]", re.MULTILINE | re.DOTALL)
_MAC = re.compile(r"mac=([0-9A-Fa-f:]{17})")


def judge_xen(root: Element, report: Report, target: Target | None) -> None:
    settings = root.at("bootloader", "global")
    _loader(root, report, target)
    if settings is None or settings.first("xen_kernel_append") is None:
        report.add("NLS034", 0, "Xen is given no arguments", "add <xen_kernel_append>dom0_mem=2048M,max:2048M</...>")
    elif settings is not None:
        hypervisor = settings.first("xen_kernel_append")
        assert hypervisor is not None
        if not re.search(r"(^|\s)dom0_mem=\S*\bmax:", hypervisor.text):
            report.add("NLS034", hypervisor.line, "dom0's memory is not fixed", "dom0_mem=2048M,max:2048M")
        judge_dom0_memory(hypervisor.text, report, hypervisor.line)
    for name, wrong, code in (("xen_append", HYPERVISORS, "NLS030"), ("xen_kernel_append", LINUXS, "NLS031")):
        line = settings.first(name) if settings is not None else None
        for word in line.text.split() if line is not None else ():
            if line is not None and wrong.fullmatch(word.partition("=")[0]):
                other = "xen_kernel_append" if name == "xen_append" else "xen_append"
                report.add(code, line.line, f"{word} stands in <{name}>", f"it belongs to <{other}>")
    _consoles(settings, report)
    _software(root, report)
    _files(root, report)
    _dead(root, report)


def judge_dom0_memory(text: str, report: Report, place: int | str) -> None:
    """Where a text tells Xen what dom0 has at the start. A size without a unit is KiB."""
    for match in _DOM0_MEMORY.finditer(text):
        for size in filter(None, map(_SIZE.fullmatch, match[1].split(","))):
            if int(size[1]) * _UNITS[size[2].lower()] < _DOM0_LEAST:
                report.add("NLS043", place, f"dom0 has {size[0]} of memory", "xen: {dom0_memory: 2GiB}")


def _loader(root: Element, report: Report, target: Target | None) -> None:
    loader = root.at("bootloader", "loader_type")
    if target is None or loader is None or loader.text == "default":
        return
    wanted = "grub2-efi" if target.firmware == "uefi" else "grub2"
    if loader.text != wanted:
        report.add("NLS037", loader.line, f"{loader.text} does not start from {target.firmware}", f"write {wanted}")


def _consoles(settings: Element | None, report: Report) -> None:
    for line in settings.all("append", "xen_append", "xen_kernel_append") if settings is not None else ():
        if re.search(r"console=\S*,(\s|$)", line.text):
            report.add("NLS033", line.line, "the console's speed is cut off by a space", "console=ttyS0,115200n8")
    dom0 = settings.first("xen_append") if settings is not None else None
    if dom0 is not None:
        if re.search(r"console=ttyS", dom0.text):
            report.add("NLS032", dom0.line, "the serial port is Xen's, and dom0 writes to it", "console=hvc0")
        elif "console=hvc0" not in dom0.text.split():
            report.add("NLS032", dom0.line, "dom0's console is not Xen's", "console=hvc0")


def _software(root: Element, report: Report) -> None:
    software = root.first("software")
    named = {each.text for each in software.walk()} if software is not None else set()
    if not named & set(_PATTERNS) and not set(_PACKAGES) <= named:
        report.add("NLS035", software.line if software else 0, "nothing installs Xen", "add the pattern xen_server")
    enabled = root.at("services-manager", "services", "enable")
    names = {each.text.removesuffix(".service") for each in enabled.children} if enabled is not None else set()
    if "xencommons" not in names:
        report.add("NLS038", enabled.line if enabled else 0, "xencommons is not enabled: no xenstore, no xl",
                   "enable xencommons.service")  # fmt: skip


def _files(root: Element, report: Report) -> None:
    files = {each.value("file_path"): each for each in _all_files(root)}
    conf = files.get(_XL_CONF)
    if conf is None or not re.search(r'^\s*autoballoon\s*=\s*"off"', conf.value("file_contents"), re.MULTILINE):
        report.add("NLS036", conf.line if conf else 0, "xl may take dom0's memory to start a guest",
                   f'write {_XL_CONF} with autoballoon="off"')  # fmt: skip
    enabled = root.at("services-manager", "services", "enable")
    named = [each.text for each in enabled.children] if enabled is not None else []
    name = _UNIT.rpartition("/")[2]
    if _UNIT in files and name not in named:
        report.add("NLS041", files[_UNIT].line, f"{name} is written and not enabled", "name it in <enable>")
    for path, file in files.items():
        if not path.endswith("/") and not file.value("file_contents") and not file.value("file_location"):
            report.add("NLS042", file.line, f"{path} is empty, and not written", "give it a line, or a script makes it")
        if _GUESTS.fullmatch(path):
            for interfaces in _VIF.findall(file.value("file_contents")):
                _guest(interfaces, path, file.line, report)


def _guest(interfaces: str, path: str, line: int, report: Report) -> None:
    for interface in re.findall(r"""["']([^"']*)["']""", interfaces):
        mac = _MAC.search(interface)
        if mac is None:
            report.add("NLS039", line, f"a card of {path} gets another address at each start", "mac=00:16:3e:xx:xx:xx")
        elif not mac[1].lower().startswith("00:16:3e:"):
            report.add("NLS039", line, f"{mac[1]} in {path} is not of Xen's range", "mac=00:16:3e:xx:xx:xx")


def _all_files(root: Element) -> Iterator[Element]:
    files = root.first("files")
    yield from files.children if files is not None else ()


def _dead(root: Element, report: Report) -> None:
    """Words in scripts, files and packages that documents still name."""
    found = [(each, each.value("file_path") + "\n" + each.value("file_contents")) for each in _all_files(root)]
    scripts, packages = root.first("scripts"), root.at("software", "packages")
    found += [(each, each.text) for each in (scripts.walk() if scripts is not None else ()) if each.name == "source"]
    found += [(each, each.text) for each in (packages.children if packages is not None else ())]
    for element, text in found:
        for setting, pattern in DEAD_WORDS.items():
            if pattern.search(text):
                report.add("NLS040", element.line, f"{setting} is of an older time", f"nestlab explain '{setting}'")
