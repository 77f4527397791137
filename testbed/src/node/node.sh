# The first process of a node: takes in whoever loses its parent, and starts again what ends.
set -eu
name=$1 group=$2 programs=$3
cd "$4"
echo "$name" >/proc/sys/kernel/hostname
mount -t tmpfs tmpfs /run
# What two nodes would share and is the machine's.
mkdir -p lib log
mount --bind lib /var/lib
mount --bind log /var/log
# The kubelet would write these, which are the whole machine's.
mkdir -p /run/sysctl
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
    file=/run/sysctl/$(basename "${setting%=*}")
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
for hierarchy in /sys/fs/cgroup/*/; do
    mkdir -p "$hierarchy$group/$name"
    for file in cpuset.cpus cpuset.mems; do
        [ ! -e "$hierarchy$file" ] || cat "$hierarchy$group/$file" >"$hierarchy$group/$name/$file"
    done
done
keep() {
    log=$1
    shift
    while :; do
        "$@" >>"$log" 2>&1 || true
        echo "$1 ended and is started again" >>"$log"
        sleep 0.2
    done
}
keep containerd.log containerd --config "$PWD/containerd.toml" &
until [ -S /run/containerd/containerd.sock ]; do sleep 0.02; done
keep kube-proxy.log "$programs/kube-proxy" --config="$PWD/kube-proxy.json" &
keep kubelet.log "$programs/kubelet" --config="$PWD/kubelet.json" --kubeconfig="$PWD/kubelet-access.json" \
    --hostname-override="$name" --node-ip="$5" &
wait
