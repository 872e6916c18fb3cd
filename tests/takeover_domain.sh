#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A controller in an IOMMU domain that is neither the kernel's DMA layer's nor one to one: panics to its
# disk are refused, the disk is used for the rest. One that gets there once it is armed is not driven.
#
# vm: timeout=150 quiet=120
# kernels: custom debug
# cmdline: intel_iommu=on iommu=pt
# qemu: -machine q35 -device intel-iommu,intremap=off
# disk: nvme 32M parts=2:noise,1,16:ext4
. /tests/lib.sh
. /tests/lib-takeover.sh
plan 17

says() { state | grep -q "$1" || { state; return 1; }; }
DISK=$(part nvme0n1 2)
OWN='no: its IOMMU domain is of a kind that is not known'
case $STAGE in
1)
	_pci=$(ls /sys/bus/pci/drivers/nvme | grep : | head -n 1)
	own_domain() { insmod /mpstore_iommu.ko "device=$_pci"; }

	check "it is in a domain that is one to one" \
		grep -q identity "/sys/bus/pci/devices/$_pci/iommu_group/type"
	load_mpstore blkdev=$DISK tty=0 console_size=0
	check "there it is armed" says '^blk .*panic=armed: nvme'
	rmmod mpstore

	check "it gets a domain of its own" own_domain
	check "it loads" load_mpstore blkdev=$DISK tty=0 console_size=0
	check "why it is refused is said" says "^blk .*panic=$OWN (0x1)"
	_mark="written $(cat /proc/sys/kernel/random/uuid)"
	echo "$_mark" >/dev/pmsg0
	rmmod mpstore
	check "with best_effort=N it can't be loaded" eval '
		! load_mpstore blkdev=$DISK best_effort=N && dmesg | grep -q "best_effort=N: its IOMMU domain"'
	load_mpstore blkdev=$DISK tty=0 console_size=0
	mount_pstore
	check "what is written without a panic is there" grep -qx "$_mark" "$PSTORE/blk/pmsg-blk-0"
	umount_pstore
	rmmod mpstore

	check "the domain can go" rmmod mpstore_iommu
	# From now on nothing but the panic has a reason to write to the disk.
	dd if=/dev/zero of=$DISK bs=64k conv=fsync 2>/dev/null
	load_mpstore blkdev=$DISK mem_address=$REGION_A mem_size=$REGION_A_SIZE console_size=65536,0 \
		pmsg_size=0 ftrace_size=0 tty_size=0
	check "and it is armed" says '^blk .*panic=armed: nvme'
	check "with its signature on the disk" eval \
		'dd if=$DISK bs=4k skip=255 count=1 2>/dev/null | grep -q MPSTAKE1'
	check "it gets a domain of its own once more" own_domain
	check "that it is not armed any more is said" says '^blk .*panic=no: its controller is in another domain'
	check "and the disk goes on working" eval \
		'mount -t ext4 $(part nvme0n1 3) /mnt && echo x >/mnt/x && sync && umount /mnt'
	digest 0
	save DIGEST "$ANSWER"
	next_stage 2
	panic_now
	;;
2)
	digest 0
	check "a panic did not write to it" [ "$ANSWER" = "$DIGEST" ]
	load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE console_size=65536 pmsg_size=0 ftrace_size=0 tty_size=0
	mount_pstore
	check "another backend has the panic" grep -q "^Panic#1" $PSTORE/ramoops/dmesg-ramoops-0
	check "and why it was not written" \
		grep -q "nvme .*: panic write failed: check: mismatch" $PSTORE/ramoops/console-ramoops-0
	check "the file system is whole" fsck 0 3
	;;
esac
