#!/bin/bash
# Installs the packages of target/debian in a clean Debian root of its own, starts what they bring, and
# takes them away again. As root, on Debian with debootstrap. It leaves nothing behind but
# target/deb-root.tar, the root before the installation, from which the next run begins.
set -eu -o pipefail
cd "$(dirname "$0")/.."

say() { echo "deb-test: $*"; }
fail() {
	echo "deb-test: FAILED: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || { echo "deb-test: needs root, to make a Debian root and a network of its own" >&2; exit 2; }
for program in debootstrap unshare chroot setpriv tar; do
	command -v "$program" >/dev/null || { echo "deb-test: there is no $program: apt-get install debootstrap util-linux tar" >&2; exit 2; }
done
packages=(target/debian/vestibule-dhcpd_*.deb target/debian/vestibule-dns_*.deb target/debian/vestibule-load_*.deb)
for package in "${packages[@]}"; do
	[ -f "$package" ] || { echo "deb-test: there is no $package: make deb" >&2; exit 2; }
done

root=$(mktemp -d)
trap 'umount -R "$root/proc" 2>/dev/null || true; rm -rf --one-file-system "$root"' EXIT
. /etc/os-release
clean=target/deb-root.tar
if [ ! -f "$clean" ]; then
	say "a clean Debian $VERSION_CODENAME root (once, some minutes)"
	# The machine's own mirror, in either of apt's formats.
	mirror=$(find /etc/apt -name '*.list' -o -name '*.sources' | xargs cat | sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' | sed -n 1p)
	debootstrap --variant=minbase "$VERSION_CODENAME" "$root" "$mirror" >target/deb-root.log 2>&1 || { tail -5 target/deb-root.log >&2; fail "debootstrap"; }
	tar -C "$root" -cf "$clean.new" . && mv "$clean.new" "$clean"
else
	say "the clean root of $clean"
	tar -C "$root" -xf "$clean"
fi
# mktemp made it for root alone.
chmod 755 "$root"
mount -t proc proc "$root/proc"
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

say "installs"
cp "${packages[@]}" "$root/tmp/"
cp /etc/resolv.conf "$root/etc/resolv.conf"
[ ! -d /etc/apt/apt.conf.d ] || cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
inside apt-get update -qq -o APT::Sandbox::User=root
inside sh -c 'apt-get install -qq -y -o APT::Sandbox::User=root --no-install-recommends /tmp/vestibule-*.deb' >target/deb-test.log 2>&1 || { tail -20 target/deb-test.log >&2; fail "the packages do not install"; }
grep 'vestibule-dhcpd: edit' target/deb-test.log >/dev/null || fail "nobody is told what to do next"

say "looks at what is there"
inside sh -c '[ "$(stat -c "%a %U %G" /etc/vestibule/token)" = "640 root vestibule" ]' || fail "the token's owner or mode"
[ "$(wc -c <"$root/etc/vestibule/token")" -ge 64 ] || fail "the token is short"
token=$(sha256sum <"$root/etc/vestibule/token")
inside vestibule check /etc/vestibule/vestibule.toml >/dev/null || fail "the shipped configuration has mistakes"
for program in vestibule vestibule-dhcpd vestibule-dns vestibule-load; do
	inside "$program" --version || fail "$program does not run"
done
for unit in vestibule-dhcpd vestibule-dns; do
	[ -L "$root/etc/systemd/system/multi-user.target.wants/$unit.service" ] || fail "$unit is not enabled"
done

# As the unit says: its user, its capabilities and no others, in a network of its own.
say "starts the server with the shipped configuration"
unit=$root/usr/lib/systemd/system/vestibule-dhcpd.service
[ -e "$unit" ] || unit=$root/lib/systemd/system/vestibule-dhcpd.service
capabilities=$(sed -n 's/^AmbientCapabilities=//p' "$unit" | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g')
install -d -o "$(inside id -u vestibule)" -g "$(inside id -g vestibule)" -m 0750 "$root/var/lib/vestibule"
cat >"$root/tmp/start" <<-END
	setpriv --reuid=vestibule --regid=vestibule --init-groups --no-new-privs \
		--inh-caps=-all,$capabilities --ambient-caps=-all,$capabilities --bounding-set=-all,$capabilities \
		vestibule-dhcpd >/tmp/said 2>&1 &
	server=\$!
	for _ in \$(seq 300); do
		grep -q ready /tmp/said && break
		kill -0 \$server 2>/dev/null || break
		sleep 0.1
	done
	grep -q ready /tmp/said || { cat /tmp/said; exit 1; }
	vestibule status || exit 1
	kill -TERM \$server
	wait \$server
END
unshare --net --pid --fork --kill-child --mount-proc="$root/proc" sh -c '
	ip link set lo up && exec chroot "$1" env -i PATH=/usr/bin:/bin sh /tmp/start
' start "$root" || fail "the server does not start with what the package brings"

say "installs again, and takes them away"
inside sh -c 'apt-get install -qq -y --reinstall /tmp/vestibule-*.deb' >>target/deb-test.log 2>&1 || fail "a second installation"
[ "$token" = "$(sha256sum <"$root/etc/vestibule/token")" ] || fail "an upgrade changed the token"
[ -d "$root/var/lib/vestibule" ] || fail "an upgrade took the leases"
inside apt-get remove -qq -y vestibule-dhcpd vestibule-dns vestibule-load >>target/deb-test.log 2>&1 || fail "the removal"
[ -d "$root/var/lib/vestibule" ] || fail "a removal took the leases: only a purge may"
inside dpkg --purge vestibule-dhcpd vestibule-dns >>target/deb-test.log 2>&1 || fail "the purge"
[ ! -e "$root/var/lib/vestibule" ] || fail "a purge left the leases"
say "everything as expected"
