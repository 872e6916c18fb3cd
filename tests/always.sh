#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# max_reason=0 follows printk.always_kmsg_dump, which may change at run time
# and which no module can read. A backend with a reason of its own beside it
# must not be led astray.
#
# vm: timeout=150
# kernels: custom debug stock
. /tests/lib.sh
plan 11

SWITCH=/sys/module/printk/parameters/always_kmsg_dump
load() {
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=0x100000 record_size=0x8000 \
		console_size=0 pmsg_size=0 tty_size=0 ftrace_size=0 max_reason=0,2
}
dumps() { ls "$PSTORE/$1" | grep -c "^dmesg-"; }
dumps_are() { [ "$(dumps "$1")" = "$2" ] || { ls -l "$PSTORE/$1"; return 1; }; }
first_line() { grep -lqx "$2" "$PSTORE/$1"/dmesg-*; }

case $STAGE in
1)
	wipe $REGION_A 0x100000
	wipe $REGION_B 0x100000
	check "mpstore loads" load || bail "no module"
	check "the kernel does not dump always" grep -qx N $SWITCH
	next_stage 2
	reboot_now ;;
2)
	check "it loads again" load || bail "no module"
	mount_pstore
	check "an orderly reboot left nothing in the backend that follows" dumps_are ramoops 0
	check "nor in the other" dumps_are ramoops1 0
	umount_pstore
	echo Y >$SWITCH
	check "now the kernel dumps always" grep -qx Y $SWITCH
	check "an oops goes to both" oops_now
	next_stage 3
	reboot_now ;;
3)
	load && mount_pstore || bail "no module"
	check "the backend that follows has the oops and the reboot" dumps_are ramoops 2
	check "one is the reboot's" first_line ramoops "Shutdown#2 Part1"
	check "the other has the oops" first_line ramoops1 "Oops#1 Part1"
	check "and only that" dumps_are ramoops1 1 ;;
esac
