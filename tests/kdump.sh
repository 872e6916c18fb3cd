#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# kdump: a crash kernel records to its bank and leaves the first kernel's records
# as they are, adds them to the vmcore, and saves that, whole and by makedumpfile;
# the kernel after it shows both kernels' records, and reads the saved notes.
#
# vm: mem=448M timeout=240 quiet=120 kexec
# vm@debug: mem=1200M
# cmdline: crashkernel=128M crash_kexec_post_notifiers
# cmdline@debug: crashkernel=512M
# disk: virtio 1G
# disk: virtio 256M
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-calls.sh
. /tests/lib-kdump.sh
SIZES="record_size=0x8000 console_size=0x10000 pmsg_size=0x4000 tty_size=0x8000 ftrace_size=0x4000"
plan 57
# vmcore, whole; a file system for what makedumpfile leaves.
RAW=/dev/vda
FS=/dev/vdb
speak() {
	echo "<5>$(uuid "$1") kmsg" >/dev/kmsg
	printf '%s pmsg' "$(uuid "$1")" >/dev/pmsg0
	echo "$(uuid "$1") tty" >/dev/ttyS2
}
trace_on() {
	echo 'vfs_*' >/sys/kernel/tracing/set_ftrace_filter
	echo 1 >/sys/kernel/debug/mpstore/record_ftrace
}
# The second region is by name, and a bank as a whole.
load_both() {
	# shellcheck disable=SC2086
	load_mpstore mem_address=$REGION_A, mem_name=,$REGION_NAME mem_size=$REGION_A_SIZE, \
		crash_size=$CRASH_SIZE,0x200000 $SIZES
}
where() { cut -d, -f2 /sys/module/mpstore/parameters/mem_address; }
# Must find the name useless, whatever the command line says of regions.
load_named() {
	ttytool insmod /mpstore.ko mem_address= mem_name=$REGION_NAME mem_size=0x200000 crash_size=0 name= \
		record_size=4096 console_size=4096 pmsg_size=4096 tty_size=4096 ftrace_size=4096 strict=Y
}
load_named_fails() {
	! load_named && dmesg | grep -q "mem_name=$REGION_NAME: in a crash kernel that is another area"
}
# configfs_shows: a region of configfs is not written to: no zone begins where one would.
configfs_shows() {
	devmem 0x18300000 32 0x12345678
	mkdir /sys/kernel/config/mpstore/other || return
	(
		cd /sys/kernel/config/mpstore/other && echo 0x18300000 >mem_address &&
			echo 0x10000 >mem_size && echo 1 >power
	) || return
	rmdir /sys/kernel/config/mpstore/other && [ "$(devmem 0x18300000 32)" = 0x12345678 ]
}
only() { [ "$(ls "$PSTORE" | tr '\n' ' ')" = "$1" ] || { ls -lR "$PSTORE"; return 1; }; }
refused() { ! rm "$1" 2>/tmp/rm.err && grep -q 'Read-only' /tmp/rm.err || { cat /tmp/rm.err; return 1; }; }
# not_added FUNCTION ERROR WHY: the rest works.
not_added() {
	failing "$1" "$2" ttytool insmod /mpstore.ko vmcore=Y || { cat /tmp/said; dmesg | tail; return 1; }
	rmmod mpstore
	dmesg | grep -qF "ramoops: vmcore=Y: not added to the vmcore: $3" || { dmesg | tail; return 1; }
}
# firsts: the first kernel's records are all there.
firsts() {
	check "$1: pmsg of the first kernel" test "$(cat "$PSTORE/ramoops/pmsg-ramoops-0")" = "$(uuid first) pmsg"
	check "$1: its console" has ramoops/console-ramoops-0 "$(uuid first) kmsg"
	check "$1: its terminals" has ramoops/tty-ramoops-0 "ttyS2: $(uuid first) tty"
	check "$1: its panic" has ramoops/dmesg-ramoops-0 "sysrq triggered crash"
	check "$1: its function trace, of both processors" has ramoops/ftrace-ramoops-0 "CPU:0 .*vfs_"
	check "$1: and the other one" has ramoops/ftrace-ramoops-0 "CPU:1 .*vfs_"
}
# same_note FILE: the dump in it is the region that is in memory.
same_note() {
	regiontool note "$1" mpstore-ramoops | md5sum >/tmp/note.sum
	[ "$(cat /tmp/note.sum)" = "$OWN_SUM  -" ] || { regiontool notes "$1"; return 1; }
}

case $STAGE in
1)
	mkdir -p /sys/kernel/tracing && mount -t tracefs tracefs /sys/kernel/tracing
	wipe $REGION_A $REGION_A_SIZE
	check "mpstore loads with a bank" load_both || bail "no module"
	check "sysfs shows its size" test "$(cat /sys/module/mpstore/parameters/crash_size)" = 0x40000,0x200000
	check "and the whole region's" test "$(cat /sys/module/mpstore/parameters/mem_size)" = 0x100000,0x200000
	mount_pstore
	note "$(cat $CRASH_CMDLINE)"
	check "the words for the crash kernel" test "$(cat $CRASH_CMDLINE)" = \
		"mpstore.mem_name= mpstore.mem_address=0x18000000,$(where) mpstore.mem_size=0x100000,0x200000 mpstore.crash_size=0x40000,0x200000 mpstore.name=ramoops,ramoops1 mpstore.record_size=32768,32768 mpstore.console_size=65536,65536 mpstore.ftrace_size=16384,16384 mpstore.pmsg_size=16384,16384 mpstore.tty_size=32768,32768"
	check "nothing is recorded to the bank" sh -c "! grep -E 'ramoops_crash|ramoops1' /sys/kernel/debug/mpstore/status"
	check "a crash kernel is loaded" kexec_load -p "nr_cpus=1 $(cat $CRASH_CMDLINE)" || bail "no crash kernel"
	mke2fs -F $FS >/dev/null 2>&1
	trace_on
	taskset 1 sh -c 'cat /proc/uptime' >/dev/null
	taskset 2 sh -c 'cat /proc/uptime' >/dev/null
	speak first
	next_stage 2
	panic_now ;;
2)
	check "this is the crash kernel" test -e /proc/vmcore || bail "no crash kernel"
	check "with one processor" test "$(cat /sys/devices/system/cpu/possible)" = 0
	check "mpstore loads with no word but those of the command line" load_mpstore || bail "no module"
	check "it says whose records there are" logged "ramoops: 5 records of the kernel that crashed"
	check "and that they are in the vmcore" logged "ramoops: 0xc0000 bytes added to the vmcore as mpstore-ramoops"
	check "and where it records to" logged "ramoops_crash: 0x40000 bytes at 0x180c0000, 3 dmesg records"
	check "a region by its name is found by its address" logged "ramoops1: 0x200000 bytes at"
	mount_pstore
	check "there are the first kernel's records only" only "ramoops ramoops1 ramoops_crash "
	check "none of its own yet" test -z "$(ls "$PSTORE/ramoops_crash")"
	firsts "crash kernel"
	check "they can't be removed" refused "$PSTORE/ramoops/pmsg-ramoops-0"
	note "$(regiontool notes /proc/vmcore)"
	check "the note is in the vmcore, with what it takes to read it" test \
		"$(regiontool notes /proc/vmcore)" = "mpstore-ramoops 0x18000000 0xc0000 2"
	save OWN_SUM "$(regiontool note /proc/vmcore mpstore-ramoops | md5sum | cut -d' ' -f1)"
	/usr/bin/readelf -n /proc/vmcore >/tmp/readelf 2>&1
	check "readelf sees it" grep -q 'LINUX .*0x00000700' /tmp/readelf
	# What a kdump script says and does.
	{
		echo "kdump $(uuid): saving the vmcore"
		dd if=/proc/vmcore of=$RAW bs=1M && echo "kdump: saved whole"
		mount $FS /mnt && /usr/bin/makedumpfile -c -d 31 /proc/vmcore /mnt/vmcore &&
			/usr/bin/makedumpfile -E -d 31 /proc/vmcore /mnt/vmcore.elf && echo "kdump: saved small"
		umount /mnt
	} >/dev/console 2>&1
	speak crash
	(
		exec 5</proc/vmcore
		umount_pstore
		rmmod mpstore
		load_mpstore vmcore=Y
	)
	check "while it is open, nothing can be added, and that is said" \
		logged "ramoops: vmcore=Y: not added to the vmcore: /proc/vmcore is open"
	mount_pstore
	check "what this kernel said before it loaded mpstore anew" has ramoops_crash/tty-ramoops_crash-0 "saved whole"
	check "and the progress, thinned out" test \
		"$(grep -ao 'Copying data' "$PSTORE/ramoops_crash/tty-ramoops_crash-0" | wc -l)" -le 200
	check "configfs makes nothing that writes here" configfs_shows
	umount_pstore
	rmmod mpstore
	insmod /mpstore_crash.ko
	for f in "vmcore_add_device_dump 12 there is no memory for a copy; give crashkernel= more" \
		"vmcore_add_device_dump 95 this kernel was built without CONFIG_PROC_VMCORE_DEVICE_DUMP" \
		"vmcore_add_device_dump 7 it is too large for a note" "kern_path 2 there is no /proc/vmcore; mount /proc before"; do
		# shellcheck disable=SC2086
		set -- $f
		_call=$1 _error=$2
		shift 2
		check "nothing is added by a $_call() that returns -$_error" not_added $_call $_error "$*"
	done
	check "with strict=Y that is an error" not_done vmcore_add_device_dump 12 ttytool insmod /mpstore.ko vmcore=Y strict=Y
	check "and which" grep -q ENOMEM /tmp/said
	check "a region's name is refused" load_named_fails
	load_mpstore
	# Loaded again, it has begun a new log.
	{ echo "kdump $(uuid): going down"; echo "kdump: saved small"; } >/dev/console
	speak crash
	next_stage 3
	reboot_now ;;
3)
	# Thus it was not changed since, and the note has it whole.
	check "the region is as the crash kernel found it" test "$(region_sum $REGION_A $OWN_SIZE)" = "$OWN_SUM"
	load_both || bail "no module"
	mount_pstore
	check "both kernels' records are shown" only "ramoops ramoops1 ramoops_crash "
	check "and how many" logged "ramoops_crash: 3 records of a crash kernel"
	firsts "afterwards"
	check "the crash kernel's console" has ramoops_crash/console-ramoops_crash-0 "Command line: .*elfcorehdr="
	check "what was in its log" has ramoops_crash/console-ramoops_crash-0 "$(uuid crash) kmsg"
	check "its terminals" has ramoops_crash/tty-ramoops_crash-0 "kdump $(uuid): going down"
	check "the same in the bank by name" has ramoops1/tty-ramoops1-0 "kdump $(uuid): going down"
	check "its pmsg" test "$(cat "$PSTORE/ramoops_crash/pmsg-ramoops_crash-0")" = "$(uuid crash) pmsg"
	check "the first kernel's are not among them" lacks ramoops_crash/console-ramoops_crash-0 "$(uuid first)"
	check "they can be removed" rm "$PSTORE"/ramoops_crash/console-ramoops_crash-0
	umount_pstore
	rmmod mpstore
	load_both
	mount_pstore
	check "and are gone for good" test "$(ls "$PSTORE/ramoops_crash" | tr '\n' ' ')" = \
		"pmsg-ramoops_crash-0 tty-ramoops_crash-0 "
	check "the whole vmcore has the note" same_note $RAW
	mount $FS /mnt
	check "makedumpfile left a vmcore" test -s /mnt/vmcore
	check "its ELF file has the note" same_note /mnt/vmcore.elf
	check "and so has its compressed one" grep -q MPSTDUMP /mnt/vmcore
	umount /mnt
	check "no crash kernel, no note" sh -c "! dmesg | grep 'the vmcore'" ;;
esac
