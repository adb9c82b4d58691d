#!/usr/bin/env bash
# Stops what up.sh started, in order: the programs finish what they have in hand before their servers go. Data, settings
# and logs stay in ./.ocelli (OCELLI_UP_DIR) for the next start.
set -euo pipefail
cd "$(dirname "$0")/../.."

home=${OCELLI_UP_DIR:-$PWD/.ocelli}
run=$home/run
log=$home/log
if [[ ! -d $run ]]; then
    echo "nothing to stop: $run does not exist"
    exit 0
fi
# shellcheck source-path=SCRIPTDIR source=processes.sh
. deploy/local/processes.sh

stop prometheus TERM 30
stop ocelli-web TERM 60
# The collector after the workers: it writes what they still report.
stop ocelli-llm-worker TERM 60
stop ocelli-ocr-worker TERM 60
stop ocelli-collector TERM 60
stop rabbitmq TERM 60
stop epmd TERM 10
stop postgres INT 30
echo "all stopped; the data stays in ${home#"$PWD/"}"
