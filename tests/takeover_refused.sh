#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What must not be written to in a panic is not: a loop device, a disk whose controller nobody knows
# and one that is switched off are used for the rest only, or refused if that is not enough, a
# read-only disk is refused, a controller that loses its driver is disarmed, an oops that is survived
# leaves the disk at work, and a panic that does not find its signature writes nothing at all, by the
# host's checksum of the whole disk.
#
# vm: timeout=150 quiet=120
# kernels: custom debug
# disk: virtio 32M parts=2:noise,1,16:ext4
# disk: nvme 32M parts=2:noise,1,16:ext4
# disk: scsi 4M
. /tests/lib.sh
. /tests/lib-takeover.sh
plan 21

says() { state | grep -q "$1" || { state; return 1; }; }
# unarmed ARGUMENTS WHY: the disk is used, but not for a panic.
unarmed() {
	# shellcheck disable=SC2086
	load_mpstore $1 && says "^blk .*panic=no: $2"
	_rc=$?
	rmmod mpstore
	return $_rc
}
case $STAGE in
1)
	dd if=/dev/zero of=/tmp/image bs=1M count=1 2>/dev/null
	losetup /dev/loop0 /tmp/image
	check "it loads with a loop device" load_mpstore blkdev=/dev/loop0
	check "a loop device is refused, and why is said" says '^blk .*panic=no: no PCI device is behind it alone'
	rmmod mpstore
	check "with best_effort=N it can't be loaded" eval '
		! load_mpstore blkdev=/dev/loop0 best_effort=N && dmesg | grep -q "best_effort=N: no PCI device is behind it"'
	check "so is a controller that nobody knows" unarmed blkdev=/dev/sda \
		'controller .* (1af4:1004, class 010000) is none that is known: virtio-blk, NVMe or AHCI'
	_virtio=$(basename "$(readlink -f /sys/block/vda/device/..)")
	for c in "0000:1f:1f.7 there is no PCI device 0000:1f:1f.7" "nonsense there is no PCI device nonsense" \
		"$_virtio the controller given is no NVMe controller with its own driver"; do
		check "so is blk_controller=${c%% *}" unarmed "blkdev=/dev/nvme0n1p2 blk_controller=${c%% *}" "${c#* }"
	done
	check "a virtio disk needs none" unarmed "blkdev=/dev/vda2 blk_controller=$_virtio" \
		'a controller can be given for NVMe only'
	check "it can be switched off" unarmed "blkdev=/dev/vda2 blk_takeover=N" 'blk_takeover=N'
	check "then nothing is written for it" eval \
		'! dd if=/dev/vda2 bs=4k skip=255 count=1 2>/dev/null | grep -q MPSTAKE1'
	blockdev --setro /dev/vda2
	check "a read-only device is refused" eval '
		! load_mpstore blkdev=/dev/vda2 strict=1'
	blockdev --setrw /dev/vda2
	check "it loads with two disks" load_mpstore blkdev=/dev/vda2,/dev/nvme0n1p2
	check "both are armed" eval 'says "^blk .*panic=armed: virtio-blk" && says "^blk1 .*panic=armed: nvme"'

	_pci=$(basename "$(readlink -f /sys/block/nvme0n1/device/device)")
	[ -e "/sys/bus/pci/drivers/nvme/$_pci" ] || _pci=$(ls /sys/bus/pci/drivers/nvme | grep : | head -n 1)
	echo "$_pci" >/sys/bus/pci/drivers/nvme/unbind
	check "without its driver one is not armed any more" says '^blk1 .*panic=no: '
	check "the other still is" says '^blk .*panic=armed: '

	oops_now
	check "an oops takes nothing over" says '^blk .*panic=armed: '
	echo 3 >/proc/sys/vm/drop_caches
	check "and the disk goes on working" eval 'mount -t ext4 /dev/vda3 /mnt && echo x >/mnt/x && sync && umount /mnt'

	# From now on nothing but the panic has a reason to write.
	rmmod mpstore
	load_mpstore blkdev=/dev/vda2 console_size=0 pmsg_size=0 ftrace_size=0 tty_size=0
	check "it is armed again" says '^blk .*panic=armed: '

	# Partition 2 begins behind 1 MiB, 8 blocks and 2 MiB; the signature is in its last 4 KiB.
	_sector=$((2048 + 8 + 4096 + 2048 - 8))
	check "the signature was where it is damaged now" eval \
		'dd if=/dev/vda bs=512 skip=$_sector count=1 2>/dev/null | head -c 8 | grep -q MPSTAKE1'
	printf 'X' | dd of=/dev/vda bs=1 seek=$((_sector * 512 + 20)) conv=notrunc,fsync 2>/dev/null
	digest 0
	save DIGEST "$ANSWER"
	next_stage 2
	panic_now
	;;
2)
	digest 0
	check "without its signature nothing is written" [ "$ANSWER" = "$DIGEST" ]
	check "the file system is whole" fsck 0 3
	;;
esac
