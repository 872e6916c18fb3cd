#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: another kernel finds the memory as it was.
# vm: ram=file second=stock timeout=120
. /tests/lib.sh
plan 5
case $STAGE in
1)	check "write a marker" poke "$REGION_A" "$(uuid)"
	dump_memory "$REGION_A" 0x1000 page
	next_stage 2
	switch_kernel stock ;;
2)	check "this is the stock kernel" grep -q deb13 /proc/version
	insmod /modules/ramoops.ko dump_oops=1 2>/dev/null
	check "C ramoops is there to be loaded" test -e /modules/ramoops.ko
	next_stage 3
	switch_kernel custom ;;
3)	check "this is the custom kernel" grep -q mpstore /proc/version
	check "the marker is still there" peek_is "$REGION_A" "$(uuid)" ;;
esac
