"""nestlab: nested Xen labs, host tests on real Xen and unattended install media, from one lab file."""

__version__ = "0.1.0"
