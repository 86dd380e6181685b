# The commands of daily work. Everything else is cargo's.
#
#   make run     serve Corefile.example
#   make setup   install the peers and tools of the tests; long the first time only
#   make check   format, lints, dependencies
#   make test    all of the above, every test, and a short make fuzz
#   make soak    the test of three minutes in make test alone, for any length: SOAK_SECONDS=n, 120 or more; shows what was
#                done, what was answered wrong, and what memory and file descriptors came to
#   make fuzz    random packets, Corefiles and API answers, a minute each (FUZZ_SECONDS=n for another time)
#   make dist    what users are given: a static program, what is in it, and checksums (deploy/dist; PROFILE=quick links soon)
#   make bench   measure against other servers and a bare echo
#   make bench-quick    the same in a minute: podzone and the echo
#   make bench-scale    start, memory and changes of a large cluster, beside CoreDNS
#   make bench-outside  names outside of the cluster, cached and forwarded, beside CoreDNS
#   make bench-pieces   time the pieces of an answer

.PHONY: run setup check test soak fuzz dist bench bench-quick bench-scale bench-outside bench-pieces

# The peers are found by what `make setup` installs, and cargo's colours follow the terminal.
CARGO ?= cargo
INSTALL := tests/peers/install
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 180
# 0 takes a new seed each time; the tests take one, so that what they find is not left to chance.
FUZZ_SEED ?= 0
FUZZ_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))/fuzz

run:
	$(CARGO) run --release -- -conf Corefile.example

setup:
	$(INSTALL)

check:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(INSTALL) cargo-deny
	"$$($(INSTALL) --where cargo-deny)" check bans licenses sources

test: setup
	$(MAKE) --no-print-directory check
	$(CARGO) test --locked
	$(CARGO) test --locked --features planted-faults --test differential every_planted_fault_is_seen
	$(MAKE) --no-print-directory fuzz FUZZ_SEED=1 FUZZ_SECONDS=30

soak: setup
	SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test --locked --test soak -- --nocapture

# The sanitizer is an unstable flag of the stable compiler. What a run adds to the corpora is kept beside its build; the
# repository's own are the seeds. A failure's input is written there too, and shown.
fuzz:
	$(INSTALL) cargo-fuzz
	cd fuzz && for target in respond corefile source; do \
	  mkdir -p "$(FUZZ_DIR)/found/$$target" "$(FUZZ_DIR)/failed" && \
	  RUSTC_BOOTSTRAP=1 "$$(../$(INSTALL) --where cargo-fuzz)" fuzz run --target-dir "$(FUZZ_DIR)" "$$target" \
	    "$(FUZZ_DIR)/found/$$target" "corpus/$$target" -- -max_total_time=$(FUZZ_SECONDS) -seed=$(FUZZ_SEED) -timeout=10 \
	    -artifact_prefix="$(FUZZ_DIR)/failed/" -print_final_stats=1 || exit 1; \
	done

dist:
	PROFILE=$(PROFILE) DIST=$(DIST) deploy/dist

# BENCH takes options: make bench BENCH=--help
bench:
	$(INSTALL) --bench
	$(CARGO) bench --locked --bench compare -- $(BENCH)

# podzone beside the bare echo, without other servers and without a release's long linking.
bench-quick:
	$(CARGO) bench --locked --profile quick --bench compare -- --only udp --peers podzone,echo --rounds 3 --seconds 3 $(BENCH)

# BENCH takes options here too.
bench-scale:
	$(INSTALL)
	$(CARGO) bench --locked --bench scale -- $(BENCH)

# And here.
bench-outside:
	$(INSTALL) --bench
	$(CARGO) bench --locked --bench outside -- $(BENCH)

bench-pieces:
	$(CARGO) bench --locked --bench pieces -- $(BENCH)
