#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In a crash kernel nothing can be handed over: the backend kho is refused there
# with a line, and the other backends go on.
#
# vm: mem=2G timeout=120 kexec
# cmdline: kho=on crashkernel=512M
# kernels: custom debug
. /tests/lib.sh
plan 7

case $STAGE in
1)
	check "a crash kernel is loaded" kexec_load -p nowatchdog || bail "no crash kernel"
	check "it is in place" test "$(cat /sys/kernel/kexec_crash_loaded)" = 1
	next_stage 2
	panic_now ;;
2)
	check "this is the crash kernel" test -e /proc/vmcore || bail "no crash kernel"
	check "kho alone is refused" sh -c "ttytool insmod /mpstore.ko kho=Y 2>&1 | grep EOPNOTSUPP"
	check "with a line" sh -c "dmesg | grep 'mpstore: kho: nothing can be handed over'"
	check "others go on without it" load_mpstore kho=Y test_mem=1
	mount_pstore
	check "and are all there is" test "$(ls "$PSTORE")" = mem0 ;;
esac
