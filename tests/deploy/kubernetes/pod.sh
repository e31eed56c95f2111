#!/bin/sh
# Runs a command as a strict container runtime runs the pod: a read-only root, memory in place of its writable volumes, no
# network but loopback, the image's user, no capability, no new privileges; as the first process. Needs root.
#   pod.sh PLACE REPOSITORY UID COMMAND ...       PLACE: an empty folder; POD_VOLUMES="/tmp=128m /srv=64m" POD_PYTHON=interpreter
set -eu
if [ "${POD:-}" != inside ]; then
  # The file system of processes must be that of the new namespace, so everything else happens in a child in it.
  POD=inside exec unshare --mount --net --pid --fork --kill-child "$0" "$@"
fi
place=$1
repository=$2
uid=$3
shift 3
mount --make-rprivate /
mount -t tmpfs tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
root=$place/root
# This machine stands in for the image: all of it can be read, and nothing of it written.
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$root"
mkdir -p "$root/app/zoo"
# Also an interpreter in somebody's home; what changes is the layer above.
folder=$(dirname "$POD_PYTHON")
while [ "$folder" != / ]; do
  chmod o+x "$root$folder"
  folder=$(dirname "$folder")
done
for volume in $POD_VOLUMES; do mkdir -p "$root${volume%=*}"; done
mount -o remount,ro "$root"
mount --bind "$repository/zoo" "$root/app/zoo"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for volume in $POD_VOLUMES; do
  mount -t tmpfs -o "mode=1777,size=${volume#*=}" tmpfs "$root${volume%=*}"
done
ip link set lo up
unset POD POD_VOLUMES POD_PYTHON
exec chroot "$root" setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs --bounding-set=-all \
  --inh-caps=-all env --chdir /app "$@"
