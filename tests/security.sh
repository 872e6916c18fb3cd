#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Who is not root: sees no record, no parameter, no address and no switch, and writes nothing
# (SECURITY.md has the table, each of its lines is a check here). What other programs left in memory
# that the kernel gave back, appears on no medium and in no record.
#
# vm: timeout=240 quiet=90
# disk: virtio 8M
# cmdline: init_on_alloc=0 init_on_free=0
# kernels: custom debug stock
. /tests/lib.sh
SPACES=
[ ! -e /proc/self/ns/user ] || SPACES=1
DEVMEM=
[ "$KIND" = stock ] || [ "$KIND" = sid ] || DEVMEM=1
plan $((26 + (SPACES ? 2 : 0) + (DEVMEM ? 4 : 0)))

CONFIG=/sys/kernel/config/mpstore
DEBUG=/sys/kernel/debug/mpstore
errno_is() { # ERRNO COMMAND...
	_want=$1
	shift
	_got=$("$@" 2>&1) && { echo "succeeded, wanted $_want"; return 1; }
	[ "${_got##*: }" = "$_want" ] || { echo "'$_got', wanted $_want"; return 1; }
}
as_user() { ttytool as 1000 "$@"; }
# closed PATH: neither read nor written by a user. Root's files of no content can be opened.
closed() {
	errno_is EACCES as_user ttytool try open "$1" || return 1
	! as_user sh -c "echo 1 >$1" 2>/dev/null || { echo "a user has written $1"; return 1; }
}
# all_closed DIRECTORY: every file below it, and there are some.
all_closed() {
	_n=0
	for _f in $(find "$1" -type f); do
		closed "$_f" || return 1
		_n=$((_n + 1))
	done
	[ $_n -gt 0 ] || { echo "no files in $1"; return 1; }
}
unseen() { errno_is EACCES as_user ttytool try open "$1"; }
load() {
	load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x4000 console_size=0x8000 \
		pmsg_size=0x8000 tty_size=0x8000 ftrace_size=0x8000 blkdev=/dev/vda compress=none "$@"
}
# What the mark is made of is not in this file, or the file would be found.
SECRET=$(uuid secret | tr 'a-f0-9' 'k-z')

case $STAGE in
1)
	wipe $REGION_A $REGION_A_SIZE
	# Much of the memory holds the mark, and is given back.
	MUCH=$(($(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo) * 6 / 10 * 1024))
	mount -t tmpfs -o size=90% tmpfs /mnt
	# This shell's yes and grep are slow on hundreds of megabytes, hence by the megabyte.
	yes "$SECRET" | head -c 1048576 >/tmp/secret
	while cat /tmp/secret; do :; done 2>/dev/null | head -c $MUCH >/mnt/secret
	rm /tmp/secret
	check "memory full of somebody's secret" test "$(stat -c %s /mnt/secret)" = $MUCH
	umount /mnt
	if [ $DEVMEM ]; then
		check "it is there after that was given back" sh -c \
			"[ \$(for m in \$(seq 64 12 360); do dd if=/dev/mem bs=1M skip=\$m count=1 2>/dev/null; done |
				grep -ac $SECRET) -gt 8000 ]"
	fi
	check "load" load || bail "no module"
	mount_pstore
	# Little, so that buffers and records are mostly empty.
	PMSG=/dev/$(cat /sys/module/mpstore/parameters/pmsg_device)
	echo "$(uuid) pmsg" >"$PMSG"
	echo "$(uuid) tty" >/dev/ttyS2
	echo "<4>$(uuid) kmsg" >/dev/kmsg

	chmod 755 / /bin
	note "--- the module"
	check "a user can't load it" errno_is EPERM as_user ttytool insmod /mpstore.ko
	check "its parameters are closed" all_closed /sys/module/mpstore/parameters
	check "pmsg can't be written" sh -c "! ttytool as 1000 sh -c 'echo x >$PMSG' 2>/dev/null"
	check "nor read" unseen "$PMSG"
	check "its modes are in-tree's" test "$(stat -c %a-%u-%g "$PMSG")" = 220-0-0

	note "--- the file system"
	mkdir -p /tmp/m
	check "a user can't mount it" errno_is EPERM as_user ttytool mount pstore /tmp/m
	if [ $SPACES ]; then
		echo 1 >/proc/sys/kernel/unprivileged_userns_clone 2>/dev/null
		check "a user can have a user namespace" as_user unshare -r -m true
		check "nor be let in by one" sh -c "! ttytool as 1000 unshare -r -m mount -t pstore pstore /tmp/m"
	fi
	check "its root is closed" unseen $PSTORE
	check "so is the directory of a backend" unseen $PSTORE/ramoops
	check "modes are in-tree's" test "$(stat -c %a $PSTORE $PSTORE/ramoops $PSTORE/blk | xargs)" = "750 750 750"

	note "--- debugfs, also where it was opened"
	chmod 755 /sys/kernel/debug
	check "all of its files are closed" all_closed $DEBUG
	note "--- configfs"
	check "a user can't make a backend" sh -c "! ttytool as 1000 mkdir $CONFIG/mine 2>/dev/null"
	check "root can" mkdir $CONFIG/mem0
	check "its files are closed" all_closed $CONFIG/mem0
	check "a user can't remove it" sh -c "! ttytool as 1000 rmdir $CONFIG/mem0 2>/dev/null && [ -d $CONFIG/mem0 ]"
	rmdir $CONFIG/mem0

	note "--- the log"
	echo 1 >/proc/sys/kernel/dmesg_restrict
	check "an oops" oops_now "little"
	sleep 1
	next_stage 2
	panic_now ;;
2)
	note "--- what is on the media, every byte"
	if [ $DEVMEM ]; then
		dd if=/dev/mem bs=4096 skip=$((REGION_A / 4096)) count=$((REGION_A_SIZE / 4096)) 2>/dev/null >/tmp/region
		check "the region has what was written" grep -aq "$(uuid) pmsg" /tmp/region
		check "and nothing of the secret" sh -c "! grep -aq $SECRET /tmp/region"
	fi
	check "the disk has what was written" grep -aq "$(uuid) pmsg" /dev/vda
	check "and nothing of the secret" sh -c "! grep -aq $SECRET /dev/vda"
	if [ $DEVMEM ]; then
		check "what no record covers is as it was before" sh -c "
			[ \$(tr -d '\\000' </tmp/region | wc -c) -lt $((REGION_A_SIZE / 2)) ]"
	fi
	check "load" load || bail "no module"
	mount_pstore
	note "$(find $PSTORE -type f -exec wc -c {} +)"
	check "records of all kinds" test "$(find $PSTORE -type f | sed 's,.*/,,; s,-.*,,' | sort -u | xargs)" = "console dmesg pmsg tty"
	check "none has the secret" sh -c "! grep -raq $SECRET $PSTORE"
	chmod 755 / /bin $PSTORE $PSTORE/*
	echo 1 >/proc/sys/kernel/dmesg_restrict
	refused() {
		for _f in $(find $PSTORE -type f); do
			errno_is EPERM as_user ttytool try open "$_f" || return 1
			errno_is EPERM as_user ttytool try unlink "$_f" || return 1
		done
	}
	chmod 777 $PSTORE/*
	check "directories opened, dmesg_restrict=1: a user opens and erases none" refused
	check "none went" test "$(find $PSTORE -type f | wc -l)" -ge 6
	echo 0 >/proc/sys/kernel/dmesg_restrict
	chmod 755 $PSTORE/*
	kept() {
		for _f in $(find $PSTORE -type f); do
			as_user cat "$_f" >/dev/null || return 1
			errno_is EACCES as_user ttytool try unlink "$_f" || return 1
		done
	}
	check "dmesg_restrict=0: reads those that root has opened to all, and erases none" kept
	umount_pstore
	check "unload" rmmod mpstore ;;
esac
