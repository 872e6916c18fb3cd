#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Damaged regions, one after another: the module loads on each, shows of it what
# the format crate in user space makes of the same bytes, to the byte, leaves the
# memory around it alone, and unloads. regiontool makes and judges them; the
# host's tests/mutate.rs decodes others of the same making.
#
# vm: timeout=420 quiet=120
# kernels: custom debug stock
. /tests/lib.sh
# The number of kinds is regiontool's.
plan 14
SEED=1
CASES=220
AT=$((REGION_A + 0x10000))

inflate=
# one N: everything with case N; says what went wrong.
one() {
	_params=$(regiontool put $SEED "$1" $AT) || return
	# shellcheck disable=SC2086
	load_mpstore mem_address=$AT $_params || { echo "case $1: it does not load: $_params"; return 1; }
	if mount_pstore; then
		[ -e /sys/module/mpstore/parameters/compress ] && inflate=--inflate
		_rc=0
		regiontool check $SEED "$1" $AT $PSTORE/ramoops $inflate || _rc=1
		# Now and then everything is removed as well.
		[ $(($1 % 7)) != 0 ] || regiontool empty $PSTORE/ramoops || _rc=1
		umount_pstore || _rc=1
	else
		echo "case $1: it can't be mounted"
		_rc=1
	fi
	rmmod mpstore || return
	[ $_rc = 0 ] || echo "case $1: $_params"
	return $_rc
}

kinds=$(regiontool kinds)
count=$(echo "$kinds" | wc -l)
done=0 kind=0
for name in $kinds; do
	bad=0 n=$kind
	while [ $n -lt $CASES ]; do
		one $n >/tmp/one 2>&1 || { bad=$((bad + 1)); note "$(head -n 5 /tmp/one)"; }
		done=$((done + 1)) n=$((n + count))
	done
	if [ $bad = 0 ]; then ok "$name: all is as it should be"; else fail "$name: $bad cases"; fi
	kind=$((kind + 1))
done
note "$done regions"
check "200 regions and more" test $done -ge 200
wipe $REGION_A $REGION_A_SIZE
check "after all that a new region works" load_mpstore mem_address=$REGION_A mem_size=0x10000
echo "$(uuid)" >/dev/pmsg0
check "it is unloaded" rmmod mpstore
# Of the zones of 4K at the end, pmsg is the third from behind.
check "and holds what was written" peek_is $((REGION_A + 0xd000 + 12)) "$(uuid)"
