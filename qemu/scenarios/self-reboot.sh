#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a reboot that nobody announced.
. /tests/lib.sh
plan 1
reboot_now
