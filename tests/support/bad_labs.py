"""Every kind of bad lab file: what is wrong, where it is found (marked), under which code, and what the hint says.

`structural` are those that the JSON Schema has to refuse as well; the others need the whole lab, the systems' documents
or the text itself to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bad:
    name: str
    text: str
    code: str
    hint: str
    structural: bool = False


def _node(lines: str) -> str:
    """A lab of one host with these lines, indented by four."""
    return f"name: t\nnodes:\n  a:\n    system: host\n{lines}"


def _installed(lines: str) -> str:
    """A lab of one host that is installed, with these lines under its `install:`, indented by six."""
    return f"name: t\nnodes:\n  a:\n    system: installed\n    source: {{medium: x.iso}}\n    install:\n{lines}"


STRUCTURAL = (
    ("misspelt key of the installer", _installed("      ¦swapp: 1GiB\n"), "lab-unknown-key", "did you mean swap?"),
    ("key of the installer like no other", _installed("      ¦disks: 1\n"), "lab-unknown-key", "here: swap, colour"),
    ("misspelt key in the installer's list", _installed("      people: [{name: x, ¦admn: true}]\n"),
     "lab-unknown-key", "admin?"),
    ("key missing in the installer's list", _installed("      people: [¦{admin: true}]\n"), "lab-missing-key", "name:"),
    ("wrong form for the installer", _installed("      people: [{name: ¦X-Y}]\n"), "lab-bad-value", "lower-case"),
    ("wrong unit for the installer", _installed("      swap: ¦1GB\n"), "lab-size", "write 1GiB"),
    ("wrong word for the installer", _installed("      colour: ¦gren\n"), "lab-bad-value", "did you mean green?"),
    ("text as the installer's settings", "name: t\nnodes: {a: {system: installed, install: ¦yes}}\n",
     "lab-wrong-type", "`name:` lines"),
    ("installer settings without an installer", "name: t\nnodes: {a: {system: host, ¦install: {swap: 1GiB}}}\n",
     "lab-install", "remove install:"),
    ("misspelt key", _node("    ¦memry: 4GiB\n"), "lab-unknown-key", "did you mean memory?"),
    ("misspelt key of the lab", "name: t\n¦node: {}\nnodes: {a: {system: host}}\n", "lab-unknown-key", "nodes"),
    ("key of another tool", _node("    ¦ram: 4GiB\n"), "lab-unknown-key", "did you mean memory?"),
    ("key of another place", _node("    ¦dom0_vcpus_pin: true\n"), "lab-unknown-key", "belongs under xen:"),
    ("key like no other", _node("    ¦zzz: 1\n"), "lab-unknown-key", "keys that may stand here: system"),
    ("misspelt key in a list", _node("    disks: [{size: 8GiB, ¦buss: ide}]\n"), "lab-unknown-key", "bus?"),
    ("wrong unit", _node("    memory: ¦4GB\n"), "lab-size", "write 4GiB"),
    ("lower-case unit", _node("    memory: ¦512mb\n"), "lab-size", "write 512MiB"),
    ("no unit", _node("    memory: ¦4096\n"), "lab-size", "write 4096MiB or 4096GiB"),
    ("no size at all", _node("    memory: ¦much\n"), "lab-size", "4GiB"),
    ("a list as size", _node("    memory: ¦[4GiB]\n"), "lab-size", "4GiB"),
    ("unknown unit", _node("    disks: [{size: ¦4XB}]\n"), "lab-size", "MiB or 4GiB"),
    ("truth as size", _node("    memory: ¦true\n"), "lab-size", "4GiB"),
    ("text as number", _node("    cpus: ¦two\n"), "lab-wrong-type", "a number such as 2"),
    ("quoted number", _node("    cpus: ¦'2'\n"), "lab-wrong-type", "without quotes: 2"),
    ("fraction as number", _node("    cpus: ¦2.5\n"), "lab-wrong-type", "without a fraction"),
    ("truth as number", _node("    cpus: ¦true\n"), "lab-wrong-type", "a number"),
    ("yes as truth", _node("    xen: {noreboot: ¦yes}\n"), "lab-wrong-type", "write true, without quotes"),
    ("off as truth", _node("    xen: {noreboot: ¦off}\n"), "lab-wrong-type", "write false"),
    ("quoted truth", _node("    xen: {noreboot: ¦'true'}\n"), "lab-wrong-type", "write true, without quotes"),
    ("number as truth", _node("    xen: {noreboot: ¦1}\n"), "lab-wrong-type", "true or false"),
    ("number as text", "name: t\ndescription: ¦12.50\nnodes: {a: {system: host}}\n", "lab-wrong-type", "'12.50'"),
    ("list as text", "name: t\ndescription: ¦[x]\nnodes: {a: {system: host}}\n", "lab-wrong-type", "text in quotes"),
    ("text as mapping", _node("    xen: ¦fast\n"), "lab-wrong-type", "keys from: dom0_memory"),
    ("list of nodes", "name: t\nnodes: ¦[a, b]\n", "lab-wrong-type", "`name:` lines"),
    ("text as list", _node("    after: ¦b\n"), "lab-wrong-type", "write it as [b]"),
    ("mapping as list", _node("    disks: ¦{size: 8GiB}\n"), "lab-wrong-type", "each item with"),
    ("whole file a list", "¦- a\n- b\n", "lab-wrong-type", "begin with name: and nodes:"),
    ("whole file a text", "¦hello\n", "lab-wrong-type", "begin with name: and nodes:"),
    ("no name", "¦nodes: {a: {system: host}}\n", "lab-missing-key", "name: my-lab"),
    ("no nodes", "¦name: t\n", "lab-missing-key", "add nodes:"),
    ("disk without size", _node("    disks:\n      - ¦{bus: ide}\n"), "lab-missing-key", "size: 50GiB"),
    ("node without nodes", "name: t\nnodes: ¦{}\n", "lab-no-nodes", "host1"),
    ("key without value", _node("    ¦memory:\n"), "lab-empty-value", "remove the line"),
    ("empty path", _node("    source: {image: ¦''}\n"), "lab-empty-value", "remove the line"),
    ("misspelt choice", _node("    firmware: ¦ufei\n"), "lab-bad-value", "did you mean uefi?"),
    ("choice like no other", _node("    machine: ¦toaster\n"), "lab-bad-value", "one of pc, q35"),
    ("wrong sector size", _node("    disks: [{size: 8GiB, sector: ¦4096}]\n"), "lab-bad-value", "512n, 512e, 4Kn"),
    ("sector size in small letters", _node("    disks: [{size: 8GiB, sector: ¦4kn}]\n"), "lab-bad-value", "mean 4Kn?"),
    ("no processors", _node("    cpus: ¦0\n"), "lab-bad-value", "write 1 or more"),
    ("too many processors", _node("    cpus: ¦1000\n"), "lab-bad-value", "write 256 or less"),
    ("a very long number", _node(f"    cpus: ¦{'9' * 300}\n"), "lab-bad-value", "write 256 or less"),
    ("frame too large", "name: t\nnetworks: {l: {mtu: ¦65000}}\nnodes: {a: {system: host, networks: [l]}}\n",
     "lab-bad-value", "write 9216 or less"),
    ("no VLAN", _node("    networks: [{network: n, vlan: ¦4095}]\n"), "lab-bad-value", "write 4094 or less"),
    ("no VLAN as key", _node("    networks: [{network: n, vlan_addresses: {¦lan: []}}]\n"), "lab-wrong-type", "100: ["),
    ("RAID level 3", _node("    raid: [{name: r, level: ¦3, disks: [a, b]}]\n"), "lab-bad-value", "0, 1, 5, 6 or 10"),
    ("truth as RAID level", _node("    raid: [{name: r, level: ¦true, disks: [a, b]}]\n"), "lab-bad-value", "6 or 10"),
    ("lifetime without unit", "name: t\nexpires: ¦'12'\nnodes: {a: {system: host}}\n", "lab-bad-value", "12h"),
    ("lifetime of nothing", "name: t\nexpires: ¦0h\nnodes: {a: {system: host}}\n", "lab-bad-value", "never"),
    ("serial line", _node("    xen: {com1: ¦'115200;8n1'}\n"), "lab-bad-value", "115200,8n1"),
    ("console list", _node("    xen: {console: ¦com1 vga}\n"), "lab-bad-value", "com1,vga"),
    ("log level", _node("    xen: {loglvl: ¦loud}\n"), "lab-bad-value", "error/all"),
    ("bridge", _node("    xen: {bridge: ¦xen-br0}\n"), "lab-bad-value", "xenbr0"),
    ("PCI device", _node("    xen: {pciback_hide: [¦eth0]}\n"), "lab-bad-value", "0000:00:19.0"),
    ("source of one word", _node("    source: ¦iso\n"), "lab-bad-value", "{medium: FILE}"),
    ("image and medium", _node("    source: ¦{image: x.qcow2, medium: y.iso}\n"), "lab-source", "keep the one"),
    ("long description", f"name: t\ndescription: ¦{'x' * 5000}\nnodes: {{a: {{system: host}}}}\n",
     "lab-bad-value", "4096 at most"),
    ("upper-case name", "name: ¦My_Lab\nnodes: {a: {system: host}}\n", "lab-name", "lower-case letters"),
    ("long name", f"name: ¦{'n' * 33}\nnodes: {{a: {{system: host}}}}\n", "lab-name", "1 to 32"),
    ("name of a node", "name: t\nnodes:\n  ¦a_b: {system: host}\n", "lab-name", "lower-case letters"),
    ("name of a network", "name: t\nnetworks: {¦a.b: {}}\nnodes: {a: {system: host}}\n", "lab-name", "hyphens"),
    ("not a MAC", _node("    networks: [{network: n, mac: ¦52:54:00}]\n"), "lab-mac", "six hex pairs"),
    ("MAC that is a number", _node("    networks: [{network: n, mac: ¦525400123456}]\n"), "lab-mac", "six hex pairs"),
    ("address without prefix", _node("    networks: [{network: n, addresses: [¦10.0.0.1]}]\n"), "lab-address", "/24"),
    ("address that is none", _node("    networks: [{network: n, addresses: [¦ten/24]}]\n"),
     "lab-address", "10.0.0.1/24"),
    ("number as address", _node("    networks: [{network: n, addresses: [¦10]}]\n"), "lab-address", "10.0.0.1/24"),
    ("argument with quotes", _node("    kernel: {arguments: [¦'a=\"b c\"']}\n"), "lab-argument", "without spaces"),
    ("argument for a shell", _node("    xen: {arguments: [ok, ¦$(reboot)]}\n"), "lab-argument", "without spaces"),
    ("endless arguments", _node(f"    kernel: {{arguments: ¦{'a ' * 2500}}}\n"), "lab-argument", "4096 at most"),
    ("too many arguments", _node(f"    kernel: {{arguments: ¦[{'a, ' * 300}]}}\n"), "lab-too-many", "256 or less"),
    ("too many nodes", "name: t\ndefaults: {system: host}\n"
     "nodes: ¦{" + ", ".join(f"n{n}: " for n in range(10_001)) + "}\n",
     "lab-too-many", "10000 or less"),
    ("endless argument", _node(f"    kernel: {{arguments: [¦{'a' * 300}]}}\n"), "lab-bad-value", "255 at most"),
    ("unknown system", "name: t\nnodes: {a: {system: ¦hots}}\n", "lab-unknown-system", "did you mean host?"),
    ("unknown release", _node("    release: ¦10\n"), "lab-unknown-release", "releases: 9, 8.10, 8.1"),
    ("VLAN and trunk", _node("    networks: [{network: n, vlan: 5, trunk: ¦[6]}]\n"), "lab-vlan-trunk", "keep vlan:"),
    ("VLAN twice in a trunk", _node("    networks: [{network: n, trunk: [6, ¦6]}]\n"), "lab-trunk-repeated", "once"),
    ("VLAN 1 in a trunk", _node("    networks: [{network: n, trunk: [5, ¦1]}]\n"), "lab-trunk-native", "addresses:"),
    ("device hidden twice", _node("    xen: {pciback_hide: ['00:19.0', ¦'00:19.0']}\n"),
     "lab-pciback-repeated", "once"),
    ("RAID 1 of one disk", _node("    source: {medium: m}\n    raid: [{name: r, level: 1, disks: ¦[disk0]}]\n"),
     "lab-raid-disks", "name 2 disks"),
)  # fmt: skip

_TWO = (
    "    source: {medium: m.iso}\n    disks: [{name: x, size: 16GiB}, {name: y, size: 16GiB}, {name: z, size: 16GiB}]\n"
)

WHOLE = (
    ("group MAC", _node("    networks: [{network: n, mac: ¦'53:54:00:00:00:01'}]\n"), "lab-mac", "first pair even"),
    ("MAC of zeros", _node("    networks: [{network: n, mac: ¦'00:00:00:00:00:00'}]\n"), "lab-mac", "six hex pairs"),
    ("network as address", _node("    networks: [{network: n, addresses: [¦10.0.0.0/24]}]\n"), "lab-address", "host's"),
    ("size of half a byte", _node("    memory: ¦0.0001KiB\n"), "lab-size", "4GiB"),
    ("size beyond all", _node("    memory: ¦9999999TiB\n"), "lab-size", "4GiB"),
    ("no system", "name: t\nnodes:\n  ¦a: {cpus: 1}\n", "lab-no-system", "system: host"),
    ("node of nothing", "name: t\nnodes:\n  ¦a:\n", "lab-no-system", "system: host"),
    ("unknown system in defaults", "name: t\ndefaults: {system: ¦hosst}\nnodes: {a: {}, b: {}}\n",
     "lab-unknown-system", "did you mean host?"),
    ("unknown network", "name: t\nnetworks: {lan: {}}\nnodes: {a: {system: host, networks: [¦lann]}}\n",
     "lab-unknown-network", "did you mean lan?"),
    ("no networks at all", _node("    networks: [¦lan]\n"), "lab-unknown-network", "networks: {lan: {}}"),
    ("two nodes of a name", "name: t\nnodes:\n  a: {system: host}\n  ¦a: {system: host}\n",
     "lab-duplicate-name", "rename"),
    ("two networks of a name", "name: t\nnetworks: {l: {}, ¦l: {}}\nnodes: {a: {system: host}}\n",
     "lab-duplicate-name", "rename"),
    ("key twice", _node("    cpus: 1\n    ¦cpus: 2\n"), "lab-duplicate-key", "remove one"),
    ("two disks of a name", _node("    disks: [{name: x, size: 8GiB}, {name: ¦x, size: 8GiB}]\n"),
     "lab-duplicate-disk", "of its own"),
    ("given and made disk name", _node("    disks: [{name: disk1, size: 8GiB}, ¦{size: 8GiB}]\n"),
     "lab-duplicate-disk", "of its own"),
    ("two arrays of a name", _node(_TWO + "    raid:\n      - {name: r, level: 1, disks: [x, y]}\n"
     "      - {name: ¦r, level: 1, disks: [z, disk9]}\n"), "lab-duplicate-array", "name"),
    ("same MAC twice", "name: t\nnetworks: {l: {}}\nnodes:\n  a: {system: host, networks: [{network: l, mac: "
     "'52:54:00:00:00:AA'}]}\n  b: {system: host, networks: [{network: l, mac: ¦'52:54:00:00:00:aa'}]}\n",
     "lab-duplicate-mac", "leave mac out"),
    ("MAC in defaults", "name: t\nnetworks: {l: {}}\ndefaults: {system: host, networks: [{network: l, mac: "
     "¦'52:54:00:00:00:aa'}]}\nnodes: {a: {}, b: {}}\n", "lab-duplicate-mac", "move it to one node"),
    ("same address twice", "name: t\nnetworks: {l: {}}\nnodes:\n  a: {system: host, networks: [{network: l, addresses: "
     "[10.0.0.1/24]}]}\n  b: {system: host, networks: [{network: l, addresses: [¦10.0.0.1/8]}]}\n",
     "lab-duplicate-address", "of its own"),
    ("too few disks for RAID 5", _node(_TWO + "    raid: [{name: r, level: 5, disks: ¦[x, y]}]\n"),
     "lab-raid-disks", "name 3 disks"),
    ("too few disks for RAID 10", _node(_TWO + "    raid: [{name: r, level: 10, disks: ¦[x, y, z]}]\n"),
     "lab-raid-disks", "name 4 disks"),
    ("undeclared disk in an array", _node(_TWO + "    raid: [{name: r, level: 1, disks: [x, ¦sdb]}]\n"),
     "lab-raid-unknown-disk", "disks: x, y, z"),
    ("disk twice in an array", _node(_TWO + "    raid: [{name: r, level: 1, disks: [x, y, ¦x]}]\n"),
     "lab-raid-repeated-disk", "once"),
    ("disk in two arrays", _node(_TWO + "    raid:\n      - {name: r, level: 1, disks: [x, y]}\n"
     "      - {name: s, level: 1, disks: [z, ¦y]}\n"), "lab-raid-shared-disk", "one array"),
    ("array without installer", _node("    disks: [{name: x, size: 8GiB}, {name: y, size: 8GiB}]\n"
     "    raid: ¦[{name: r, level: 1, disks: [x, y]}]\n"), "lab-raid-image", "source: {medium: FILE.iso}"),
    ("memory below minimum", _node("    memory: ¦512MiB\n"), "lab-memory-minimum", "1GiB: Host Guide, 2.1"),
    ("memory below minimum in defaults", "name: t\ndefaults: {system: host, memory: ¦512MiB}\nnodes: {a: {}, b: {}}\n",
     "lab-memory-minimum", "Host Guide, 2.1"),
    ("disk below minimum", _node("    disks: [{size: ¦2GiB}]\n"), "lab-disk-minimum", "4GiB: Host Guide, 2.1"),
    ("no disk", _node("    disks: ¦[]\n"), "lab-no-disk", "size: 4GiB"),
    ("dom0 larger than the node", _node("    xen: {dom0_memory: ¦8GiB}\n"), "lab-dom0-memory", "dom0 less"),
    ("nothing left for Xen", _node("    xen: {dom0_memory: ¦4GiB}\n"), "lab-dom0-memory", "leave 256MiB or more"),
    ("too little left for Xen", _node("    memory: 8GiB\n    xen: {dom0_memory: ¦7900MiB}\n"),
     "lab-dom0-memory", "leave 384MiB or more"),
    ("more vCPUs than processors", _node("    cpus: 2\n    xen: {dom0_max_vcpus: ¦3}\n"),
     "lab-dom0-vcpus", "2 or less"),
    ("named argument by hand", _node("    xen: {arguments: ¦dom0_mem=2G}\n"),
     "lab-argument-named", "dom0_memory under xen:"),
    ("xen where none runs", "name: t\nnodes: {a: {system: small, xen: ¦{noreboot: true}}}\n",
     "lab-no-xen", "remove xen:"),
    ("waiting for nobody", _node("    after: [¦b]\n"), "lab-after-unknown", "nodes: a"),
    ("waiting for itself", _node("    after: [¦a]\n"), "lab-after-cycle", "after"),
    ("waiting in a circle", "name: t\ndefaults: {system: host}\n"
     "nodes: {a: {after: [¦b]}, b: {after: [c]}, c: {after: [a]}}\n",
     "lab-after-cycle", "take one of them out"),
    ("UEFI from LSI", _node("    firmware: uefi\n    disks: [{size: 8GiB, bus: ¦lsilogic}]\n"),
     "lab-uefi-lsilogic", "leave bus out (a UEFI node then gets ide)"),
    ("too many IDE disks", _node("    disks: [{size: 8GiB, bus: ide}, {size: 8GiB, bus: ide}, {size: 8GiB, bus: ide}, "
     "¦{size: 8GiB, bus: ide}]\n"), "lab-bus-full", "bus: lsilogic"),
    ("too many SCSI disks", _node("    disks:\n" + "      - {size: 8GiB}\n" * 28 + "      - ¦{size: 8GiB}\n"),
     "lab-bus-full", "bus: sata"),
    ("too many SCSI controllers", _node("    disks: ¦\n" + "      - {size: 8GiB}\n" * 22 +
     "      - {size: 8GiB, bus: lsisas1068}\n").replace("disks: ¦\n", "disks:\n").replace("      -", "      ¦-", 1),
     "lab-bus-full", "one model"),
    ("too many cards", _node("    networks: [n, n, n, n, n, n, n, n, n, n, n, n, ¦n]\n"),
     "lab-cards-most", "trunk of VLANs"),
    ("IDE on q35", _node("    machine: q35\n    disks: [{size: 8GiB, bus: ¦ide}]\n"), "lab-bus-machine", "bus: sata"),
    ("4Kn on IDE", _node("    disks: [{size: 8GiB}, {size: 8GiB, bus: ide, sector: ¦4Kn}]\n"), "lab-sector", "512e"),
    ("4Kn and a BIOS", _node("    disks: [{size: 8GiB, sector: ¦4Kn}]\n"), "lab-4kn-boot", "512e for the first disk"),
    ("4Kn and a built image", _node("    firmware: uefi\n    disks: [{size: 8GiB, bus: virtio, sector: ¦4Kn}]\n"),
     "lab-4kn-boot", "512e for the first disk"),
    ("addresses on a VLAN not carried",
     _node("    networks: [{network: n, trunk: [5], vlan_addresses: {6: ¦[10.0.0.1/24]}}]\n"),
     "lab-vlan-address", "trunk: [5, 6]"),
    ("part of a MiB for the installer", _installed("      swap: ¦1025KiB\n"), "lab-size", "4GiB or 512MiB"),
    ("file that is not there", _installed("      script: ¦nowhere.sh\n"), "lab-local-file", "the lab file's folder"),
    ("folder as a file", _installed("      script: ¦/\n"), "lab-local-file", "text file"),
    ("device as a file", _installed("      script: ¦/dev/zero\n"), "lab-local-file", "text file"),
    ("contents as a file", _installed("      script: ¦{path: x, content: y}\n"), "lab-wrong-type", "path of a file"),
    ("no medium named", "name: t\nnodes: {¦a: {system: installed}}\n", "lab-source", "{medium: FILE.iso}"),
    ("image of what is installed", "name: t\nnodes: {a: {system: installed, source: ¦image}}\n",
     "lab-source", "{medium: FILE}"),
    ("medium of a ready system", "name: t\nnodes: {a: {system: small, source: ¦{medium: x.iso}}}\n",
     "lab-source", "image"),
)  # fmt: skip

YAML = (
    ("tab as indentation", "name: t\nnodes:\n¦\ta: {system: host}\n", "lab-tab", "use spaces"),
    ("tab after spaces", "name: t\nnodes:\n  a:\n  ¦\tsystem: host\n", "lab-tab", "use spaces"),
    ("value that begins no value", "name: ¦@t\n", "lab-yaml", "in quotes"),
    ("colon inside text", "name: a¦: b\n", "lab-yaml", "line the key up"),
    ("line without colon", "name: t\n¦nodes\n", "lab-yaml", "is a ':'"),
    ("key out of line", "nodes:\n  a: {}\n ¦b: {}\n", "lab-yaml", "as many spaces as its neighbours"),
    ("open bracket", "name: ¦[t\nnodes: {}\n", "lab-yaml", "close the list"),
    ("open brace", "nodes: ¦{a: {}\n", "lab-yaml", "close the mapping"),
    ("open quote", "name: ¦'t\nnodes: {}\n", "lab-yaml", "same quote"),
    ("unknown escape", 'name: "¦\\q"\n', "lab-yaml", "for a backslash"),
    ("escape for no character", 'name: "\\u¦d800"\n', "lab-yaml", "character itself"),
    ("list out of line", "- a\n¦b: 1\n", "lab-yaml", "same column"),
    ("list on the line of its key", "nodes: ¦- a\n", "lab-yaml", "a line of its own"),
    ("no space after a colon", "nodes: {a¦:}\n", "lab-yaml", "space after"),
    ("two commas", "nodes: [a,¦,b]\n", "lab-yaml", "extra ','"),
    ("top level out of line", " name: t\n¦nodes: {}\n", "lab-yaml", "column 1"),
    ("mark without name", "name: ¦& t\n", "lab-yaml", "in quotes"),
    ("unknown instruction", "¦%FOO bar\n---\nname: t\n", "lab-yaml", "remove it"),
    ("broken tag", "name: ¦!<t\n", "lab-tag", "in quotes"),
    ("list as key", "¦[a, b]: 1\n", "lab-yaml-key", "plain words"),
    ("mapping as key", "? ¦{a: 1}\n: 1\n", "lab-yaml-key", "plain words"),
    ("list as key by its mark", "x: &l [a]\n¦*l : 1\n", "lab-yaml-key", "plain words"),
    ("tag", "name: ¦!!python/name:os.system t\nnodes: {a: {system: host}}\n", "lab-tag", "remove the tag"),
    ("merge key", _node("    ¦<<: {cpus: 1}\n"), "lab-merge-key", "defaults:"),
    ("second document", "name: t\nnodes: {a: {system: host}}\n¦---\nname: u\n", "lab-documents", "one lab per file"),
    ("empty file", "", "lab-empty", "name:"),
    ("only a comment", "# nothing here\n", "lab-empty", "name:"),
    ("unknown mark", "name: &lab t\ndescription: ¦*lub\n", "lab-alias-unknown", "did you mean *lab?"),
    ("mark of nothing", "name: ¦*x\n", "lab-alias-unknown", "write &x"),
    ("value inside itself", "name: t\nnodes: &n {a: ¦*n}\n", "lab-alias-loop", "remove it"),
    ("control character", "name: t¦\x07\n", "lab-control", "remove it"),
    ("control character by escape", 'name: t\ndescription: ¦"a\\x07b"\nnodes: {a: {system: host}}\n',
     "lab-control", "remove"),
    ("a binary file", "\x7fELF¦\0".replace("\x7f", ""), "lab-control", "is binary"),
)  # fmt: skip

CASES = (
    *(Bad(*case, structural=True) for case in STRUCTURAL),
    *(Bad(*case) for case in WHOLE),
    *(Bad(*case) for case in YAML),
)
