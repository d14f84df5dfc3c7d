#!/bin/sh
# Fuzzes what reads foreign packets: builds the targets with coverage counters on stable Rust (no
# cargo-fuzz, no nightly), runs each from a copy of the kept corpus, and shares the time out.
#
#   tests/fuzz.sh [SECONDS]      default 60
#
# Ends with 1 if a target crashed; the input that did it is then in target/fuzz-artifacts, and
# `target/fuzz/HOST/release/TARGET FILE` repeats it.
set -eu

seconds=${1:-60}
case $seconds in
    '' | *[!0-9]* | 0) echo "usage: $0 [SECONDS], at least 1" >&2; exit 2 ;;
esac
targets='decode frame failover plain token'
input_length_max=2048        # longer than any packet that is read, so that the limit is tried too
memory_max_megabytes=512
input_seconds_max=5          # for one input: anything that takes longer is reported as a crash

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/target/fuzz
artifacts=$root/target/fuzz-artifacts
host=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "$artifacts"
command -v c++ >/dev/null || { echo "$0: libFuzzer is C++; install a compiler (Debian: apt-get install g++)" >&2; exit 2; }

# Named explicitly, the target gets its own flags: build scripts and macros stay without counters.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
--cfg fuzzing" \
    cargo build --release --manifest-path "$root/tests/fuzz/Cargo.toml" --target-dir "$build" --target "$host" --bins

set -- $targets
share=$((seconds / $#))
[ "$share" -gt 0 ] || share=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
failed=0
for target in $targets; do
    corpus=$work/$target
    cp -r "$root/tests/fuzz/corpus/$target" "$corpus"
    log=$work/$target.log
    status=0
    "$build/$host/release/$target" "$corpus" \
        -max_total_time="$share" -max_len="$input_length_max" -rss_limit_mb="$memory_max_megabytes" \
        -timeout="$input_seconds_max" -artifact_prefix="$artifacts/$target-" -print_final_stats=1 \
        >"$log" 2>&1 || status=$?
    inputs=$(find "$root/tests/fuzz/corpus/$target" -type f | wc -l)
    first=$(sed -n 's/.*INITED cov: \([0-9]*\).*/\1/p' "$log" | head -n 1)
    last=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "fuzz $target: ${executions:-?} executions in $share s from $inputs kept inputs, coverage ${first:-?} -> ${last:-?}"
    if [ "$status" -ne 0 ]; then
        failed=1
        tail -n 40 "$log" >&2
        echo "fuzz $target: CRASHED (status $status); input kept:" \
            "$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)" >&2
    elif [ -z "$first" ] || [ -z "$last" ] || [ "$last" -le 20 ]; then
        failed=1
        echo "fuzz $target: no coverage came back; the build's counters are missing" >&2
    fi
done
exit $failed
