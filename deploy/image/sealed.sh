#!/bin/sh
# Runs ask.py in the root folder of an image as a strict container runtime would: root read-only, /tmp in memory, no
# network but loopback, uid 10001, no capability, no new privileges. Needs root, for `unshare`; try.sh calls it.
#   deploy/image/sealed.sh ROOT CONFIG
set -eu
if [ "${SEALED:-}" != yes ]; then
  # The file system of processes must be that of the new namespace, so everything else happens in a child in it.
  SEALED=yes exec unshare --mount --net --pid --fork "$0" "$@"
fi
root=$1
here=$(dirname "$0")
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777,size=256m tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/dev/shm"
for device in null zero random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
# Every runtime puts one in; names of the host do no harm.
if [ -e "$root/etc/hosts" ]; then mount --bind /etc/hosts "$root/etc/hosts"; fi
ip link set lo up
cp "$here/ask.py" "$root/tmp/ask.py"
cp "$2" "$root/tmp/config.json"
chmod 644 "$root/tmp/ask.py" "$root/tmp/config.json"
exec chroot "$root" /usr/bin/setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \
  --bounding-set=-all --inh-caps=-all /opt/venv/bin/python /tmp/ask.py /tmp/config.json
