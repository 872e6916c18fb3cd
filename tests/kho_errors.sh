#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What KHO can't be asked for: more records than have a number, more memory than there is, a second
# backend. Each is one line in the log, and what is there goes on: an oops is a record at once, which
# this very kernel reads and erases.
#
# vm: mem=1G timeout=120
# cmdline: kho=on kho_scratch=16M,64M,16M
# cmdline@debug: kho_scratch=64M,320M,64M
# kernels: custom debug
. /tests/lib.sh
plan 14
CFG=/sys/kernel/config/mpstore
STATUS=/sys/kernel/debug/mpstore/status
# refused ERRNO LINE PARAMETER...
refused() {
	_errno=$1 _line=$2
	shift 2
	dmesg -c >/dev/null
	! ttytool insmod /mpstore.ko strict=1 "$@" >/tmp/refused 2>&1 || { rmmod mpstore; echo loaded; return 1; }
	grep -q "$_errno" /tmp/refused || { cat /tmp/refused; return 1; }
	dmesg | grep -q "$_line" || { dmesg | grep mpstore; return 1; }
}
available() { awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo; }

check "more than 10000 records are refused" refused EINVAL \
	'kho: record_size: makes [0-9]* records, at most 10000 are possible; give larger ones' kho=Y kho_size=4M kho_record_size=128
mount -o remount,size=100% /tmp
dd if=/dev/zero of=/tmp/fill bs=1M count=$(($(available) - 40)) 2>/dev/null
note "$(available) MiB available"
check "more memory than there is, too" refused ENOMEM \
	'kho: no 0x4000000 bytes of memory in large pieces; give less' kho=Y kho_size=64M
rm /tmp/fill
check "with memory it is taken" load_mpstore kho=Y kho_size=64M || bail "no module"
check "a second one is made" mkdir $CFG/second
echo kho >$CFG/second/type
check "it is of KHO" test "$(cat $CFG/second/type)" = kho
dmesg -c >/dev/null
check "and does not begin" sh -c "! echo 1 2>/dev/null >$CFG/second/power"
check "which is told" sh -c "dmesg | grep -q 'second: there is a kho backend already, and can be only one'"
echo "$(uuid)" >/dev/pmsg0
check "the first goes on" sh -c "awk '\$1 == \"kho\" && \$2 == \"pmsg\" && \$4 == 1' $STATUS | grep . || { cat $STATUS; false; }"
echo "$(uuid) oops" >/dev/kmsg
check "an oops" oops_now
mount_pstore
one=$(grep -lF "$(uuid) oops" $PSTORE/kho/dmesg-*)
check "is a record of the present generation" sh -c "head -n 1 $one | grep -q '^Oops#1 Part1'"
check "which is erased" rm "$one"
umount_pstore
mount_pstore
check "and gone" test ! -e "$one"
check "no other is" sh -c "echo $(uuid) >/dev/pmsg0 && ls $PSTORE/kho"
umount_pstore
check "unload" sh -c "rmdir $CFG/second && rmmod mpstore"
