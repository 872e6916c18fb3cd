#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# MTDs in one boot: what is refused; a zone that can't be written to; a full device; NAND
# that the kernel simulates; the in-tree mtdpstore reads what is there, and mpstore what
# it wrote; a device that goes, and one without a panic_write.
#
# vm: timeout=150 quiet=90 onethread
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-mtd.sh
plan 49
expect_log "registered pstore_blk as backend"
c_load() {
	insmod /modules/pstore.ko && insmod /modules/pstore_zone.ko &&
		insmod /modules/pstore_blk.ko blkdev=mpstore_test kmsg_size=16 max_reason=2 &&
		insmod /modules/mtdpstore.ko && mount -t pstore pstore $PSTORE
}
c_unload() { umount $PSTORE && rmmod mtdpstore && rmmod pstore_blk && rmmod pstore_zone && rmmod pstore; }
# Without the line that the in-tree code puts in front of what is not compressed.
body() { sed '1{/^[A-Za-z]*: Total [0-9]* times$/d}' "$1"; }
# What the program reads from the flash itself, by the module's parameters, is what the tree shows.
as_extracted() {
	mpstore extract -q -o /tmp/raw -s /dev/mtd0ro || return 1
	[ "$(ls $d)" = "$(ls /tmp/raw)" ] || { ls -l $d /tmp/raw; return 1; }
	for _f in $d/*; do same "$_f" "/tmp/raw/${_f##*/}" || return 1; done
}

check "without the module mtd: refused" refused "the kernel's module mtd is not loaded"
insmod /modules/mtd.ko
fill 0 8 '\377'
check "the flash" flash bad=2,3 || bail "no flash"
check "no such name: refused" refused "no such device" blkdev=mtd:nothing
check "no such number: refused" refused "no such device" blkdev=mtd:7
check "zones that do not fit a block: refused" refused "kmsg_size=0x3000: give a part of an erase block" kmsg_size=12K
check "zones larger than a block: refused" refused "0x8000 bytes or one" kmsg_size=64K
check "no zones: refused" refused "kmsg_size=0x0" kmsg_size=0
check "twice the same: refused" refused "mtd1: blkdev=mtd:0: another backend has it" \
	blkdev=mtd:mpstore_test,mtd:0 kmsg_size=16K,16K strict=Y
at 0 'UBI#'
check "UBI: refused" refused "holds UBI volumes"
at 0 '....'
check "anything else: refused" refused "holds something that is no pstore zone"
check "with force=1 it is taken" load force=1
unload
check "and known from then on" load || bail "no module"
mount_pstore
check "nothing improper" well

# Both ways with the in-tree code.
check "an oops by mpstore" oops ours
f=$(echo $d/dmesg-mtd-*)
cp "$f" /tmp/ours
unload
check "mtdpstore loads on it" c_load || bail "no mtdpstore"
check "mpstore keeps away meanwhile" refused "mtdpstore uses it"
body $PSTORE/dmesg-pstore_blk-* >/tmp/body
check "the same dump" same /tmp/body /tmp/ours
say theirs
echo 1 >$TEST/nosleep
check "an oops by mtdpstore" oops_now
echo 0 >$TEST/nosleep
umount $PSTORE
check "it has it" mount -t pstore pstore $PSTORE
body "$(grep -laF "$(uuid theirs) kmsg" $PSTORE/*)" >/tmp/theirs
check "mtdpstore goes" c_unload
check "mpstore loads after it" load
mount_pstore
check "and shows that one" same /tmp/theirs "$(grep -laF "$(uuid theirs) kmsg" $d/*)"
check "and its own" same /tmp/ours "$f"
check "the program reads both from the flash" as_extracted
echo 0 >$TEST/damaged
check "with errors beyond repair it is shown as it is" same /tmp/ours "$f"
echo -1 >$TEST/damaged
check "nothing improper" well

# Zones 0 and 1 are taken, 4 to 7 are bad.
echo $((2 * 8)) >$TEST/fail_page
check "an oops" oops bad
check "goes past a zone that can't be written to" has $d/dmesg-mtd-3 "$(uuid bad) kmsg"
check "which is told" state bad=5
echo -1 >$TEST/fail_page
i=0
while [ $i -lt 9 ]; do
	oops "full$i" || break
	i=$((i + 1))
done
check "oopses until it is full" test $i = 9
check "the oldest ones went" sh -c "dmesg | grep -q 'mtd: full; the .* oldest records were erased'"
check "with them the first one" sh -c "! cmp -s /tmp/ours '$f'"
check "the newest one is there" sh -c "grep -aqF '$(uuid full8) kmsg' $d/dmesg-mtd-*"
check "and so is room for a panic" state "panic=armed: the driver's panic_write"
note "$(names)"
rm $d/*
sleep 1
check "all erased" state live=0
check "nothing improper" well
unload

for m in nandcore nand; do insmod /modules/$m.ko; done
insmod /modules/nandsim.ko parts=32 badblocks=1,4
nand=$(sed -n 's/^mtd\([0-9]*\):.*"NAND simulator partition 0"/\1/p' /proc/mtd)
both() {
	load_mpstore blkdev=mtd:$nand,mtd:mpstore_test kmsg_size=16K,16K flush_ms=100 && mount_pstore
}
check "simulated NAND beside it" both
note "$(cat $STATUS/devices)"
check "an oops" oops nand
check "is on the NAND" has $d/dmesg-mtd-0 "$(uuid nand) kmsg"
check "and on the flash" sh -c "grep -aqF '$(uuid nand) kmsg' $PSTORE/mtd1/dmesg-mtd1-*"
unload
both
check "it is there after another load" has $d/dmesg-mtd-0 "$(uuid nand) kmsg"
check "and is erased" rm $d/dmesg-mtd-0
unload
both
check "for good" test ! -e $d/dmesg-mtd-0
unload

check "the flash alone" load
expect_log_now "mpstore: mtd: the device is gone"
echo 1 >$TEST/gone
check "the device goes" state state=gone
unload
check "everything can be unloaded" rmmod mpstore_mtd
flash bad=2,3 no_panic=1
check "without a panic_write: refused if there must be one" refused "its driver has no panic_write" best_effort=N
check "else it is told" load
check "in its line" state "panic=no: the driver has no panic_write"
unload
