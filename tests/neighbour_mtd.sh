#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The in-tree pstore drives mtdpstore beside a RAM backend of ours: it goes by the name of
# pstore_blk, whose parameters it has. An oops reaches both, is read and erased in our tree.
#
# vm: timeout=150 quiet=90 onethread
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-mtd.sh
plan 14
OLD=/mnt/old
RAM="mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x8000"
mkdir -p $OLD
expect_log 'registered pstore_blk as backend'
listed() { (cd "$1" && ls | xargs); }
is_listed() { [ "$(listed "$1")" = "$2" ] || { echo "$1 has '$(listed "$1")', wanted '$2'"; return 1; }; }
in_tree() { insmod /modules/pstore.ko && insmod /modules/pstore_zone.ko &&
	insmod /modules/pstore_blk.ko blkdev=mpstore_test kmsg_size=16 max_reason=2; }
gone() { rm "$PSTORE/pstore_blk"/* && is_listed "$PSTORE/pstore_blk" "" && is_listed $OLD ""; }

insmod /modules/mtd.ko
fill 0 8 '\377'
wipe "$REGION_A" "$REGION_A_SIZE"
check "the flash" flash || bail "no flash"
# Its driver may sleep in a write, and mtdpstore lets it do so in an oops.
echo 1 >$TEST/nosleep
check "the in-tree pstore" in_tree || bail "no in-tree pstore"
check "drives mtdpstore" insmod /modules/mtdpstore.ko || bail "no mtdpstore"
# shellcheck disable=SC2086
check "ours has RAM" load_mpstore $RAM || bail "no module"
say both
check "an oops" oops_now
check "ours goes" rmmod mpstore
# The in-tree core looks for records when it is mounted. While it is, mtdpstore must not be
# loaded: it registers before it knows its device, and reading that is an oops of its own.
check "the in-tree mount" mount -t pstore pstore $OLD
# shellcheck disable=SC2086
check "ours once more, beside it" load_mpstore $RAM
mount_pstore
check "each has a directory" is_listed $PSTORE "pstore_blk ramoops"
for b in pstore_blk ramoops; do
	check "$b has the oops" sh -c "cat $PSTORE/$b/dmesg-* | grep -q '$(uuid both) kmsg'"
done
check "mtdpstore's files are as in its own mount" same_files $OLD $PSTORE/pstore_blk
check "all are erased in our tree" gone
umount_pstore
check "the module goes" rmmod mpstore
umount $OLD
rmmod mtdpstore
