#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Several backends at once: all get everything, each by its own parameters, and
# what one does wrong costs the others nothing. Plain-memory backends show what
# reaches them at once; the two RAM regions show it after the next load.
#
# vm: timeout=240
# kernels: custom debug stock
. /tests/lib.sh
plan 45
PARAMS=/sys/module/mpstore/parameters
RAM="mem_address=$REGION_A,$REGION_B mem_size=$REGION_A_SIZE"

# backends: "mem0 mem1 ... ramoops ramoops1", as there are folders.
# shellcheck disable=SC2012
backends() { ls "$PSTORE" | sort | tr '\n' ' '; }
numbered() { seq 0 16 | sed 's/^/mem/'; }
# all_have KIND TEXT BACKEND...: the record is TEXT and a line feed, nothing else.
all_have() {
	_kind=$1 _text=$2
	shift 2
	for _b in "$@"; do
		printf '%s\n' "$_text" | cmp - "$PSTORE/$_b/$_kind-$_b-0" || return 1
	done
}
# each_has TEXT KIND BACKEND...: the text is somewhere in the record.
each_has() {
	_text=$1 _kind=$2
	shift 2
	for _b in "$@"; do
		cat "$PSTORE/$_b/$_kind-$_b-"* | grep -qF "$_text" || { echo "not in $_b"; return 1; }
	done
}
none_has() { # KIND BACKEND...
	_kind=$1
	shift
	for _b in "$@"; do
		[ -d "$PSTORE/$_b" ] || { echo "no $_b at all"; return 1; }
		! ls "$PSTORE/$_b/" | grep "^$_kind-" || return 1
	done
}
mark() { MARK=$(uuid "$1"); echo "$MARK" >/dev/kmsg; }
# says N TEXT: so many of the lines since the mark have this text.
says() {
	dmesg | sed "1,/$MARK\$/d" | grep -F "$2" | tee /tmp/lines
	[ "$(wc -l </tmp/lines)" = "$1" ] || { echo "not $1 lines: $2"; return 1; }
}

wipe "$REGION_A" "$REGION_A_SIZE"
wipe "$REGION_B" "$REGION_B_SIZE"

# --- nineteen at once
# shellcheck disable=SC2086
# A distribution's kernel says more in an oops than the default console zone holds.
load_all() { load_mpstore $RAM test_mem=17 tty_names=ttyS2 console_size=16384; }
check "nineteen backends at once" load_all || bail "no module"
check "write to /dev/pmsg0" sh -c "echo $(uuid pmsg) >/dev/pmsg0"
check "write to the kernel log" sh -c "echo $(uuid kmsg) >/dev/kmsg"
uuid tty >/dev/ttyS2
check "an oops that the machine survives" oops_now
mount_pstore
check "each has a folder of its own" test "$(backends)" = \
	"$(printf '%s\n' $(numbered) ramoops ramoops1 | sort | tr '\n' ' ')"
# shellcheck disable=SC2046
{
check "the pmsg line is in all seventeen, and nothing else" all_have pmsg "$(uuid pmsg)" $(numbered)
check "the console line is in all seventeen" each_has "$(uuid kmsg)" console $(numbered)
check "the tty line is in all seventeen" each_has " ttyS2: $(uuid tty)" tty $(numbered)
check "the oops is in all nineteen" each_has 'Oops#1 Part1' dmesg $(numbered) ramoops ramoops1
}
check "one backend's record is removed" rm "$PSTORE/mem3/pmsg-mem3-0"
umount_pstore
mount_pstore
check "it stays away and the others' stay" sh -c \
	"[ ! -e $PSTORE/mem3/pmsg-mem3-0 ] && [ \$(ls $PSTORE/*/pmsg-* | wc -l) = 16 ]"
umount_pstore
check "nineteen backends unload" rmmod mpstore
load_all
mount_pstore
check "the next load finds the pmsg line in both RAM regions, and nothing else" \
	all_have pmsg "$(uuid pmsg)" ramoops ramoops1
check "and the oops" each_has 'Oops#1 Part1' dmesg ramoops ramoops1
umount_pstore
rmmod mpstore
check "one more than there can be is refused" sh -c "! insmod /mpstore.ko $RAM test_mem=31 2>/dev/null"

# --- each by its own parameters
check "sizes by list" load_mpstore test_mem=3 console_size=16384,0,16384 pmsg_size=0,4096,4096 \
	tty_size=4096,4096,0 max_reason=1,2,2 record_size=4096,4096,0 test_mem_size=0x10000 tty_names=ttyS2 ||
	bail "no module"
uuid list >/dev/kmsg
uuid list >/dev/pmsg0
uuid list >/dev/ttyS2
oops_now
mount_pstore
check "where console_size is 0 there is no console record" none_has console mem1
check "the others have it" each_has "$(uuid list)" console mem0 mem2
check "where pmsg_size is 0 there is no pmsg record" none_has pmsg mem0
check "the others have it" all_have pmsg "$(uuid list)" mem1 mem2
check "where tty_size is 0 there is no tty record" none_has tty mem2
check "the others have it" each_has "ttyS2: $(uuid list)" tty mem0 mem1
check "an oops is not kept where max_reason is 1 or record_size is 0" none_has dmesg mem0 mem2
check "it is where max_reason is 2" each_has 'Oops#1 Part1' dmesg mem1
umount_pstore
rmmod mpstore
# Regions come first in a list, the test backends after them.
check "a list goes over RAM regions and test backends" load_mpstore mem_address=$REGION_A \
	mem_size=$REGION_A_SIZE test_mem=2 pmsg_size=8192,0,4096 console_size=0
uuid mixed >/dev/pmsg0
mount_pstore
mixed() { none_has pmsg mem0 && all_have pmsg "$(uuid mixed)" mem1 && [ "$(cat $PARAMS/pmsg_size)" = 8192 ]; }
check "in that order" mixed
umount_pstore
rmmod mpstore
check "with all pmsg sizes 0 mpstore loads" load_mpstore test_mem=2 pmsg_size=0
check "and there is no /dev/pmsg0" test ! -e /dev/pmsg0
rmmod mpstore

# --- one can't register
mark register
check "one backend of three can't register: the module loads" \
	load_mpstore test_mem=3 test_mem_fault=none,register,none
uuid two >/dev/pmsg0
mount_pstore
check "the two others have folders" test "$(backends)" = "mem0 mem2 "
check "and get everything" all_have pmsg "$(uuid two)" mem0 mem2
umount_pstore
check "one line says which" says 1 "mem1: can't register"
rmmod mpstore
check "with strict=1 that is an error" \
	sh -c '! insmod /mpstore.ko test_mem=3 test_mem_fault=none,register,none strict=1 2>/dev/null'
check "if none can register, that is one, too" \
	sh -c '! insmod /mpstore.ko test_mem=2 test_mem_fault=register,register 2>/dev/null'

# --- one can't write
for console in 0 4096; do
	mark "write$console"
	load_mpstore test_mem=3 console_size=$console test_mem_fault=none,write,none tty_names=ttyS2
	three() { for i in 1 2 3; do echo "$(uuid "$i")" >/dev/pmsg0 || return 1; done; }
	check "one of three can't write: write(2) succeeds (console_size=$console)" three
	uuid three >/dev/ttyS2
	oops_now
	mount_pstore
	check "the others have all of it" all_have pmsg "$(printf '%s\n' "$(uuid 1)" "$(uuid 2)" "$(uuid 3)")" mem0 mem2
	check "the oops too" each_has 'Oops#1 Part1' dmesg mem0 mem2
	umount_pstore
	check "one line says which, for all that it loses" says 1 "mem1: lost a "
	rmmod mpstore
done
mark alone
load_mpstore test_mem=1 test_mem_fault=write
check "if no backend can write, write(2) fails" \
	sh -c "(echo x >/dev/pmsg0) 2>&1 | grep -i 'i/o error\|input/output'"
check "and the kernel log goes on" sh -c "echo $(uuid on) >/dev/kmsg && dmesg | grep -q $(uuid on)"
check "unloading says how much was lost" sh -c "rmmod mpstore && dmesg | grep -q 'mem0: [1-9][0-9]* records lost'"
