#!/bin/sh
# Builds the image and runs it without a container engine's service and without a registry of images: Debian's debootstrap
# makes a stand-in for the base (Debian's own Python in place of the one that is built for the base image), buildah builds
# on it, and the result is listed and run as in sealed.sh. Needs root and: apt-get install buildah debootstrap
#   deploy/image/try.sh FOLDER [OPTION ...]      # some 6 GB are written to FOLDER; options go to `buildah build`
#   PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm deploy/image/try.sh FOLDER      # the real base
set -eu
if [ $# -lt 1 ] || [ "$(id -u)" -ne 0 ]; then
  echo "usage, as root: $0 FOLDER [OPTION ...]" >&2
  exit 2
fi
for program in buildah debootstrap unshare ip; do
  command -v "$program" >/dev/null || { echo "$program is not installed: apt-get install $program" >&2; exit 1; }
done
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
here=$(cd "$(dirname "$0")" && pwd)

# Everything of buildah's stays in the folder, and it needs neither overlays nor a runtime for containers.
cat >"$folder/storage.conf" <<END
[storage]
driver = "vfs"
graphroot = "$folder/storage"
runroot = "$folder/run"
END
export CONTAINERS_STORAGE_CONF="$folder/storage.conf" BUILDAH_ISOLATION=chroot

if [ -z "${PYTHON_IMAGE:-}" ]; then
  PYTHON_IMAGE=localhost/python-stand-in
  if ! buildah inspect --type image "$PYTHON_IMAGE" >/dev/null 2>&1; then
    echo "making a stand-in for the base image"
    rm -rf "$folder/base"
    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$folder/base" \
      >"$folder/debootstrap.log"
    ln -s python3 "$folder/base/usr/bin/python"
    rm -rf "$folder"/base/var/cache/apt/* "$folder"/base/var/lib/apt/lists/* "$folder"/base/tmp/*
    container=$(buildah from scratch)
    cp -a "$folder/base/." "$(buildah mount "$container")/"
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python "$container"
    buildah commit --quiet --rm "$container" "$PYTHON_IMAGE" >/dev/null
  fi
fi

# pip in the build asks as this machine is set up to ask; nothing of it stays in the image.
if [ -e /etc/pip.conf ]; then set -- --secret id=pip,src=/etc/pip.conf "$@"; fi
if [ -e /etc/ssl/certs ]; then set -- --volume /etc/ssl/certs:/etc/ssl/certs:ro "$@"; fi
ENGINE=buildah "$here/build.sh" cpu localhost/millisight:tried --network host --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" "$@" \
  >"$folder/build.log" 2>&1 || { tail -n 30 "$folder/build.log" >&2; exit 1; }
buildah images localhost/millisight:tried

container=$(buildah from localhost/millisight:tried)
trap 'buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")
python3 "$here/contents.py" "$root"
buildah inspect --type image localhost/millisight:tried |
  python3 -c 'import json, sys; json.dump(json.load(sys.stdin)["Docker"]["config"], sys.stdout)' >"$folder/config.json"
"$here/sealed.sh" "$root" "$folder/config.json"
