#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Panic after panic, each written to three disks at once by taking their controllers over: virtio-blk,
# NVMe and AHCI, in turn from a task, a hard interrupt and an NMI, every other time with two writers on
# each disk. After each one the record is read on each disk by its normal driver, and every byte
# outside of the area, but where the writers write, is as it was, by the host's checksum.
# $SOAK panics, 100 if that is not given (make panics SOAK=N).
#
# vm: timeout=150 quiet=120 boots=2000
# kernels: custom debug
# disk: virtio 8M parts=2:noise,1,1 disable-legacy=on
# disk: nvme 8M parts=2:noise,1,1
# disk: ahci 8M parts=2:noise,1,1
. /tests/lib.sh
. /tests/lib-takeover.sh
SOAK=${SOAK:-100}
DISKS="vda nvme0n1 sda"
plan $((SOAK * 7))
expect_log 'Kernel panic - not syncing: mpstore_crash'

load() { load_mpstore blkdev=/dev/vda2,/dev/nvme0n1p2,/dev/sda2 best_effort=N tty=0; }
# has BACKEND MARK: it is there, whole; then it is erased, which makes room for the next.
has() {
	for _f in "$PSTORE/$1"/dmesg-*; do
		if grep -q "$2" "$_f" && head -n 1 "$_f" | grep -q '^Panic#[0-9]* Part1' &&
			grep -q 'Kernel panic - not syncing: mpstore_crash' "$_f"; then
			rm "$_f"
			return
		fi
	done
	ls -l "$PSTORE/$1"
	return 1
}

n=$((STAGE - 1))
if [ $n -gt 0 ]; then
	for i in 0 1 2; do
		digest $i 2 3
		check "$n: disk $i: every byte outside is as it was" eval "[ \"\$ANSWER\" = \"\$DIGEST$i\" ]"
	done
fi
load || bail "no module"
if [ $n -gt 0 ]; then
	mount_pstore
	for b in blk blk1 blk2; do
		check "$n: $b: the panic is there" has $b "$(uuid $n) last words"
	done
	umount_pstore
fi
[ $n -lt "$SOAK" ] || exit 0
n=$STAGE
check "$n: all are armed" [ "$(state | grep -c 'panic=armed: ')" = 3 ]
insmod /mpstore_crash.ko || bail "no crash module"
if [ "$STAGE" = 1 ]; then
	for i in 0 1 2; do
		digest $i 2 3
		save "DIGEST$i" "$ANSWER"
	done
fi
if [ $((n % 2)) = 0 ]; then
	for d in $DISKS; do
		for k in 0 1; do
			(while :; do
				dd if=/dev/urandom of="$(part $d 3)" bs=16k seek=$((k * 32)) count=32 oflag=direct 2>/dev/null
			done) &
		done
	done
	usleep 300000
fi
echo "$(uuid $n) last words" >/dev/kmsg
next_stage $((STAGE + 1))
case $((n % 3)) in
0) crash panic@process ;;
1) crash panic@hardirq ;;
2) crash panic@nmi; echo "@nmi" >&3 ;;
esac
_down "panic $n"
