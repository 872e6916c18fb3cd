#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# As takeover, but the kernel dies in the middle of the disk's own driver: when it submits a request
# and when one is completed, in the latter's interrupt, with the queue's lock held, and in an NMI that
# comes while it is held. And once without anybody at work.
#
# vm: timeout=150 quiet=120 boots=16
# kernels: custom debug
# disk: virtio 32M parts=2:noise,1,16:ext4
# disk: nvme 32M parts=2:noise,1,16:ext4
# disk: ahci 32M parts=2:noise,1,16:ext4
. /tests/lib.sh
. /tests/lib-takeover.sh

# Which lock is held: virtqueue_kick_prepare() and virtqueue_get_buf_ctx() are called with the queue's,
# ahci_qc_issue() and ata_qc_complete() with the host's, and _raw_spin_unlock() after nvme_queue_rqs()
# lets the submission queue's go.
#
#	case     disk number  how it dies
CASES="${CASES:-
	virtio-lock vda  0  virtqueue_kick_prepare
	virtio-done vda  0  any:virtqueue_get_buf_ctx
	virtio-nmi  vda  0  nmi:virtqueue_kick_prepare
	nvme-submit nvme0n1 1 nvme_queue_rqs
	nvme-lock   nvme0n1 1 unlock:nvme_queue_rqs
	nvme-irq    nvme0n1 1 any:nvme_irq
	nvme-nmi    nvme0n1 1 nmi:nvme_queue_rqs
	ahci-lock   sda  2  ahci_qc_issue
	ahci-done   sda  2  any:ata_qc_complete
	ahci-nmi    sda  2  nmi:ahci_qc_issue
	virtio-idle vda  0  idle
	nvme-idle   nvme0n1 1 idle
	ahci-idle   sda  2  idle
}"
run_takeovers
