"""What may stand where in a profile, and with which type. Restated from the meaning of YaST's RELAX NG schema
(yast-autoinstallation e94d61ec and the modules of 15.7); sections that a Xen host does not need are let through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Is:
    """A value of that type. `words`, where there are any, are all that it may be."""

    type: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class List:
    """A list of items of one kind; `names` are what an item may be called."""

    names: tuple[str, ...]
    item: Rule


@dataclass(frozen=True, slots=True)
class Any:
    """Anything at all."""


Rule = Is | List | Any | Mapping[str, "Rule"]

TRUE, NUMBER, TEXT, SYMBOL, ANY = Is("boolean"), Is("integer"), Is("string"), Is("symbol"), Any()
_TRUTH_AS_TEXT = Is("string", ("true", "false"))
_YES_NO, _ON_OFF = Is("string", ("yes", "no")), Is("string", ("on", "off"))


def _map(rule: Rule, *names: str) -> dict[str, Rule]:
    return dict.fromkeys(names, rule)


_REPORT: Rule = {"log": TRUE, "show": TRUE, "timeout": NUMBER}
_SCRIPT: dict[str, Rule] = {
    **_map(TEXT, "filename", "interpreter", "location", "source", "feedback_type", "notification"),
    **_map(TRUE, "debug", "feedback", "rerun"),
    "param-list": List(("param",), TEXT),
}
_RAID_OPTIONS: Rule = {
    "persistent_superblock": TRUE,
    **_map(TEXT, "raid_type", "chunk_size", "parity_algorithm", "raid_name"),
    "device_order": List(("device",), TEXT),
}
_PARTITION: Rule = {
    **_map(TRUE, "create", "format", "resize", "crypt_fs", "loop_fs", "pool", "create_subvolumes", "quotas"),
    **_map(SYMBOL, "filesystem", "mountby", "crypt_method", "crypt_pbkdf"),
    **_map(NUMBER, "partition_nr", "partition_id", "filesystem_id", "stripes", "stripesize", "crypt_key_size"),
    **_map(
        TEXT, "size", "mount", "fstopt", "label", "uuid", "lv_name", "lvm_group", "raid_name", "raid_type",
        "mkfs_options", "used_pool", "subvolumes_prefix", "crypt_key", "crypt_label", "crypt_cipher", "btrfs_name",
        "bcache_backing_for",
    ),
    "partition_type": Is("string", ("primary",)),
    "raid_options": _RAID_OPTIONS,
    "subvolumes": ANY, "fs_options": ANY, "region": ANY, "bcache_caching_for": ANY,
}  # fmt: skip
_DRIVE: Rule = {
    **_map(TEXT, "device", "disklabel", "pesize", "use"),
    **_map(TRUE, "initialize", "enable_snapshots", "is_lvm_vg", "lvm2", "keep_unknown_lv"),
    **_map(SYMBOL, "type", "imsmdriver"),
    "partitions": List(("partition",), _PARTITION),
    "raid_options": _RAID_OPTIONS,
    "skip_list": ANY, "bcache_options": ANY, "btrfs_options": ANY,
}  # fmt: skip
_BOOTLOADER: Rule = {
    **_map(TEXT, "loader_type", "loader_device", "location"),
    **_map(TRUE, "activate", "repl_mbr"),
    "initrd_modules": ANY, "device_map": ANY, "sections": ANY,
    "global": {
        **_map(
            TEXT, "append", "append_failsafe", "xen_append", "xen_kernel_append", "terminal", "serial", "gfxmode",
            "gfxtheme", "gfxmenu", "gfxbackground", "distributor", "boot_custom", "generic_mbr", "trusted_grub",
            "default", "vgamode", "stage1_dev", "lines_cache_id",
        ),
        **_map(
            _TRUTH_AS_TEXT, "secure_boot", "update_nvram", "os_prober", "hiddenmenu", "failsafe_disabled", "activate",
            "boot_root", "boot_boot", "boot_extended", "boot_mbr",
        ),
        **_map(NUMBER, "timeout", "cryptodisk"),
        "cpu_mitigations": Is("string", ("nosmt", "auto", "off", "manual")),
        "password": ANY,
    },
}  # fmt: skip
_INTERFACE: Rule = {
    **_map(
        TEXT, "name", "device", "description", "lladdr", "bootproto", "startmode", "ifplugd_priority", "usercontrol",
        "dhclient_set_hostname", "ipaddr", "prefixlen", "remote_ipaddr", "netmask", "broadcast", "network", "mtu",
        "ethtool_options", "wireless", "bonding_master", "bonding_module_opts", "bridge_ports", "bridge_forward_delay",
        "bridge_forwarddelay", "etherdevice", "vlan_id", "dhclient_set_down_link", "zone",
        *(f"bonding_slave{number}" for number in range(10)),
    ),
    **_map(_YES_NO, "bridge", "firewall", "dhclient_set_default_route"),
    "bridge_stp": _ON_OFF,
    "aliases": ANY,
}  # fmt: skip
_NETWORKING: Rule = {
    **_map(TRUE, "setup_before_proposal", "start_immediately", "keep_install_network", "virt_bridge_proposal", "ipv6",
           "managed"),
    "backend": TEXT,
    "strict_IP_check_timeout": NUMBER,
    "interfaces": List(("interface", "listentry"), _INTERFACE),
    "net-udev": List(("rule", "listentry"), _map(TEXT, "rule", "value", "name")),
    "dns": {
        **_map(TRUE, "dhcp_hostname", "write_hostname"),
        **_map(TEXT, "hostname", "domain", "resolv_conf_policy"),
        "nameservers": List(("nameserver",), TEXT),
        "searchlist": List(("search",), TEXT),
    },
    "routing": {
        **_map(TRUE, "ip_forward", "ipv4_forward", "ipv6_forward"),
        "routes": List(
            ("route", "listentry"), _map(TEXT, "destination", "netmask", "device", "gateway", "extrapara")
        ),
    },
    "modules": ANY, "dhcp_options": ANY, "s390-devices": ANY,
}  # fmt: skip
_ADD_ON: Rule = {
    **_map(TEXT, "media_url", "product", "name", "alias", "product_dir"),
    **_map(TRUE, "ask_on_error", "confirm_license"),
    "priority": NUMBER,
    "signature-handling": ANY,
}

SECTIONS: Mapping[str, Rule] = {
    "general": {
        "mode": {
            **_map(
                TRUE, "activate_systemd_default_target", "confirm", "confirm_base_product_license", "final_halt",
                "final_reboot", "final_restart_services", "forceboot", "halt", "second_stage",
            ),
            "max_systemd_wait": NUMBER,
            "ntp_sync_time_before_installation": TEXT,
        },
        "signature-handling": _map(
            TRUE, "accept_unsigned_file", "accept_file_without_checksum", "accept_verification_failed",
            "accept_unknown_gpg_key", "accept_non_trusted_gpg_key", "import_gpg_key",
        ),
        **_map(TRUE, "self_update", "minimal-configuration", "cio_ignore"),
        "self_update_url": TEXT,
        "proposals": List(("proposal",), TEXT),
        "storage": {"start_multipath": TRUE},
        "ask-list": ANY, "semi-automatic": ANY, "wait": ANY,
    },
    "report": _map(_REPORT, "messages", "warnings", "yesno_messages", "errors"),
    "bootloader": _BOOTLOADER,
    "partitioning": List(("drive",), _DRIVE),
    "networking": _NETWORKING,
    "software": {
        "kernel": TEXT, "instsource": TEXT,
        **_map(TRUE, "do_online_update", "install_recommended"),
        **_map(List(("package", "listentry"), TEXT), "packages", "post-packages", "remove-packages"),
        **_map(List(("pattern", "listentry"), TEXT), "patterns", "post-patterns", "remove-patterns"),
        **_map(List(("product", "listentry"), TEXT), "products", "remove-products"),
    },
    "users": List(
        ("user",),
        {
            **_map(TRUE, "encrypted", "home_btrfs_subvolume"),
            **_map(TEXT, "username", "fullname", "forename", "surname", "user_password", "uid", "gid", "home", "shell",
                   "group", "groups"),
            "authorized_keys": List(("authorized_key", "listentry"), TEXT),
            "password_settings": ANY,
        },
    ),
    "groups": List(
        ("group",), {"encrypted": TRUE, **_map(TEXT, "group_password", "groupname", "userlist", "gid")}
    ),
    "services-manager": {
        "default_target": TEXT,
        "services": _map(List(("service", "listentry"), TEXT), "enable", "disable", "on_demand"),
    },
    "files": List(
        ("file",),
        {**_map(TEXT, "file_path", "file_contents", "file_location", "file_permissions", "file_owner"),
         "file_script": ANY},
    ),
    "scripts": {
        **_map(List(("script",), _SCRIPT), "pre-scripts", "post-scripts", "postpartitioning-scripts"),
        "chroot-scripts": List(("script",), {**_SCRIPT, "chrooted": TRUE}),
        "init-scripts": List(("script",), {**_map(TEXT, "filename", "location", "source"), "debug": TRUE}),
    },
    "add-on": _map(List(("listentry",), _ADD_ON), "add_on_products", "add_on_others"),
    "suse_register": {
        **_map(TRUE, "do_registration", "install_updates", "slp_discovery"),
        **_map(TEXT, "email", "reg_code", "reg_server", "reg_server_cert", "reg_server_cert_fingerprint",
               "reg_server_cert_fingerprint_type"),
        "addons": List(("addon",), _map(TEXT, "name", "version", "arch", "release_type", "reg_code")),
    },
    "language": _map(TEXT, "language", "languages"),
    "keyboard": {"keymap": TEXT, "keyboard_values": ANY},
    "timezone": {"timezone": TEXT, "hwclock": Is("string", ("UTC", "localtime"))},
    "ntp-client": {
        **_map(TEXT, "ntp_policy", "ntp_sync"),
        "ntp_servers": List(("ntp_server", "listentry"), {"address": TEXT, **_map(TRUE, "iburst", "offline")}),
    },
    "firewall": {
        **_map(TRUE, "enable_firewall", "start_firewall"),
        **_map(TEXT, "default_zone", "log_denied_packets"),
        "zones": List(
            ("zone", "listentry"),
            {
                **_map(TEXT, "name", "short", "description", "target"),
                "masquerade": TRUE,
                "services": List(("service", "listentry"), TEXT),
                "interfaces": List(("interface", "listentry"), TEXT),
                "ports": List(("port", "listentry"), TEXT),
                "protocols": List(("protocol", "listentry"), TEXT),
            },
        ),
    },
    **_map(
        ANY, "classes", "host", "proxy", "kdump", "security", "ssh_import", "user_defaults", "login_settings",
        "deploy_image", "iscsi-client", "nfs", "nfs_server", "samba-client", "ldap", "upgrade", "runlevel", "sysconfig",
        "configuration_management", "cert", "mail", "printer", "sound", "fcoe-client", "autofs",
    ),
}  # fmt: skip
