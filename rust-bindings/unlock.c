// SPDX-License-Identifier: GPL-2.0
/*
 * The one helper with a place for ftrace's call, by which tests/locks.sh dies with a lock held: a probe that
 * had to patch an int3 in would do so in an NMI.
 */

#include <linux/spinlock.h>

#include "helpers.h"

void mpstore_raw_spin_unlock_irqrestore(struct raw_spinlock *lock, unsigned long flags)
{
	raw_spin_unlock_irqrestore(lock, flags);
}
