#!/bin/sh
# Makes machines, disks and networks of the lab xcpng in the pool.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
LAB=xcpng
TEMPLATE='CentOS 7'
NIC=e1000
NESTED='exp-nested-hvm nested-virt'
SR=$(sr_of 'Local storage')
UPLINK=$(uplink xenbr0)
network nestlab-xcpng-storage 9000

begin xcpng-host 2 8589934592 bios
disk xcpng-host-system 107374182400 0
disk xcpng-host-guests 53687091200 1
drive xcpng-host.iso 3
card "$UPLINK" 0 52:54:00:a1:04:d8
net=$(lab_network nestlab-xcpng-storage)
card "$net" 1 52:54:00:4f:fd:56
ready
