#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A panic is written to a partition of an ordinary disk by taking its controller over: virtio-blk, NVMe
# (in an NMI) and AHCI. Every disk is busy with four writers to a file system on it. After the reboot
# the record is read by way of the normal driver, every byte outside of the area and the file system is
# as it was, by the host's checksum, and the file system passes fsck and has what was synced. More of
# them, too long for every day: qemu/scenarios/takeover_*.sh.
#
# vm: timeout=150 quiet=120 boots=16
# kernels: custom debug
# disk: virtio 32M parts=2:noise,1,16:ext4 disable-legacy=on
# disk: nvme 32M parts=2:noise,1,16:ext4
# disk: ahci 32M parts=2:noise,1,16:ext4
. /tests/lib.sh
. /tests/lib-takeover.sh

#	case     disk number  how it dies
CASES="
	virtio   vda  0  process
	nvme     nvme0n1 1 nmi
	ahci     sda  2  hardirq"
run_takeovers
