#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a machine that says nothing any more.
# vm: smp=1 quiet=12
. /tests/lib.sh
plan 2
ok "before"
insmod /mpstore_oops.ko
echo hang >/proc/mpstore_oops
ok "never"
