#!/bin/sh
echo 'nestlab: the installer has read its answers' > /dev/console
