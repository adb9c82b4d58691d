#!/usr/bin/env bash
# Runs a command with OCELLI_READERS naming a Python that has pyarrow and webdataset, installed into the build folder the first time.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${CARGO_TARGET_DIR:-target}/readers/venv
if [[ ! -e $venv/ready ]]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet 'pyarrow>=16,<27' 'webdataset>=0.2,<2'
  touch "$venv/ready"
fi
OCELLI_READERS=$PWD/$venv/bin/python
[[ $venv = /* ]] && OCELLI_READERS=$venv/bin/python
export OCELLI_READERS
exec "$@"
