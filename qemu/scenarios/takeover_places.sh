#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# As takeover, but the kernel dies in the middle of the disk's own driver, when it submits a request:
# in virtio-blk with the queue's lock held, and in NVMe.
#
# vm: timeout=150 quiet=120 boots=16
# kernels: custom debug
# disk: virtio 32M parts=2:noise,1,16:ext4
# disk: nvme 32M parts=2:noise,1,16:ext4
. /tests/lib.sh
. /tests/lib-takeover.sh

#	case     disk number  how it dies
CASES="
	virtio-lock vda  0  virtqueue_kick_prepare
	nvme-submit nvme0n1 1 nvme_queue_rqs"
run_takeovers
