"""Right answers for SUSE, written by hand and not by the generator, and the machine that they are for. Tests of the
judge change one thing in them."""

from __future__ import annotations

from typing import Any

from builder.systems.machine import Card, Machine, MachineDisk

GIB = 1 << 30

# Written by hand: not what the generator makes.
RIGHT = """\
<?xml version="1.0"?>
<profile xmlns="http://www.suse.com/1.0/yast2ns" xmlns:config="http://www.suse.com/1.0/configns">
  <general>
    <mode>
      <confirm t="boolean">false</confirm>
      <second_stage config:type="boolean">false</second_stage>
      <halt t="boolean">true</halt>
    </mode>
    <signature-handling>
      <accept_unknown_gpg_key t="boolean">true</accept_unknown_gpg_key>
      <accept_non_trusted_gpg_key t="boolean">true</accept_non_trusted_gpg_key>
      <import_gpg_key t="boolean">true</import_gpg_key>
    </signature-handling>
  </general>
  <report>
    <warnings><show t="boolean">true</show><timeout t="integer">10</timeout></warnings>
  </report>
  <add-on>
    <add_on_others t="list"><listentry>
      <media_url>http://x/</media_url><confirm_license t="boolean">false</confirm_license>
    </listentry></add_on_others>
  </add-on>
  <bootloader>
    <loader_type>grub2</loader_type>
    <global>
      <append>console=ttyS0,115200n8</append>
      <xen_append>console=hvc0 mitigations=off</xen_append>
      <xen_kernel_append>dom0_mem=2048M,max:2048M com1=115200,8n1 console=com1</xen_kernel_append>
      <boot_mbr>true</boot_mbr>
    </global>
  </bootloader>
  <partitioning t="list">
    <drive>
      <device>/dev/sda</device><disklabel>gpt</disklabel><use>all</use>
      <partitions t="list">
        <partition><partition_id t="integer">263</partition_id><size>8MiB</size></partition>
        <partition><partition_id t="integer">253</partition_id><size>1GiB</size><raid_name>/dev/md/boot</raid_name></partition>
        <partition><partition_id t="integer">253</partition_id><size>max</size><raid_name>/dev/md/pv</raid_name></partition>
      </partitions>
    </drive>
    <drive>
      <device>/dev/sdb</device><disklabel>gpt</disklabel><use>all</use>
      <partitions t="list">
        <partition><partition_id t="integer">263</partition_id><size>8MiB</size></partition>
        <partition><partition_id t="integer">253</partition_id><size>1GiB</size><raid_name>/dev/md/boot</raid_name></partition>
        <partition><partition_id t="integer">253</partition_id><size>max</size><raid_name>/dev/md/pv</raid_name></partition>
      </partitions>
    </drive>
    <drive>
      <device>/dev/md/boot</device><disklabel>none</disklabel>
      <raid_options><raid_type>raid1</raid_type></raid_options>
      <partitions t="list"><partition><mount>/boot</mount></partition></partitions>
    </drive>
    <drive>
      <device>/dev/md/pv</device><disklabel>none</disklabel>
      <raid_options><raid_type>raid1</raid_type></raid_options>
      <partitions t="list"><partition><lvm_group>vg</lvm_group></partition></partitions>
    </drive>
    <drive>
      <device>/dev/vg</device><type t="symbol">CT_LVM</type><use>all</use>
      <partitions t="list">
        <partition><lv_name>swap</lv_name><size>2GiB</size><mount>swap</mount></partition>
        <partition><lv_name>root</lv_name><size>max</size><mount>/</mount></partition>
      </partitions>
    </drive>
  </partitioning>
  <networking>
    <interfaces t="list">
      <interface><name>eth0</name><bootproto>none</bootproto></interface>
      <interface>
        <name>br0</name><bootproto>static</bootproto><ipaddr>192.0.2.2</ipaddr><prefixlen>24</prefixlen>
        <bridge>yes</bridge><bridge_ports>eth0</bridge_ports><bridge_stp>off</bridge_stp>
      </interface>
      <interface>
        <name>br0.7</name><bootproto>dhcp</bootproto><etherdevice>br0</etherdevice><vlan_id>7</vlan_id>
      </interface>
    </interfaces>
    <dns><hostname>host</hostname></dns>
    <routing><routes t="list"><route>
      <destination>default</destination><gateway>192.0.2.1</gateway><device>br0</device>
    </route></routes></routing>
  </networking>
  <software>
    <products t="list"><product>Leap</product></products>
    <patterns t="list"><pattern>xen_server</pattern></patterns>
    <packages t="list"><package>kernel-default</package></packages>
  </software>
  <services-manager><services>
    <enable t="list"><service>xencommons.service</service><service>xen-LIBXL_HOTPLUG_TIMEOUT.service</service></enable>
  </services></services-manager>
  <users t="list">
    <user><username>root</username><encrypted t="boolean">true</encrypted><user_password>$6$a$b</user_password></user>
  </users>
  <files t="list">
    <file><file_path>/etc/xen/xl.conf</file_path><file_contents>autoballoon="off"</file_contents></file>
    <file><file_path>/etc/xen/web</file_path><file_contents>vif=["mac=00:16:3e:00:00:01"]</file_contents></file>
    <file>
      <file_path>/etc/systemd/system/xen-LIBXL_HOTPLUG_TIMEOUT.service</file_path><file_contents>[Unit]</file_contents>
    </file>
  </files>
  <scripts>
    <chroot-scripts t="list">
      <script><filename>one</filename><chrooted t="boolean">true</chrooted><source>true</source></script>
      <script><filename>two</filename><source>true</source></script>
    </chroot-scripts>
  </scripts>
</profile>
"""  # noqa: E501
_BIOS_BOOT = '<partition><partition_id t="integer">263</partition_id><size>8MiB</size></partition>'
_ESP = '<partition><partition_id t="integer">259</partition_id><size>512MiB</size><mount>/boot/efi</mount></partition>'
EFI = RIGHT.replace("grub2<", "grub2-efi<").replace(_BIOS_BOOT, _ESP, 1).replace("263", "259")


def machine(
    firmware: str = "bios", *, size: int = 100 * GIB, odd: bool = False, native: bool = False, prefix: str = "sd"
) -> Machine:
    disks = tuple(
        MachineDisk(f"d{n}", f"{prefix}{letter}", size, 4096 if native or (odd and n == 1) else 512)
        for n, letter in enumerate("ab")
    )
    cards = (Card(0, "eth0", "52:54:00:00:00:01"), Card(1, "eth1", "52:54:00:00:00:02"))
    return Machine("uefi" if firmware == "uefi" else "bios", disks, cards, cards_in_order=True)


AGAMA_RIGHT: dict[str, Any] = {
    "product": {"id": "Leap_16.0"},
    "questions": {"policy": "auto"},
    "bootloader": {"timeout": 3, "extraKernelParams": "console=ttyS0,115200n8 net.ifnames=0"},
    "root": {"password": "$6$a$b", "hashedPassword": True},
    "storage": {
        "boot": {"configure": False},
        "drives": [
            {
                "search": f"/dev/sd{letter}", "alias": letter, "ptableType": "gpt",
                "partitions": [
                    {"search": "*", "delete": True}, {"id": "bios_boot", "size": "8 MiB"},
                    {"id": "raid", "alias": f"b{letter}", "size": "1 GiB"},
                    {"id": "raid", "alias": f"p{letter}", "size": {"min": "1 GiB"}},
                ],
            }
            for letter in "ab"
        ],
        "mdRaids": [
            {"name": "boot", "level": "raid1", "devices": ["ba", "bb"],
             "filesystem": {"type": "ext4", "path": "/boot"}},
            {"name": "pv", "alias": "pv", "level": "raid1", "devices": ["pa", "pb"]},
        ],
        "volumeGroups": [
            {"name": "vg", "physicalVolumes": ["pv"],
             "logicalVolumes": [
                 {"name": "root", "size": {"min": "1 GiB"}, "filesystem": {"type": "xfs", "path": "/"}}]},
        ],
    },
    "network": {"connections": [
        {"id": "eth0", "interface": "eth0", "method4": "disabled"},
        {"id": "br0", "interface": "br0", "method4": "auto", "bridge": {"ports": ["eth0"]}},
        {"id": "br0.7", "interface": "br0.7", "vlan": {"id": 7, "parent": "br0"}},
    ]},
    "scripts": {"post": [
        {"name": "xen", "chroot": True, "content": "#!/bin/sh\necho 'GRUB_CMDLINE_XEN_DEFAULT=\"dom0_mem=2G,max:2G\"' "
         ">> /etc/default/grub\ngrub2-mkconfig -o /boot/grub2/grub.cfg\n"},
    ]},
}  # fmt: skip
