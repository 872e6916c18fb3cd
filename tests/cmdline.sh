#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Parameters on the kernel's command line: they count for a plain insmod, which
# does not look there by itself, as they do for modprobe, which does.
#
# vm: timeout=180
# kernels: custom debug stock
# cmdline: mpstore.mem_address=0x18000000,0x18200000 mpstore.mem_size=1M mpstore.tty-names=ttyS2,!ttyS1 mpstore.max_reason=1 mpstore.max_reason=1,3 mpstore.console_size=0x8000 mpstore.foo=1 mpstore.name="left,right" mpstorex.tty=maybe
. /tests/lib.sh
plan 12
PARAMS=/sys/module/mpstore/parameters

shows() {
	_got=$(cat "$PARAMS/$1")
	[ "$_got" = "$2" ] || { echo "$1 is '$_got', not '$2'"; return 1; }
}
# as_given: all of what the command line says, but for the console's size.
as_given() {
	shows mem_address 0x18000000,0x18200000 && shows mem_size 0x100000,0x100000 &&
	shows tty_names 'ttyS2,!ttyS1' && shows max_reason 1,3 && shows name left,right
}
warnings() { dmesg -r | grep -E '^<(4|12)>.*mpstore: mpstore.foo on the kernel command line: unknown parameter, ignored'; }
one_warning() { warnings; [ "$(warnings | wc -l)" = 1 ]; }
both_have() {
	mount_pstore || return
	_n=$(cat "$PSTORE"/left/pmsg-left-0 "$PSTORE"/right/pmsg-right-0 | grep -cx "$1")
	umount_pstore
	[ "$_n" = 2 ] || { echo "$_n times, not twice"; return 1; }
}

wipe "$REGION_A" "$REGION_A_SIZE"
wipe "$REGION_B" "$REGION_B_SIZE"
check "insmod without parameters loads mpstore" insmod /mpstore.ko || bail "no module"
check "strings, lists, dashes for underscores and the last of two count" as_given
check "a number from the command line counts" shows console_size 32768,32768
check "what is not given has its default" shows pmsg_size 4096,4096
check "an unknown parameter there is one warning and no more" one_warning
uuid line >/dev/pmsg0
rmmod mpstore

check "insmod with parameters loads mpstore" insmod /mpstore.ko console_size=8192 pmsg_size=16384
own() { shows console_size 8192,8192 && shows pmsg_size 16384,16384 && as_given; }
check "what insmod is given wins, the rest is as on the command line" own
rmmod mpstore

# Back to the sizes of the first load, so that its zones are found again.
insmod /mpstore.ko
uuid second >/dev/pmsg0
rmmod mpstore
insmod /mpstore.ko
check "both regions hold what a load by command line recorded" both_have "$(uuid second)"
rmmod mpstore

MODULES=/lib/modules/$(uname -r)
mkdir -p "$MODULES"
cp /mpstore.ko "$MODULES/"
depmod
check "modprobe loads mpstore" modprobe mpstore
check "modprobe takes the command line too" as_given
rmmod mpstore
modprobe mpstore console_size=8192
by_modprobe() { shows console_size 8192,8192 && as_given; }
check "what modprobe is given wins" by_modprobe
check "mpstore unloads" rmmod mpstore
