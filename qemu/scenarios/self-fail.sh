#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: an honest failure.
. /tests/lib.sh
plan 2
check "false is true" sh -c 'echo "some output"; false'
fail "this one too" "for a reason"
