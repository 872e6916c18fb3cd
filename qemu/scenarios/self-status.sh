#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# For qemu/selftest: a script that fails without saying so.
. /tests/lib.sh
plan 1
ok "one"
echo "a word on stderr" >&2
exit 3
