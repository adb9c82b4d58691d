#!/usr/bin/env bash
# Installs the checkers of compose and Kubernetes files and of the bill of materials, pinned, from Python packages into the
# build folder: a quarter of a minute, the first time. Nothing is installed into the system.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/../checks/requirements.txt
folder=${CARGO_TARGET_DIR:-$here/../../target}/checkers

cmp -s "$requirements" "$folder/installed.txt" && exit 0
echo "checkers: installing check-jsonschema, kubernetes-validate and cyclonedx-python-lib into the build folder" >&2
rm -rf "$folder"
mkdir -p "$folder"
if ! python3 -m venv "$folder" >"$folder/install.log" 2>&1; then
    echo "checkers: Python cannot make a virtual environment; Debian's package is python3-venv" >&2
    exit 1
fi
if ! "$folder/bin/python" -m pip install --disable-pip-version-check --no-deps -r "$requirements" >>"$folder/install.log" 2>&1; then
    tail -n 15 "$folder/install.log" >&2
    echo "checkers: they could not be installed" >&2
    exit 1
fi
cp "$requirements" "$folder/installed.txt"
