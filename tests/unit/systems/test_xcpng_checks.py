"""The readers of labs/checks/test_xcpng.py, on transcripts in the form that the programs' documentation shows."""

from __future__ import annotations

from labs.checks.test_xcpng import export, menu, records, settings
from tests.support.xcpng_installer.inside.loader import Menu, menu_text

SR_LIST = """\
uuid ( RO)            : 4d8c9b2e-6a3f-1c0d-9a11-5f0a5d6c7b21
                 type ( RO): ext
         content-type ( RO): user


"""
PIF_LIST = """\
uuid ( RO)                  : 0b2f4d7c-12e5-8f4a-7c3b-0d9e8f7a6b5c
                   device ( RO): eth0
    IP-configuration-mode ( RO): Static
                       IP ( RO): 192.0.2.10
                      DNS ( RO): 192.0.2.53,192.0.2.54


uuid ( RO)                  : 9e8d7c6b-5a49-3827-1605-f4e3d2c1b0a9
                   device ( RO): eth1
    IP-configuration-mode ( RO): None
                       IP ( RO): 
                      DNS ( RO): 
"""  # noqa: W291 - an empty field ends with a blank
HOST_LIST = """\
uuid ( RO)          : c0ffee00-1111-2222-3333-444455556666
          name-label ( RW): host
             enabled ( RO): true
"""
MENU = """\
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set default=1
set timeout=5
menuentry 'XCP-ng' {
\tsearch --label --set root root-abcdef
\tmultiboot2 /boot/xen.gz dom0_mem=2640M,max:2640M console=vga
\tmodule2 /boot/vmlinuz-4.19-xen root=LABEL=root-abcdef ro quiet
\tmodule2 /boot/initrd-4.19-xen.img
}
menuentry 'XCP-ng (Serial)' {
\tsearch --label --set root root-abcdef
\tmultiboot2 /boot/xen.gz com1=115200,8n1 console=com1,vga dom0_mem=4096M,max:4096M
\tmodule2 /boot/vmlinuz-4.19-xen root=LABEL=root-abcdef ro console=tty0 console=hvc0
\tmodule2 /boot/initrd-4.19-xen.img
}
"""


def test_records_of_xe() -> None:
    assert records(SR_LIST) == [{"uuid": "4d8c9b2e-6a3f-1c0d-9a11-5f0a5d6c7b21", "type": "ext", "content-type": "user"}]
    first, second = records(PIF_LIST)
    assert (first["IP"], first["IP-configuration-mode"], first["DNS"]) == (
        "192.0.2.10", "Static", "192.0.2.53,192.0.2.54",
    )  # fmt: skip
    assert (second["device"], second["IP"], second["DNS"]) == ("eth1", "", "")
    assert records(HOST_LIST)[0]["enabled"] == "true"
    assert records("") == []


def test_settings_with_and_without_quotes() -> None:
    text = "LABEL='eth0'\nMODE='dhcp'\n# a remark\nMODEV6='none'\nDNS=192.0.2.53\n"
    assert settings(text) == {"LABEL": "eth0", "MODE": "dhcp", "MODEV6": "none", "DNS": "192.0.2.53"}


def test_the_boot_menu_and_its_default() -> None:
    entries, chosen = menu(MENU)
    assert [entry.title for entry in entries] == ["XCP-ng", "XCP-ng (Serial)"]
    assert chosen == entries[1]
    assert (chosen.label, chosen.hypervisor[-1]) == ("root-abcdef", "dom0_mem=4096M,max:4096M")
    assert chosen.kernel == ("root=LABEL=root-abcdef", "ro", "console=tty0", "console=hvc0")
    assert menu(MENU.replace("set default=1", "set default='0'"))[1].title == "XCP-ng"


def test_the_stand_ins_menu_is_read_alike() -> None:
    made = Menu("XCP-ng", "root-abcdef", "4.17", "4.19.0", 2640, 2, ("com1", "115200,8n1"), True, False)
    entries, chosen = menu(menu_text(made))
    assert [entry.title for entry in entries] == [
        "XCP-ng", "XCP-ng (Serial)", "XCP-ng in Safe Mode", "XCP-ng (Xen 4.17 / Linux 4.19.0)",
        "XCP-ng (Serial, Xen 4.17 / Linux 4.19.0)",
    ]  # fmt: skip
    assert chosen.title == "XCP-ng (Serial)" and "dom0_mem=2640M,max:2640M" in chosen.hypervisor


def test_blkids_export() -> None:
    assert export("DEVNAME=/dev/sda1\nLABEL=root-abcdef\nPART_ENTRY_NUMBER=1\n")["LABEL"] == "root-abcdef"
