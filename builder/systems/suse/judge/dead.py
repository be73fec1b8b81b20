"""How settings of old documents are told in a text, by the names under which `nestlab explain` has them."""

from __future__ import annotations

import re
from collections.abc import Mapping

DEAD_WORDS: Mapping[str, re.Pattern[str]] = {
    "xen2libvirt": re.compile(r"\bxen2libvirt\b"),
    "kernel-xen": re.compile(r"\bkernel-xen\b"),
    "menu.lst": re.compile(r"/boot/grub/menu\.lst\b"),
    "xm/xend": re.compile(r"\bxm (?:create|list|start|shutdown|destroy|console)\b|\bxend\b|xend-config\.sxp"),
    "/lib/tls": re.compile(r"/lib/tls\b"),
    "modprobe.conf.local": re.compile(r"/etc/modprobe\.conf\.local\b"),
    "init.d/pciback": re.compile(r"/etc/(?:init\.d|sysconfig)/pciback\b"),
}
