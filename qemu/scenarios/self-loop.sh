#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a machine that reboots for ever.
# vm: boots=3
. /tests/lib.sh
plan 1
next_stage 1
reboot_now
