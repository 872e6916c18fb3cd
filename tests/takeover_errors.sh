#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Disks that fail in the panic: one that takes 2 KiB in a second, one that can't write the block with
# the header, one that can't write the text. Each costs its own dump and at most the time it was given,
# each is told of, the good disk and the memory beside them have theirs, and the machine reboots.
# The processors are calibrated as badly as the second one of a virtual machine can be whose host is
# busy: a delay of the kernel's lasts a thousandth of what it should.
#
# vm: timeout=180 quiet=120
# cmdline: lpj=4100
# kernels: custom debug
# disk: ahci 8M parts=1:noise,1 drive.throttling.bps-write=2048
# disk: virtio 8M parts=1:noise,1 errors=4104 werror=report disable-legacy=on
# disk: nvme 8M parts=1:noise,1 errors=4105
# disk: virtio 8M parts=1:noise,1 disable-legacy=on
. /tests/lib.sh
. /tests/lib-takeover.sh
plan 14

# Nothing is written but the panic; the first dump's zone begins with the partition.
load() {
	load_mpstore blkdev=/dev/sda2,/dev/vda2,/dev/nvme0n1p2,/dev/vdb2 \
		mem_address=$REGION_A mem_size=$REGION_A_SIZE \
		record_size=128K,64K,64K,64K,64K console_size=64K,0,0,0,0 pmsg_size=4K,0,0,0,0 \
		ftrace_size=4K,0,0,0,0 tty_size=4K,0,0,0,0 \
		kmsg_bytes=60000 compress=none blk_takeover_seconds=3 "$@"
}
none() { [ -z "$(ls "$PSTORE/$1")" ] || { ls -l "$PSTORE/$1"; return 1; }; }
whole() { head -n 1 "$PSTORE/$1/dmesg-$1-0" | grep -q '^Panic#1 Part1' && grep -q "$(uuid) last words" "$PSTORE/$1/dmesg-$1-0"; }
# What the kernel said after the panic, in the console's record that is in memory.
after() { sed -n '/Kernel panic - not syncing: sysrq/,$p' "$PSTORE/ramoops/console-ramoops-0"; }
said() { after | grep -q "$1" || { after | head -n 40; return 1; }; }
# Seconds from the panic to the line about the slow disk.
took() {
	after | awk '
		{ match($0, /[0-9]+\.[0-9]+\]/); t = substr($0, RSTART, RLENGTH) + 0 }
		NR == 1 { begin = t }
		/ahci at .*panic write failed/ { print int(t - begin); exit }'
}

case $STAGE in
1)
	check "it loads" load || bail "no module"
	check "all are armed" [ "$(state | grep -c 'panic=armed: ')" = 4 ]
	# Something to write.
	for n in $(seq 400); do echo "$(uuid) filling the log, line $n of it, so that there is more than one write" >/dev/kmsg; done
	for n in 0 1 2 3; do
		digest $n 2
		save "DIGEST$n" "$ANSWER"
	done
	echo "$(uuid) last words" >/dev/kmsg
	next_stage 2
	panic_now
	;;
2)
	for n in 0 1 2 3; do
		digest $n 2
		check "disk $n: every byte outside is as it was" eval "[ \"\$ANSWER\" = \"\$DIGEST$n\" ]"
	done
	load || bail "no module"
	mount_pstore
	check "memory has the panic" whole ramoops
	check "the good disk has it" whole blk3
	check "the slow one has no part of it" none blk
	check "nor has the one that could not write the header" none blk1
	check "nor the one that could not write the text" none blk2
	check "the slow one ran out of time, which was said" said 'ahci at .*panic write failed: .*out of time'
	_took=$(took)
	note "the slow disk took ${_took:-?} s of 3"
	check "it was given 3 seconds" [ "${_took:-0}" -ge 2 -a "${_took:-99}" -lt 12 ]
	check "the errors were said" eval "
		said 'virtio-blk at .*panic write failed: write: error' && said 'nvme at .*panic write failed: write: error'"
	;;
esac
