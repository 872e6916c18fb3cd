#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a warning that nobody announced.
. /tests/lib.sh
plan 1
insmod /mpstore_oops.ko
echo warn >/proc/mpstore_oops
ok "it lives on"
