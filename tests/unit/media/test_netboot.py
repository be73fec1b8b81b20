"""Boot trees for a network: what is taken from a medium, and what the menus say. Loaders judge them in integration."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.media.edits import Arguments, Edit, Overlay, Put
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile
from builder.media.netboot import NetBoot, for_network, plan_netboot, reads_medium
from builder.media.plan import plan_edits
from tests.unit.media import made

MAC = "52:54:00:12:34:56"
GRUB = "boot/grub/grub.cfg-01-52-54-00-12-34-56"
XEN_MENU = b"label i\n  kernel mboot.c32\n  append /boot/xen.gz a=1 --- /boot/vmlinuz b --- /install.img\n"
XEN = {
    "/boot/isolinux/isolinux.cfg": XEN_MENU, "/boot/xen.gz": b"x", "/boot/vmlinuz": b"k",
    "/install.img": b"BZh9" + b"i" * 99,
    "/.treeinfo": b"[platform]\nname = XCP\n[branding]\nname = XCP-ng\nversion = 8\n",
}  # fmt: skip
RHEL = {
    **made.FILES,
    "/isolinux/isolinux.cfg": b"label l\n kernel vmlinuz\n append initrd=initrd.img inst.stage2=hd:LABEL=A quiet\n",
    "/.treeinfo": b"[general]\nfamily = Rocky Linux\nversion = 9.4\n",
}


def tree(tmp_path: Path, files: dict[str, bytes], edits: list[Edit], source: str = "", mac: str = MAC) -> NetBoot:
    plan = plan_edits(made.iso(tmp_path / "x.iso", files, boot=False), edits)
    return plan_netboot(plan, "host", macs=(mac,) if mac else (), source=source)


def test_a_linux_installer(tmp_path: Path) -> None:
    edits: list[Edit] = [Arguments(kernel=("net=a;b",)), Overlay((OverlayFile("/ks.cfg", b"text"),), how="second")]
    made_tree = tree(tmp_path, RHEL, edits, "http://192.0.2.1:8080/host.iso")
    assert made_tree.taken == {
        "host/vmlinuz": "/isolinux/vmlinuz",
        "host/initrd.img": "/isolinux/initrd.img",
        "host/nestlab.img": "/nestlab.img",
    }
    words = "quiet net=a;b inst.repo=http://192.0.2.1:8080/host.iso"
    assert made_tree.texts["pxelinux.cfg/01-52-54-00-12-34-56"] == (
        f"default host\nlabel host\n  kernel host/vmlinuz\n  append initrd=host/initrd.img,host/nestlab.img {words}\n"
    )
    assert made_tree.texts[GRUB].splitlines()[2:4] == [
        "  linux /host/vmlinuz quiet 'net=a;b' inst.repo=http://192.0.2.1:8080/host.iso",
        "  initrd /host/initrd.img /host/nestlab.img",
    ]
    for platform in ("i386-pc", "x86_64-efi"):
        assert made_tree.texts[GRUB.replace("grub/", f"grub/{platform}/")] == made_tree.texts[GRUB]
    assert made_tree.texts["host.ipxe"] == (
        f"#!ipxe\nkernel host/vmlinuz initrd=initrd.img initrd=nestlab.img {words}\n"
        "initrd host/initrd.img\ninitrd host/nestlab.img\nboot\n"
    )
    assert not made_tree.xen


def test_names_that_menus_cannot_hold(tmp_path: Path) -> None:
    """GRUB's own menus may quote them; in the tree the files are called by what they are for."""
    menu = b"menuentry i {\n linux '/boot dir/the kernel' a=1\n initrd '/boot dir/the initrd'\n}\n"
    files = {"/boot/grub/grub.cfg": menu, "/boot dir/the kernel": b"k", "/boot dir/the initrd": b"070701"}
    found = tree(tmp_path, files, [])
    assert found.taken == {"host/kernel": "/boot dir/the kernel", "host/initrd": "/boot dir/the initrd"}
    assert "append initrd=host/initrd a=1" in found.texts["pxelinux.cfg/01-52-54-00-12-34-56"]


def test_a_hypervisor(tmp_path: Path) -> None:
    made_tree = tree(tmp_path, XEN, [Arguments(("c",), ("com1=1",))])
    assert made_tree.xen
    assert sorted(made_tree.taken.values()) == ["/boot/vmlinuz", "/boot/xen.gz", "/install.img"]
    assert made_tree.texts["pxelinux.cfg/01-52-54-00-12-34-56"].splitlines()[2:] == [
        "  kernel mboot.c32",
        "  append host/xen.gz a=1 com1=1 --- host/vmlinuz b c --- host/install.img",
    ]
    assert made_tree.texts[GRUB].splitlines()[2:5] == [
        "  multiboot2 /host/xen.gz a=1 com1=1", "  module2 /host/vmlinuz b c", "  module2 /host/install.img",
    ]  # fmt: skip
    assert "chain pxelinux.0" in made_tree.texts["host.ipxe"]


def test_without_a_card_the_menus_are_everybodys(tmp_path: Path) -> None:
    texts = tree(tmp_path, XEN, [], mac="").texts
    assert {"pxelinux.cfg/default", "boot/grub/grub.cfg", "host.ipxe"} == set(texts)


def test_release_6_knows_another_word(tmp_path: Path) -> None:
    files = {**RHEL, "/.treeinfo": b"", "/.discinfo": b"1.1\nCentOS 6.10\nx86_64\n"}
    assert " repo=http://x/" in tree(tmp_path, files, [], "http://x/").texts["host.ipxe"]


def test_what_has_no_network_boot(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="needs to know from where"):
        tree(tmp_path, RHEL, [])
    with pytest.raises(MediaError, match="loads a kernel with an initrd"):
        tree(tmp_path, {"/readme.txt": b"x"}, [])
    with pytest.raises(MediaError, match="not on the medium"):
        tree(tmp_path, {k: v for k, v in XEN.items() if k != "/boot/xen.gz"}, [])
    with pytest.raises(MediaError, match="no MAC address"):
        tree(tmp_path, XEN, [], mac="52-54-00-12-34-56")
    with pytest.raises(MediaError, match="setting of its own"):
        tree(tmp_path, RHEL, [Arguments(kernel=("a=${b}",))], "http://x/")
    with pytest.raises(MediaError, match="2047 characters"):
        tree(tmp_path, RHEL, [], "http://" + "x" * 2100)


def test_names_that_meet(tmp_path: Path) -> None:
    """Two files of one name in different folders must not become one."""
    menu = b"label l\n kernel /a/linux\n append initrd=/b/linux x\n"
    files = {"/isolinux/isolinux.cfg": menu, "/a/linux": b"kernel", "/b/linux": b"initrd"}
    assert tree(tmp_path, files, []).taken == {"host/kernel": "/a/linux", "host/initrd": "/b/linux"}


def test_answers_move_into_the_initrd() -> None:
    edits: list[Edit] = [
        Arguments(kernel=("inst.ks=hd:LABEL=OEMDRV:/ks.cfg", "quiet")),
        Overlay((OverlayFile("/a", b"a"),)),
    ]
    first, second = for_network(edits, {"/ks.cfg": b"text", "/seed/etc/x": b"only on the volume"})
    assert isinstance(first, Arguments)
    assert first.kernel == ("inst.ks=file:/ks.cfg", "quiet")
    assert isinstance(second, Overlay)
    assert [(f.path, f.content) for f in second.files] == [("/a", b"a"), ("/ks.cfg", b"text")]
    cd: list[Edit] = [Put("/ks.cfg", b"text"), Arguments(kernel=("ks=cdrom:/ks.cfg",))]
    moved = for_network(cd, {})
    assert [f.path for e in moved if isinstance(e, Overlay) for f in e.files] == ["/ks.cfg"]
    assert for_network([Put("/x", b"y")], {}) == (Put("/x", b"y"),)


@pytest.mark.parametrize(
    ("word", "moved"),
    [
        ("inst.ks=hd:LABEL=OEMDRV:/ks.cfg", "inst.ks=file:/ks.cfg"),
        ("ks=cdrom:/ks.cfg", "ks=file:/ks.cfg"),
        ("autoyast=label://OEMDRV/autoinst.xml", "autoyast=file:///autoinst.xml"),
        ("inst.stage2=hd:LABEL=X", "inst.stage2=hd:LABEL=X"),
        ("inst.ks=http://x/ks.cfg", "inst.ks=http://x/ks.cfg"),
    ],
)
def test_words_for_files_on_a_volume(word: str, moved: str) -> None:
    assert for_network([Arguments(kernel=(word,))], {}) == (Arguments(kernel=(moved,)),)


def test_answers_that_want_the_medium() -> None:
    local = Overlay((OverlayFile("/answerfile.xml", b'<source type="local"/>'),))
    assert reads_medium([local])
    assert not reads_medium([Overlay((OverlayFile("/answerfile.xml", b'<source type="url">http://x</source>'),))])
