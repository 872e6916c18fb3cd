#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A panic is written to a partition of an ordinary disk by taking its controller over: virtio-blk
# (modern, legacy, packed, four queues in a thread with blocks of 4 KiB), NVMe (512 bytes, and 4 KiB
# on namespace 2) and AHCI. Every disk is busy with four writers to a file system on it. After the
# reboot the text is read by way of the normal driver, every byte outside of the area and the file
# system is as it was, by the host's checksum, and the file system passes fsck and has what was synced.
#
# vm: timeout=150 quiet=120 boots=16
# kernels: custom debug
# qemu: -object iothread,id=io
# disk: virtio 32M parts=2:noise,1,16:ext4 disable-legacy=on
# disk: virtio 32M parts=2:noise,1,16:ext4 disable-modern=on disable-legacy=off
# disk: virtio 32M parts=2:noise,1,16:ext4 disable-legacy=on packed=on num-queues=2
# disk: virtio 32M parts=2:noise,1,16:ext4 disable-legacy=on num-queues=4 iothread=io logical_block_size=4096 physical_block_size=4096
# disk: nvme 32M parts=2:noise,1,16:ext4
# disk: nvme-ns 32M parts=2:noise,1,16:ext4 nsid=2 logical_block_size=4096 physical_block_size=4096
# disk: ahci 32M parts=2:noise,1,16:ext4
. /tests/lib.sh
. /tests/lib-takeover.sh

#	case     disk number  how it dies
CASES="${CASES:-
	modern   vda  0  process
	legacy   vdb  1  process
	packed   vdc  2  hardirq
	queues   vdd  3  process
	nvme     nvme0n1 4 process
	nvme-4k  nvme1n1 5 hardirq
	ahci     sda  6  process
}"
run_takeovers
