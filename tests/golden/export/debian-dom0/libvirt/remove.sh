#!/bin/sh
# Removes domains, disks and networks. Media are kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
remove debian-dom0-dom0
rm -f -- /var/lib/libvirt/images/debian-dom0/debian-dom0-dom0-disk0.qcow2
