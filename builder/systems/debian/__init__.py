"""Debian with Xen: a dom0 from Debian's own packages, as a golden image."""
