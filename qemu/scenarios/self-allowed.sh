#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: the same warning, announced, with a line that follows it.
. /tests/lib.sh
plan 1
insmod /mpstore_oops.ko
expect_log 'WARNING: .*misfortune_write >>> Modules linked in: mpstore_oops'
expect_log 'mpstore_oops: asked for'
echo warn >/proc/mpstore_oops
ok "it lives on"
