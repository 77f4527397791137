# The first process of the namespaces in which nodes run: makes the network between them, and goes on as what it is told.
set -eu
group=$1
shift
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add node0 type bridge
ip address add 172.30.0.1/24 dev node0
ip link set node0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
# What listens on loopback only can be shown to Pods.
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
for hierarchy in /sys/fs/cgroup/*/; do
    mkdir -p "$hierarchy$group"
    # A group without processors and memory takes nobody in.
    for file in cpuset.cpus cpuset.mems; do
        [ ! -e "$hierarchy$file" ] || cat "$hierarchy$file" >"$hierarchy$group/$file"
    done
done
exec "$@"
