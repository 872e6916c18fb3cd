#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# `make demo`: two RAM regions and a disk, every frontend, a panic, and what is
# left. Then, where the kernel can hand memory over, a kexec, and what came along.
#
# vm: mem=1G kexec timeout=300
# disk: virtio 4M
# cmdline: kho=on kho_scratch=16M,64M,16M
# kernels: custom debug stock
. /tests/lib.sh
# Debian's kernels have no CONFIG_KEXEC_HANDOVER.
case $KIND in stock | sid) KHO= ;; *) KHO=1 ;; esac
plan $((KHO ? 25 : 18))
MARK=$(uuid marker)
TTY=/dev/ttyS2

load() {
	load_mpstore mem_address=$REGION_A,$REGION_B mem_size=0x100000 record_size=0x4000 \
		console_size=0x10000 pmsg_size=0x10000 tty_size=0x10000 ftrace_size=0 blkdev=/dev/vda "$@"
}
show() {
	find "$1" -type f | sort | while read -r f; do
		note "$(printf '%-60s %7d bytes' "${f#"$PSTORE"/}" "$(wc -c <"$f")")"
		# The first line, and the first that is ours.
		tr -d '\0' <"$f" | tr '\r' '\n' | awk -v m="$2" '
			NR == 1 || (index($0, m) && !n++) { print "#       " substr($0, 1, 100) }'
	done
}

case $STAGE in
1)
	wipe "$REGION_A" "$REGION_A_SIZE"
	wipe "$REGION_B" "$REGION_B_SIZE"
	note "load mpstore with two regions and a disk: backends ramoops, ramoops1 and blk"
	check "mpstore loads" load || bail "without the module there is nothing to show"
	note "write '$MARK' to /dev/kmsg, /dev/pmsg0 and $TTY"
	check "write to /dev/kmsg" sh -c "echo '$MARK kmsg' >/dev/kmsg"
	check "write to /dev/pmsg0" sh -c "echo '$MARK pmsg' >/dev/pmsg0"
	check "write to $TTY" sh -c "echo '$MARK tty' >$TTY"
	note "give the disk its half second, and crash the machine"
	sleep 1
	next_stage 2
	panic_now ;;
2)
	note "it is back. Load mpstore again and look"
	check "mpstore loads again" load || bail "no module"
	check "mount pstore" mount_pstore || bail "no file system"
	show "$PSTORE" "$MARK"
	for b in ramoops ramoops1; do
		for k in dmesg console pmsg tty; do
			case $k in
			dmesg | console) want="$MARK kmsg" ;;
			pmsg) want="$MARK pmsg" ;;
			# The runner's own line is a terminal too.
			tty) want="${TTY#/dev/}: $MARK tty" ;;
			esac
			check "$b: $k holds what was written" sh -c "cat $PSTORE/$b/$k-$b-* | grep -q '$want'"
		done
	done
	for k in dmesg console pmsg tty; do
		case $k in
		dmesg | console) want=kmsg ;;
		*) want=$k ;;
		esac
		check "blk: $k holds what was written" sh -c "cat $PSTORE/blk/$k-blk-* | grep -q '$MARK $want'"
	done
	[ "$KHO" ] || exit 0
	umount_pstore
	rmmod mpstore
	note "load it once more, with memory that goes over kexec, say something and jump"
	check "mpstore loads with kho=Y" load kho=Y || bail "no module"
	echo "$MARK before kexec: kmsg" >/dev/kmsg
	echo "$MARK before kexec: pmsg" >/dev/pmsg0
	echo "$MARK before kexec: tty" >$TTY
	next_stage 3
	kexec_now nowatchdog ;;
3)
	note "another kernel, no reset. Load mpstore and look"
	check "mpstore loads in the next kernel" load kho=Y || bail "no module"
	check "mount pstore" mount_pstore || bail "no file system"
	show "$PSTORE/kho" "$MARK"
	for k in dmesg console pmsg tty; do
		case $k in
		dmesg | console) want=kmsg ;;
		*) want=$k ;;
		esac
		check "kho: $k came along" sh -c "cat $PSTORE/kho/$k-kho-* | grep -q '$MARK before kexec: $want'"
	done ;;
esac
