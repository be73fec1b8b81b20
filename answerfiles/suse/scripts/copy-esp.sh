#!/bin/sh
# Runs at the host's first start, when the boot loader has been written: every disk of the array gets a copy of what the
# firmware starts from, so that any of them may be missing.
set -u
for device in {{ copies | map("shell") | join(" ") }}; do
    mkdir -p /run/nestlab-esp
    if mount "$device" /run/nestlab-esp; then
        cp -r /boot/efi/. /run/nestlab-esp/ || echo "nestlab: $device did not get its copy of the boot loader" > /dev/console
        umount /run/nestlab-esp
    else
        echo "nestlab: $device cannot be mounted" > /dev/console
    fi
done
