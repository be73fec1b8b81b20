"""boot.cfg: the loader's rules as they are restated here, and what is found wrong by them."""

from __future__ import annotations

import pytest

from builder.systems.netbsd.judge import judge_boot_cfg
from builder.systems.netbsd.judge.reading import read_boot_cfg

# Written by hand: not what the generator makes.
RIGHT = """\
# a comment of its own line
banner=Welcome
menu=Xen:load /netbsd-XEN3_DOM0.gz root=wd0a;multiboot /xen.gz dom0_mem=512M console=com1 com1=9600,8n1
menu=GENERIC:boot netbsd
menu=GENERIC single user:boot netbsd -s
menu=Prompt:prompt
default=1
timeout=5
consdev=com0
clear=1
"""
# As the wiki shows it: every command is short enough, and the names of the kernels are those of 32-bit hosts.
OLD = """\
menu=Xen:load /netbsd-XEN3PAE_DOM0.gz console=pc;multiboot /xen.gz dom0_mem=512M
menu=Xen.ok:load /netbsd-XEN3PAE_DOM0.ok.gz console=pc;multiboot /xen.ok.gz dom0_mem=512M
menu=GENERIC:boot
menu=GENERIC single-user:boot -s
menu=GENERIC.ok:boot netbsd.ok
menu=GENERIC.ok single-user:boot netbsd.ok -s
menu=Drop to boot prompt:prompt
"""


def codes(text: str) -> list[str]:
    return [finding.code for finding in judge_boot_cfg(text)]


def test_nothing_is_found_in_what_is_right() -> None:
    assert codes(RIGHT) == []
    assert codes(RIGHT.replace("console=com1 com1=9600,8n1", "").replace("consdev=com0", "consdev=pc")) == []


def test_the_old_menu_parses_and_its_kernels_are_told() -> None:
    assert codes(OLD) == ["NLN024", "NLN024"]
    config = read_boot_cfg(OLD)
    assert len(config.entries) == 7 and config.timeout == 10 and config.default == 0 and not config.letters
    assert max(len(command) for entry in config.entries for command in entry.commands) == 42
    assert config.chosen is not None
    assert config.chosen.commands == (
        "load /netbsd-XEN3PAE_DOM0.gz console=pc", "multiboot /xen.gz dom0_mem=512M",
    )  # fmt: skip


MANY = "".join(f"menu=entry {number}:boot netbsd.{number}\n" for number in range(12))
# Code, what stands there, what is put in its place, and what else that brings.
CHANGES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("NLN001", "Welcome", "x" * 32768, ()),
    ("NLN002", "dom0_mem=512M", "dom0_mem=512M dom0_max_vcpus=1 dom0_vcpus_pin", ()),
    ("NLN002", "boot netbsd\n", "boot netbsd" + " " * 70 + "\n", ()),
    ("NLN003", "boot netbsd -s", "boot netbsd # -s", ()),
    ("NLN003", "boot netbsd -s", "boot netbsd #1 -s", ()),
    ("NLN004", "menu=Prompt", "menu =Prompt", ()),
    ("NLN004", "timeout=5", "timeouts=5", ()),
    ("NLN005", "clear=1", "clear 1", ()),
    ("NLN006", "clear=1", "rndseed=/var/db/entropy-file", ()),
    ("NLN006", "clear=1", " menu=Late:boot netbsd", ()),
    ("NLN007", "clear=1\n", "".join(f"menu=e{n}:boot netbsd\n" for n in range(17)), ()),
    ("NLN008", "banner=Welcome\n", "banner=Welcome\n" * 13, ()),
    ("NLN009", "menu=Prompt:prompt", "menu=prompt", ()),
    ("NLN010", "timeout=5", "timeout=-1", ()),
    ("NLN010", "timeout=5", "timeout= 5", ()),
    ("NLN010", "timeout=5", "timeout=", ()),
    ("NLN011", "default=1", "default=9", ()),
    ("NLN011", "default=1", "default=0", ()),
    ("NLN012", "clear=1\n", f"format=n\n{MANY}", ()),
    ("NLN013", "clear=1", "format=roman", ()),
    ("NLN014", "consdev=com0", "consdev=com0,115200", ()),
    ("NLN014", "consdev=com0", "consdev=tty0", ()),
    ("NLN016", "boot netbsd -s", "start netbsd -s", ()),
    ("NLN017", "load /netbsd-XEN3_DOM0.gz root=wd0a;", "", ()),
    ("NLN018", "dom0_mem=512M", "dom0_mem=512M root=wd0a", ()),
    ("NLN018", "root=wd0a", "root=wd0a dom0_mem=1G", ()),
    ("NLN019", "console=com1", "console=com0", ()),
    ("NLN020", "consdev=com0", "consdev=com1", ()),
    ("NLN021", "menu=GENERIC:boot netbsd\nmenu=GENERIC single user:boot netbsd -s\n", "", ()),
    ("NLN022", "root=wd0a", "console=pc root=wd0a", ()),
    ("NLN023", "menu=Prompt:prompt", "menu=Prompt:;prompt", ()),
    ("NLN023", "menu=Prompt:prompt", "menu=Prompt:", ()),
    ("NLN023", "menu=Prompt:prompt", "menu=Prompt:ls;;;prompt", ()),
    ("NLN024", "XEN3_DOM0", "XEN3PAE_DOM0", ()),
)


@pytest.mark.parametrize(("code", "old", "new", "besides"), CHANGES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CHANGES)])
def test_one_wrong_thing_is_found(code: str, old: str, new: str, besides: tuple[str, ...]) -> None:
    assert old in RIGHT
    assert sorted(codes(RIGHT.replace(old, new, 1))) == sorted((code, *besides))


def test_a_file_without_entries() -> None:
    assert codes("timeout=5\n") == ["NLN015"]


def test_sizes_are_those_of_the_loaders_memory() -> None:
    fits = f"menu=A:boot {'n' * 74}\n"
    assert codes(fits) == [] and codes(fits.replace("boot ", "boot nn")) == ["NLN002"]
    assert codes("menu=GENERIC:boot netbsd\n" + "#" * (32768 - 25)) == []
    assert codes("menu=GENERIC:boot netbsd\n" + "#" * (32769 - 25)) == ["NLN001"]
    assert read_boot_cfg("menu=A:boot\n" + "#" * 32768).entries == []


def test_what_the_loader_makes_of_odd_lines() -> None:
    config = read_boot_cfg("menus=A:boot a:b\nmenu=:boot c\nmenu=D:  e ; f;;\nroot=x\ntimeout=7s\ndefault=2\n")
    assert [(entry.description, entry.commands) for entry in config.entries] == [
        ("A", ("boot a:b",)), ("boot c", ("boot c",)), ("D", ("  e", "f")),
    ]  # fmt: skip
    assert (config.timeout, config.default) == (7, 1)
    assert read_boot_cfg("timeout=x\n").timeout == -1
    assert read_boot_cfg("default=-3\nmenu=A:boot\n").default == 0
    assert read_boot_cfg("default=99\nmenu=A:boot\nmenu=B:boot\n").default == 1


def test_letters_and_numbers() -> None:
    assert read_boot_cfg(MANY).letters and len(read_boot_cfg(MANY).entries) == 12
    assert not read_boot_cfg(f"timeout=0\n{MANY}").letters
    assert len(read_boot_cfg(f"format=n\n{MANY}").entries) == 9
    assert len(read_boot_cfg(f"format=n\ntimeout=0\n{MANY}").entries) == 12
    assert read_boot_cfg("format=l\nmenu=A:boot\n").letters


def test_findings_say_where() -> None:
    finding = judge_boot_cfg(RIGHT.replace("timeout=5", "timeout=-1"))[0]
    assert (finding.where, finding.severity, finding.hint) == ("boot.cfg:8", "error", "timeout=5")
