#!/bin/sh
# Runs inside the new system{{ ", before YaST writes the boot loader" if release.installer == "autoyast" else ", after Agama wrote the boot loader" }}.
set -u
{% set log = "/run/agama/scripts/post/finish.stderr" if release.installer == "agama" else "/var/adm/autoinstall/logs/finish.sh.log" %}
{% if release.installer == "agama" %}
config=/boot/grub2/grub.cfg
{% else %}
config=/tmp/nestlab-grub.cfg
{% endif %}
fail() {
    said="the installation failed: $1"
    sh /tmp/nestlab-tell fail settings "$said" {{ log }} || echo "nestlab: $said" > /dev/console
    exit 1
}
{% if users %}

{% for user in users %}
useradd --create-home --password {{ (user.password or "*") | shell }} {{ user.name }} || fail 'a user'
{% endfor %}
{% endif %}
{% for group, name in memberships %}
getent group {{ group }} > /dev/null || groupadd {{ group }}
usermod --append --groups {{ group }} {{ name }} || fail 'a group'
{% endfor %}
{% for name, keys in key_files %}

home=$(getent passwd {{ name }} | cut -d: -f6)
install -d -m 0700 "$home/.ssh"
{% for key in keys %}
echo {{ key | shell }} >> "$home/.ssh/authorized_keys"
{% endfor %}
chown -R {{ name }}: "$home/.ssh"
chmod 0600 "$home/.ssh/authorized_keys"
{% endfor %}
{% for name in services_on %}
systemctl enable {{ name }} || fail 'the service {{ name }}'
{% endfor %}
{% for name in services_off %}
systemctl disable {{ name }}
{% endfor %}
{% if grub_lines %}

# Agama's bootloader settings reach Linux alone: Xen's arguments, and dom0's under Xen, are GRUB's own variables.
sed -i -E {% for name, value in grub_lines %}-e '/^{{ name }}=/d' {% endfor %}/etc/default/grub
cat >> /etc/default/grub <<'NESTLAB'
{% for name, value in grub_lines %}
{{ name }}="{{ value | shell_double }}"
{% endfor %}
NESTLAB
{% endif %}

# Xen's entry is the one to start. It is found by its id, since its title is in the host's language. What the installer's
# kernel alone was told stays with it: Agama passes on to the host what it does not know.
sed -i -e '/^GRUB_DEFAULT=/d' -e 's/ *nestlab\.hooks=[^ "]*//' /etc/default/grub
echo 'GRUB_DEFAULT=saved' >> /etc/default/grub
grub2-mkconfig -o "$config" || fail 'grub2-mkconfig'
entry=$(sed -n "s/.*'\(xen-gnulinux-simple-[^']*\)'.*/\1/p" "$config" | head -n 1)
[ -n "$entry" ] || fail 'no boot entry starts Xen'
grub2-set-default "$entry" || fail 'grub2-set-default'

# What came on the volume was copied from outside: its keys were set aside, and it has the owner of the installer.
if [ -e /root/.ssh ]; then
    if [ -e /root/.ssh/authorized_keys.volume ]; then
        cat /root/.ssh/authorized_keys.volume >> /root/.ssh/authorized_keys
        rm /root/.ssh/authorized_keys.volume
    fi
    chown -R root:root /root/.ssh
    chmod 0700 /root/.ssh
    if [ -e /root/.ssh/authorized_keys ]; then chmod 0600 /root/.ssh/authorized_keys; fi
fi
