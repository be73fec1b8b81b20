#!/bin/sh
# Removes machines, disks and networks of this lab. Media are kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
remove debian-dom0-dom0 /vmfs/volumes/datastore1/debian-dom0/debian-dom0-dom0/debian-dom0-dom0.vmx
discard /vmfs/volumes/datastore1/debian-dom0/debian-dom0-dom0/debian-dom0-dom0-disk0.vmdk
rm -rf -- /vmfs/volumes/datastore1/debian-dom0/debian-dom0-dom0
unportgroup nestlab-debian-dom0 vSwitch0
