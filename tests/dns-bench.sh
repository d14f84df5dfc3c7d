#!/bin/sh
# The lying resolver beside dnsmasq, in one run: the same questions, the same dnsperf, one after the other,
# several times over. Each server has one core, dnsperf another one.
#
#   tests/dns-bench.sh [ROUNDS [SECONDS]]      default 4 and 5
#
# Needs target/release/vestibule-dns, dnsmasq and dnsperf (Debian: apt-get install dnsmasq-base dnsperf).
# Runs in a network namespace of its own where it may make one; prints questions answered per second, those
# lost, and the server's CPU time for each. Ends with 2 if it could not be run.
set -eu

rounds=${1:-4}
seconds=${2:-5}
root=$(cd "$(dirname "$0")/.." && pwd)
dns=$root/target/release/vestibule-dns
for program in "$dns" dnsmasq dnsperf taskset; do
    command -v "$program" >/dev/null || { echo "$0: there is no $program" >&2; exit 2; }
done
if [ "${DNS_BENCH_INSIDE:-}" != yes ] && [ "$(id -u)" = 0 ]; then
    DNS_BENCH_INSIDE=yes exec unshare -n sh -c 'ip link set lo up; exec "$0" "$@"' "$0" "$@"
fi

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
cat >"$work/vestibule.toml" <<END
[server]
name = "bench"
state-dir = "$work"
interfaces = ["lo"]
[[network]]
name = "none"
gated = false
[[network.subnet]]
prefix = "10.20.0.0/22"
[gate]
mode = "off"
portal = { address = "10.0.0.80", url = "https://register.campus.example/" }
[dns]
listen = ["127.0.0.1:5355"]
upstream = ["127.0.0.1:5399"]
END
for name in captive.apple.com connectivitycheck.gstatic.com www.msftconnecttest.com \
    detectportal.firefox.com www.google.com api.example.edu; do
    echo "$name A"
done >"$work/a"
for type in A AAAA HTTPS; do sed "s/ A\$/ $type/" "$work/a"; done >"$work/mixed"

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

measure() { # name, questions, command
    name=$1 questions=$2
    shift 2
    taskset -c 0 "$@" >"$work/log" 2>&1 &
    server=$!
    tries=0
    until dnsperf -s 127.0.0.1 -p 5355 -d "$work/a" -n 1 -t 1 2>/dev/null | grep -q 'completed: *6 '; do
        tries=$((tries + 1))
        [ "$tries" -lt 50 ] || { cat "$work/log" >&2; echo "$0: $name does not answer" >&2; exit 2; }
    done
    before=$(ticks "$server")
    taskset -c 1 dnsperf -s 127.0.0.1 -p 5355 -d "$work/$questions" -e -c 50 -q 500 -l "$seconds" >"$work/out" 2>&1
    after=$(ticks "$server")
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
    awk -v name="$name" -v questions="$questions" -v ticks=$((after - before)) -v hertz="$(getconf CLK_TCK)" '
        /Queries completed:/ { completed = $3 }
        /Queries lost:/ { lost = $3 }
        /Queries per second:/ { rate = $4 }
        END { printf "%-14s %-6s %9d answers/s %6d lost %6.2f us of CPU each\n",
              name, questions, rate, lost, 1e6 * ticks / hertz / completed }' "$work/out"
}

round=1
while [ "$round" -le "$rounds" ]; do
    for questions in a mixed; do
        measure vestibule-dns "$questions" "$dns" --config "$work/vestibule.toml"
        measure dnsmasq "$questions" dnsmasq --keep-in-foreground --log-facility=- --conf-file=/dev/null \
            --pid-file= --user=root --port=5355 --listen-address=127.0.0.1 --bind-interfaces --no-resolv \
            --no-hosts --address=/#/10.0.0.80 --local=/#/ --local-ttl=10
    done
    round=$((round + 1))
done
