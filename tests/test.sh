#!/bin/bash
# What `make test` runs: set-up, format check, clippy, every test.
#
# Every step runs, whatever the one before it said. The last line is the number of tests passed and
# failed; the exit status is 0 only if every step was good.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

# A test opens as many connections as the API allows, and holds both ends of each; what a login may
# open is often less.
descriptors=8192
[ "$(ulimit -S -n)" = unlimited ] || [ "$(ulimit -S -n)" -ge "$descriptors" ] || ulimit -S -n "$descriptors" ||
	echo "tests: this login may not open $descriptors files, a test of the API's limits may fail for it"

mkdir -p target
rm -f target/test.summary
tests/setup.sh test || exit 1
log=target/test.log
failed_steps=""

step() {
	local name=$1
	shift
	echo "== $name: $*"
	"$@" || failed_steps="$failed_steps, $name"
}

every_test() {
	cargo test --workspace --no-fail-fast 2>&1 | tee "$log"
}

: >"$log"
step "format check" cargo fmt --all --check
step "clippy" cargo clippy --quiet --workspace --all-targets -- -D warnings
# The end-to-end tests run the programs, and cargo builds only those of the package under test.
step "build" cargo build --quiet --workspace --bins
step "tests" every_test

[ -z "$failed_steps" ] || echo "FAILED: ${failed_steps#, }"
sed -n 's/^test result: [A-Za-z]*\. \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$log" |
	awk '{ passed += $1; failed += $2 } END { printf "%d passed, %d failed\n", passed, failed }' |
	tee target/test.summary
[ -z "$failed_steps" ]
