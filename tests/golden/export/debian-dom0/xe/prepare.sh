#!/bin/sh
# Makes the L0's disks and media of what SOURCES holds. Usage: prepare.sh SOURCES OUT
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/prepare-lib.sh"
convert debian-dom0-dom0-disk0 53687091200 vpc subformat=dynamic,force_size=on vhd
