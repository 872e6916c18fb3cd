# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# For tests in which the kernel fails allocations (`ttytool nth`): the failures are for all that may
# sleep, of any size, and what the kernel says of them is expected. Needs tests/lib.sh.
# The stack of each failure would be a hundred lines.
for f in failslab fail_page_alloc; do
	echo N >/sys/kernel/debug/$f/ignore-gfp-wait
	echo 0 >/sys/kernel/debug/$f/verbose
done
echo 0 >/sys/kernel/debug/fail_page_alloc/min-order
# Vmalloc says so whatever it is asked to be silent about.
expect_log 'page allocation failure|vmalloc error'
expect_log 'Call Trace'
expect_log 'kmemleak: Cannot allocate a scan area, scanning the full object'
