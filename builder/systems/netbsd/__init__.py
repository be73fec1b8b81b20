"""NetBSD hosts that are a Xen dom0: installed by a script of ours that the medium starts in place of its own."""
