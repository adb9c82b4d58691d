#!/usr/bin/env bash
# The distributed tier on this machine, privately: RabbitMQ, PostgreSQL, one of each ocelli program, and Prometheus that
# watches them, with all data in ./.ocelli (OCELLI_UP_DIR). No system service is touched and nothing listens beyond 127.0.0.1. Running it again starts
# what is not running. down.sh stops everything and keeps the data.
set -euo pipefail
cd "$(dirname "$0")/../.."

home=${OCELLI_UP_DIR:-$PWD/.ocelli}
amqp_port=${OCELLI_UP_AMQP_PORT:-5673}
management_port=${OCELLI_UP_MANAGEMENT_PORT:-15673}
distribution_port=${OCELLI_UP_DISTRIBUTION_PORT:-25673}
mapper_port=${OCELLI_UP_EPMD_PORT:-4370}
postgres_port=${OCELLI_UP_POSTGRES_PORT:-5433}
ocr_port=${OCELLI_UP_OCR_PORT:-9481}
llm_port=${OCELLI_UP_LLM_PORT:-9482}
collector_port=${OCELLI_UP_COLLECTOR_PORT:-9483}
web_port=${OCELLI_UP_WEB_PORT:-9484}
site_port=${OCELLI_UP_SITE_PORT:-8484}
exporter_port=${OCELLI_UP_EXPORTER_PORT:-15693}
prometheus_port=${OCELLI_UP_PROMETHEUS_PORT:-9491}
scrape_every=${OCELLI_UP_SCRAPE_EVERY:-15s}
programs=${OCELLI_UP_PROGRAMS:-${CARGO_TARGET_DIR:-target}/debug}

mkdir -p "$home"/{run,log,rabbitmq,prometheus/targets}
home=$(cd "$home" && pwd)
run=$home/run
log=$home/log
# shellcheck source-path=SCRIPTDIR source=processes.sh
. deploy/local/processes.sh

# free NAME PORT VARIABLE: fails when NAME is not running and somebody else has its port.
free() {
    if ! running "$1" >/dev/null && port_open "$2"; then
        echo "up: port $2 on 127.0.0.1, meant for $1, is taken by another program." >&2
        echo "hint: choose another one with $3=PORT make up" >&2
        exit 1
    fi
}
free epmd "$mapper_port" OCELLI_UP_EPMD_PORT
free rabbitmq "$amqp_port" OCELLI_UP_AMQP_PORT
free rabbitmq "$management_port" OCELLI_UP_MANAGEMENT_PORT
free rabbitmq "$distribution_port" OCELLI_UP_DISTRIBUTION_PORT
free postgres "$postgres_port" OCELLI_UP_POSTGRES_PORT
free ocelli-ocr-worker "$ocr_port" OCELLI_UP_OCR_PORT
free ocelli-llm-worker "$llm_port" OCELLI_UP_LLM_PORT
free ocelli-collector "$collector_port" OCELLI_UP_COLLECTOR_PORT
free ocelli-web "$web_port" OCELLI_UP_WEB_PORT
free ocelli-web "$site_port" OCELLI_UP_SITE_PORT
free rabbitmq "$exporter_port" OCELLI_UP_EXPORTER_PORT
free prometheus "$prometheus_port" OCELLI_UP_PROMETHEUS_PORT
for program in ocelli ocelli-ocr-worker ocelli-llm-worker ocelli-collector ocelli-web; do
    if [[ ! -x $programs/$program ]]; then
        echo "up: $programs/$program is not built." >&2
        echo "hint: make up builds it; or name the folder of the programs with OCELLI_UP_PROGRAMS" >&2
        exit 1
    fi
done

if ! command -v prometheus >/dev/null; then
    echo "up: Prometheus is not installed. hint: make setup-servers, or apt-get install prometheus" >&2
    exit 1
fi

# RabbitMQ. The script behind Debian's own one: it changes neither user nor folder.
rabbitmq=/usr/lib/rabbitmq/bin/rabbitmq-server
[[ -x $rabbitmq ]] || rabbitmq=$(command -v rabbitmq-server) || {
    echo "up: RabbitMQ is not installed. hint: make setup-servers, or apt-get install rabbitmq-server" >&2
    exit 1
}
if ! running epmd >/dev/null; then
    # Erlang's port mapper as a process of ours: one that Erlang starts by itself would stay behind.
    start epmd env ERL_EPMD_ADDRESS=127.0.0.1 epmd -port "$mapper_port"
    wait_for epmd 10 port_open "$mapper_port"
fi
if ! running rabbitmq >/dev/null; then
    echo "starting RabbitMQ"
    printf '%s\n' "listeners.tcp.1 = 127.0.0.1:$amqp_port" 'management.tcp.ip = 127.0.0.1' \
        "management.tcp.port = $management_port" 'prometheus.tcp.ip = 127.0.0.1' \
        "prometheus.tcp.port = $exporter_port" >"$home/rabbitmq/rabbitmq.conf"
    echo '[rabbitmq_management, rabbitmq_prometheus].' >"$home/rabbitmq/enabled_plugins"
    start rabbitmq env HOME="$home/rabbitmq" ERL_EPMD_PORT="$mapper_port" ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODENAME=ocelli@localhost \
        RABBITMQ_DIST_PORT="$distribution_port" RABBITMQ_CONFIG_FILE="$home/rabbitmq/rabbitmq.conf" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/rabbitmq/enabled_plugins" \
        RABBITMQ_MNESIA_BASE="$home/rabbitmq/data" RABBITMQ_LOG_BASE="$log/rabbitmq" \
        RABBITMQ_PID_FILE="$home/rabbitmq/pid" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' "$rabbitmq"
fi

# PostgreSQL refuses to run as root: then it runs as the user that Debian's package makes, who has to reach its data.
initdb=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -rV | head -n 1)
[[ -x $initdb ]] || initdb=$(command -v initdb) || {
    echo "up: PostgreSQL is not installed. hint: make setup-servers, or apt-get install postgresql" >&2
    exit 1
}
postgres=${initdb%/initdb}
data=$home/postgres
as=()
if ((EUID == 0)); then
    as=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    if ! "${as[@]}" test -x "$home"; then
        # A folder above is closed to others, as /root is.
        data=/var/tmp/ocelli-postgres-$(cksum <<<"$home" | cut -d ' ' -f 1)
        echo "the user postgres cannot enter $home: PostgreSQL's data is in $data"
    fi
    install -d -o postgres -g postgres -m 700 "$data"
fi
if ! running postgres >/dev/null; then
    echo "starting PostgreSQL"
    if [[ ! -s $data/PG_VERSION ]] && ! "${as[@]}" test -s "$data/PG_VERSION"; then
        "${as[@]}" "$postgres/initdb" --pgdata="$data" --auth=trust --username=postgres \
            --encoding=UTF8 --locale=C.UTF-8 >>"$log/initdb.log" 2>&1 </dev/null || {
            echo "up: initdb failed; the end of $log/initdb.log:" >&2
            tail -n 15 "$log/initdb.log" >&2
            exit 1
        }
    fi
    start postgres "${as[@]}" "$postgres/postgres" -D "$data" -p "$postgres_port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories=
fi
query() { "$postgres/psql" -X -q -A -t -h 127.0.0.1 -p "$postgres_port" -U postgres -d postgres -c "$1"; }
wait_for postgres 60 query 'select 1' >/dev/null
[[ $(query "select 1 from pg_database where datname = 'ocelli'") == 1 ]] || query 'create database ocelli'
wait_for rabbitmq 120 port_open "$amqp_port"

settings=$home/ocelli.toml
if [[ ! -e $settings ]]; then
    cat >"$settings" <<TOML
# Written once by deploy/local/up.sh; yours to change.
[broker]
url = "amqp://guest:guest@127.0.0.1:$amqp_port/%2f"

[catalog]
url = "postgres://postgres@127.0.0.1:$postgres_port/ocelli"
TOML
elif ! grep -q ":$amqp_port/" "$settings" || ! grep -q ":$postgres_port/" "$settings"; then
    echo "note: $settings, written before, names other ports than this run's" >&2
fi

# program NAME PORT
program() {
    if ! running "$1" >/dev/null; then
        echo "starting $1"
        start "$1" env OCELLI_WEB__LISTEN="127.0.0.1:$site_port" \
            "$programs/$1" --config "$settings" --listen "127.0.0.1:$2"
    fi
}
program ocelli-collector "$collector_port"
program ocelli-ocr-worker "$ocr_port"
program ocelli-llm-worker "$llm_port"
# The archive's site, where it has been built.
program ocelli-web "$web_port"
wait_for ocelli-collector 60 ready_answer "$collector_port"
wait_for ocelli-ocr-worker 60 ready_answer "$ocr_port"
wait_for ocelli-llm-worker 60 ready_answer "$llm_port"
wait_for ocelli-web 60 ready_answer "$web_port"

# Prometheus, with the shipped configuration and rules, and what runs here as targets.
if ! running prometheus >/dev/null; then
    echo "starting Prometheus"
    targets=()
    for target in "ocelli-collector $collector_port" "ocelli-ocr-worker $ocr_port" "ocelli-llm-worker $llm_port" \
        "ocelli-web $web_port"; do
        read -r name port <<<"$target"
        running "$name" >/dev/null || continue
        targets+=("{\"targets\": [\"127.0.0.1:$port\"], \"labels\": {\"program\": \"$name\"}}")
    done
    (IFS=, && echo "[${targets[*]}]") >"$home/prometheus/targets/ocelli.json"
    echo "[{\"targets\": [\"127.0.0.1:$exporter_port\"]}]" >"$home/prometheus/targets/rabbitmq.json"
    cp -r deploy/prometheus/rules "$home/prometheus/"
    sed -e "s/127.0.0.1:9090/127.0.0.1:$prometheus_port/" -e "s/_interval: 15s/_interval: $scrape_every/" \
        -e "s/scrape_timeout: 10s/scrape_timeout: $scrape_every/" \
        deploy/prometheus/prometheus.yml >"$home/prometheus/prometheus.yml"
    start prometheus prometheus --config.file="$home/prometheus/prometheus.yml" \
        --storage.tsdb.path="$home/prometheus/data" --web.listen-address="127.0.0.1:$prometheus_port"
fi
wait_for prometheus 60 ready_answer "$prometheus_port" /-/ready

shown=${settings#"$PWD/"}
cat <<TEXT

Everything is up. Logs: ${log#"$PWD/"}   RabbitMQ's own pages: http://127.0.0.1:$management_port (guest, guest)
The archive: http://127.0.0.1:$site_port   Prometheus, with alerts: http://127.0.0.1:$prometheus_port

  $programs/ocelli --config $shown produce samples/     enqueue images
  $programs/ocelli --config $shown status               how far they are
  $programs/ocelli --config $shown show FILE            read a record
  make down                                             stop it all; the data stays
TEXT
