#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a warning that nobody announced; with another line behind it, somebody did.
. /tests/lib.sh
plan 1
insmod /mpstore_oops.ko
expect_log 'WARNING: .*misfortune_write >>> no such line'
echo warn >/proc/mpstore_oops
ok "it lives on"
