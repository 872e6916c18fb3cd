#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# As takeover, behind the emulated Intel IOMMU: virtio-blk with bus addresses, NVMe and AHCI; and one
# panic in an NMI.
#
# vm: timeout=150 quiet=120 boots=16
# kernels: custom debug
# cmdline: intel_iommu=on
# qemu: -machine q35 -device intel-iommu,intremap=off,device-iotlb=on
# disk: virtio 32M parts=2:noise,1,16:ext4 disable-legacy=on iommu_platform=on ats=on
# disk: nvme 32M parts=2:noise,1,16:ext4
# disk: ahci 32M parts=2:noise,1,16:ext4
. /tests/lib.sh
. /tests/lib-takeover.sh

#	case     disk number  how it dies
CASES="
	virtio   vda  0  nmi
	nvme     nvme0n1 1 hardirq
	ahci     sda  2  process"
iommu() { state | grep -q 'behind an IOMMU' || { state; return 1; }; }
run_takeovers
