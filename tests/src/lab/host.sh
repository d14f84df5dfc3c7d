# One host of a lab: keeps its namespaces. $1 is the lab's folder, $2 the host's name.
#
# /etc, /run and the DHCP clients' folders are private, so that no client script can touch the
# machine's own. It says its process id as seen outside and as seen in the lab, then waits to be killed.
set -e
lab=$1 name=$2
read -r outer _ <"$lab/outer-proc/self/stat"
hostname "$name"

here=$lab/host/$name
mkdir -p "$here/etc"
for entry in alternatives chromium.d dhcp dhcpcd.conf ethertypes fonts gai.conf host.conf iproute2 \
	ld.so.cache ld.so.conf ld.so.conf.d localtime protocols rpc services udhcpc; do
	[ ! -e "/etc/$entry" ] || cp -R -P "/etc/$entry" "$here/etc/"
done
# No other account and no group: a user namespace knows no others, and servers and clients that would
# change to one do without.
: >"$here/etc/group"
echo "root:x:0:0:root:/root:/bin/sh" >"$here/etc/passwd"
echo "hosts: files dns" >"$here/etc/nsswitch.conf"
echo "127.0.0.1 localhost $name" >"$here/etc/hosts"
echo "$name" >"$here/etc/hostname"
: >"$here/etc/resolv.conf"
# dhclient's script reads it.
: >"$here/etc/fstab"
mount --bind "$here/etc" /etc
for folder in /run /var/lib/dhcp /var/lib/dhcpcd /var/lib/misc; do
	[ -d "$folder" ] || continue
	mkdir -p "$here$folder"
	mount --bind "$here$folder" "$folder"
done
mkdir -p /run/lock
# A socket here would lead to the machine's log.
if [ -S /dev/log ] && [ ! -L /dev/log ]; then mount --bind /dev/null /dev/log; fi

ip link set lo up
# No IPv6 unless a test asks for it, and no filter on the reverse path whatever the machine has.
echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter
echo "$outer $$"
exec sleep infinity
