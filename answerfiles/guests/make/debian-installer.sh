#!/bin/sh
# Makes the disks of guest {{ guest.name }}, and fetches the Debian installer for it. Run once, in the host, as root.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

{% include "make/disks" %}
{% include "make/fetch" %}

images={{ (mirror ~ "/dists/" ~ made.release ~ "/main/installer-amd64/current/images/netboot/debian-installer/amd64") | shell }}
for file in linux initrd.gz; do
    fetch "$images/$file" {{ folder | shell }}/"$file"
done
{% if guest.manager == "libvirt" %}
echo 'install it with: virsh create {{ scripts }}/install.xml --console'
{% else %}
echo 'install it with: xl create -c {{ install }}'
{% endif %}
