#!/bin/sh
# Builds an image with the first container engine that works here.
#   deploy/image/build.sh TARGET TAG [OPTION ...]       # cpu, gpu or bundles; options go to the engine's build
# ENGINE=podman takes that one or none. Ends with 1 and says what it looked for where there is none; with the engine's own code where its build fails.
set -eu
if [ $# -lt 2 ]; then
  echo "usage: $0 TARGET TAG [OPTION ...]" >&2
  exit 2
fi
target=$1
tag=$2
shift 2
cd "$(dirname "$0")/../.."

case $target in
  cpu | gpu | bundles) ;;
  *)
    echo "There is no target '$target'. Choose one of cpu, gpu, bundles." >&2
    exit 2
    ;;
esac

engine=''
looked=''
for name in ${ENGINE:-docker podman buildah}; do
  if ! command -v "$name" >/dev/null 2>&1; then
    looked="$looked $name (not installed),"
    continue
  fi
  # A client alone builds nothing: ask what needs the engine or its storage. The last line that it says is the reason.
  if [ "$name" = docker ]; then question=version; else question=info; fi
  if answer=$("$name" "$question" 2>&1 >/dev/null); then
    engine=$name
    break
  fi
  echo "$name is installed but does not work here: $(printf '%s\n' "$answer" | tail -n 1)" >&2
  looked="$looked $name (does not work),"
done
if [ -z "$engine" ]; then
  echo "Nothing was built. Looked for:${looked%,}." \
    "Install one of them, or start its service, and try again; docs/serving.md says how to run without a container." >&2
  exit 1
fi

case $engine in
  # The format of OCI has no place for the health check.
  podman) set -- --format docker "$@" ;;
  buildah) set -- --format docker --layers "$@" ;;
esac
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
set -- --label "org.opencontainers.image.version=$version" "$@"
if revision=$(git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null); then
  set -- --label "org.opencontainers.image.revision=$revision" "$@"
fi
echo "$engine builds the target $target as $tag."
exec "$engine" build --target "$target" --tag "$tag" "$@" .
