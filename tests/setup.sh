#!/bin/sh
# Installs what the build, the demo and the tests need and what is not there yet. Debian only.
#
#   tests/setup.sh build|demo|test|fuzz|bench|dns|instructions|peers
#
# It promises: nothing is done when nothing is missing (apt is not even asked); what is installed is
# said first, with the reason; without root, the command to run is printed and the exit status is 1.
# It never starts or enables a service: no package in the list brings one that Debian enables, and
# servers that tests and benchmarks need as peers are unpacked into target/peers, not installed. For
# the unpacking (`peers`, which does nothing else) no root is needed.
set -eu

purpose=${1:-test}
case $purpose in build | demo | test | fuzz | bench | dns | instructions | peers) ;; *)
	echo "usage: $0 build|demo|test|fuzz|bench|dns|instructions|peers" >&2
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
		lab   util-linux        command:nsenter        the lab's namespaces
		lab   mount             command:mount          the lab's private folders
		lab   hostname          command:hostname       the lab's host names
		lab   iproute2          command:ip             the lab's links, addresses and routes
		demo  nftables          command:nft            shows the kernel sets
		demo  dnsmasq-base      command:dnsmasq        relay, and the true DNS server
		demo  udhcpc            command:udhcpc         DHCP client
		demo  bind9-dnsutils    command:dig            DNS questions
		demo  curl              command:curl           HTTP questions
		test  isc-dhcp-client   command:dhclient       DHCP client
		test  dhcpcd-base       command:dhcpcd         DHCP client
		test  conntrack         command:conntrack      shows the flows that connection tracking remembers
		test  e2fsprogs         command:mkfs.ext4      a real disk that fails
		test  iputils-ping      command:ping           reachability
		test  chromium          command:chromium       a person's browser, which opens the portal
		test  fonts-dejavu-core file:/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf letters for it
		test  python3           command:python3        the example of a portal of one's own
		test  git               command:git            lists the files that a test holds to the rules
		fuzz  g++               command:c++            the fuzzer's engine is C++
		dns   dnsperf           command:dnsperf        asks two resolvers the same questions
		dns   dnsmasq-base      command:dnsmasq        the resolver beside ours
		dns   util-linux        command:taskset        gives each a core of its own
		count valgrind          command:valgrind       counts instructions
	LIST
}

# Other people's programs, unpacked and not installed: package, program, whether all tests rest on it
# or only those that compare (`compared`: a Debian release may lack it), why.
peers() {
	cat <<-'LIST'
		isc-dhcp-relay   usr/sbin/dhcrelay  needed   a relay that adds option 82
		isc-dhcp-server  usr/sbin/dhcpd     compared ISC dhcpd, which is tested and measured beside ours
		kea-dhcp4-server usr/sbin/kea-dhcp4 compared Kea, which is tested and measured beside ours
		isc-dhcp-server  usr/bin/omshell    compared says to ISC dhcpd that its partner is down
		systemd          usr/bin/systemd-analyze compared judges the units of the packages
		prometheus       usr/bin/promtool   compared judges the alerting rules
	LIST
}

in_purpose() {
	case $purpose:$1 in
	build:build | demo:build | test:build | fuzz:build | bench:build | dns:build | instructions:build) return 0 ;;
	demo:lab | test:lab | bench:lab) return 0 ;;
	demo:demo | test:demo | test:test | fuzz:fuzz | dns:dns | instructions:count) return 0 ;;
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

if [ "$purpose" != peers ] && ! command -v cargo >/dev/null; then
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

case $purpose in test | bench | peers) ;; *) exit 0 ;; esac

folder=target/peers
download=$folder/download

# Whether a program is there, and every library that it needs.
unpacked() {
	[ -x "$folder/$1" ] || return 1
	libraries=$(find "$PWD/$folder/usr/lib" "$PWD/$folder/lib" -name '*.so*' -exec dirname {} + 2>/dev/null | sort -u | tr '\n' ':')
	! LD_LIBRARY_PATH=$libraries ldd "$folder/$1" 2>/dev/null | grep -q 'not found'
}

# Downloads a package, and what it needs and this machine lacks, with the package lists that apt
# knows, or with further options such as lists of our own.
fetch() {
	package=$1
	shift
	lacking=$(apt-get -s -qq "$@" install --no-install-recommends "$package" 2>/dev/null | sed -n 's/^Inst \([^ ]*\) (.*/\1/p') || return 1
	mkdir -p "$download"
	# The package itself is named too: it may be installed here, and is wanted here all the same.
	packages=$(printf '%s\n' "$package" $lacking | sort -u)
	# shellcheck disable=SC2086
	(cd "$download" && apt-get download -qq -o APT::Sandbox::User=root "$@" $packages >/dev/null 2>&1)
}

# The same with lists that are fetched into a folder of ours: no root is needed, and nothing of the
# machine's apt is touched.
fetch_with_own_lists() {
	lists=$PWD/$folder/lists
	mkdir -p "$lists/partial" "$folder/cache/archives/partial"
	set -- "$1" -o "Dir::State::Lists=$lists" -o "Dir::Cache=$PWD/$folder/cache"
	package=$1
	shift
	if [ ! -e "$lists/lock" ]; then
		echo "setup: fetching package lists into $folder/lists"
		# What Debian's containers do after an update fails without root, and does not matter here.
		apt-get update -qq -o APT::Sandbox::User=root "$@" 2>"$folder/cache/said" || {
			cat "$folder/cache/said" >&2
			return 1
		}
	fi
	fetch "$package" "$@"
}

status=0
while read -r package program rank why; do
	unpacked "$program" && continue
	echo "setup: unpacking $package into $folder, without installing it ($why)"
	rm -rf "$download"
	problem=
	if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
		problem="this is no Debian system"
	elif ! fetch "$package" && ! fetch_with_own_lists "$package"; then
		problem="apt-get cannot fetch it; run 'apt-get download $package' to see why"
	else
		for archive in "$download"/*.deb; do
			dpkg -x "$archive" "$folder"
		done
		unpacked "$program" || problem="$program lacks a library or is not in it: ldd $folder/$program"
	fi
	rm -rf "$download"
	[ -n "$problem" ] || continue
	# Where it may be lacking, whoever is told of it there says that it did not run.
	case $purpose:$rank:${CI:-} in
	peers:* | test:needed:* | *:true)
		echo "setup: no $package: $problem" >&2
		status=1
		;;
	*) echo "setup: NO $package: $problem. What compares with it will not run, and will say so." >&2 ;;
	esac
done <<LIST
$(peers)
LIST
rm -rf "$folder/lists" "$folder/cache"
exit "$status"
