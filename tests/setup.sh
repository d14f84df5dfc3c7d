#!/bin/sh
# Installs what the build, the demo and the tests need and what is not there yet. Debian only.
#
#   tests/setup.sh build|demo|test|fuzz
#
# It promises: nothing is done when nothing is missing (apt is not even asked); what is installed is
# said first, with the reason; without root, the command to run is printed and the exit status is 1.
# It never starts or enables a service: no package in the list brings one that Debian enables, and
# servers that tests need as peers are unpacked into target/peers, not installed.
set -eu

purpose=${1:-test}
case $purpose in build | demo | test | fuzz) ;; *)
	echo "usage: $0 build|demo|test|fuzz" >&2
	exit 2
	;;
esac

cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# stage, package, how to see that it is there, why it is needed
needs() {
	cat <<-'LIST'
		build gcc               command:cc             links the programs
		build libc6-dev         file:/usr/include/stdlib.h links the programs
		build make              command:make           runs this
		build pkg-config        command:pkg-config     finds libmnl and libnftnl
		build libmnl-dev        library:libmnl         netlink messages for the kernel sets
		build libnftnl-dev      library:libnftnl       kernel sets
		demo  util-linux        command:nsenter        the lab's namespaces
		demo  mount             command:mount          the lab's private folders
		demo  hostname          command:hostname       the lab's host names
		demo  iproute2          command:ip             the lab's links, addresses and routes
		demo  nftables          command:nft            shows the kernel sets
		demo  dnsmasq-base      command:dnsmasq        relay, and the true DNS server
		demo  udhcpc            command:udhcpc         DHCP client
		demo  bind9-dnsutils    command:dig            DNS questions
		demo  curl              command:curl           HTTP questions
		test  isc-dhcp-client   command:dhclient       DHCP client
		test  dhcpcd-base       command:dhcpcd         DHCP client
		test  conntrack         command:conntrack      shows the flows that connection tracking remembers
		test  iputils-ping      command:ping           reachability
		test  git               command:git            lists the files that a test holds to the rules
		fuzz  g++               command:c++            the fuzzer's engine is C++
	LIST
}

# Peers for tests: servers, so they are unpacked and not installed. Package, program, why.
peers() {
	cat <<-'LIST'
		isc-dhcp-relay usr/sbin/dhcrelay a relay that adds option 82
	LIST
}

in_purpose() {
	case $purpose:$1 in
	build:build | demo:build | demo:demo | test:build | test:demo | test:test | fuzz:build | fuzz:fuzz) return 0 ;;
	*) return 1 ;;
	esac
}

present() {
	case $1 in
	command:*) command -v "${1#command:}" >/dev/null ;;
	library:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#library:}" ;;
	file:*) [ -e "${1#file:}" ] ;;
	esac
}

if ! command -v cargo >/dev/null; then
	echo "setup: there is no Rust toolchain (cargo) in PATH: install one, see https://rustup.rs" >&2
	exit 1
fi
if [ "$purpose" = test ]; then
	for component in rustfmt clippy; do
		command=cargo-${component#rust}
		if ! command -v "$command" >/dev/null; then
			echo "setup: $command is missing: rustup component add $component" >&2
			exit 1
		fi
	done
fi

missing=$(needs | while read -r stage package test why; do
	in_purpose "$stage" || continue
	present "$test" || echo "$package ($why)"
done)

if [ -n "$missing" ]; then
	packages=$(echo "$missing" | cut -d' ' -f1 | sort -u | tr '\n' ' ')
	packages=${packages% }
	if ! command -v apt-get >/dev/null; then
		echo "setup: missing, and this is no Debian system: $packages" >&2
		exit 1
	fi
	echo "setup: these Debian packages are missing:"
	echo "$missing" | sed 's/^/  /'
	if [ "$(id -u)" != 0 ]; then
		echo "setup: installing them needs root. Run this, then come back:" >&2
		echo "  sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends $packages'" >&2
		exit 1
	fi
	echo "setup: apt-get install -y --no-install-recommends $packages"
	export DEBIAN_FRONTEND=noninteractive
	# The package lists are fetched only if what is there does not do.
	# shellcheck disable=SC2086
	apt-get install -qq -y --no-install-recommends $packages >/dev/null 2>&1 || {
		echo "setup: apt-get update, then once more"
		apt-get update -qq
		apt-get install -qq -y --no-install-recommends $packages >/dev/null
	}
	still=$(needs | while read -r stage package test why; do
		in_purpose "$stage" || continue
		present "$test" || echo "$package ($test)"
	done)
	if [ -n "$still" ]; then
		echo "setup: installed, and still not found: $still" >&2
		exit 1
	fi
fi

[ "$purpose" = test ] || exit 0

peers | while read -r package program why; do
	[ -x "target/peers/$program" ] && continue
	echo "setup: unpacking $package into target/peers, without installing it ($why)"
	download=target/peers/download
	mkdir -p "$download"
	if ! (cd "$download" && apt-get download -qq -o APT::Sandbox::User=root "$package" 2>/dev/null); then
		if [ "$(id -u)" != 0 ]; then
			echo "setup: apt-get cannot fetch $package; run 'sudo apt-get update', then come back" >&2
			exit 1
		fi
		apt-get update -qq
		(cd "$download" && apt-get download -qq -o APT::Sandbox::User=root "$package")
	fi
	for archive in "$download/$package"_*.deb; do
		dpkg -x "$archive" target/peers
	done
	rm -r "$download"
	if [ ! -x "target/peers/$program" ]; then
		echo "setup: $package holds no $program" >&2
		exit 1
	fi
done
