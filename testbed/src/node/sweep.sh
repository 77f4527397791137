# Waits for the end of who holds the other end of the pipe, and removes what is left by what died with it: the control groups of
# the name $1 and the directory $2.
cat >/dev/null
for _ in $(seq 600); do
    find /sys/fs/cgroup/*/"$1" -depth -type d -exec rmdir {} + 2>/dev/null
    rm -rf "$2" 2>/dev/null
    set -- "$1" "$2" /sys/fs/cgroup/*/"$1"
    [ ! -e "$3" ] && [ ! -e "$2" ] && exit
    sleep 0.1
done
echo "warning: not all of $2 and of the control groups $1 could be removed" >&2
