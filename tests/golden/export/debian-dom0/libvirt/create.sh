#!/bin/sh
# Makes networks, disks and domains of the lab debian-dom0.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
nesting
mkdir -p -- /var/lib/libvirt/images/debian-dom0
present /var/lib/libvirt/images/debian-dom0/debian-dom0-dom0-disk0.qcow2
define "$here/dom0/domain.xml"
