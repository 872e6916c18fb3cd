#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a machine that is busy for ever.
# vm: timeout=15
. /tests/lib.sh
plan 1
while :; do echo "busy" >/dev/ttyS0; usleep 100000; done
