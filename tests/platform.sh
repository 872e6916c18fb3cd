#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Regions that the platform describes, by platform data or by properties, are
# taken when the device is bound to mpstore, and only then.
#
# vm: timeout=150
# kernels: custom debug stock
. /tests/lib.sh
plan 41
BUS=/sys/bus/platform
CFG=/sys/kernel/config/mpstore
mount -t debugfs none /sys/kernel/debug 2>/dev/null
STATUS=/sys/kernel/debug/mpstore/status

bind() {
	echo mpstore >$BUS/devices/ramoops/driver_override &&
		echo ramoops >$BUS/drivers/mpstore/bind
}
unbind() { echo ramoops >$BUS/drivers/mpstore/unbind; }
bound() { [ "$(basename "$(readlink $BUS/devices/ramoops/driver)")" = mpstore ]; }
device() { insmod /mpstore_pdev.ko "$@"; }
log_has() { dmesg | grep -q "$1" || { dmesg | grep mpstore | tail -5; return 1; }; }
kinds_are() {
	_got=$(awk -v b="$1" '$1 == b { print $2 }' $STATUS | tr '\n' ' ')
	[ "$_got" = "$2" ] || { echo "'$_got', wanted '$2'"; return 1; }
}
refused() { # LINE PARAMETERS...
	_line=$1
	shift
	dmesg -c >/dev/null
	device "$@" || return 1
	if bind 2>/dev/null; then echo "it was bound"; _bad=1; else _bad=0; fi
	rmmod mpstore_pdev
	[ $_bad = 0 ] && log_has "$_line"
}

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	check "mpstore loads without a region" load_mpstore || bail "no module"
	check "a device comes" device address=$REGION_A || bail "no device"
	check "it is left alone" sh -c "! [ -e $BUS/devices/ramoops/driver ]"
	check "it is bound when it is told to" bind
	check "and is" bound
	check "its region is a backend" log_has 'mpstore: ramoops: 0x40000 bytes at 0x18000000, 15 dmesg records'
	check "with the kinds of its zones" kinds_are ramoops "dmesg console pmsg "
	check "a backend in configfs can't have the same region" sh -c "
		mount -t configfs none /sys/kernel/config 2>/dev/null
		mkdir /sys/kernel/config/mpstore/x && cd /sys/kernel/config/mpstore/x &&
		echo $REGION_A >mem_address && echo 0x10000 >mem_size && ! echo 1 >power 2>/dev/null"
	rmdir /sys/kernel/config/mpstore/x
	uuid one >/dev/pmsg0
	check "it is unbound" unbind
	check "and is no backend any more" kinds_are ramoops ""
	mkdir $CFG/ramoops
	echo mem >$CFG/ramoops/type
	check "it is bound again" bind
	check "a directory of its name starts no other one" sh -c "! echo 1 >$CFG/ramoops/power 2>/dev/null"
	check "says why" log_has 'mpstore: ramoops: there is a backend of that name'
	rmdir $CFG/ramoops
	mount_pstore
	check "what was written is there" test "$(cat "$PSTORE/ramoops/pmsg-ramoops-0")" = "$(uuid one)"
	umount_pstore
	uuid two >/dev/pmsg0
	check "the device goes while it is bound" rmmod mpstore_pdev
	check "and so does the backend" kinds_are ramoops ""
	check "a wrong mem_size is refused" refused 'mpstore: ramoops: ' address=$REGION_A size=0
	check "a wrong ecc_size is refused" refused 'mpstore: platform device: ecc_size=200: must be at most 127' address=$REGION_A ecc=200
	check "another polynomial is refused" refused 'mpstore: platform device: ecc_info: .*poly 0x187: only' address=$REGION_A ecc=16 poly=391
	check "a wrong mem_type is refused" refused 'mpstore: platform device: mem_type=7: must be 0, 1 or 2' address=$REGION_A mem_type=7
	for t in 1 2; do
		dmesg -c >/dev/null
		check "mem_type=$t is taken" eval "device address=$REGION_A mem_type=$t && bind && log_has 'mpstore: ramoops: 0x40000 bytes'"
		unbind
		rmmod mpstore_pdev
	done
	mkdir $CFG/ramoops
	echo mem >$CFG/ramoops/type
	echo 0x20000 >$CFG/ramoops/mem_size
	echo 1 >$CFG/ramoops/power
	check "where there is a ramoops" eval "device address=$REGION_A && bind"
	check "it is ramoops1" kinds_are ramoops1 "dmesg console pmsg "
	check "and goes" unbind
	rmmod mpstore_pdev
	rmdir $CFG/ramoops
	check "a wrong max_reason is refused" refused 'mpstore: platform device: max_reason=7: must be 0 to 4' address=$REGION_A max_reason=7
	check "a size of one byte is refused" refused 'mpstore: platform device: property record-size: not a number' address=$REGION_A props=1 narrow=1
	check "memory in use is refused" refused 'in use by the kernel' address=0x1000000

	# --- properties
	device address=$REGION_A props=1 ecc=16 size=0x20000
	check "one with properties is bound" bind
	check "without console, which is not among them" kinds_are ramoops "dmesg pmsg "
	check "with the sizes that they say" log_has 'mpstore: ramoops: 0x20000 bytes at 0x18000000, 7 dmesg records'
	check "an oops is survived" oops_now
	check "and not kept, for no-dump-oops" sh -c "awk '\$1 == \"ramoops\" && \$2 == \"dmesg\" { exit \$4 != 0 }' $STATUS"
	uuid props >/dev/pmsg0
	next_stage 2
	panic_now ;;
2)
	check "the device is there first" device address=$REGION_A props=1 ecc=16 size=0x20000
	echo mpstore >$BUS/devices/ramoops/driver_override
	check "mpstore loads" load_mpstore || bail "no module"
	check "and takes what waits for it" bound
	mount_pstore
	check "the panic is there" grep -q "Panic#" "$PSTORE/ramoops/dmesg-ramoops-0"
	check "its parity was written" grep -q "ECC: No errors detected" "$PSTORE/ramoops/dmesg-ramoops-0"
	check "the pmsg line is there" grep -q "$(uuid props)" "$PSTORE/ramoops/pmsg-ramoops-0"
	umount_pstore
	check "mpstore goes while a device is bound" rmmod mpstore
	check "and lets it go" sh -c "! [ -e $BUS/devices/ramoops/driver ]" ;;
esac
