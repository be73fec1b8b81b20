#!/bin/sh
# Removes domains, disks and networks. Media are kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
remove xcpng-host
rm -f -- /var/lib/libvirt/images/xcpng/xcpng-host-system.qcow2
rm -f -- /var/lib/libvirt/images/xcpng/xcpng-host-guests.qcow2
unnetwork nestlab-xcpng-storage
