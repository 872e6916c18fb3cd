#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Memory runs out: each allocation in turn fails while a backend is added, pstore is mounted, listed,
# read and erased from, pmsg is written and the module is loaded. What comes of it is an errno or
# nothing; no dump of an earlier kernel is lost, nothing is leaked (init looks), and when there is
# memory again everything works.
#
# vm: timeout=1200 quiet=600
# kernels: debug
. /tests/lib.sh
. /tests/lib-faults.sh
plan 30
CONFIG=/sys/kernel/config/mpstore
SIZES="record_size=0x4000 console_size=0x8000 pmsg_size=0x8000 tty_size=0x8000 ftrace_size=0x8000"

# nth NAME FIRST STEP DO UNDO ERRNO[=LINE]...: at least one turn, and no errnos but these; one with a
# line came at most as often as the kernel logged that.
nth() {
	_name=$1
	_out=$(ttytool nth "$2" "$3" "$4" "$5" 2>&1)
	_rc=$?
	shift 5
	note "$_name: $(echo "$_out" | tr '\n' ' ')"
	for _errno in ok turns "$@"; do
		_most=100000
		case $_errno in *=*) _most=$(dmesg | grep -c "${_errno#*=}") ;; esac
		_out=$(echo "$_out" | awk -v errno="${_errno%%=*}" -v most="$_most" '$1 != errno || $2 < 1 || $2 > most')
	done
	if [ $_rc = 0 ] && [ -z "$_out" ]; then ok "$_name"; else fail "$_name" "$_out"; fi
}
dumps() { (cd "$1" && sha256sum dmesg-*); }
same_dumps() { dumps $PSTORE/ramoops | cmp - /tmp/dumps || { ls -l $PSTORE/ramoops; cat /tmp/dumps; return 1; }; }

# The kernel crate unregisters a subsystem that it could not register: NULL is dereferenced.
check "the kernel's own fault is left out" sh -c \
	'insmod /mpstore_crash.ko && echo "spare in=configfs_register_subsystem" >/proc/mpstore_crash'
# The function graph tracer marks its ops as registered before it knows, and leaves the mark there when
# it fails: no fprobe can be registered any more until the next boot, and each try is a WARN.
check "another one, too" sh -c 'echo "spare in=register_ftrace_graph" >/proc/mpstore_crash'

wipe $REGION_A $REGION_A_SIZE
wipe $REGION_B $REGION_B_SIZE
check "load" load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE $SIZES || bail "no module"
check "an oops" oops_now one
check "another" oops_now two
echo "$(uuid) pmsg" >/dev/pmsg0
check "unload" rmmod mpstore
check "load again" load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE $SIZES
mount_pstore
dumps $PSTORE/ramoops >/tmp/dumps
check "two dumps" test "$(wc -l </tmp/dumps)" = 2

nth "list" 1 1 "list $PSTORE/ramoops" "list $PSTORE/ramoops" ENOMEM
nth "read a dump" 1 1 "read $PSTORE/ramoops/dmesg-ramoops-0" "list $PSTORE" ENOMEM
nth "read a stream" 1 1 "read $PSTORE/ramoops/pmsg-ramoops-0" "list $PSTORE" ENOMEM
check "what is read is whole" same_dumps
umount_pstore
nth "mount" 1 1 "mount $PSTORE" "umount $PSTORE" ENOMEM
check "mounting again" mount_pstore
check "shows all" same_dumps
nth "write to pmsg" 1 1 "write /dev/pmsg0 $(uuid)" "list $PSTORE" ENOMEM
nth "make a directory in configfs" 1 1 "mkdir $CONFIG/more" "rmdir $CONFIG/more" ENOMEM
mkdir $CONFIG/more
for v in mem_address=$REGION_B mem_size=512K record_size=16K console_size=32K pmsg_size=32K tty_size=32K; do
	echo "${v#*=}" >$CONFIG/more/"${v%%=*}"
done
nth "add a backend" 1 1 "write $CONFIG/more/power 1" "write $CONFIG/more/power 0" ENOMEM
check "adding it" sh -c "echo 1 >$CONFIG/more/power"
echo "$(uuid) both" >/dev/pmsg0
check "an oops for both" oops_now three
check "removing it" rmdir $CONFIG/more
nth "erase" 1 1 "unlink $PSTORE/ramoops/dmesg-ramoops-0" "list $PSTORE" ENOMEM ENOENT
check "one is gone, the other is not" sh -c "[ ! -e $PSTORE/ramoops/dmesg-ramoops-0 ] && [ -s $PSTORE/ramoops/dmesg-ramoops-1 ]"
umount_pstore
check "unload" rmmod mpstore

load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE $SIZES
mount_pstore
dumps $PSTORE/ramoops >/tmp/dumps
umount_pstore
rmmod mpstore
# Most of a load's allocations are the kernel's, and a load takes seconds here.
LOAD="insmod /mpstore.ko mem_address=$REGION_A mem_size=$REGION_A_SIZE $(echo $SIZES)"
# What the driver core says when it has no memory for a module's drivers/ in sysfs is EINVAL.
nth "load" 1 "${STEP:-7}" "$LOAD" "rmmod mpstore" ENOMEM "EINVAL=failed to create module links for mpstore"
check "loading" load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE $SIZES
mount_pstore
check "shows the dumps of before" same_dumps
check "is recorded to" sh -c "echo $(uuid) >/dev/pmsg0 && grep -q 'ramoops.*pmsg' /sys/kernel/debug/mpstore/status"
umount_pstore
check "unload" rmmod mpstore
check "and once more" load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE $SIZES
