# The commands of this repository. Each does its own set-up on a Debian machine with a Rust toolchain.

.PHONY: help demo test build bench-peers bench-scale fuzz deny

help:
	@echo "make demo    a gated campus, end to end: lease, gate, lying DNS, registration"
	@echo "make test    format check, clippy, every test"
	@echo "make fuzz    the decoders under fuzzing for a minute, from the kept corpus"
	@echo "make bench-scale"
	@echo "             what a million leases cost in memory and time (docs/scale.md)"
	@echo "make deny    licences, sources and versions of all dependencies (needs cargo-deny)"
	@echo "make build   the programs, into target/release"
	@echo "make bench-peers"
	@echo "             unpacks Kea and ISC dhcpd into target/peers, for tests and benchmarks; installs nothing"

# First all that the demo needs, so that nobody waits for a build only to be told of a package.
demo:
	@tests/setup.sh demo
	@$(MAKE) --no-print-directory build
	@target/release/vestibule-demo

build:
	@tests/setup.sh build
	cargo build --release --workspace --bins

test:
	@tests/test.sh

bench-peers:
	@tests/setup.sh peers

bench-scale:
	@tests/setup.sh demo
	cargo build --release --workspace --bins
	target/release/vestibule-scale

fuzz:
	@tests/setup.sh fuzz
	@tests/fuzz.sh 60

deny:
	@command -v cargo-deny >/dev/null || { echo "there is no cargo-deny: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny check licenses bans sources
