"""What the storage section of a rendered kickstart really makes: pykickstart reads it, blivet carries it out.

`python -m ci.kickstart_storage CASE` renders one case's host with the product, starts a machine with that host's own
disks (plain Linux; a small root disk is added), carries the kickstart out in it, restarts it, and compares what mdadm,
lvm, sfdisk and blkid say with what the host was asked for. What is in `inside/` runs in the machine.
"""
