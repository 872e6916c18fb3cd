#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a panic that nobody announced.
. /tests/lib.sh
plan 2
ok "before"
insmod /mpstore_oops.ko
sync_host
echo panic >/proc/mpstore_oops
