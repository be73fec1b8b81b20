#!/bin/sh
echo 'nestlab: the disks are ready' > /dev/console
