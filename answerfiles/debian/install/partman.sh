#!/bin/sh
# Run by the installer before it looks at the disks.
set -eu

{% include "install/common.sh" %}

tell begin disks 'the disks are next'

# A host of guests is no laptop; and the other one would be installed only to be purged.
rm -f /usr/lib/pre-pkgsel.d/*laptop-detect /usr/lib/pre-pkgsel.d/*popcon
{% for script in scripts %}
run {{ script | shell }}
{% endfor %}
