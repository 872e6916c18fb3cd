#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The block backend: three devices at once, one with blocks of 4096 bytes and one
# of them a partition; what was recorded outlives a hard reset after the bounded
# delay, a reboot at once, and a hard reset after a sync. What holds something else
# is refused. A device that goes takes nothing of the others along.
#
# vm: timeout=150 quiet=90
# kernels: custom debug
# disk: virtio 1M
# disk: virtio 16M gpt=other@2048+2048 gpt=mpstore@10240+8192
# disk: nvme 8M logical_block_size=4096,physical_block_size=4096
# disk: ahci 2M
. /tests/lib.sh
plan 102
DISKS=/dev/vda,PARTLABEL=mpstore,/dev/nvme0n1
STATUS=/sys/kernel/debug/mpstore
SPARE=/dev/sda

load() { load_mpstore blkdev=$DISKS "$@"; }
unload() { umount_pstore; rmmod mpstore; }
# refused TEXT PARAMETER...: the load fails with such a line in the log.
refused() {
	_text=$1
	shift
	dmesg -c >/dev/null
	if ttytool insmod /mpstore.ko "$@" >/tmp/refused 2>&1; then
		rmmod mpstore
		echo "it was loaded"
		return 1
	fi
	dmesg | grep -qF "$_text" || { cat /tmp/refused; dmesg | grep mpstore; return 1; }
}
zero() { dd if=/dev/zero of=$SPARE bs=64k count=32 conv=notrunc,fsync 2>/dev/null; }
# put OFFSET TEXT (for printf), on the spare disk
put() { printf "$2" | dd of=$SPARE bs=1 seek=$(($1)) conv=notrunc,fsync 2>/dev/null; }
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; ls -l "${1%/*}"; return 1; }; }
settled() {
	for _i in $(seq 100); do
		grep -q 'waiting=Y' $STATUS/devices || return 0
		sleep 0.1
	done
	cat $STATUS/devices
	return 1
}

case $STAGE in
1)
	# What is refused, on a disk that nobody needs.
	zero
	put 0x438 '\123\357'
	check "an ext4 is refused" refused "blk: blkdev=$SPARE: holds an ext2, ext3 or ext4 filesystem" blkdev=$SPARE
	zero
	check "mkswap" mkswap $SPARE
	check "a swap area is refused" refused "holds a swap area" blkdev=$SPARE
	zero
	put 0 'LUKS\272\276'
	check "a LUKS volume is refused" refused "holds a LUKS volume" blkdev=$SPARE
	zero
	put 0x1f0000 'here'
	put 0 'data'
	check "noise is refused" refused "holds something that is no pstore zone" blkdev=$SPARE
	check "and stays as it is" sh -c "[ \$(head -c 4 $SPARE) = data ]"
	zero
	put 5000 'data'
	check "data between zones are refused" refused "holds data that is no pstore zone" blkdev=$SPARE
	check "with force it is taken" load_mpstore blkdev=$SPARE force=1
	check "with a line about it" sh -c "dmesg | grep 'is overwritten because of force=1'"
	rmmod mpstore
	check "and then it is known" load_mpstore blkdev=$SPARE
	check "nobody else may claim it" sh -c "mount -t ext4 $SPARE /mnt 2>&1 | grep -i busy"
	rmmod mpstore
	zero
	check "a disk with partitions is refused" refused "holds a GPT partition table" blkdev=/dev/vdb
	check "a size in KiB is refused" refused "kmsg_size=64: give bytes in multiples of 4096, not KiB as for pstore_blk: 64K?" \
		blkdev=/dev/vda kmsg_size=64
	check "zones that don't fit are refused" refused "does not fit" blkdev=/dev/vda console_size=1M
	check "no such device" refused "blkdev=/dev/nothing: no such device" blkdev=/dev/nothing
	# The runner makes the UUID of the name.
	_uuid=$(printf other | sha256sum | sed 's/^\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{12\}\).*/\1-\2-\3-\4-\5/')
	check "a partition behind another one" eval "
		load_mpstore blkdev=PARTUUID=$_uuid/PARTNROFF=1 blk_takeover=N && grep -q '^blk vdb2 ' $STATUS/devices"
	rmmod mpstore
	check "there is none before the first" refused "no such device" blkdev=PARTUUID=$_uuid/PARTNROFF=-1
	check "an offset is a number" refused "give PARTUUID=UUID/PARTNROFF=NUMBER" blkdev=PARTUUID=$_uuid/PARTNROFF=x
	check "no such label" refused "blkdev=PARTLABEL=nothing: no such device" blkdev=PARTLABEL=nothing
	check "no such UUID" refused "blkdev=PARTUUID=nothing: no such device" blkdev=PARTUUID=nothing
	_number=$(cat /sys/class/block/sda/dev)
	check "a disk by its number" eval "
		load_mpstore blkdev=$_number blk_takeover=N && grep -q '^blk sda ' $STATUS/devices"
	rmmod mpstore
	check "no such number" refused "blkdev=8:4000: no such device" blkdev=8:4000
	for _n in 8:x :0 8: 8:0000000000; do
		check "$_n is no number" refused "blkdev=$_n: no such device" blkdev=$_n
	done
	check "no block device" refused "no block device" blkdev=/dev/null
	check "a panic that can't be written, best_effort=N" refused "a panic can't be written to it" \
		blkdev=/dev/vda blk_takeover=N best_effort=N
	check "read-only" blockdev --setro $SPARE
	check "a read-only disk is refused" refused "it is read-only" blkdev=$SPARE
	check "by its number, too" refused "blkdev=$_number: it is read-only" blkdev=$_number
	check "writable again" blockdev --setrw $SPARE
	check "one bad device costs the others nothing" sh -c \
		"ttytool insmod /mpstore.ko blkdev=/dev/nothing,/dev/vda && grep -q '^blk1 ' $STATUS/devices"
	rmmod mpstore

	# Three at once.
	check "mpstore loads on three devices" load flush_ms=300 || bail "no module"
	check "by their names" sh -c "[ \"\$(cut -d' ' -f1-2 $STATUS/devices | tr '\n' ,)\" = 'blk vda,blk1 vdb2,blk2 nvme0n1,' ]" || cat $STATUS/devices
	note "$(cat $STATUS/devices)"
	check "the partition's place is known" grep -q '^blk1 .* start=10240 ' $STATUS/devices
	check "so are the sizes in force" grep -q '^blk1 .* kmsg_size=65536 console_size=65536 pmsg_size=65536 ftrace_size=65536 tty_size=65536 max_reason=2 best_effort=Y flush_ms=300 ' $STATUS/devices
	check "blocks of 4096 bytes are known" grep -q '^blk2 .* block=4096 ' $STATUS/devices
	echo "$(uuid one) kmsg" >/dev/kmsg
	echo "$(uuid one) pmsg" >/dev/pmsg0
	echo "$(uuid one) tty" >/dev/ttyS2
	check "an oops" oops_now
	sleep 0.8
	check "all of it is written after the delay" settled
	next_stage 2
	hard_reset ;;
2)
	check "mpstore loads after a hard reset" load || bail "no module"
	mount_pstore
	for b in blk blk1 blk2; do
		d=$PSTORE/$b
		check "$b: dmesg of the oops" has $d/dmesg-$b-0 "$(uuid one) kmsg"
		check "$b: it begins with the reason" sh -c "head -n 1 $d/dmesg-$b-0 | grep -q '^Oops#1 Part1'"
		check "$b: console" has $d/console-$b-0 "$(uuid one) kmsg"
		check "$b: pmsg" has $d/pmsg-$b-0 "$(uuid one) pmsg"
		check "$b: tty" has $d/tty-$b-0 "ttyS2: $(uuid one) tty"
		check "$b: no more" sh -c "[ \$(ls $d | wc -l) = 4 ]"
		check "$b: erase the dump" rm $d/dmesg-$b-0
		check "$b: erase what the terminal had" rm $d/tty-$b-0
	done
	# Not even the delay is waited for.
	echo "$(uuid two) pmsg" >/dev/pmsg0
	echo "$(uuid two) kmsg" >/dev/kmsg
	next_stage 3
	reboot_now ;;
3)
	check "mpstore loads after a reboot" load flush_ms=60000 || bail "no module"
	mount_pstore
	for b in blk blk1 blk2; do
		d=$PSTORE/$b
		check "$b: the dump is gone" test ! -e $d/dmesg-$b-0
		check "$b: so is what the terminal had before" sh -c "! grep -aF '$(uuid one) tty' $d/tty-$b-0 2>/dev/null"
		check "$b: pmsg of the moment before" has $d/pmsg-$b-0 "$(uuid two) pmsg"
		check "$b: console of the moment before" has $d/console-$b-0 "$(uuid two) kmsg"
	done
	echo "$(uuid three) pmsg" >/dev/pmsg0
	check "nothing is written yet" grep -q '^blk .* waiting=Y' $STATUS/devices
	check "sync" sync
	echo "$(uuid three) flushed" >/dev/pmsg0
	check "whoever has a disk's buffers written" blockdev --flushbufs /dev/vda
	check "has ours written, too" sh -c "dd if=/dev/vda iflag=direct bs=64k 2>/dev/null | grep -aq '$(uuid three) flushed'"
	# What the test says goes to a terminal, and so waits again.
	check "everything is written" sh -c "[ \$(grep -c ' flushes=[1-9]' $STATUS/devices) = 3 ]"
	next_stage 4
	hard_reset ;;
4)
	check "mpstore loads after a hard reset" load flush_ms=200 || bail "no module"
	mount_pstore
	for b in blk blk1 blk2; do
		check "$b: pmsg of before the sync" has $PSTORE/$b/pmsg-$b-0 "$(uuid three) pmsg"
	done
	# A disk goes.
	dmesg -c >/dev/null
	echo 1 >/sys/block/nvme0n1/device/device/remove
	check "a disk that goes costs a line" sh -c "[ \$(dmesg | grep -c 'blk2: the device is gone') = 1 ]"
	echo "$(uuid four) pmsg" >/dev/pmsg0
	echo "$(uuid four) more" >/dev/pmsg0
	sleep 1
	check "the others go on" sh -c "grep -q '^blk .* waiting=N .* state=ok' $STATUS/devices && grep -q '^blk1 .* waiting=N .* state=ok' $STATUS/devices"
	check "its state says so" grep -q '^blk2 .* state=gone' $STATUS/devices
	check "it is still listed without trouble" ls $PSTORE/blk2
	# One that can't be written to any more, and can again.
	check "vda becomes read-only" blockdev --setro /dev/vda
	echo "$(uuid four) late" >/dev/pmsg0
	sleep 1
	check "that costs a line" sh -c "[ \$(dmesg | grep -c 'blk: vda can.t be written to') = 1 ]"
	check "and writable again" blockdev --setrw /dev/vda
	sleep 3
	check "what waited is written" sh -c "dmesg | grep 'blk: the device can be written to again'"
	check "unload" unload
	check "what was said last is on the disk" grep -aq "$(uuid four) late" /dev/vda
	# By configfs.
	load_mpstore
	c=/sys/kernel/config/mpstore
	mkdir $c/one $c/two
	for d in one two; do
		echo blk >$c/$d/type
		echo /dev/vda >$c/$d/blkdev
	done
	check "configfs: it has no size of a region" sh -c "[ -z \$(cat $c/one/console_size) ]"
	check "configfs: it starts" sh -c "echo 1 >$c/one/power"
	check "configfs: its records are there" sh -c "grep -q '^one vda ' $STATUS/devices"
	check "configfs: a second one is refused" sh -c "! echo 1 >$c/two/power 2>/dev/null && dmesg | grep 'two: blkdev=/dev/vda: somebody uses it'"
	check "configfs: they are removed" rmdir $c/one $c/two ;;
esac
