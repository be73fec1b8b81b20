"""Boot menus: what is read from them, and what edits make of them, as pairs of texts."""

from __future__ import annotations

import pytest

from builder.media import menus
from builder.media.errors import MediaError
from builder.media.menus import Change, Loader
from builder.media.menus.common import resolve
from builder.media.menus.grub import quote, unquote

ISOLINUX = """default vesamenu.c32
label linux
  menu label ^Install
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL=A\\x20B quiet
label check
  menu label Test this ^media
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL=A rd.live.check quiet
label bare
  linux /casper/vmlinuz
  initrd /casper/initrd
label local
  localboot 0xffff
label chain
  kernel chain.c32
  append hd0
"""
MBOOT = """label install
    kernel mboot.c32
    append /boot/xen.gz dom0_max_vcpus=1-16 com1=115200,8n1 --- /boot/vmlinuz xencons=hvc console=tty0 --- /install.img
"""
DEBIAN = "label install\n\tkernel linux\n\tappend vga=788 initrd=initrd.gz --- quiet\n"
GRUB = """set default="1"
menuentry 'Install Fedora' --class fedora --id install {
\tlinux /images/vmlinuz inst.stage2=hd:LABEL=F quiet
\tinitrd /images/initrd.img
}
if [ x$feature = xy ]; then
menuentry "Test \\"media\\"" {
\tlinuxefi ($root)/images/vmlinuz \\
\t\trd.live.check quiet
\tinitrdefi ($root)/images/initrd.img
}
fi
menuentry "XCP-ng" {
  multiboot2 /boot/xen.gz dom0_mem=max:8192M
  module2 /boot/vmlinuz console=tty0
  module2 /install.img
}
menuentry "Hurd" {
  multiboot /boot/gnumach.gz root=hd0
  module /hurd/ext2fs --readonly
}
"""
NETBSD = (
    "banner=Welcome\nmenu=Install:boot netbsd\n"
    "menu=Xen:load /dom0.gz console=pc;multiboot /xen.gz dom0_mem=512M\nmenu=Prompt:prompt\n"
)


def test_isolinux_is_read() -> None:
    entries = menus.read("isolinux", ISOLINUX)
    assert [(e.title, e.kernel, e.initrds) for e in entries] == [
        ("linux", "vmlinuz", ("initrd.img",)),
        ("check", "vmlinuz", ("initrd.img",)),
        ("bare", "/casper/vmlinuz", ("/casper/initrd",)),
    ]
    assert entries[0].arguments == ("inst.stage2=hd:LABEL=A\\x20B", "quiet")


def test_mboot_is_read_by_layers() -> None:
    (entry,) = menus.read("isolinux", MBOOT)
    assert (entry.hypervisor, entry.kernel, entry.initrds, entry.module) == (
        "/boot/xen.gz",
        "/boot/vmlinuz",
        ("/install.img",),
        True,
    )
    assert entry.hypervisor_arguments == ("dom0_max_vcpus=1-16", "com1=115200,8n1")


def test_grub_is_read() -> None:
    entries = {e.title: e for e in menus.read("grub", GRUB)}
    assert list(entries) == ["Install Fedora", 'Test "media"', "XCP-ng", "Hurd"]
    assert entries['Test "media"'].arguments == ("rd.live.check", "quiet")
    assert entries["XCP-ng"].initrds == ("/install.img",)
    assert entries["XCP-ng"].hypervisor_arguments == ("dom0_mem=max:8192M",)
    assert (entries["Hurd"].kernel, entries["Hurd"].hypervisor) == ("/boot/gnumach.gz", "")


def test_netbsd_is_read() -> None:
    install, xen = menus.read("netbsd", NETBSD)
    assert (install.kernel, install.arguments) == ("netbsd", ())
    assert (xen.kernel, xen.hypervisor, xen.arguments) == ("/dom0.gz", "/xen.gz", ("console=pc",))


ADD = Change(kernel=("inst.ks=cdrom:/ks.cfg", "quiet"))
SECOND = Change(second_initrd=(("/isolinux/initrd.img", "/n.img"),), folder="/isolinux")
NETS = " 'net=a;b=c' '{x}'"
CASES: list[tuple[str, Loader, str, Change, dict[str, str]]] = [
    ("added once", "isolinux", ISOLINUX, ADD, {
        "LABEL=A\\x20B quiet\n": "LABEL=A\\x20B quiet inst.ks=cdrom:/ks.cfg\n",
        "rd.live.check quiet\n": "rd.live.check quiet inst.ks=cdrom:/ks.cfg\n",
        "linux /casper/vmlinuz\n": "linux /casper/vmlinuz\n  append inst.ks=cdrom:/ks.cfg quiet\n",
    }),
    ("one entry by its label", "isolinux", ISOLINUX, Change(kernel=("x",), titles=("check",)), {
        "rd.live.check quiet\n": "rd.live.check quiet x\n",
    }),
    ("one entry by what the menu shows", "isolinux", ISOLINUX, Change(kernel=("x",), titles=("Test this media",)), {
        "rd.live.check quiet\n": "rd.live.check quiet x\n",
    }),
    ("removed", "isolinux", ISOLINUX, Change(remove=("rd.live.check", "inst.stage2=")), {
        " inst.stage2=hd:LABEL=A\\x20B": "", " inst.stage2=hd:LABEL=A rd.live.check": "",
    }),
    ("second initrd", "isolinux", ISOLINUX, SECOND, {
        "initrd=initrd.img": "initrd=initrd.img,/n.img",
    }),
    ("second initrd, own line", "isolinux", ISOLINUX, Change(second_initrd=(("/casper/initrd", "/n.img"),)), {
        "initrd /casper/initrd": "initrd /casper/initrd,/n.img",
    }),
    ("before the installer's dashes", "isolinux", DEBIAN, Change(kernel=("auto=true",)), {" ---": " auto=true ---"}),
    ("mboot by layers", "isolinux", MBOOT, Change(("answerfile=file:///a",), ("no-real-mode",)), {
        "8n1 ---": "8n1 no-real-mode ---", "tty0 ---": "tty0 answerfile=file:///a ---",
    }),
    ("carriage returns stay", "isolinux", DEBIAN.replace("\n", "\r\n"), Change(kernel=("a",)), {" ---": " a ---"}),
    ("no line end", "isolinux", "label a\nkernel k", Change(kernel=("x",)), {"kernel k": "kernel k\n  append x\n"}),
    ("common arguments stay", "isolinux", "append a=1 b\nlabel x\nkernel k\nlabel y\nkernel k\nappend c\n",
        Change(kernel=("n",), remove=("b",)), {
        "label x\nkernel k\n": "label x\nkernel k\n  append a=1 n\n", "append c": "append c n",
    }),
    ("quoted for GRUB", "grub", GRUB, Change(kernel=("net=a;b=c", "{x}")), {
        "LABEL=F quiet": "LABEL=F quiet" + NETS,
        "($root)/images/vmlinuz \\\n\t\trd.live.check quiet": "($root)/images/vmlinuz rd.live.check quiet" + NETS,
        "vmlinuz console=tty0": "vmlinuz console=tty0" + NETS,
        "root=hd0": "root=hd0" + NETS,
    }),
    ("GRUB by id", "grub", GRUB, Change(kernel=("x",), titles=("install",)), {"LABEL=F quiet": "LABEL=F quiet x"}),
    ("GRUB hypervisor only", "grub", GRUB, Change(hypervisor=("ucode=scan",)), {"8192M": "8192M ucode=scan"}),
    ("GRUB second initrd keeps the device", "grub", GRUB, Change(second_initrd=(("/images/initrd.img", "/n.img"),)), {
        "initrd /images/initrd.img": "initrd /images/initrd.img /n.img",
        "initrdefi ($root)/images/initrd.img": "initrdefi ($root)/images/initrd.img ($root)/n.img",
    }),
    ("NetBSD", "netbsd", NETBSD, Change(("-z",), ("com1=9600",)), {
        "boot netbsd": "boot netbsd -z", "console=pc": "console=pc -z", "512M": "512M com1=9600",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("name", "loader", "text", "change", "expected"), CASES, ids=[case[0] for case in CASES])
def test_edits(name: str, loader: Loader, text: str, change: Change, expected: dict[str, str]) -> None:
    wanted = text
    for old, new in expected.items():
        assert old in wanted
        wanted = wanted.replace(old, new)
    once = menus.edit(loader, text, change)
    assert once == wanted
    assert menus.edit(loader, once, change) == once, "a second time changes nothing"


def test_nothing_asked_changes_nothing() -> None:
    texts: list[tuple[Loader, str]] = [("isolinux", ISOLINUX), ("isolinux", MBOOT), ("grub", GRUB), ("netbsd", NETBSD)]
    for loader, text in texts:
        assert menus.edit(loader, text, Change()) == text


@pytest.mark.parametrize("argument", ["", "a\nb", "a\0b", "\x7f"])
def test_arguments_are_one_line(argument: str) -> None:
    with pytest.raises(MediaError, match="cannot be a boot argument"):
        Change(kernel=(argument,))


@pytest.mark.parametrize("argument", ['say="two', "two words", "it's", "back\\slash"])
def test_arguments_that_loaders_alter_are_refused(argument: str) -> None:
    with pytest.raises(MediaError, match="would not reach the kernel"):
        Change(hypervisor=(argument,))


def test_loaders_with_limits_refuse() -> None:
    with pytest.raises(MediaError, match="79 bytes"):
        menus.edit("netbsd", NETBSD, Change(hypervisor=("x" * 60,)))
    with pytest.raises(MediaError, match="'#'"):
        menus.edit("netbsd", NETBSD, Change(kernel=("a#b",)))
    with pytest.raises(MediaError, match="2047"):
        menus.edit("isolinux", ISOLINUX, Change(kernel=("x" * 2040,)))


def test_loaders_are_told_by_name_and_content() -> None:
    assert menus.loader_of("/isolinux/isolinux.cfg", ISOLINUX) == "isolinux"
    assert menus.loader_of("/isolinux/txt.cfg", DEBIAN) == "isolinux"
    assert menus.loader_of("/boot/grub/loopback.cfg", GRUB) == "grub"
    assert menus.loader_of("/boot.cfg", NETBSD) == "netbsd"
    assert menus.loader_of("/isolinux/menu.cfg", "menu title Hello\ninclude txt.cfg\n") is None
    assert menus.loader_of("/boot/grub/theme.cfg", "set color_normal=cyan/blue\n") is None


@pytest.mark.parametrize("word", ["plain", "a b", "it's", '"', "$x", "a;b", "\\", "back`tick", "{}", "é"])
def test_grub_words_survive_quoting(word: str) -> None:
    assert unquote(quote(word)) == word


@pytest.mark.parametrize(
    ("written", "folder", "path"),
    [
        ("initrd.img", "/isolinux", "/isolinux/initrd.img"), ("/a//b", "/x", "/a/b"), ("($root)/a", "/", "/a"),
        ("$prefix/x", "/", "/x"), ("../up", "/boot/isolinux", "/boot/up"), ("../../..", "/a", "/"),
    ],
)  # fmt: skip
def test_paths_of_menus(written: str, folder: str, path: str) -> None:
    assert resolve(written, folder) == path


def test_grub_legacy_as_on_el6_media() -> None:
    text = "default=0\ntitle CentOS 6\n\tkernel /images/pxeboot/vmlinuz quiet\n\tinitrd /images/pxeboot/initrd.img\n"
    assert menus.loader_of("/EFI/BOOT/BOOTX64.conf", text) == "grub"
    (entry,) = menus.read("grub", text)
    assert (entry.title, entry.initrds) == ("CentOS 6", ("/images/pxeboot/initrd.img",))
    assert menus.edit("grub", text, Change(kernel=("ks=cdrom:/ks.cfg",))) == text.replace(
        "quiet", "quiet ks=cdrom:/ks.cfg"
    )
