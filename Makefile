# The commands of daily work. Everything else is cargo's.
#
#   make run     serve Corefile.example
#   make setup   install the peers and tools of the tests; long the first time only
#   make check   format, lints, dependencies
#   make test    all of the above, and every test
#   make bench   measure against CoreDNS

.PHONY: run setup check test bench

# The peers are found by what `make setup` installs, and cargo's colours follow the terminal.
CARGO ?= cargo
INSTALL := tests/peers/install

run:
	$(CARGO) run --release -- -conf Corefile.example

setup:
	$(INSTALL)

check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(INSTALL) cargo-deny
	"$$($(INSTALL) --where cargo-deny)" check bans licenses sources

test: setup
	$(MAKE) --no-print-directory check
	$(CARGO) test --locked
	$(CARGO) test --locked --features planted-faults --test differential every_planted_fault_is_seen

# BENCH takes options: make bench BENCH=--help
bench: setup
	$(CARGO) bench --locked --bench compare -- $(BENCH)
