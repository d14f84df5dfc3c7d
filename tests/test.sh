#!/bin/bash
# What `make test` runs: set-up, format check, clippy, every test.
#
# Every step runs, whatever the one before it said. The last line is the number of tests passed and
# failed, where a step that failed without a failed test (the format, a warning, a build) counts as one
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
failed_steps=()

step() {
	local name=$1
	shift
	echo "== $name: $*"
	"$@" || failed_steps+=("$name")
}

every_test() {
	cargo test --workspace --no-fail-fast 2>&1 | tee "$log"
}

: >"$log"
step "format check" cargo fmt --all --check
step "clippy" cargo clippy --quiet --workspace --all-targets -- -D warnings
# The end-to-end tests run the programs, and cargo builds only those of the package under test. All
# targets, since the tests' own dependencies change features, and nothing is to be built twice.
step "build" cargo build --quiet --workspace --all-targets
step "tests" every_test

read -r passed failed < <(
	sed -n 's/^test result: [A-Za-z]*\. \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$log" |
		awk '{ passed += $1; failed += $2 } END { print passed + 0, failed + 0 }'
)
tests_failed=$failed
for name in "${failed_steps[@]}"; do
	echo "FAILED: $name"
	# Of the tests only what no test program could say: that one was not built, or was killed.
	[ "$name" = tests ] && [ "$tests_failed" -gt 0 ] || failed=$((failed + 1))
done
# Tests that passed without having run, with the reason that they gave.
grep -o 'NOT RUN: .*' "$log" || true
echo "$passed passed, $failed failed" | tee target/test.summary
[ "${#failed_steps[@]}" = 0 ]
