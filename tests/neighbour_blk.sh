#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Debian's own kernel, whose in-tree pstore drives pstore_blk beside three backends of ours,
# on RAM, EFI variables and ERST. An oops reaches all four, is read and erased in our tree.
#
# vm: timeout=240 firmware=ovmf erst=64K mem=1G
# cmdline: pstore.backend=pstore_blk
# disk: virtio 16M
# kernels: stock
. /tests/lib.sh
plan 13
OLD=/mnt/old
RAM="mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=0x8000"
mkdir -p $OLD
[ ! -e /modules/configfs.ko ] || insmod /modules/configfs.ko 2>/dev/null
expect_log 'registered pstore_blk as backend'

backend_is() { _b=$(cat /sys/module/pstore/parameters/backend); [ "$_b" = "$1" ] || { echo "it is '$_b'"; return 1; }; }
# drives NAME: the in-tree core has this backend. Mounted before ours, its tree stays what it is.
drives() { backend_is "$1" && mount -t pstore pstore $OLD; }
load() { load_mpstore "$@" && mount_pstore; }
names_are() { _got=$(cd "$1" && ls | xargs); [ "$_got" = "$2" ] || { echo "$1 has '$_got', wanted '$2'"; return 1; }; }
# same NAME: every file of the in-tree mount is in our tree, byte for byte, and no other.
same() {
	for _f in $OLD/*; do
		cat "$_f" >/tmp/one && cat "$PSTORE/$1/${_f##*/}" >/tmp/two && cmp /tmp/one /tmp/two || return
		[ -s /tmp/one ] || { echo "$_f is empty"; return 1; }
	done
	[ "$(ls $OLD | wc -l)" = "$(ls "$PSTORE/$1" | wc -l)" ] || { ls $OLD "$PSTORE/$1"; return 1; }
}
# erase NAME: all of it, by our tree.
erase() { rm "$PSTORE/$1"/* && names_are "$PSTORE/$1" "" && names_are $OLD ""; }

insmod /modules/pstore_zone.ko
check "pstore_blk has the disk" insmod /modules/pstore_blk.ko blkdev=/dev/vda best_effort=y kmsg_size=64
check "the in-tree core drives it" drives pstore_blk || bail "no pstore_blk"
# shellcheck disable=SC2086
check "ours has RAM, EFI variables and ERST" load $RAM efi=Y erst=Y || bail "no module"
M=$(uuid)
echo "$M" >/dev/kmsg
# A disk whose driver has no way to write in a panic gets oopses only. The in-tree core looks
# for them when its backend registers.
check "an oops" oops_now
umount_pstore
rmmod pstore_blk
insmod /modules/pstore_blk.ko blkdev=/dev/vda best_effort=y kmsg_size=64
check "pstore_blk again, beside ours" backend_is pstore_blk
mount_pstore
check "each has a directory" names_are $PSTORE "efi erst pstore_blk ramoops"
for d in efi erst pstore_blk ramoops; do
	check "$d has the oops" sh -c "cat $PSTORE/$d/dmesg-* | grep -q '$M'"
done
check "pstore_blk's files are as in its own mount" same pstore_blk
check "all are erased in our tree" erase pstore_blk
umount_pstore
check "the module goes" rmmod mpstore
