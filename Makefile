# The commands of this repository. Each does its own set-up on a Debian machine with a Rust toolchain.

.PHONY: help demo test build bench bench-dns bench-peers bench-scale bench-instructions soak crash fuzz deny bench-gate deb deb-test

help:
	@echo "make demo                a gated campus, end to end: lease, gate, lying DNS, registration"
	@echo "make test                format check, clippy, every test"
	@echo "make build               the programs, into target/release"
	@echo "make bench               beside Kea, ISC dhcpd and a null responder, in one run of ten minutes"
	@echo "make bench-dns           the lying resolver beside dnsmasq, with dnsperf"
	@echo "make bench-peers         unpacks Kea and ISC dhcpd into target/peers; installs nothing"
	@echo "make bench-scale         what a million leases cost in memory and time"
	@echo "make bench-gate          registrations to permits, changes of the kernel sets, a crowd of unregistered phones"
	@echo "make bench-instructions  instructions of the packet's way, beside those that are kept"
	@echo "make soak                20,000 clients through renew, rebind and expiry, in three minutes"
	@echo "make crash               50 rounds of kill -9 each with and without gate, 10,000 power cuts"
	@echo "make fuzz                the decoders under fuzzing for a minute, from the kept corpus"
	@echo "make deb                 Debian packages, into target/debian (needs cargo-deb)"
	@echo "make deb-test            installs them in a clean Debian root and starts what they bring (root, debootstrap)"
	@echo "make deny                licences, sources and versions of all dependencies (needs cargo-deny)"

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

# BENCH holds options for vestibule-bench: make bench BENCH="--repeat 1 --only kea,vestibule"
bench:
	@tests/setup.sh bench
	cargo build --release --bins -p vestibule-dhcpd -p vestibule-load -p vestibule-tests
	@target/release/vestibule-bench $(BENCH)

# DNS_BENCH holds rounds and seconds: make bench-dns DNS_BENCH="2 3"
bench-dns:
	@tests/setup.sh dns
	@cargo build --release --quiet -p vestibule-dns
	@tests/dns-bench.sh $(DNS_BENCH)

bench-peers:
	@tests/setup.sh peers

bench-scale:
	@tests/setup.sh demo
	cargo build --release --workspace --bins
	target/release/vestibule-scale

# BENCH_GATE holds options for vestibule-bench-gate: make bench-gate BENCH_GATE="--only sets"
bench-gate:
	@tests/setup.sh demo
	cargo build --release --bins -p vestibule-dhcpd -p vestibule-dns -p vestibule-firewall -p vestibule-load -p vestibule-tests
	@target/release/vestibule-bench-gate $(BENCH_GATE)

# SOAK holds options for vestibule-soak: make soak SOAK="--clients 200 --seconds 30"
soak:
	@tests/setup.sh demo
	cargo build --release --bins -p vestibule-dhcpd -p vestibule-load -p vestibule-tests
	@target/release/vestibule-soak $(SOAK)

# To write the counts: make bench-instructions INSTRUCTIONS=--update
bench-instructions:
	@tests/setup.sh instructions
	cargo build --release -p vestibule-tests --bin vestibule-instructions
	@target/release/vestibule-instructions $(INSTRUCTIONS)

fuzz:
	@tests/setup.sh fuzz
	@tests/fuzz.sh 60

deny:
	@command -v cargo-deny >/dev/null || { echo "there is no cargo-deny: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny check licenses bans sources

# A quarter of an hour. Each test alone, so that the load of one does not slow the other.
crash:
	@tests/setup.sh test
	cargo build --workspace --bins
	VESTIBULE_POWER_CUT_SEEDS=2500 cargo test -p vestibule-dhcpd --test store_power_cut -- --nocapture
	VESTIBULE_POWER_CUT_ROUNDS=50 cargo test -p vestibule-tests --test faults goes_away -- --nocapture
	VESTIBULE_CRASH_ROUNDS=50 cargo test -p vestibule-tests --test crash -- --nocapture --test-threads=1

# A package for each folder of programs. The manual pages come from the command lines themselves.
deb: build
	@command -v cargo-deb >/dev/null || { echo "there is no cargo-deb: cargo install --locked cargo-deb" >&2; exit 1; }
	target/release/vestibule-manuals
	for package in vestibule-dhcpd vestibule-dns vestibule-load; do cargo deb --quiet --no-build --strip -p $$package || exit 1; done
	@ls -l target/debian/*.deb

deb-test: deb
	@tests/deb-test.sh
