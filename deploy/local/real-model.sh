#!/usr/bin/env bash
# Runs a command beside a real model server: llama-cpp-python's, with a tiny vision model of random weights.
#   real-model.sh COMMAND…   the command finds the server's address in OCELLI_TEST_REAL_LLM
# The first run compiles the server (a C++ compiler and Python with venv are needed; about four minutes on two cores)
# into the build folder. What the model writes is noise: this proves the protocol and its errors, nothing about models.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${CARGO_TARGET_DIR:-$here/../../target}/real-model
requirements=("llama-cpp-python[server]==0.3.36" gguf numpy)
context=4096
name=tiny-random

if (($# == 0)); then
    echo "usage: real-model.sh COMMAND…" >&2
    exit 2
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=$folder/venv/bin/python

if [[ $(cat "$folder/installed" 2>/dev/null) != "${requirements[*]}" ]]; then
    echo "real-model: compiling the server; this takes some minutes, once (log: $folder/install.log)" >&2
    rm -rf "$folder/venv" "$folder/installed"
    if ! python3 -m venv "$folder/venv" >"$folder/install.log" 2>&1; then
        echo "real-model: Python cannot make a virtual environment; Debian's package is python3-venv" >&2
        exit 1
    fi
    # Without OpenMP it needs no library beyond the compiler's own. Never at the cost of whoever sits at the machine.
    if ! CMAKE_ARGS="-DGGML_OPENMP=OFF" nice -n 15 "$python" -m pip install --disable-pip-version-check \
        "${requirements[@]}" >>"$folder/install.log" 2>&1; then
        tail -n 15 "$folder/install.log" >&2
        echo "real-model: the server could not be installed" >&2
        exit 1
    fi
    echo "${requirements[*]}" >"$folder/installed"
fi

if [[ ! -f $folder/tiny-mmproj.gguf || $here/tiny-vision-model.py -nt $folder/tiny-mmproj.gguf ]]; then
    "$python" "$here/tiny-vision-model.py" "$folder" "$context"
fi

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$python" -m llama_cpp.server --host 127.0.0.1 --port "$port" --n_ctx "$context" --interrupt_requests false \
    --model "$folder/tiny.gguf" --clip_model_path "$folder/tiny-mmproj.gguf" --chat_format llava-1-5 \
    --model_alias "$name" >"$folder/server.log" 2>&1 </dev/null &
server=$!
stop() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# It listens once the model is loaded.
deadline=$((SECONDS + 120))
until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    if ! kill -0 "$server" 2>/dev/null || ((SECONDS > deadline)); then
        tail -n 15 "$folder/server.log" >&2
        echo "real-model: the server did not start (log: $folder/server.log)" >&2
        exit 1
    fi
    sleep 0.1
done
echo "real-model: a real server with a model of random weights listens at http://127.0.0.1:$port" >&2
OCELLI_TEST_REAL_LLM=http://127.0.0.1:$port "$@"
