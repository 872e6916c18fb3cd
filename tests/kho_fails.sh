#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What earlier kernels and earlier loads left is not lost because a load fails: memory runs out in each
# allocation while it looks for it and takes it over, and the kernel refuses what it is asked for. What can't
# be had back is one line in the log, and of several generations only the one that it is about; what is
# damaged or was taken already is told, and the module works.
#
# vm: mem=1G kexec timeout=900 boots=8
# cmdline: kho=on kho_scratch=16M,64M,16M
# cmdline@debug: kho_scratch=64M,256M,64M
# disk: virtio 64M
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-kho.sh
. /tests/lib-calls.sh
plan 50
NOTHING="kho_console_size=0 kho_pmsg_size=0 kho_tty_size=0 kho_ftrace_size=0"
SMALL="kho=Y kho_size=512K kho_record_size=16K"

# generation NAME ARGUMENT...: a load that leaves records.
generation() {
	_who=$1
	shift
	load_mpstore $SMALL kho_console_size=64K kho_pmsg_size=32K "$@" && speak "$_who" && rmmod mpstore
}
# A load that records nothing by itself leaves nothing of its own.
quiet() { load_mpstore $SMALL $NOTHING "$@"; }
# sums GENERATION...: of their records, with their names.
sums() {
	kho_mount
	for _g; do (cd "$K" && sha256sum "pmsg-kho-$((_g * 10000))" "console-kho-$((_g * 10000))"); done
	umount_pstore
}
# there GENERATION...: these and no others, byte for byte.
there() {
	quiet || return 1
	kho_mount
	generations_are "$*"
	_rc=$?
	umount_pstore
	for _g; do grep -F -e "-$((_g * 10000))" /tmp/sums; done >/tmp/want
	sums "$@" | diff - /tmp/want || _rc=1
	rmmod mpstore
	return $_rc
}
load_without() { without "$1" "$2" ttytool insmod /mpstore.ko strict=1 $SMALL $NOTHING; }
# Names are asked for by the mount, and by a look at the directory.
list_without() {
	quiet
	dmesg -c >/dev/null
	echo "fail in=vmap error=0 any" >$CRASH
	kho_mount
	[ "$(cat $CRASH)" = idle ] || { echo "it is not looked into"; return 1; }
	logged "kho: can't list its records: " || return 1
	umount_pstore
	kho_mount
	generations_are "1 2 3" && [ "$(ls "$K"/pmsg-* | wc -l)" = 3 ] || { ls -l "$K"; return 1; }
	umount_pstore
	rmmod mpstore
}
erase_all() {
	quiet
	kho_mount
	rm "$K"/*
	umount_pstore
	rmmod mpstore
}
nobody_took() { [ ! -e /sys/devices/platform/mpstore-kho ]; }
# refused CALL ERROR ERRNO LINE
refused() {
	not_done "$1" "$2" ttytool insmod /mpstore.ko strict=1 $SMALL $NOTHING || { rmmod mpstore 2>/dev/null; return 1; }
	grep -q "$3" /tmp/said || { cat /tmp/said; return 1; }
	[ -z "$4" ] || logged "$4"
}
# loads_with CALL ERROR LINE: it loads, and stays.
loads_with() {
	failing "$1" "$2" ttytool insmod /mpstore.ko $SMALL $NOTHING || { cat /tmp/said; return 1; }
	logged "$3"
}
insmod /mpstore_crash.ko || bail "no crash module"
case $STAGE in
1)
	check "the kernel's files outlive a jump" chain_begin || bail "no disk"
	# --- damage
	check "a generation" generation damaged
	check "its index is damaged" sh -c "echo damage mpstore-kho >$CRASH"
	dmesg -c >/dev/null
	check "load" load_mpstore $SMALL
	check "it is given up" logged "kho: what was left in this kernel is given up: "
	kho_mount
	check "no earlier generation" generations_are ""
	speak new
	umount_pstore
	rmmod mpstore
	quiet
	kho_mount
	check "this one records" has "$(file pmsg 1)" "new $(uuid) pmsg"
	umount_pstore
	rmmod mpstore
	erase_all
	check "erased, nothing is left" nobody_took

	# --- what an earlier load left
	for n in 1 2 3; do check "generation $n" generation "g$n"; done
	quiet
	sums 1 2 3 >/tmp/sums
	check "are there" test "$(wc -l </tmp/sums)" = 6
	rmmod mpstore

	check "a load that can't look at it" refused "vmap after=bus_find_device" 0 ENOMEM ""
	check "leaves it" there 1 2 3
	for f in krealloc vrealloc kvrealloc; do
		check "loads without memory: ${f}()" load_without ${f}_node_align_noprof bus_find_device
		note "$(cat /tmp/times) times"
		[ $f != krealloc ] || check "often" many 10
	done
	check "leave it" there 1 2 3
	check "a list that can't look into one" list_without
	check "one that can't look into a generation" loads_with "vmap after=platform_device_unregister" 0 \
		"kho: generation 1: there is no memory to look at it now"
	kho_mount
	check "has it" generations_are "1 2 3"
	umount_pstore
	rmmod mpstore
	load_mpstore $SMALL
	speak g4
	check "an unload that can't look into its own" failing vmap 0 rmmod mpstore
	quiet
	sums 1 2 3 4 >/tmp/sums
	rmmod mpstore
	check "leaves all" there 1 2 3 4
	save SUMS "$(base64 </tmp/sums | tr -d '\n')"
	check "kexec -l" chain_load
	next_stage 2
	chain_jump ;;
2)
	echo "$SUMS" | base64 -d >/tmp/sums
	# --- what the kernel before handed over
	check "nothing can be handed on" loads_with kho_add_subtree 12 "kho: nothing is handed over: "
	rmmod mpstore
	check "the index is not where it should be" loads_with kho_retrieve_subtree 22 \
		"kho: records of earlier kernels are lost: no such memory"
	rmmod mpstore
	# Once it was taken there is nothing to retrieve any more.
	MOST=2
	check "loads without memory: vrealloc()" load_without vrealloc_node_align_noprof kho_retrieve_subtree
	check "one of them can't look at the index, one can't write one" test "$(cat /tmp/times)" = 2
	check "they have taken nothing" nobody_took
	MOST=
	check "loads without memory: krealloc()" load_without krealloc_node_align_noprof kho_retrieve_subtree
	note "$(cat /tmp/times) times"
	check "often" many 10
	check "leave what there is" there 1 2 3 4
	check "kexec -l" chain_load
	next_stage 3
	chain_jump ;;
3)
	echo "$SUMS" | base64 -d >/tmp/sums
	check "one generation can't be restored" loads_with kho_restore_folio 0 \
		"kho: generation 1 is lost: its memory can't be taken over: "
	rmmod mpstore
	check "the others are there" there 2 3 4
	check "kexec -l" chain_load
	next_stage 4
	chain_jump ;;
4)
	echo "$SUMS" | base64 -d >/tmp/sums
	check "one can't be handed on" loads_with "kho_preserve_folio after=kho_restore_folio" 12 \
		"kho: generation 2 is lost: its memory can't be taken over: "
	rmmod mpstore
	check "the others are there" there 3 4

	# --- nothing
	erase_all
	TAKEN="kho: what the kernel before handed over was taken by an earlier load, which left nothing"
	dmesg -c >/dev/null
	check "load when all was erased" quiet
	check "says that it was taken" logged "$TAKEN"
	rmmod mpstore
	check "an unload leaves what it can't remember" load_mpstore $SMALL
	speak lost
	dmesg -c >/dev/null
	check "unload" failing platform_device_register_full 12 rmmod mpstore
	check "says so" logged "kho: its records are lost: "
	check "load" quiet
	check "says that it was taken" logged "$TAKEN"
	rmmod mpstore

	# --- a kernel that recorded nothing, not even that it went
	check "load" quiet kho_max_reason=1
	check "kexec -l" chain_load
	next_stage 5
	chain_jump ;;
5)
	dmesg -c >/dev/null
	# shellcheck disable=SC2086
	check "load after a kernel that recorded nothing" load_mpstore $SMALL
	check "there is no generation of it, and nothing is lost" eval \
		'generations_are "" && ! dmesg | grep -E "mpstore: kho: .*(lost|damaged)"' ;;
esac
