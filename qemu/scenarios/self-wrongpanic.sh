#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a reboot is announced, but it comes by the wrong panic.
. /tests/lib.sh
plan 2
case $STAGE in
1)	ok "before"
	insmod /mpstore_oops.ko
	next_stage 2
	echo panic >/proc/mpstore_oops ;;
2)	ok "after" ;;
esac
