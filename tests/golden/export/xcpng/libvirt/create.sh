#!/bin/sh
# Makes networks, disks and domains of the lab xcpng.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
nesting
mkdir -p -- /var/lib/libvirt/images/xcpng
network nestlab-xcpng-storage "$here/networks/storage.xml"
blank /var/lib/libvirt/images/xcpng/xcpng-host-system.qcow2 107374182400
blank /var/lib/libvirt/images/xcpng/xcpng-host-guests.qcow2 53687091200
present /var/lib/libvirt/images/xcpng/xcpng-host.iso
define "$here/host/domain.xml"
