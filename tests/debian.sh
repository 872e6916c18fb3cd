#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A Debian system with systemd on the stock kernel, with the package `mpstore` installed:
# the module is loaded in the initramfs with its options, and two crashes one after the
# other are archived by Debian's systemd-pstore, each in a place of its own. The module
# was put in place by hand; packaging/try has DKMS build it, and removes the packages.
#
# vm: debian=packaged mem=1G timeout=300 quiet=120
. /tests/lib.sh
. /tests/lib-debian.sh
plan 33

# Log lines' numbers: who was first.
first() { dmesg | grep -n "$1" | head -n 1 | cut -d: -f1; }
before() {
	_a=$(first "$1") _b=$(first "$2")
	[ "$_a" ] && [ "$_b" ] && [ "$_a" -lt "$_b" ] || { echo "'$1' in line $_a, '$2' in line $_b"; return 1; }
}
crash() {
	echo "$(uuid "$STAGE") pmsg" >/dev/pmsg0
	echo "$(uuid "$STAGE") log" >/dev/kmsg
	echo "<0>$(uuid "$STAGE") console" >/dev/kmsg
	echo "$(uuid "$STAGE") terminal" >/dev/ttyS0
	next_stage $((STAGE + 1))
	panic_saved
}

case $STAGE in
1)
	check "it was loaded before systemd ran" before 'mpstore: ' 'systemd\[1\]: systemd '
	check "with the options of modprobe.d" test "$(cat /sys/module/mpstore/parameters/record_size)" = 65536
	check "systemd's mount of $PSTORE is mpstore's, files at the root" \
		sh -c 'echo "$1" | grep -q "layout=both"' sh "$(mount_of $PSTORE)"
	note "$(grep pstore /proc/self/mounts)"
	check "the unit is active" systemctl is-active mpstore
	check "its drop-in is systemd-pstore's" sh -c 'systemctl show -P DropInPaths systemd-pstore | grep -q mpstore.conf'
	check "nothing failed in this boot" test -z "$(systemctl list-units --failed --plain --no-legend)"
	check "nothing is archived yet" test -z "$(ls $ARCHIVE 2>/dev/null)"
	crash ;;
2)
	check "systemd-pstore ran" test "$(systemctl show -P ExecMainStatus -P Result -P ActiveState systemd-pstore | tr '\n' ' ')" = "success 0 active "
	check "after mpstore" test "$(systemctl show -P ActiveEnterTimestampMonotonic mpstore)" \
		-le "$(systemctl show -P ExecMainStartTimestampMonotonic systemd-pstore)"
	check "nothing is left in $PSTORE" test -z "$(find $PSTORE -type f)"
	check "there is one archive" test "$(ls $ARCHIVE | wc -l)" = 1
	save FIRST "$(find $ARCHIVE -mindepth 1 -maxdepth 1 -type d)"
	note "$(find $ARCHIVE -type f -exec ls -l {} +)"
	for f in dmesg console pmsg tty; do
		check "it has the $f of the first crash" grep -q "$(uuid 1)" "$FIRST/$f-ramoops-0"
	done
	note "of the terminals: $(grep -a "$(uuid 1)" "$FIRST/tty-ramoops-0")"
	note "systemd-pstore said: $(journal systemd-pstore | cut -c1-200 | tail -n 12)"
	check "the first archive's sums" sh -c 'cd "$1" && sha256sum * >/var/tmp/sums' sh "$FIRST"
	crash ;;
3)
	note "$(find $ARCHIVE -type f -exec ls -l {} +)"
	SECOND=$(find $ARCHIVE -mindepth 1 -maxdepth 1 -type d ! -path "$FIRST")
	check "the second crash has an archive of its own" test -d "$SECOND"
	for f in dmesg console pmsg tty; do
		check "it has the $f of the second crash" grep -q "$(uuid 2)" "$SECOND/$f-ramoops-0"
	done
	check "the first one is as it was" sh -c 'cd "$1" && sha256sum -c /var/tmp/sums' sh "$FIRST"
	check "stopping it all: mpstore-start --undo" /usr/lib/mpstore/mpstore-start --undo
	check "the module is gone" test ! -d /sys/module/mpstore
	check "the in-tree pstore is to be seen again" sh -c 'case $1 in *layout=*) exit 1 ;; "pstore "*) ;; *) exit 1 ;; esac' sh "$(mount_of $PSTORE)"
	check "starting it again on the running system" systemctl restart mpstore
	check "mounts its tree over that" sh -c 'echo "$1" | grep -q "layout=both"' sh "$(mount_of $PSTORE)"

	# --- the other layout that systemd-pstore can read
	echo 'options mpstore layout=flat' >>/etc/modprobe.d/mpstore.conf
	check "with layout=flat in modprobe.d" sh -c '/usr/lib/mpstore/mpstore-start --undo && systemctl restart mpstore'
	echo "$(uuid flat)" >/dev/kmsg
	check "an oops" oops_now
	# A mount has the records of its time.
	umount $PSTORE
	systemctl restart mpstore
	check "is to be seen, flat" sh -c 'echo "$1" | grep layout=flat && ls $2 && [ "$(ls $2 | grep -c ^dmesg-ramoops-)" = 1 ]' sh "$(mount_of $PSTORE)" $PSTORE
	check "systemd-pstore archives it" systemctl restart systemd-pstore
	check "in a third archive" sh -c '[ "$(grep -rl "$1" $2 | sed "s,/[^/]*$,," | sort -u | wc -l)" = 1 ] && [ "$(ls $2 | wc -l)" = 3 ]' sh "$(uuid flat)" $ARCHIVE
	check "and nothing is left, nor is the first one touched" sh -c '[ -z "$(ls $2)" ] && cd "$1" && sha256sum -c /var/tmp/sums' sh "$FIRST" $PSTORE ;;
esac
