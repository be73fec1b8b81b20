#!/bin/sh
# Run by the installer before it looks at the disks.
set -eu

{% include "install/common.sh" %}

tell 'the disks are next'
{% for script in scripts %}
run {{ script | shell }}
{% endfor %}
