# Everything a developer or a first-time user runs. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup setup-servers build run test check fmt up down package scale chaos soak bench bench-ocr bench-llm bench-web bench-catalog bench-ingest test-llm-real test-readers

# One command for everything that is run, so that `make run`, `make up` and `make test` share what they compiled: an example,
# and be it the smallest, makes cargo resolve features with the development dependencies, as the tests do.
BUILD := cargo build --workspace --bins --example probe --locked
BENCHES := cargo build --release --workspace --bins --examples --locked
PROGRAMS := $(or $(CARGO_TARGET_DIR),target)/debug
# The same for what is measured.
OPTIMISED := cargo build --release --workspace --bins --example bench-ocr --locked
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
SAMPLES := samples

help: ## list the targets
	@awk -F ':.*## ' '/^bench-[a-z-]+:.*## / { benches = benches (benches ? ", " : "") substr($$1, 7); next } \
	  /^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 } \
	  END { printf "  make %-14s measure one part: %s\n", "bench-NAME", benches }' $(firstword $(MAKEFILE_LIST))

setup: ## install the Debian packages that are missing (Tesseract, clang, fonts)
	@deploy/local/setup.sh

# With RabbitMQ and PostgreSQL, which tests and `make up` start privately.
setup-servers:
	@deploy/local/setup.sh --servers
	@deploy/local/checkers.sh
	@deploy/local/clouds.sh

build: setup
	@$(BUILD)

run: build ## draw sample images into samples/ and read them, in one process and without a server
	@$(PROGRAMS)/ocelli-samples $(SAMPLES)
	@$(PROGRAMS)/ocelli run $(SAMPLES) --show $(SAMPLES)/scaling-open-language-models.png

# Most tests wait for servers most of the time: with one for each core, a third of the cores was idle.
AT_ONCE = $$(( $$(nproc) * 3 / 2 ))

# Tests that read images of other projects are ignored unless OCELLI_SHARED_DATA names their folder; then they run too.
test: setup-servers build ## run all tests, with a private RabbitMQ and PostgreSQL
	@deploy/local/api-check.sh
	@if cargo nextest --version >/dev/null 2>&1; then \
	  $(PROGRAMS)/ocelli-testkit with-servers -- cargo nextest run --workspace --lib --bins --tests --locked --test-threads $(AT_ONCE); \
	else \
	  RUST_TEST_THREADS=$(AT_ONCE) $(PROGRAMS)/ocelli-testkit with-servers -- cargo test --workspace --locked --no-fail-fast; \
	fi
	@if [ -n "$$OCELLI_SHARED_DATA" ]; then \
	  $(PROGRAMS)/ocelli-testkit with-servers -- cargo test --workspace --tests --locked of_the_shared_data -- --ignored; \
	fi

check: setup-servers ## formatting, lints, shell scripts, licences (the last one where cargo-deny is installed)
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@shellcheck -x deploy/local/*.sh deploy/debian/{build.sh,try.sh,postinst,prerm,postrm} .ci/run
	@if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check licenses bans sources; fi

fmt:
	@cargo fmt --all

up: setup-servers build ## start RabbitMQ, PostgreSQL, the programs and Prometheus here, data in .ocelli/
	@deploy/local/up.sh

down: ## stop what make up started; the data stays
	@deploy/local/down.sh

package: setup ## build the optimised programs, their Debian package and bill of materials, into target/package
	@OCELLI_REVISION=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown) cargo build --release --bins --locked \
	  -p ocelli -p ocelli-ocr -p ocelli-llm -p ocelli-collector -p ocelli-producer -p ocelli-web
	@deploy/debian/build.sh $(or $(CARGO_TARGET_DIR),target)/release $(or $(CARGO_TARGET_DIR),target)/package

# About four minutes, without the compiling; nothing else should run beside it.
scale: setup-servers ## measure throughput with 1 to 32 worker processes of fixed latency, and what gives out first
	@$(OPTIMISED)
	@$(RELEASE)/ocelli-chaos scale --ceiling

# MINUTES= scales the runs (default about ten), ONLY=R1,R4 picks some, SEED= repeats the choices of a run, SIM=1 runs
# 100,000 seeds of the simulation. The conformance suites are among what runs.
chaos: setup-servers build ## kill, cut and freeze real processes, brokers and databases under load; count what was lost (make soak: for hours)
	@$(if $(SIM),,cargo test --workspace --no-run --locked --quiet)
	@$(PROGRAMS)/ocelli-chaos $(if $(SIM),simulate --seeds 100000,run $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED)))

# HOURS= (default 1) may be a part of one.
soak: setup-servers build
	@$(PROGRAMS)/ocelli-chaos soak --hours $(or $(HOURS),1)

# About a quarter of an hour on two cores, without the compiling; nothing else should run beside it. BENCH=queueing,latency
# takes some rows (BENCH=micro the microbenchmarks alone), BENCH_ROUNDS= and BENCH_SIZE= say how often and how much (the defaults
# are 5 and 1), WHOLE=1 takes a million records where a goal names them (half an hour more), PUBLISH=1 writes docs/BENCHMARKS.md.
# The report is in the build folder: bench/report.json, report.md, chart.svg.
BENCH_OUT := $(or $(CARGO_TARGET_DIR),target)/bench
bench: setup-servers ## measure ocelli beside its ceilings and beside Celery, Dramatiq, Taskiq, FastStream and xargs
	@deploy/local/peers.sh
	@$(OPTIMISED)
ifeq ($(BENCH),micro)
	@cargo bench --workspace --locked --bench micro
else
	@$(RELEASE)/ocelli-bench --python $(BENCH_OUT)/peers/bin/python --out $(BENCH_OUT) \
	  $(if $(BENCH),--only $(BENCH)) $(if $(BENCH_ROUNDS),--rounds $(BENCH_ROUNDS)) $(if $(BENCH_SIZE),--size $(BENCH_SIZE)) \
	  $(if $(WHOLE),--whole) $(if $(PUBLISH),--publish docs)
endif

# ARGS="--section accuracy --set screens" measures a part; `bench-ocr --help` in target/release/examples lists them. The memory of a child is
# watched over 5,000 images; ARGS="--section memory --steady 500" is faster.
bench-ocr: setup ## accuracy, memory and speed of OCR beside the plain tesseract command, in one run
	@deploy/local/setup.sh --bench
	@$(BENCHES)
	@$(RELEASE)/examples/bench-ocr $(ARGS)

# ONLY=few, many, endpoints or memory measures a part.
bench-llm: setup ## throughput of the vision-model worker against a server of known speed
	@$(BENCHES)
	@$(RELEASE)/examples/bench-llm $(if $(ONLY),only $(ONLY))

# RECORDS= sets the size of the archive (default 100,000), READERS= how many read at once (default 50).
bench-web: setup ## how fast pages of a large archive come, with many readers at once and a writer beside them
	@$(BENCHES)
	@$(RELEASE)/examples/bench-web $(if $(RECORDS),--records $(RECORDS)) $(if $(READERS),--readers $(READERS))

# N= is the number of records (default 30,000), ONLY=sqlite or ONLY=postgres takes one of the two.
bench-catalog: setup-servers ## what the collector writes beside bare inserts, and searches, on both databases
	@$(BENCHES)
	@$(RELEASE)/examples/bench-catalog $(or $(N),30000) $(ONLY)

# N= is the number of large files (default 2,000; fifty times as many small ones).
bench-ingest: setup ## how fast sources are read, beside sha256sum and beside a bare loop of the same client
	@deploy/local/setup.sh --bench
	@$(BENCHES)
	@$(RELEASE)/examples/bench-ingest $(N)

# Installs pyarrow and webdataset from Python packages into the build folder, and reads exports with them.
test-readers: setup build
	@deploy/local/readers.sh cargo test --locked --workspace --test suite read_by_pyarrow -- --ignored

# Installs llama-cpp-python from Python packages into the build folder: minutes, the first time.
test-llm-real: setup build
	@deploy/local/real-model.sh cargo nextest run --locked --workspace --run-ignored ignored-only -j 1 \
		-E 'binary(real_server) | test(/^real_model::/)'
