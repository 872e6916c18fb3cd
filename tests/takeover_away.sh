#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Controllers that fell off their bus when the kernel panics: each read is all ones. That costs each of
# the disks its dump and a line, and no time; memory beside them has all of it. The ones are memory of
# another device, which is moved to where the controllers' registers were; then once more without it:
# memory that nobody decodes reads as zeros in QEMU, ports as ones.
#
# vm: timeout=150 quiet=90
# qemu: -object memory-backend-ram,id=ones,size=4M -device ivshmem-plain,memdev=ones
# kernels: custom debug
# disk: virtio 8M parts=1:noise,1 disable-legacy=on
# disk: nvme 8M parts=1:noise,1
# disk: ahci 8M parts=1:noise,1
# disk: virtio 8M parts=1:noise,1 disable-modern=on
. /tests/lib.sh
. /tests/lib-takeover.sh
plan 26

# With a loop device, which no panic is written to.
load() {
	load_mpstore blkdev=/dev/vda2,/dev/nvme0n1p2,/dev/sda2,/dev/vdb2,/dev/loop0 mem_address=$REGION_A mem_size=$REGION_A_SIZE \
		record_size=128K,64K,64K,64K,64K,64K console_size=64K,0,0,0,0,0 pmsg_size=4K,0,0,0,0,0 ftrace_size=4K,0,0,0,0,0 \
		tty_size=4K,0,0,0,0,0 compress=none "$@"
}
# function_of DISK: the PCI function that its controller is, in sysfs.
function_of() {
	_at=$(readlink -f "/sys/class/block/$1/device")
	while [ ! -e "$_at/config" ]; do _at=${_at%/*}; done
	echo "$_at"
}
after() { sed -n '/Kernel panic - not syncing: sysrq/,$p' "$PSTORE/ramoops/console-ramoops-0"; }
said() { after | grep -qE "$1" || { after | head -n 40; return 1; }; }

disks_away() {
	# Neither memory nor ports.
	for _d in vda nvme0n1 sda vdb; do
		printf '\000\000' | dd of="$(function_of $_d)/config" bs=2 seek=2 conv=notrunc 2>/dev/null
	done
}
# The other device's memory, full of ones, is where they were.
ones() {
	for _o in /sys/bus/pci/devices/*; do
		[ "$(cat "$_o/device")" = 0x1110 ] || continue
		_at=$(awk 'NR == 3 { print $1, $2 }' "$_o/resource")
		[ $((${_at#* } - ${_at% *})) = 4194303 ] && break
	done
	printf '\002\000' | dd of="$_o/config" bs=2 seek=2 conv=notrunc 2>/dev/null
	ttytool ones "$_o/resource2" 4194304 || return
	disks_away
	printf '\014\000\200\376\000\000\000\000' | dd of="$_o/config" bs=8 seek=3 conv=notrunc 2>/dev/null
}
died() { # STAGE CAUSE...: of each disk
	_stage=$1
	shift
	for n in 0 1 2 3; do
		digest $n
		check "disk $n: not a byte is written" eval "[ \"\$ANSWER\" = \"\$DIGEST$n\" ]"
	done
	check "it loads again" load || bail "no module"
	mount_pstore
	_f=$(grep -l "$(uuid "$_stage") last words" $PSTORE/ramoops/dmesg-*)
	check "the dump is in memory" sh -c "head -n 1 $_f | grep -q '^Panic#1 Part1'"
	for d in 'virtio-blk' nvme ahci 'virtio-blk .legacy.'; do
		check "$d: that is told" said "$d at .*panic write failed: .*: $1 "
		shift
	done
	check "no others" test "$(find $PSTORE/blk $PSTORE/blk1 $PSTORE/blk2 $PSTORE/blk3 -type f | wc -l)" = 0
	# In seconds, from the panic to the last line.
	check "that took no time" eval "after | awk '
		{ match(\$0, /[0-9]+\\.[0-9]+\\]/); t = substr(\$0, RSTART, RLENGTH) + 0 }
		NR == 1 { begin = t } END { exit !(NR > 3 && t - begin < 5) }'"
	rm $PSTORE/ramoops/*
	digests
}
digests() {
	sync
	for n in 0 1 2 3; do
		digest $n
		save "DIGEST$n" "$ANSWER"
	done
}

dd if=/dev/zero of=/tmp/image bs=1M count=1 2>/dev/null
losetup /dev/loop0 /tmp/image
case $STAGE in
1)
	check "it loads" load || bail "no module"
	check "all are armed but one" eval "[ \"\$(state | grep -c 'panic=armed: ')\" = 4 ] && state | grep -q '^blk4 .* panic=no: '"
	digests
	next_stage 2
	echo "$(uuid 1) last words" >/dev/kmsg
	ones || bail "no ones"
	panic_now
	;;
2)
	died 1 gone gone gone gone
	next_stage 3
	echo "$(uuid 2) last words" >/dev/kmsg
	disks_away
	panic_now
	;;
3)
	died 2 unsupported unsupported mismatch gone ;;
esac
