#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The C ramoops shows mpstore's function trace as mpstore does, and mpstore shows
# that of the C ramoops, both CPUs' zones merged. The C code is a module here and
# so keeps addresses as they are: without KASLR they are the same.
#
# Loading either takes the zones over, so mpstore gets a copy of the region.
#
# vm: timeout=150 onethread
# cmdline: no_timer_check
# kernels: custom debug
. /tests/lib.sh
plan 14
TRACING=/sys/kernel/debug/tracing
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
ZONES="record_size=0x8000 console_size=0 pmsg_size=0 ftrace_size=0x8000"
# shellcheck disable=SC2086
load() { load_mpstore mem_address="$1" mem_size=$REGION_A_SIZE tty_size=0 $ZONES "$2"; }
load_c() {
	for m in reed_solomon pstore ramoops; do
		[ ! -e /modules/$m.ko ] || [ -d /sys/module/$m ] ||
			insmod /modules/$m.ko $([ $m != ramoops ] || echo mem_address=$REGION_A mem_size=$REGION_A_SIZE $ZONES ecc=0) || return
	done
	[ -d $PSTORE ] && mount -t pstore pstore $PSTORE
}
copy_region() {
	dd if=/dev/mem of=/tmp/region bs=4096 skip=$((REGION_A / 4096)) count=$((REGION_A_SIZE / 4096)) &&
		dd if=/tmp/region of=/dev/mem bs=4096 seek=$((REGION_B / 4096)) conv=notrunc
}
filter() { echo vfs_write >$TRACING/set_ftrace_filter; }
work() { for cpu in 1 2 1; do taskset $cpu dd if=/dev/zero of=/dev/null bs=1 count=400 2>/dev/null; done; }
sum() { sha256sum <"$1" | cut -d' ' -f1; }
is_trace() { # whole, named, in order, of both CPUs
	[ "$(wc -l <"$1")" -gt 800 ] || { echo "only $(wc -l <"$1") lines"; return 1; }
	! grep -vE '^CPU:[01] ts:[0-9]+ [0-9a-f]{16}  [0-9a-f]{16}  vfs_write <- ksys_write\+0x' "$1" || return
	[ "$(cut -d' ' -f1 "$1" | sort -u | tr '\n' ' ')" = "CPU:0 CPU:1 " ] || return
	sed 's/.* ts:\([0-9]*\) .*/\1/' "$1" | sort -nc
}

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	filter
	check "mpstore loads and records" load $REGION_A record_ftrace=1 || bail "no module"
	work
	echo 0 >/sys/kernel/debug/mpstore/record_ftrace
	next_stage 2
	reboot_now ;;
2)
	check "a copy of the region is made" copy_region
	check "mpstore loads on the copy" load $REGION_B record_ftrace=0 || bail "no module"
	mount_pstore
	check "mpstore shows a trace" is_trace $PSTORE/ramoops/ftrace-ramoops-0
	cat $PSTORE/ramoops/ftrace-ramoops-0 >/tmp/ours
	size=$(stat -c %s $PSTORE/ramoops/ftrace-ramoops-0)
	umount_pstore; rmmod mpstore
	check "the C ramoops loads on the region" load_c || bail "no C ramoops"
	check "it shows the very same lines" cmp /tmp/ours $PSTORE/ftrace-ramoops-0
	check "and the same size" test "$(stat -c %s $PSTORE/ftrace-ramoops-0)" = "$size"
	# The other direction: after its own records, what mpstore left.
	filter
	check "the C ramoops records" sh -c "echo 1 >/sys/kernel/debug/pstore/record_ftrace"
	for i in 1 2 3 4; do work; done
	echo 0 >/sys/kernel/debug/pstore/record_ftrace
	next_stage 3
	reboot_now ;;
3)
	check "a copy of C's region is made" copy_region
	check "mpstore loads on C's region" load $REGION_B record_ftrace=0 || bail "no module"
	mount_pstore
	cat $PSTORE/ramoops/ftrace-ramoops-0 >/tmp/ours
	check "mpstore shows a trace of C's" is_trace /tmp/ours
	umount_pstore; rmmod mpstore
	check "the C ramoops loads on its own region" load_c || bail "no C ramoops"
	check "it shows the very same lines" cmp /tmp/ours $PSTORE/ftrace-ramoops-0
	check "there are as many as its zones hold" test "$(wc -l </tmp/ours)" = $((16372 / 24 * 2)) ;;
esac
