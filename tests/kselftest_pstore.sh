#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The kernel's own tests of a pstore (tools/testing/selftests/pstore), unchanged,
# against mpstore with layout=both and two backends. Each check of theirs is one
# result here.
#
# What they need and mpstore has not:
# - /sys/module/pstore/parameters/backend names the one backend that the in-tree
#   code has. This module is called mpstore and has several. /sys/module is
#   covered by a substitute that has what is there and such a file. The scripts
#   look at one backend at a time, so they run once for each.
# - "---[ end trace" in every dump. Their way to crash is a sysrq that panics
#   without an oops and prints no such line, so that two of their checks fail on
#   the in-tree code of this kernel, too. An oops before the crash leaves the line
#   in the log, and both the oops's and the panic's dump have it. The second crash
#   here is without: these two checks fail.
# - A dmesg-BACKEND-0. The in-tree code begins with record 0 after every boot and
#   overwrites what is there; mpstore goes on behind the newest record, and begins
#   with 0 again when all are removed, as these scripts do in the end.
#
# There is no check of theirs that several backends make impossible.
#
# vm: timeout=240 quiet=90
# disk: virtio 16M
# kernels: custom debug
. /tests/lib.sh
grep -aq parm=layout: /mpstore.ko || exit 4
plan 46
[ -e /kselftest/pstore/common_tests ] || bail "the kernel's source has no tests of a pstore"

# Scripts and what they keep have to outlive the crash. No path has the word
# pstore in it: they take the first line of /proc/mounts with it for theirs.
DISK=/mnt/kselftest
mount_disk() { mkdir -p $DISK && mount -t ext4 /dev/vda $DISK; }
load() {
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=$REGION_A_SIZE layout=both \
		record_size=0x10000 console_size=0x20000 pmsg_size=0x4000
}
backends() { tr , ' ' </sys/module/mpstore/parameters/name; }
# substitute: /sys/module with a pstore in it.
substitute() {
	mkdir -p /run/modules &&
		mount --bind /sys/module /run/modules &&
		mount -t tmpfs modules /sys/module &&
		ln -s /run/modules/* /sys/module/ &&
		mkdir -p /sys/module/pstore/parameters
}
backend_is() { echo "$1" >/sys/module/pstore/parameters/backend; }
# script NAME: runs one of theirs; what it says is in /tmp/out.
script() { (cd $DISK/pstore && sh "./$1") >/tmp/out 2>&1; }
status_is() {
	script "$1"
	_rc=$?
	[ $_rc = "$2" ] && return
	echo "$1 ended with status $_rc, not $2:"
	cat /tmp/out
	return 1
}
# said TEXT: their check of that name was passed.
said() { grep -qF "$1 ... ok" /tmp/out; }
# said_for_each TEXT WORD: it was passed for each of the files that it is about.
said_for_each() {
	! grep -q "$1.*FAIL" /tmp/out || return
	_n=$(grep -cE "^[[:space:]]+$2[^ ]* \.\.\. ok" /tmp/out)
	[ "$_n" -gt 0 ] && ! grep -E "^[[:space:]]+$2[^ ]* \.\.\. FAIL" /tmp/out
}
# failures_are TEXT...: their checks that failed, all of them.
failures_are() {
	grep FAIL /tmp/out | tr -d '\t' >/tmp/fail
	printf '%s ... FAIL\n' "$@" | cmp - /tmp/fail || { cat /tmp/fail; return 1; }
}
files() { (cd $PSTORE && ls -d $1) 2>/dev/null; }

case $STAGE in
1)
	wipe $REGION_A $REGION_A_SIZE
	wipe $REGION_B $REGION_B_SIZE
	mke2fs /dev/vda >/dev/null 2>&1
	check "a disk for the scripts" mount_disk || bail "no disk"
	cp -r /kselftest/pstore $DISK/
	check "mpstore loads" load || bail "no module"
	check "a substitute for /sys/module" substitute || bail "no substitute"
	for b in $(backends); do
		backend_is $b
		check "$b: pstore_post_reboot_tests is a skip before a crash" status_is pstore_post_reboot_tests 4
	done
	# One line for both: they look for it in either backend's record.
	backend_is ramoops
	check "ramoops: pstore_tests" status_is pstore_tests 0
	check "ramoops: a backend is registered" said "Checking pstore backend is registered"
	check "ramoops: a console is registered" said "Checking pstore console is registered"
	check "ramoops: /dev/pmsg0 is there" said "Checking /dev/pmsg0 exists"
	check "ramoops: /dev/pmsg0 takes a line" said "Writing unique string to /dev/pmsg0"
	check "an oops" oops_now "$(uuid)"
	expect_log_now 'Kernel panic - not syncing: sysrq triggered crash'
	next_stage 2
	backend_is ramoops
	script pstore_crash_test
	_down "pstore_crash_test" ;;
2)
	check "the disk is there again" mount_disk || bail "no disk"
	check "mpstore loads again" load || bail "no module"
	check "the substitute once more" substitute || bail "no substitute"
	first=1
	for b in $(backends); do
		backend_is $b
		if [ $first ]; then
			check "$b: pstore_crash_test has left its flag" test -e $DISK/pstore/reboot_flag
			first=
		else
			# The scripts take it for granted that there is one backend.
			touch $DISK/pstore/reboot_flag
		fi
		check "$b: pstore_post_reboot_tests" status_is pstore_post_reboot_tests 0
		note "$(find $PSTORE | sort)"
		check "$b: a backend is registered" said "Checking pstore backend is registered"
		check "$b: the file system is mounted" said "Mounting pstore filesystem"
		check "$b: there are dmesg files" said "Checking dmesg files exist in pstore filesystem"
		check "$b: there is a console file" said "Checking console files exist in pstore filesystem"
		check "$b: there is a pmsg file" said "Checking pmsg files exist in pstore filesystem"
		check "$b: each dump has the end of the oops" said_for_each "Checking dmesg files contain oops end marker" dmesg-
		check "$b: the console has the end of the oops" said "Checking console file contains oops end marker"
		check "$b: pmsg has the line from before the crash" said "Checking pmsg file properly keeps the content written before crash"
		check "$b: all files can be removed" said_for_each "Removing all files in pstore filesystem" "[a-z]*-$b-"
		check "$b: they are gone from the root" test -z "$(files "*-$b-*")"
		check "$b: they are gone from the directory" test -z "$(files "$b/*")"
	done
	check "nothing comes back with another mount" sh -c "umount $PSTORE && mount -t pstore pstore $PSTORE &&
		rm -f $PSTORE/tty-* && [ -z \"\$(find $PSTORE -type f)\" ]"

	backend_is ramoops
	check "without an oops: pstore_tests" status_is pstore_tests 0
	expect_log_now 'Kernel panic - not syncing: sysrq triggered crash'
	next_stage 3
	script pstore_crash_test
	_down "pstore_crash_test" ;;
3)
	check "without an oops: the disk is there" mount_disk || bail "no disk"
	check "without an oops: mpstore loads" load || bail "no module"
	check "without an oops: the substitute" substitute || bail "no substitute"
	backend_is ramoops
	check "without an oops: pstore_post_reboot_tests fails" status_is pstore_post_reboot_tests 1
	note "$(cat /tmp/out)"
	check "without an oops: for want of an end of it, and of nothing else" failures_are \
		"dmesg-ramoops-0" \
		"Checking console file contains oops end marker" ;;
esac
