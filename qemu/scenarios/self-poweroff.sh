#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a machine that switches itself off.
. /tests/lib.sh
plan 1
sync_host
poweroff -f
sleep 60
