#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The runner's own test, without mpstore: memory outlives a warm reboot, a hard
# reset and a panic, and an oops is survived.
#
# vm: timeout=120
# kernels: custom debug stock
. /tests/lib.sh
plan 8

case $STAGE in
1)
	check "the console is there" test -c /dev/ttyS0
	check "the region is reserved" sh -c 'grep -qi "18000000-183fffff : Reserved" /proc/iomem'
	save SMOKE_FROM "stage one"
	check "write a marker" poke "$REGION_A" "$(uuid warm)"
	next_stage 2
	reboot_now ;;
2)
	check "the marker survives a warm reboot" peek_is "$REGION_A" "$(uuid warm)"
	check "the runner keeps variables" test "${SMOKE_FROM-}" = "stage one"
	poke "$REGION_A" "$(uuid hard)"
	next_stage 3
	hard_reset ;;
3)
	check "the marker survives a hard reset" peek_is "$REGION_A" "$(uuid hard)"
	if [ -e /mpstore_oops.ko ]; then
		check "an oops kills its cause only" oops_now
	else
		skip "an oops kills its cause only" "mpstore_oops.ko is not built"
	fi
	poke "$REGION_A" "$(uuid panic)"
	next_stage 4
	panic_now ;;
4)
	check "the marker survives a panic" peek_is "$REGION_A" "$(uuid panic)" ;;
esac
