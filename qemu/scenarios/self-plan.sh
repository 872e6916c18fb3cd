#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a script that ends before its plan does.
. /tests/lib.sh
plan 3
ok "one"
skip "two" "because"
