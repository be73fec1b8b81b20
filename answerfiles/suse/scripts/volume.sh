#!/bin/sh
# Runs outside of the new system, which is mounted at /mnt. Files of this host alone, keys above all, come on a small
# volume beside the medium. Its keys are set aside: YaST writes those of the answers later, Agama has done so before, and
# either would be lost to the other.
set -e
sh /tmp/nestlab-tell end packages 'the packages are installed' || :
cp /tmp/nestlab-tell /mnt/tmp/nestlab-tell || :
volume=/dev/disk/by-label/OEMDRV
keys=/mnt/root/.ssh/authorized_keys
[ -e "$volume" ] || exit 0
mkdir -p /tmp/nestlab-volume
mount -o ro "$volume" /tmp/nestlab-volume
if [ -d /tmp/nestlab-volume/seed ]; then
    if [ -e "$keys" ]; then mv "$keys" "$keys.answers"; fi
    cp -a /tmp/nestlab-volume/seed/. /mnt/
    if [ -e "$keys" ]; then mv "$keys" "$keys.volume"; fi
    if [ -e "$keys.answers" ]; then mv "$keys.answers" "$keys"; fi
fi
umount /tmp/nestlab-volume
