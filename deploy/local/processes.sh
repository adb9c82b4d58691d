# shellcheck shell=bash
# Background programs of one folder: started once, found again, stopped in order. Sourced by up.sh and down.sh, which
# set these before:
: "${run:?folder of the process files}" "${log:?folder of the logs}"

# The kernel's start time of a process, so that a number used again by another program is not taken for ours.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The second field is the program's name, which may hold anything; the rest is counted from its closing bracket.
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != Z ]] && echo "${fields[19]}"
}

# running NAME: prints its process id when it runs.
running() {
    local pid started
    read -r pid started 2>/dev/null <"$run/$1" || return 1
    [[ $(start_time "$pid") == "$started" ]] && echo "$pid"
}

# start NAME COMMAND…: in a session of its own, output to its log.
start() {
    local name=$1 pid
    shift
    setsid "$@" >>"$log/$name.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid $(start_time "$pid" || true)" >"$run/$name"
}

# stop NAME SIGNAL SECONDS: asks, waits, then kills its whole session.
stop() {
    local name=$1 signal=$2 deadline=$((SECONDS + $3)) pid
    if pid=$(running "$name"); then
        echo "stopping $name"
        kill -s "$signal" "$pid" 2>/dev/null || true
        while running "$name" >/dev/null; do
            if ((SECONDS >= deadline)); then
                echo "$name did not stop within $3 s and is killed" >&2
                kill -s KILL -- "-$pid" 2>/dev/null || true
                break
            fi
            sleep 0.05
        done
    fi
    rm -f "$run/$name"
}

# port_open PORT: whether something listens on 127.0.0.1.
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# ready_answer PORT [PATH]: whether GET PATH (/readyz) answers 200.
ready_answer() {
    local line
    {
        printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "${2:-/readyz}" >&3
        IFS= read -r -t 5 line <&3
    } 3<>"/dev/tcp/127.0.0.1/$1" 2>/dev/null && [[ $line == *" 200"* ]]
}

# wait_for NAME SECONDS CONDITION…: until it holds; fails with the end of the log when NAME ends first or time is up.
wait_for() {
    local name=$1 deadline=$((SECONDS + $2)) why=
    shift 2
    until "$@" 2>/dev/null; do
        running "$name" >/dev/null || why="ended by itself"
        ((SECONDS < deadline)) || why="was not ready in time"
        if [[ -n $why ]]; then
            echo "$name $why; the end of $log/$name.log:" >&2
            tail -n 15 "$log/$name.log" >&2
            echo "hint: 'make down' stops what was started" >&2
            exit 1
        fi
        sleep 0.1
    done
}
