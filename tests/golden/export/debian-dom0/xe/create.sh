#!/bin/sh
# Makes machines, disks and networks of the lab debian-dom0 in the pool.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
LAB=debian-dom0
TEMPLATE='CentOS 7'
NIC=e1000
NESTED='exp-nested-hvm nested-virt'
SR=$(sr_of 'Local storage')
UPLINK=$(uplink xenbr0)

begin debian-dom0-dom0 2 4294967296 bios
disk debian-dom0-dom0-disk0 53687091200 0 /root/nestlab/debian-dom0/debian-dom0-dom0-disk0.vhd
card "$UPLINK" 0 52:54:00:c7:14:f4
ready
