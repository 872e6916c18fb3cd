#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# What is written to /dev/pmsg0, in pieces of every size, wraps around the ring: afterwards it holds the
# last bytes of all that was written, to the byte. With one backend the bytes go straight from the
# writer's memory to the ring; with two, or memory that can't be read, they don't.
#
# vm: timeout=200
# kernels: custom debug stock
. /tests/lib.sh
plan 30
ONE="mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=16K console_size=16K tty_size=16K ftrace_size=16K pmsg_size=16K"
TWO="mem_address=$REGION_A,$REGION_B mem_size=$REGION_A_SIZE,$REGION_B_SIZE record_size=16K console_size=16K
	tty_size=16K ftrace_size=16K pmsg_size=16K,8K"

# written SEED: pieces of 1 to 3,000 bytes, some larger than the ring, 120 KiB in all; and all of it in /tmp/all.
written() {
	: >/tmp/all
	awk -v seed="$1" 'BEGIN { srand(seed)
		for (n = 0; n < 80; n++) { size = 1 + int(rand() * 3000); print n % 27 == 13 ? size + 16384 : size } }' |
		while read -r _size; do
			head -c "$_size" /dev/urandom | base64 -w 0 | head -c "$_size" >/tmp/piece
			dd if=/tmp/piece of=/dev/pmsg0 bs=65536 2>/dev/null || { echo "$_size bytes"; return 1; }
			cat /tmp/piece >>/tmp/all
		done
}
# holds BACKEND BYTES [ECC]: its ring has the last that many bytes.
holds() {
	_f=$PSTORE/$1/pmsg-$1-0
	cp "$_f" /tmp/ring || return
	if [ "${3:-}" ]; then
		[ "$(tail -n 1 /tmp/ring)" = "ECC: No errors detected" ] || { tail -n 1 /tmp/ring; return 1; }
		head -c -25 /tmp/ring >/tmp/text
		mv /tmp/text /tmp/ring
	fi
	_n=$(stat -c %s /tmp/ring)
	[ "$_n" -ge "$2" ] || { echo "$_n bytes"; return 1; }
	tail -c "$_n" /tmp/all | cmp - /tmp/ring
}
again() {
	rmmod mpstore
	# shellcheck disable=SC2086
	load_mpstore "$@" && mount_pstore
}

wipe $REGION_A $REGION_A_SIZE
wipe $REGION_B $REGION_B_SIZE
# shellcheck disable=SC2086
check "one backend" load_mpstore $ONE || bail "no module"
check "pieces" written 1
# shellcheck disable=SC2086
check "the next load" again $ONE
# The header has 12 bytes.
check "has the last of them" holds ramoops 16372
umount_pstore
check "a little" sh -c "echo $(uuid little) >/dev/pmsg0"
check "from memory that can't be read: nothing" sh -c "ttytool fault /dev/pmsg0 5000 2>&1 | grep EFAULT"
check "from memory that ends within a page of it: nothing" sh -c "ttytool fault /dev/pmsg0 5000 1000 2>&1 | grep EFAULT"
check "from memory that ends behind that: the first part" sh -c "ttytool fault /dev/pmsg0 9000 5000 | grep -x 'accepted 4096'"
# shellcheck disable=SC2086
check "the next load" again $ONE
check "has the line and that part, not a byte more" sh -c "{ echo $(uuid little); head -c 4096 /dev/zero | tr '\\0' x; } |
	cmp - $PSTORE/ramoops/pmsg-ramoops-0"
umount_pstore
rmmod mpstore

wipe $REGION_A $REGION_A_SIZE
# shellcheck disable=SC2086
check "with parity" load_mpstore $ONE ecc=16
check "pieces" written 2
# shellcheck disable=SC2086
check "the next load" again $ONE ecc=16
check "has the last of them" holds ramoops 14000 ecc
umount_pstore
rmmod mpstore

# Neither write-combining nor cached, and cached; the default was above.
for t in 1 2; do
	wipe $REGION_A $REGION_A_SIZE
	# shellcheck disable=SC2086
	check "mem_type=$t" load_mpstore $ONE mem_type=$t
	check "is in force" test "$(cat /sys/module/mpstore/parameters/mem_type)" = $t
	check "pieces" written $((3 + t))
	check "an oops" oops_now
	# shellcheck disable=SC2086
	again $ONE
	check "the next load, mapped as ever, has the oops" sh -c "head -n 1 $PSTORE/ramoops/dmesg-ramoops-0 | grep -q '^Oops#1 Part1'"
	check "and the ring" holds ramoops 16372
	umount_pstore
	rmmod mpstore
done

wipe $REGION_A $REGION_A_SIZE
# shellcheck disable=SC2086
check "two backends" load_mpstore $TWO
check "pieces" written 3
# shellcheck disable=SC2086
again $TWO
check "one has the last of them" holds ramoops 16372
check "the other, too" holds ramoops1 8180
