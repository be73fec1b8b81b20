#!/bin/sh
# Removes machines, disks and networks of this lab, by their mark. Media are kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
LAB=debian-dom0
remove debian-dom0-dom0
discard debian-dom0-dom0-disk0
