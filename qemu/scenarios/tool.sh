#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The program reads from each raw source what the mounted tree shows, byte for byte:
# /dev/mem, /proc/kcore, a disk, an image; by parameters, by the command line, by a
# search. It reads before the module is loaded, as without the module, and what it
# reads is compared with the tree that the module shows afterwards.
#
# vm: timeout=240 quiet=120
# disk: virtio 16M
# kernels: custom
. /tests/lib.sh
plan 23

SIZES="record_size=0x8000 console_size=0x10000 pmsg_size=0x4000 tty_size=0x8000 ftrace_size=0x2000"
GIVEN="--record-size 0x8000 --console-size 0x10000 --pmsg-size 0x4000 --tty-size 0x8000 --ftrace-size 0x2000"

# shellcheck disable=SC2086
load() {
	load_mpstore mem_address=$REGION_A, mem_name=,$REGION_NAME mem_size=$REGION_A_SIZE,0x80000 ecc=16,0 $SIZES
}
# element N LIST
element() { echo "$2" | cut -d, -f"$1"; }
# raw FOLDER ARGUMENTS...: what the program reads.
raw() {
	_to=$1
	shift
	rm -rf "$_to"
	mpstore extract -q -o "$_to" "$@"
}
# same A B: the same files with the same content.
same() {
	[ "$(ls "$1")" = "$(ls "$2")" ] || { ls "$1" "$2"; return 1; }
	for _f in "$1"/*; do cmp "$_f" "$2/${_f##*/}" || return 1; done
}

case $STAGE in
1)
	wipe $REGION_A $REGION_A_SIZE
	check "load" load || bail "no module"
	save NAMED "$(element 2 "$(cat /sys/module/mpstore/parameters/mem_address)")"
	save NAMED_SIZE "$(element 2 "$(cat /sys/module/mpstore/parameters/mem_size)")"
	check "check says what is missing" sh -c "mpstore check --kdump >/tmp/c; [ \$? = 2 ] && grep -q 'no memory is reserved' /tmp/c"
	check "plan finds the reservation" sh -c "mpstore plan >/tmp/p && grep -q 'mem_address=$REGION_A' /tmp/p || { cat /tmp/p; false; }"
	echo "$(uuid) pmsg" >/dev/pmsg0
	echo "$(uuid) tty" >/dev/ttyS2
	echo "<4>$(uuid) kmsg" >/dev/kmsg
	check "survey begins" mpstore survey begin --how panic --state /tmp/survey.json
	echo vfs_write >/sys/kernel/tracing/set_ftrace_filter 2>/dev/null || {
		mount -t tracefs tracefs /sys/kernel/tracing && echo vfs_write >/sys/kernel/tracing/set_ftrace_filter
	}
	echo 1 >/sys/kernel/debug/mpstore/record_ftrace
	echo "<4>$(uuid) traced" >/dev/kmsg
	check "an oops" oops_now
	next_stage 2
	panic_now ;;
2)
	# shellcheck disable=SC2086
	check "/dev/mem by sizes" raw /tmp/mem -s /dev/mem --address $REGION_A --size $REGION_A_SIZE --ecc 1 $GIVEN
	check "/dev/mem by memmap= on the command line" raw /tmp/memmap -s /dev/mem
	check "/dev/mem by the content at an address" raw /tmp/at -s /dev/mem --address $REGION_A
	# shellcheck disable=SC2086
	check "/proc/kcore by sizes" raw /tmp/kcore -s /proc/kcore --address "$NAMED" --size "$NAMED_SIZE" \
		--name ramoops1 $GIVEN
	check "/proc/kcore by the content" raw /tmp/kcore-at -s /proc/kcore --address "$NAMED" --name ramoops1
	check "a copy on a disk" dd if=/dev/mem of=/dev/vda bs=4096 skip=$((REGION_A / 4096)) \
		count=$((REGION_A_SIZE / 4096)) conv=notrunc
	check "the disk" raw /tmp/disk -s /dev/vda
	dd if=/dev/mem of=/tmp/image bs=4096 skip=$((REGION_A / 4096)) count=$((REGION_A_SIZE / 4096)) 2>/dev/null
	# For the host, to be read there.
	dump_memory $REGION_A $REGION_A_SIZE region
	check "load" load || bail "no module"
	mount_pstore
	check "/dev/mem shows what the tree shows" same "$PSTORE/ramoops" /tmp/mem
	check "so does what memmap= led to" same "$PSTORE/ramoops" /tmp/memmap
	check "and the content" same "$PSTORE/ramoops" /tmp/at
	check "/proc/kcore shows what the tree shows" same "$PSTORE/ramoops1" /tmp/kcore
	check "also by its content" same "$PSTORE/ramoops1" /tmp/kcore-at
	check "the disk shows what the tree shows" same "$PSTORE/ramoops" /tmp/disk
	check "it is what was recorded" sh -c "grep -q '$(uuid) pmsg' /tmp/kcore/pmsg-ramoops1-0 && grep -q '$(uuid) tty' /tmp/mem/tty-ramoops-0"
	check "the timeline has all of it" sh -c "mpstore timeline >/tmp/t && for w in pmsg tty kmsg; do grep -q \"$(uuid) \$w\" /tmp/t || { echo no \$w; exit 1; }; done"
	mpstore import -q --to json -o /tmp/log --state /tmp/imported.json
	check "import takes each record once" sh -c "[ \"\$(wc -l </tmp/log)\" = \$(find $PSTORE -type f | wc -l) ] &&
		mpstore import --to json -o /tmp/log --state /tmp/imported.json | grep -q '^0 records'"
	check "erase" sh -c "mpstore erase --all >/tmp/e && [ -z \"\$(find $PSTORE -type f)\" ]" ;;
esac
