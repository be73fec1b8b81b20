"""Guests (L2) of a Xen host: their domains for xl and libvirt, the links that start them, the scripts that make their
disks. Not a system: every system whose hosts have guests from files uses it, by `files.guest_files`."""
