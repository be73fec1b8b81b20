#!/bin/sh
# Makes the disks of guest {{ guest.name }}, and fetches NetBSD's kernels for it: the one that installs, and the one that
# the guest runs. Run once, in the host, as root. End the installation with `halt -p`: a reboot would install again. Then
# run {{ scripts }}/inside in the guest.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

{% include "make/disks" %}
{% include "make/fetch" %}

kernels={{ (mirror ~ "/NetBSD-" ~ made.release ~ "/amd64/binary/kernel") | shell }}
fetch "$kernels/netbsd-INSTALL_XEN3_DOMU.gz" {{ folder | shell }}/netbsd-INSTALL_XEN3_DOMU.gz
{% if guest.kernel %}
fetch "$kernels"/{{ guest.kernel.rpartition("/")[2] | shell }} {{ guest.kernel | shell }}
{% endif %}
{% if guest.manager == "libvirt" %}
echo 'install it with: virsh create {{ scripts }}/install.xml --console'
{% else %}
echo 'install it with: xl create -c {{ install }}'
{% endif %}
