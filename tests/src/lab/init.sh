# The first process of a lab, in namespaces of its own: $1 is the folder that the lab's own file
# system hides.
#
# It says its process id as the machine outside sees it, then waits for the end of its standard
# input: the lab's owner is gone then, by whatever way, and with this process everything in its
# process namespace ends and every namespace with it.
set -e
lab=$1
read -r outer _ </proc/self/stat
mount -t tmpfs -o mode=0755 vestibule-lab "$lab"
mkdir "$lab/outer-proc" "$lab/log" "$lab/host"
# Kept, so that a process in here can learn its process id outside.
mount --rbind /proc "$lab/outer-proc"
mount -t proc proc /proc
ip link set lo up
exec 3<&0
cat <&3 >/dev/null &
echo "$outer"
# Also collects the processes that lost their parents.
wait $!
