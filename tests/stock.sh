#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# mpstore beside the in-tree pstore: built in, as Debian has it, or loaded as a
# module. The filesystem type is taken over and given back, mounts that were there
# go on, what the in-tree core drives is shown, read and erased through our tree,
# and both record a panic.
#
# vm: timeout=300
# kernels: stock custom debug
. /tests/lib.sh
# In Linux 7.3 the in-tree code frees a record and then writes to it, when its backend goes while it is mounted.
expect_log 'KASAN: slab-use-after-free in pstore_put_backend_records'
OLD=/sys/fs/pstore
NEW=/mnt/new
CFG=/sys/kernel/config/mpstore
ZONES="record_size=0x8000 console_size=0x8000 pmsg_size=0x8000 ftrace_size=0x8000"
mkdir -p $NEW /mnt/other
mount -t configfs none /sys/kernel/config 2>/dev/null

[ -d /sys/module/pstore ] || insmod /modules/pstore.ko
# ramoops REGION [PARAMETER...]: the in-tree one.
ramoops() {
	_at=$1
	shift
	# shellcheck disable=SC2086
	insmod /modules/ramoops.ko mem_address="$_at" mem_size=$REGION_B_SIZE $ZONES "$@" || return
	backend_is ramoops
}
backend_is() {
	_got=$(cat /sys/module/pstore/parameters/backend)
	[ "$_got" = "$1" ] || { echo "the in-tree backend is '$_got'"; return 1; }
}
# shellcheck disable=SC2086
load() { load_mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE $ZONES tty_size=0x8000 "$@"; }
refused() { # ERRNO LINE PARAMETERS...
	_errno=$1 _line=$2
	shift 2
	dmesg -c >/dev/null
	if ttytool insmod /mpstore.ko "$@" >/tmp/refused 2>&1; then echo "it was loaded"; return 1; fi
	grep -q "$_errno" /tmp/refused || { cat /tmp/refused; return 1; }
	log_has "$_line"
}
log_has() { dmesg | grep -q "$1" || { echo "no line '$1':"; dmesg | grep mpstore; return 1; }; }
# Who answers to the name: only ours shows a layout.
ours() { mount -t pstore pstore "$1" && grep -q " $1 pstore .*layout=" /proc/mounts; }
theirs() { mount -t pstore pstore "$1" && grep " $1 pstore " /proc/mounts | tail -n 1 | grep -qv layout=; }
# type_is ours|theirs: by a mount of its own.
type_is() { "$1" /mnt/other; _rc=$?; umount /mnt/other; return $_rc; }
names() { (cd "$1" && ls) | tr '\n' ' ' | sed 's/ $//'; }
names_are() { _got=$(names "$1"); [ "$_got" = "$2" ] || { echo "$1 has '$_got', wanted '$2'"; return 1; }; }
has() { grep -aqF "$2" "$1" || { echo "$1 lacks '$2'"; return 1; }; }
gone() { ! [ -e "$1" ] || { echo "$1 is still there"; return 1; }; }
same_files() { # DIRECTORY DIRECTORY
	for _f in "$1"/*; do
		# Of a sysfs-like file `cmp` believes no size.
		_g=$2/$(basename "$_f" | sed s/ramoops/ramoops_intree/)
		cat "$_f" >/tmp/one && cat "$_g" >/tmp/two && cmp /tmp/one /tmp/two || return
		[ "$(stat -c '%s %Y' "$_f")" = "$(stat -c '%s %Y' "$_g")" ] || { stat "$_f" "$_g"; return 1; }
	done
}
# What the two have: the C code starts at record 0, so does mpstore.
DUMPS="dmesg-ramoops-0 dmesg-ramoops-1"
THEIRS="dmesg-ramoops_intree-0 dmesg-ramoops_intree-1"
# Pmsg, console and function trace are in the custom kernel's in-tree core only: two
# checks are of both cores' having them.
[ ! -e /sys/module/pstore/parameters/record_ftrace ] || MORE=1
plan $((78 + ${MORE:-0} * 2))

case $STAGE in
1)
	wipe $REGION_A $REGION_A_SIZE
	wipe $REGION_B $REGION_B_SIZE
	check "the in-tree ramoops loads" ramoops $REGION_B || bail "no in-tree ramoops"
	check "the in-tree pstore is mounted early" theirs $OLD

	# --- loads that fail
	check "a region of the in-tree ramoops is refused" refused EBUSY \
		"mpstore: bank: mem_address=0x18200000: the in-tree ramoops records to 0x18200000-0x182fffff" \
		mem_address=$REGION_B mem_size=0x10000 name=bank strict=1
	check "so is what overlaps it" refused EBUSY \
		"mpstore: bank: mem_address=0x182f0000: the in-tree ramoops" \
		mem_address=0x182f0000 mem_size=0x20000 name=bank strict=1
	check "the type is still theirs" type_is theirs
	# A frontend that can't start fails a strict load after the type was taken over.
	taken=$(ls /sys/class/misc | head -n 1)
	expect_log_now 'Call Trace|cannot create duplicate filename|sysfs:|kobject_add'
	# The module loader makes EBUSY of EEXIST.
	check "a load that fails midway" refused EBUSY \
		"mpstore: pmsg: frontend can't start" \
		mem_address=$REGION_A mem_size=$REGION_A_SIZE "pmsg_device=$taken" strict=1
	check "had taken the type over" log_has "mpstore: the in-tree pstore is in this kernel"
	check "and has given it back" type_is theirs
	check "the mount from before goes on" sh -c "ls $OLD && touch -c $OLD"
	check "mpstore is not there" gone /sys/module/mpstore
	if [ "${MORE-}" ]; then
		check "the in-tree pmsg's name is refused" refused EBUSY \
			"mpstore: pmsg_device=pmsg0: the in-tree pstore has it; give another name" \
			mem_address=$REGION_A mem_size=$REGION_A_SIZE pmsg_device=pmsg0 strict=1
	fi
	check "a name that can't be is refused" refused EINVAL "mpstore: pmsg_device=a/b: give a name" \
		mem_address=$REGION_A mem_size=$REGION_A_SIZE pmsg_device=a/b

	# --- a load
	dmesg -c >/dev/null
	check "mpstore loads beside it" load || bail "no module"
	check "it says so" log_has "mpstore: the in-tree pstore is in this kernel: 'mount -t pstore' is mpstore's"
	check "there is one type of that name" test "$(grep -cw pstore /proc/filesystems)" = 1
	check "a mount is ours" ours $NEW
	check "the mount from before goes on, as it was" sh -c "ls $OLD && grep ' $OLD pstore ' /proc/mounts | grep -qv layout="
	check "ours covers it" ours $OLD
	check "and is seen there" names_are $OLD "ramoops ramoops_intree"
	check "uncovered, theirs is seen again" sh -c "umount $OLD && grep ' $OLD pstore ' /proc/mounts | grep -qv layout="
	check "its backend has a directory, empty as yet" names_are $NEW/ramoops_intree ""
	check "the log says where" log_has "mpstore: the in-tree pstore records to ramoops; its records are shown in the directory ramoops_intree"
	if [ "${MORE-}" ]; then
		check "/dev/pmsg0 stays theirs, ours is beside it" test -c /dev/pmsg0 -a -c /dev/pmsg1
		check "the log says which" log_has "mpstore: /dev/pmsg0 is the in-tree pstore's, mpstore's is /dev/pmsg1"
		check "both trace switches are there" test -e /sys/kernel/debug/pstore -a -e /sys/kernel/debug/mpstore/record_ftrace
		uuid theirs >/dev/pmsg0
		uuid ours >/dev/pmsg1
	else
		check "/dev/pmsg0 is ours" test -c /dev/pmsg0
		check "and shown as that" test "$(cat /sys/module/mpstore/parameters/pmsg_device)" = pmsg0
		uuid ours >/dev/pmsg0
	fi
	check "with a mount it is not unloaded" sh -c "! rmmod mpstore 2>/dev/null"
	umount $NEW

	# --- again and again
	check "rmmod" rmmod mpstore
	check "the type is theirs again" type_is theirs
	i=0
	while [ $i -lt 20 ]; do
		load && type_is ours && rmmod mpstore && type_is theirs || break
		i=$((i + 1))
	done
	check "twenty times over" test $i = 20
	check "the mount from before has lasted" names_are $OLD ""

	check "loaded once more" load
	[ "${MORE-}" ] && { uuid theirs >/dev/pmsg0; uuid ours >/dev/pmsg1; } || uuid ours >/dev/pmsg0
	echo "$(uuid) kmsg" >/dev/kmsg
	check "an oops is survived" oops_now
	next_stage 2
	panic_now ;;
2)
	# Nobody has loaded an in-tree backend yet.
	theirs $OLD
	check "mpstore loads first" load || bail "no module"
	ours $NEW
	check "it has its two dumps" sh -c "ls $NEW/ramoops | grep -c '^dmesg' | grep -qx 2"
	check "there is nothing in-tree" names_are $NEW ramoops
	dmesg -c >/dev/null
	check "the in-tree ramoops comes later" ramoops $REGION_B || bail "no in-tree ramoops"
	check "and is there at the next look" test -d $NEW/ramoops_intree
	check "which the log says" log_has "its records are shown in the directory ramoops_intree"
	# The custom kernel's has a console and a pmsg too.
	check "with the dumps of both its oops and its panic" sh -c "ls $NEW/ramoops_intree | grep '^dmesg' | xargs | grep -qx '$THEIRS'"
	check "as the in-tree mount has them" sh -c "ls $OLD | grep '^dmesg' | xargs | grep -qx '$DUMPS'"
	check "every file is the same, size and time too" same_files $OLD $NEW/ramoops_intree
	check "the panic was recorded by theirs" has $NEW/ramoops_intree/dmesg-ramoops_intree-1 "sysrq triggered crash"
	check "by ours" sh -c "grep -q 'sysrq triggered crash' $NEW/ramoops/dmesg-*"
	check "what was logged is in theirs" sh -c "cat $NEW/ramoops_intree/dmesg* | grep -q '$(uuid) kmsg'"
	check "in ours" sh -c "cat $NEW/ramoops/dmesg* | grep -q '$(uuid) kmsg'"
	if [ "${MORE-}" ]; then
		check "what was written to each /dev/pmsg is in its own" sh -c "
			grep -q $(uuid theirs) $NEW/ramoops_intree/pmsg-* && grep -q $(uuid ours) $NEW/ramoops/pmsg-* &&
			! grep -q $(uuid theirs) $NEW/ramoops/pmsg-* && ! grep -q $(uuid ours) $NEW/ramoops_intree/pmsg-*"
		check "both have a console" test -e $NEW/ramoops_intree/console-ramoops_intree-0 -a -e $NEW/ramoops/console-ramoops-0
	else
		check "what was written to /dev/pmsg0 is in ours" grep -q "$(uuid ours)" $NEW/ramoops/pmsg-ramoops-0
		check "the console is in ours" grep -q "$(uuid) kmsg" $NEW/ramoops/console-ramoops-0
	fi

	# --- the other layouts
	mount -t pstore -o layout=flat pstore /mnt/other
	check "flat: no two names are the same, and theirs are there" sh -c "
		ls /mnt/other | grep '^dmesg' | xargs | grep -q '$THEIRS' && [ \$(ls /mnt/other | wc -l) = \$(find $NEW -type f | wc -l) ]"
	check "flat: a file is read" has /mnt/other/dmesg-ramoops_intree-1 "sysrq triggered crash"
	umount /mnt/other

	# --- reading
	f=$NEW/ramoops_intree/dmesg-ramoops_intree-1
	cat $f >/tmp/whole
	dd if=/tmp/whole of=/tmp/part bs=100 skip=3 count=2 2>/dev/null
	check "a part from the middle is read" sh -c "dd if=$f bs=100 skip=3 count=2 2>/dev/null | cmp - /tmp/part"
	chmod 755 / /bin /mnt $NEW $NEW/ramoops_intree
	echo 0 >/proc/sys/kernel/dmesg_restrict
	check "whom our modes let in reads theirs" sh -c "ttytool as 1000 cat $f | cmp - /tmp/whole"
	check "but does not erase it" sh -c "! ttytool as 1000 ttytool try unlink $f 2>/dev/null && [ -e $f ]"
	echo 1 >/proc/sys/kernel/dmesg_restrict
	check "dmesg_restrict=1 keeps him out" sh -c "! ttytool as 1000 cat $f 2>/dev/null"
	check "nothing is written to theirs" sh -c "! echo x 2>/dev/null >$f"

	# --- erasing
	exec 9<$f
	check "rm through our tree" rm $f
	check "is rm in theirs" names_are $OLD "$(names $OLD | sed 's/dmesg-ramoops-1//;s/  / /;s/ $//')"
	check "its file is gone there" gone $OLD/dmesg-ramoops-1
	check "whoever had it open reads on" cmp /tmp/whole - <&9
	exec 9<&-
	exec 9<$NEW/ramoops_intree/dmesg-ramoops_intree-0
	cat $OLD/dmesg-ramoops-0 >/tmp/whole
	check "rm in theirs" rm $OLD/dmesg-ramoops-0
	check "is rm in ours" gone $NEW/ramoops_intree/dmesg-ramoops_intree-0
	check "whoever had that one open reads on" cmp /tmp/whole - <&9
	check "it can't be erased twice" sh -c "! rm $NEW/ramoops_intree/dmesg-ramoops_intree-0 2>/dev/null"

	# --- it goes and comes
	check "the in-tree ramoops is unloaded beside an open file" rmmod ramoops
	check "its directory is gone" names_are $NEW ramoops
	check "the open file is still read" sh -c "[ \$(cat <&9 | wc -c) = 0 ]"
	exec 9<&-
	check "an oops is survived" oops_now again
	ramoops $REGION_B
	check "an erased record stays erased" sh -c "! ls $OLD | grep '^dmesg'"
	check "an oops while both record" oops_now both
	umount $NEW
	ours $NEW
	check "ours has it at the next mount" sh -c "ls $NEW/ramoops | grep -c '^dmesg' | grep -qx 4"
	umount $NEW
	rmmod mpstore

	# --- whose name is whose
	check "under another name ours leaves theirs alone" load name=bank
	ours $NEW
	check "which has its own" names_are $NEW "bank ramoops"
	check "ours may take it later" sh -c "mkdir $CFG/ramoops && cd $CFG/ramoops && echo 0x18100000 >mem_address && echo 0x10000 >mem_size && echo 1 >power"
	check "and theirs gives way" names_are $NEW "bank ramoops ramoops_intree"
	rmdir $CFG/ramoops
	umount $NEW
	rmmod mpstore
	rmmod ramoops

	# --- memory with pages, which nobody claims
	insmod /modules/ramoops.ko mem_name=$REGION_NAME
	check "ramoops has a reserve_mem= region" backend_is ramoops
	check "which mpstore is refused" refused EBUSY "mpstore: bank: mem_address=.*: the in-tree ramoops records to" \
		mem_name=$REGION_NAME name=bank strict=1
	rmmod ramoops
	check "without ramoops it has it" load_mpstore mem_name=$REGION_NAME name=bank
	insmod /modules/ramoops.ko mem_name=$REGION_NAME
	ours $NEW
	check "a ramoops that comes later is reported" log_has "mpstore: bank: the in-tree ramoops was loaded on its memory"
	umount $NEW
	rmmod mpstore
	rmmod ramoops
	check "the in-tree mount has outlived all that" names_are $OLD ""
	check "and its type is registered" type_is theirs
	if [ -d /sys/module/pstore/holders ]; then
		umount $OLD
		check "the in-tree pstore can be unloaded" rmmod pstore
	else
		ok "the in-tree pstore is built in"
	fi ;;
esac
