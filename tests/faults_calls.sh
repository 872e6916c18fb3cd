#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Functions of the kernel fail, each once and in the task that loads the module, mounts, looks,
# erases, configures or writes. What comes of it is an errno, or a line in the log and all the rest at
# work; nothing that was stored is lost, and afterwards all is as if nothing had been. Memory that runs
# out is in `faults`.
#
# vm: mem=1G timeout=600 quiet=200 firmware=ovmf
# cmdline: kho=on kho_scratch=16M,64M,16M
# cmdline@debug: kho_scratch=64M,256M,64M
# disk: virtio 4M
# qemu: -object memory-backend-ram,id=far,size=1M -device ivshmem-plain,memdev=far
# kernels: custom debug
. /tests/lib.sh
. /tests/lib-calls.sh
plan 78
CONFIG=/sys/kernel/config/mpstore
ALL="mem_address=$REGION_A mem_size=$REGION_A_SIZE kho=Y efi=Y blkdev=/dev/vda kmsg_size=64K record_size=16K
	console_size=32K pmsg_size=32K tty_size=32K ftrace_size=32K compress=deflate tty_names=ttyS2"

names() { grep -q "$1" /tmp/said || { cat /tmp/said; return 1; }; }
dumps() { (cd $PSTORE && sha256sum ramoops/dmesg-* blk/dmesg-* efi/dmesg-*); }
# there BACKEND...: what these had is what they have.
there() {
	mount_pstore
	for _b; do grep -F " $_b/" /tmp/dumps; done >/tmp/wanted
	for _b; do dumps 2>/dev/null | grep -F " $_b/"; done | cmp - /tmp/wanted || { ls -l $PSTORE/*; return 1; }
	umount_pstore
}
# refused CALL ERROR ERRNO [LINE]: nothing is loaded.
refused() {
	# shellcheck disable=SC2086
	not_done "$1" "$2" ttytool insmod /mpstore.ko $ALL || { rmmod mpstore 2>/dev/null; return 1; }
	names "$3" && { [ -z "${4:-}" ] || logged "$4"; } && [ ! -e /sys/module/mpstore ]
}
# loaded CALL ERROR LINE WITHOUT [ARGUMENT...]: the others work.
loaded() {
	_line=$3 _without=$4
	_call=$1 _error=$2
	shift 4
	# shellcheck disable=SC2086
	failing "$_call" "$_error" ttytool insmod /mpstore.ko $ALL "$@" || { cat /tmp/said; dmesg | tail -n 20; return 1; }
	_rc=0
	logged "$_line" || _rc=1
	_rest=
	for _b in ramoops blk efi; do [ "$_b" = "$_without" ] || _rest="$_rest $_b"; done
	# shellcheck disable=SC2086
	there $_rest || _rc=1
	rmmod mpstore || _rc=1
	return $_rc
}
load_all() {
	# shellcheck disable=SC2086
	load_mpstore $ALL
}

insmod /mpstore_crash.ko || bail "no crash module"
dd if=/dev/zero of=/dev/vda bs=64k 2>/dev/null
wipe $REGION_A $REGION_A_SIZE
check "load" load_all || bail "no module"
check "an oops" oops_now
rmmod mpstore
check "load again" load_all
mount_pstore
dumps >/tmp/dumps
check "each has records" test "$(cut -d/ -f1 /tmp/dumps | cut -c67- | uniq | tr '\n' ' ')" = "ramoops blk efi "
umount_pstore
rmmod mpstore

# --- a load
check "no filesystem" refused register_filesystem 12 ENOMEM "can't register the filesystem 'pstore'"
check "no place to mount it" refused sysfs_create_mount_point 12 ENOMEM "can't register the filesystem 'pstore'"
check "no platform driver" refused __platform_driver_register 12 ENOMEM
check "no device pmsg0" loaded misc_register 16 "pmsg: frontend can't start" none
check "no place among the dumpers" loaded kmsg_dump_register 17 "dmesg: frontend can't start" none
check "no probe at n_tty_write" loaded "register_fprobe_syms any" 22 "tty: frontend can't start" none
check "no function tracer" loaded "register_ftrace_function any" 16 "can't register with ftrace" none record_ftrace=Y
check "no notice of restarts" loaded register_reboot_notifier 12 "blk: the worker that writes can't start" blk
check "no notice of suspends" loaded register_pm_notifier 12 "blk: can't be made ready for a panic" blk
check "no proc to read" loaded "kern_mount nth=3" 12 "can't read kernel.dmesg_restrict" none
check "no list of who gives memory back" refused "shrinker_alloc nth=2" 0 ENOMEM
check "no type of filesystem that is called proc" loaded "get_fs_type nth=3" 0 "can't read kernel.dmesg_restrict" none
check "the disk takes no signature" loaded "bdev_rw_virt after=register_pm_notifier" 5 "blk: the signature can't be written" none
check "a region can't be mapped" loaded vmap 0 "ramoops: mem_address=$REGION_A mem_size=$REGION_A_SIZE: the kernel can't map it" ramoops
check "the disk is in use" loaded bdev_file_open_by_dev 16 "blk: blkdev=/dev/vda: somebody uses it" blk
check "the disk can't be opened" loaded bdev_file_open_by_dev 5 "blk: blkdev=/dev/vda: can't be opened" blk
check "the path of the disk leads nowhere" loaded kern_path 2 "blk: blkdev=/dev/vda: no such device" blk
check "the firmware names no variables" loaded efivar_get_next_variable 5 "efi: not all variables could be looked at" efi
check "a variable can't be read" loaded efivar_get_variable 5 "efi: 1 records can't be read and are not shown" efi
check "the firmware does not tell what is free" loaded efivar_query_variable_info 5 "efi_floor=16384: the firmware does not tell" efi
check "one piece of memory can't be handed over" loaded kho_preserve_folio 12 "kho: generation" none
# By less than zero: EFI_BUFFER_TOO_SMALL.
check "a variable whose name is too long" loaded efivar_get_next_variable 0x7ffffffffffffffb "efi: not all variables could be looked at" efi
for o in /sys/bus/pci/devices/*; do [ "$(cat $o/device)" = 0x1110 ] && far=$(awk 'NR == 3 && $2 - $1 > 0 { print $1 }' $o/resource) &&
	[ $(($(awk 'NR == 3 { print $2 }' $o/resource) - far)) = 1048575 ] && break; done
printf '\002\000' | dd of=$o/config bs=2 seek=2 conv=notrunc 2>/dev/null
check "memory of a device can't be mapped" not_done "ioremap_wc any" 0 ttytool insmod /mpstore.ko strict=1 mem_address=$far mem_size=1M
check "says so" logged "ramoops: mem_address=$(printf %#x $far) mem_size=0x100000: the kernel can't map it"
check "then it is" load_mpstore mem_address=$far mem_size=1M
echo "$(uuid far)" >/dev/pmsg0
rmmod mpstore
load_mpstore mem_address=$far mem_size=1M
mount_pstore
check "and keeps what is written" grep -qx "$(uuid far)" $PSTORE/ramoops/pmsg-ramoops-0
umount_pstore
rmmod mpstore

# A zone that holds something else, in the way of a new load, which is to make it void.
noise() { dd if=/dev/urandom of=/dev/vda bs=64k seek=32 count=2 conv=notrunc 2>/dev/null; }
FORCED="blkdev=/dev/vda force=1 kmsg_size=64K console_size=32K pmsg_size=32K tty_size=32K ftrace_size=32K strict=1"
forced() {
	_told=0
	for _n in $(seq 120); do
		noise
		# shellcheck disable=SC2086
		failing "bdev_rw_virt after=register_pm_notifier nth=$_n" 5 ttytool insmod /mpstore.ko $FORCED
		[ $? != 99 ] || break
		dmesg | grep -qF "blk: can't begin to record" && _told=$((_told + 1))
		rmmod mpstore || return
	done
	# Each zone is looked at, and that one is written to.
	[ $_told -ge 40 ] && [ "$_n" -lt 120 ] || { echo "$_told of $_n"; return 1; }
	dmesg -c >/dev/null
	# shellcheck disable=SC2086
	load_mpstore $FORCED force=0 || return
	rmmod mpstore
	! dmesg | grep garbage
}
check "each access to the disk fails while it is taken by force, which is told" forced
ALL="$ALL strict=1"
check "with strict=1, no device pmsg0" refused misc_register 16 EBUSY "pmsg: frontend can't start"
check "with strict=1, no notice of restarts" refused register_reboot_notifier 12 ENOMEM "blk: the worker that writes can't start"
ALL="$ALL record_ftrace=1"
check "with strict=1, no function tracer" refused "register_ftrace_function any" 16 EBUSY "can't register with ftrace"
ALL="${ALL% *}"
check "with strict=1, no place among the dumpers" refused kmsg_dump_register 17 EBUSY "dmesg: frontend can't start"

check "nobody knows what this boot is called" loaded "kernel_read after=bus_find_device" 5 "kho: generation " none

# --- mounting, looking, reading, erasing
check "load" load_all || bail "no module"
for f in sget_fc:12 new_inode:0; do
	check "mount without ${f%:*}" fails_once ${f%:*} ${f#*:} "mount -t pstore none $PSTORE"
	umount $PSTORE
	check "all is there" there ramoops blk efi
done
mount_pstore
check "no inode" fails_once iget_locked 0 "ls -lR $PSTORE >/dev/null"
umount_pstore
check "all is there" there ramoops blk efi
mount_pstore
check "the list of names without zlib" failing zlib_inflate 5 ls -lR $PSTORE
check "says so" logged "ramoops: dmesg record 0 can't be decompressed and is shown as it is"
check "and has the record as it is" grep -q dmesg-ramoops-0.enc.z /tmp/said
umount_pstore
check "all is there" there ramoops blk efi
mount_pstore
find $PSTORE >/dev/null
echo 2 >/proc/sys/vm/drop_caches
check "a read that the disk fails" fails_once bdev_rw_virt 5 "cat $PSTORE/blk/dmesg-blk-0"
check "an erasure that the disk fails" fails_once bdev_rw_virt 5 "rm $PSTORE/blk/dmesg-blk-0"
one=$(ls -d $PSTORE/efi/* | head -n 1)
check "an erasure that the firmware fails" fails_once efivar_set_variable_locked 5 "rm $one"
check "no other is gone" test "$(find $PSTORE/efi $PSTORE/blk $PSTORE/ramoops -name 'dmesg*' | wc -l)" = $(($(wc -l </tmp/dumps) - 2))

echo 0 >/proc/sys/kernel/dmesg_restrict
# The initramfs is for root only.
chmod 755 / /bin $PSTORE $PSTORE/*
check "a user may read" ttytool as 1000 cat "$PSTORE/ramoops/dmesg-ramoops-0"
# A program that begins is read by the same function.
unsure() {
	for _n in $(seq 20); do
		failing "kernel_read nth=$_n" 5 ttytool as 1000 cat "$PSTORE/ramoops/dmesg-ramoops-0"
		grep -q 'dmesg-ramoops-0.: Operation not permitted' /tmp/said && return
	done
	cat /tmp/said
	return 1
}
check "not while the sysctl can't be read" unsure
check "then again" ttytool as 1000 cat "$PSTORE/ramoops/dmesg-ramoops-0"

dumps >/tmp/dumps.now 2>/dev/null
umount $PSTORE
afresh() { echo 2 >/proc/sys/vm/drop_caches; [ "$1" = mount ] || mount -t pstore none $PSTORE; }
for f in krealloc vrealloc kvrealloc; do
	for c in "mount -t pstore none $PSTORE" "ls -lR $PSTORE" "cat $PSTORE/*/dmesg-*"; do
		afterwards() { umount $PSTORE; afresh "${c%% *}"; }
		afresh "${c%% *}"
		# Not each of them needs memory of each kind.
		without ${f}_node_align_noprof "" "$c" || echo 0 >/tmp/times
		note "${f}() fails ${c%% *}, $(cat /tmp/times) times"
		cat /tmp/times >>/tmp/all.times
		umount $PSTORE 2>/dev/null
	done
done
check "looks without memory" test "$(awk '{ n += $1 } END { print n }' /tmp/all.times)" -ge 20
check "of all there is nothing is lost" sh -c "mount -t pstore none $PSTORE && cd $PSTORE &&
	sha256sum ramoops/dmesg-* blk/dmesg-* efi/dmesg-* 2>/dev/null | cmp - /tmp/dumps.now"
umount $PSTORE

# --- a backend that comes
mkdir $CONFIG/more
for v in mem_address=$REGION_B mem_size=512K record_size=16K; do echo "${v#*=}" >$CONFIG/more/"${v%%=*}"; done
check "one more backend that can't be mapped" fails_once vmap 0 "echo 1 >$CONFIG/more/power"
check "runs afterwards" test "$(cat $CONFIG/more/power)" = Y
rmdir $CONFIG/more

# --- writing
newest() { ls -t "$PSTORE/$1"/dmesg-* | head -n 1; }
count() { find "$PSTORE/$1" -name 'dmesg*' | wc -l; }
# lost COLUMN: of those that a backend counts, for dumps to the firmware.
lost() {
	awk -v c="$1" '$1 == "efi" && $2 == "dmesg" && $c > 0 { n = 1 } END { exit !n }' /sys/kernel/debug/mpstore/status ||
		{ cat /sys/kernel/debug/mpstore/status; return 1; }
}
# oops_with CALL ERROR LINE [N]: an oops in which it fails; memory and disk have one record more, or N.
oops_with() {
	mount_pstore
	_ram=$(count ramoops) _blk=$(count blk)
	dmesg -c >/dev/null
	echo "$(uuid) $1" >/dev/kmsg
	sh -c "echo 'fail in=$1 error=$2' >$CRASH && exec echo oops >/proc/mpstore_oops" 2>/dev/null
	umount_pstore
	sleep 1
	[ "$(cat $CRASH)" = idle ] || { echo "$1 was not called"; return 1; }
	[ -z "$3" ] || logged "$3" || return 1
	mount_pstore
	[ "$(count ramoops)" = $((_ram + ${4:-1})) ] && [ "$(count blk)" = $((_blk + ${4:-1})) ] || { ls -l $PSTORE/*; return 1; }
	[ "${4:-1}" = 0 ] || for _b in ramoops blk; do
		grep -lF "$(uuid) $1" $PSTORE/$_b/dmesg-* >/dev/null || { echo "$_b: not in it"; return 1; }
	done
	umount_pstore
}
check "a dump that zlib fails" oops_with zlib_deflate 5 ""
check "one whose text printk does not hand over" oops_with kmsg_dump_get_buffer 0 "" 0
check "one while the firmware is in use" oops_with efivar_trylock 16 ""
check "is counted" lost 6
check "one that the firmware fails" oops_with efivar_set_variable_locked 5 ""
check "is counted" lost 8
check "one that the disk fails at first" oops_with "bdev_rw_virt any" 5 "records wait in memory, and it is tried again"
sleep 3
check "not any more" logged "blk: the device can be written to again"
check "unload" rmmod mpstore

# --- as if nothing had been
check "load" load_all
mount_pstore
check "an oops" oops_now
sleep 1
umount_pstore
mount_pstore
for b in ramoops blk efi; do check "is in $b" grep -qF mpstore_oops "$(newest $b)"; done
umount_pstore
echo "$(uuid) pmsg" >/dev/pmsg0
echo "$(uuid) tty" >/dev/ttyS2
check "unload" rmmod mpstore
check "load" load_all
mount_pstore
for f in pmsg tty; do check "a line is in $f" grep -qF "$(uuid) $f" $PSTORE/ramoops/$f-ramoops-0; done
umount_pstore

# --- last of all, for pstore can't be looked at any more then: who erases a record dies with the disk's lock
expect_log_now 'BUG: kernel NULL pointer dereference|Oops: |general protection fault|KASAN: null-ptr-deref'
expect_log_now 'BUG: sleeping function called from invalid context|WARNING: .*rcu_note_context_switch|Voluntary context switch within RCU'
# counted BACKEND COLUMN: of its dumps.
counted() { awk -v b="$1" -v c="$2" '$1 == b && $2 == "dmesg" { print $c }' /sys/kernel/debug/mpstore/status; }
mount_pstore
one=$(ls -d $PSTORE/blk/dmesg-* | head -n 1)
had=$(counted ramoops 4)
(echo "oops in=mpstore_raw_spin_unlock_irqrestore after=bdev_rw_virt" >$CRASH && exec rm "$one") 2>/dev/null
check "its oops finds that lock taken, which is counted" test "$(counted blk 6)" = 1
check "memory has it" test "$(counted ramoops 4)" -gt "$had"
