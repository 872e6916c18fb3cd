#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Mounting: options, kmsg_bytes, update_ms and records that appear or are
# replaced while mounted, several mounts, unmounting and unloading with files
# open, and who may read.
#
# vm: timeout=400
# kernels: custom debug stock
# cmdline: log_buf_len=1M
. /tests/lib.sh
plan 119
PARAMS=/sys/module/mpstore/parameters
OTHER=/mnt/other BIND=/mnt/bind
mkdir -p $OTHER $BIND

errno_is() { # ERRNO COMMAND...
	_want=$1
	shift
	_got=$("$@" 2>&1) && { echo "succeeded, wanted $_want"; return 1; }
	[ "${_got##*: }" = "$_want" ] || { echo "'$_got', wanted $_want"; return 1; }
}
mark() { MARK=$(uuid "$1"); echo "$MARK" >/dev/kmsg; }
said() { # TEXT: since the mark
	dmesg | sed "1,/$MARK\$/d" | tee /tmp/lines | grep -qF "$1" || { cat /tmp/lines; return 1; }
}
options() { sed -n "s|^[^ ]* $1 pstore \([^ ]*\) .*|\1|p" /proc/mounts; }
# within SECONDS COMMAND...
within() {
	_left=$(($1 * 10))
	shift
	until "$@"; do
		_left=$((_left - 1))
		[ $_left -gt 0 ] || { echo "not in time: $*"; return 1; }
		usleep 100000
	done
}
there() { [ -s "$1" ]; }
dump_in() { ls "$1" | grep -q '^dmesg-mem0-'; }
not_there() { [ ! -e "$1" ]; }
# never SECONDS COMMAND...: it stays false.
never() { ! within "$@" >/dev/null; }

# --- options
check "load a plain-memory backend" load_mpstore test_mem=1 || bail "no module"
mark options
check "an unknown option is refused" errno_is EINVAL ttytool mount pstore $OTHER colour=red
check "with a line that names it" said "mount option colour: unknown, there are layout= and kmsg_bytes="
check "a bad layout is refused" errno_is EINVAL ttytool mount pstore $OTHER layout=round
check "with a line that says what is right" said "mount option layout=round: give tree, flat or both"
check "a layout without a value is refused" errno_is EINVAL ttytool mount pstore $OTHER layout
for bad in x -1 17M 99999999999999999999 ''; do
	check "kmsg_bytes='$bad' is refused" errno_is EINVAL ttytool mount pstore $OTHER "kmsg_bytes=$bad"
	check "with a line that says what is right" said "mount option kmsg_bytes=$bad: give a number of bytes up to 16M"
done
check "and changed nothing" test "$(cat $PARAMS/kmsg_bytes)" = 10240
check "what systemd gives is taken" mount -t pstore -o nosuid,nodev,noexec pstore $PSTORE
check "any source is, and is shown" sh -c "mount -t pstore /dev/none-such $OTHER && grep -q '^/dev/none-such $OTHER pstore ' /proc/mounts"
check "options show the layout and no more" test "$(options $OTHER)" = rw,relatime,layout=tree
umount $OTHER
umount $PSTORE

# --- kmsg_bytes
ttytool kmsg 3000 "$(uuid long) $(printf '%060d' 0)" >/dev/null
rmmod mpstore
load_big() { load_mpstore test_mem=1 test_mem_size=2M record_size=4096 "$@"; }
dumped() { cat $PSTORE/mem0/dmesg-* | wc -c; }
check "load with room for 300 records" load_big
oops_now
mount_pstore
note "$(dumped) bytes by default"
check "a dump keeps 10240 bytes, in whole records" test "$(dumped)" -ge 10240 -a "$(dumped)" -lt 18432
rm $PSTORE/mem0/dmesg-*
check "mount with kmsg_bytes=200K" mount -t pstore -o kmsg_bytes=200K pstore $OTHER
check "sysfs shows it" test "$(cat $PARAMS/kmsg_bytes)" = 204800
check "each mount shows it" test "$(options $OTHER)" = rw,relatime,layout=tree,kmsg_bytes=204800 \
	-a "$(options $PSTORE)" = rw,relatime,layout=tree,kmsg_bytes=204800
oops_now
mount -o remount $PSTORE
note "$(dumped) bytes with 200K"
# At most a record more, and the first line of each.
check "the next dump keeps that much" test "$(dumped)" -ge 204800 -a "$(dumped)" -lt 214016
rm $PSTORE/mem0/dmesg-*
umount $OTHER
check "it stays after the unmount" test "$(cat $PARAMS/kmsg_bytes)" = 204800
check "remount with kmsg_bytes=100" mount -o remount,kmsg_bytes=100 $PSTORE
oops_now
mount -o remount $PSTORE
# shellcheck disable=SC2012
check "the next dump is one record" test "$(ls $PSTORE/mem0 | grep -c dmesg)" = 1
rm $PSTORE/mem0/dmesg-*
check "a remount without it changes nothing" test "$(cat $PARAMS/kmsg_bytes)" = 100
check "a mount with kmsg_bytes=16M finds the memory" mount -o remount,kmsg_bytes=16M $PSTORE
check "and the default is not shown" sh -c "mount -o remount,kmsg_bytes=10240 $PSTORE && ! grep -q kmsg_bytes /proc/mounts"
umount_pstore
check "unload" rmmod mpstore

# --- records that appear while mounted
check "load again" load_mpstore test_mem=1 console_size=0 tty_names=ttyS2
check "update_ms is -1" test "$(cat $PARAMS/update_ms)" = -1
mount_pstore
check "mounted before there is a record: an empty directory" test -z "$(ls $PSTORE/mem0)"
oops_now
check "with update_ms=-1 a new dump does not show up" never 2 there $PSTORE/mem0/dmesg-mem0-0
check "after a remount it does" sh -c "mount -o remount $PSTORE && [ -s $PSTORE/mem0/dmesg-mem0-0 ]"
uuid pmsg >/dev/pmsg0
mount -t pstore -o layout=flat pstore $OTHER
check "and what is new after one more mount, in the first one as well" there $PSTORE/mem0/pmsg-mem0-0
inode=$(stat -c %i $PSTORE/mem0/pmsg-mem0-0)
uuid more >/dev/pmsg0
mount -o remount $PSTORE
check "what was there is the same file" test "$(stat -c %i $PSTORE/mem0/pmsg-mem0-0)" = "$inode"
# shellcheck disable=SC2012
check "once only" test "$(ls $PSTORE/mem0 | wc -l)" = "$(ls $PSTORE/mem0 | sort -u | wc -l)"
check "with the size that it has now" test "$(stat -c %s $PSTORE/mem0/pmsg-mem0-0)" = "$(wc -c <$PSTORE/mem0/pmsg-mem0-0)"
rm $PSTORE/mem0/*
mark update
for bad in x 1.5 -x 99999999999; do
	check "update_ms=$bad is refused" sh -c "! echo $bad 2>/dev/null >$PARAMS/update_ms"
	check "with a line" said "update_ms=$bad: give a number of milliseconds, or -1 for never"
done
check "update_ms=300 is taken" sh -c "echo 300 >$PARAMS/update_ms && [ \$(cat $PARAMS/update_ms) = 300 ]"
uuid one >/dev/pmsg0
check "nothing happens before an oops" never 2 there $PSTORE/mem0/pmsg-mem0-0
oops_now
check "after one its record shows up by itself" within 10 dump_in $PSTORE/mem0
check "in the other layout, too" dump_in $OTHER
uuid tty >/dev/ttyS2
check "and it goes on: so do other records" within 10 there $PSTORE/mem0/tty-mem0-0
echo -1 >$PARAMS/update_ms
usleep 700000
rm $PSTORE/mem0/*
uuid two >/dev/pmsg0
check "update_ms=-1 ends it" never 2 there $PSTORE/mem0/pmsg-mem0-0
echo 1 >$PARAMS/update_ms
oops_now
check "with update_ms=1, too, records show up" within 10 dump_in $PSTORE/mem0
umount $OTHER
umount_pstore
check "unload in the middle of that" rmmod mpstore

# --- records that are replaced while mounted
one_slot() {
	load_mpstore test_mem=1 test_mem_size=4096 record_size=4096 console_size=0 pmsg_size=0 tty_size=0 \
		ftrace_size=0
}
check "load with room for one dump" one_slot
oops_now
mount_pstore
FILE=$PSTORE/mem0/dmesg-mem0-0
inode=$(stat -c %i $FILE)
first=$(head -n 1 $FILE)
exec 8<$FILE
oops_now
check "another dump takes its place: who opens the file reads that one" \
	test "$(head -n 1 $FILE | cut -d' ' -f1)" = 'Oops#2'
check "it is another file" test "$(stat -c %i $FILE)" != "$inode"
check "who has the first one open still reads it" test "$(head -n 1 <&8)" = "$first"
exec 8<&-
oops_now
# Nobody has looked since.
check "a name whose record was replaced can be removed" rm $FILE
check "and is gone" not_there $FILE
mount -o remount $PSTORE
check "but the new record is not" test "$(head -n 1 $FILE | cut -d' ' -f1)" = 'Oops#3'
inode=$(stat -c %i $FILE)
oops_now
mount -o remount $PSTORE
check "a rescan finds that a record was replaced" test "$(stat -c %i $FILE)" != "$inode"
umount_pstore
rmmod mpstore

# --- several mounts, open files, unloading
check "load again" load_mpstore test_mem=1
uuid pmsg >/dev/pmsg0
mount_pstore
check "a second mount of the same layout" mount -t pstore pstore $OTHER
check "a bind mount" mount -o bind $PSTORE/mem0 $BIND
check "a file can be a mount point" sh -c ">/tmp/file && mount -o bind $PSTORE/mem0/pmsg-mem0-0 /tmp/file && grep -q . /tmp/file"
check "they show the same" test "$(stat -c '%d %i' $PSTORE/mem0/pmsg-mem0-0)" = "$(stat -c '%d %i' $OTHER/mem0/pmsg-mem0-0)" \
	-a "$(stat -c '%d %i' $BIND/pmsg-mem0-0)" = "$(stat -c '%d %i' /tmp/file)"
check "what is removed in one is gone in the others" \
	sh -c "rm $OTHER/mem0/pmsg-mem0-0 && [ ! -e $PSTORE/mem0/pmsg-mem0-0 ] && [ ! -e $BIND/pmsg-mem0-0 ]"
umount /tmp/file
umount $BIND
check "the module can't go while mounted" sh -c "! rmmod mpstore 2>/dev/null"
umount $OTHER
check "nor while one of two mounts is left" sh -c "! rmmod mpstore 2>/dev/null"
uuid open >/dev/pmsg0
mount -o remount $PSTORE
exec 8<$PSTORE/mem0/pmsg-mem0-0
check "nor is a mount with an open file unmounted" errno_is EBUSY ttytool try umount $PSTORE
check "but lazily" umount -l $PSTORE
check "the open file can be read" test "$(cat <&8)" = "$(uuid open)"
check "and holds the module" sh -c "! rmmod mpstore 2>/dev/null"
mount_pstore
check "a mount meanwhile shows the records" there $PSTORE/mem0/pmsg-mem0-0
umount_pstore
exec 8<&-
check "after the close it can go" within 5 rmmod mpstore

# --- backends that come and go while mounted
CFG=/sys/kernel/config/mpstore
put() { # BACKEND NAME=VALUE...
	_dir=$CFG/$1
	shift
	for _set; do echo "${_set#*=}" >"$_dir/${_set%%=*}" || return 1; done
}
make() { mkdir "$CFG/$1" && put "$1" type=mem mem_size=65536 record_size=16384 console_size=0 tty_size=0 power=1; }
listed() { ls "$1" | tr '\n' ' '; }
check "load without a backend" load_mpstore
mount -t configfs none /sys/kernel/config 2>/dev/null
mount_pstore
mount -t pstore -o layout=both pstore $OTHER
check "mounted before there is a backend: an empty root" test -z "$(listed $PSTORE)$(listed $OTHER)" \
	-a "$(stat -c %h $PSTORE)" = 2
both_made() { make one && make two; }
check "make two" both_made
check "their directories appear" test "$(listed $PSTORE)" = 'one two ' -a "$(stat -c %h $PSTORE)" = 4
uuid pmsg >/dev/pmsg0
oops_now
mount -o remount $PSTORE
FILES='dmesg-one-0 dmesg-two-0 one pmsg-one-0 pmsg-two-0 two '
check "and their records, in both layouts" test "$(listed $OTHER)" = "$FILES" -a -s $PSTORE/two/pmsg-two-0
exec 8<$PSTORE/one/pmsg-one-0
mount -o bind $PSTORE/one $BIND
inode=$(stat -c %i $PSTORE/one)
cd $PSTORE/one || exit 1
check "remove one of them" put one power=0
cd /
check "its directory is gone" test "$(listed $PSTORE)" = 'two ' -a ! -e $PSTORE/one -a ! -e $PSTORE/one/pmsg-one-0
check "so are its files in the other layout" test "$(listed $OTHER)" = 'dmesg-two-0 pmsg-two-0 two ' -a ! -e $OTHER/pmsg-one-0
check "who has one open reads on" test "$(cat <&8)" = "$(uuid pmsg)"
check "who is in the directory finds nothing" test -z "$(listed $BIND)" -a ! -e $BIND/pmsg-one-0
put one power=1
check "another of the same name is another, empty directory" test "$(stat -c %i $PSTORE/one)" != "$inode" -a -z "$(listed $PSTORE/one)"
echo x >/dev/pmsg0
mount -o remount $PSTORE
check "and who was in the old one is not in the new one" test -s $PSTORE/one/pmsg-one-0 -a -z "$(listed $BIND)"
exec 8<&-
umount $BIND
check "the other backend was not touched" test "$(head -n 1 $PSTORE/two/pmsg-two-0)" = "$(uuid pmsg)"

# Memory: 32 MiB that must go when the backend does, and stay while a file is open. Twice, as what the
# kernel keeps of a first time (KASAN's quarantine, caches) is not lost.
mkdir $CFG/large
large() {
	put large type=mem mem_size=32M record_size=1M console_size=0 tty_size=0 ftrace_size=0 power=1
	echo x >/dev/pmsg0
	mount -o remount $PSTORE
	find $PSTORE $OTHER | xargs ls -l >/dev/null
	exec 8<$PSTORE/large/pmsg-large-0
	put large power=0
	held=$(free_kb)
	exec 8<&-
}
first=$(free_kb)
large
none=$(free_kb)
note "the first time: $first kB, then $none kB"
large
gone=$(free_kb)
note "available: $none kB without it, $held kB while a file is open, $gone kB after the close"
check "a removed backend's memory stays while a file of it is open" test $((none - held)) -gt 24576
check "and goes with the last one" test $((none - gone)) -lt 8192

# Everything at once: walkers in both layouts, removals, backends that come and go.
traffic() {
	touch /tmp/walk
	for _d in $PSTORE $OTHER; do
		while [ -e /tmp/walk ]; do find $_d -type f 2>/dev/null | xargs cat >/dev/null 2>&1; done &
		while [ -e /tmp/walk ]; do rm -f $_d/pmsg-*-0 $_d/*/pmsg-*-0 2>/dev/null; done &
	done
	while [ -e /tmp/walk ]; do echo x >/dev/pmsg0; mount -o remount $PSTORE; done 2>/dev/null &
	_i=0
	while [ $_i -lt 30 ]; do
		put one power=0 && put two power=0 && put one power=1 && put two power=1 || return 1
		_i=$((_i + 1))
	done
	rm /tmp/walk
	wait
}
check "thirty times, with walkers and removals in both layouts" traffic
uuid last >/dev/pmsg0
mount -o remount $OTHER
check "after that all is right" test "$(tail -n 1 $PSTORE/one/pmsg-one-0)" = "$(uuid last)" \
	-a "$(listed $PSTORE)" = 'one two '
umount $OTHER
umount_pstore
rmdir $CFG/one $CFG/two $CFG/large
check "unload" rmmod mpstore

# --- a backend that can't erase
check "load a backend that can't erase" load_mpstore test_mem=2 test_mem_fault=erase,none
uuid pmsg >/dev/pmsg0
mount_pstore
mount -t pstore -o layout=both pstore $OTHER
check "unlink says so" errno_is EIO ttytool try unlink $PSTORE/mem0/pmsg-mem0-0
check "and the record keeps its names" test "$(cat $PSTORE/mem0/pmsg-mem0-0 $OTHER/mem0/pmsg-mem0-0 $OTHER/pmsg-mem0-0 | uniq)" = "$(uuid pmsg)"
check "the other backend erases" rm $OTHER/pmsg-mem1-0
umount $OTHER
umount_pstore
rmmod mpstore

# --- who may read
check "load again" load_mpstore test_mem=1
uuid pmsg >/dev/pmsg0
echo 0 >/proc/sys/kernel/dmesg_restrict
mount_pstore
FILE=$PSTORE/mem0/pmsg-mem0-0
# The initramfs is for root only.
chmod 755 / /bin
as_user() { ttytool as 1000 "$@"; }
check "a user can't even look" errno_is EACCES as_user ttytool try open $PSTORE
chmod 755 $PSTORE $PSTORE/mem0
check "with other modes of the directories and dmesg_restrict=0 a user can read" \
	test "$(as_user cat $FILE)" = "$(uuid pmsg)"
check "but not erase" errno_is EACCES as_user ttytool try unlink $FILE
chmod 777 $PSTORE/mem0
echo 1 >/proc/sys/kernel/dmesg_restrict
check "with dmesg_restrict=1 a user can't read" errno_is EPERM as_user ttytool try open $FILE
check "nor erase, whatever the directory's mode" errno_is EPERM as_user ttytool try unlink $FILE
check "root can" test "$(cat $FILE)" = "$(uuid pmsg)"
# A file of that name elsewhere is not believed.
fake() {
	mkdir -p /tmp/jail/proc/sys/kernel /tmp/jail/bin /tmp/jail/p
	echo 0 >/tmp/jail/proc/sys/kernel/dmesg_restrict
	cp /bin/ttytool /tmp/jail/bin/
	mount -o bind $PSTORE /tmp/jail/p
	chroot /tmp/jail /bin/ttytool as 1000 /bin/ttytool try open /p/mem0/pmsg-mem0-0
}
check "a /proc of one's own making does not help" errno_is EPERM fake
umount /tmp/jail/p
check "chmod lasts" sh -c "chmod 400 $FILE && echo 2 >/proc/sys/vm/drop_caches && [ \$(stat -c %a $FILE) = 400 ]"
echo 0 >/proc/sys/kernel/dmesg_restrict
check "and counts" errno_is EACCES as_user ttytool try open $FILE
check "so does chown" sh -c "chown 1000 $FILE && [ \$(stat -c %u $FILE) = 1000 ]"
check "the owner reads" test "$(as_user cat $FILE)" = "$(uuid pmsg)"
check "and erases, where the directory lets him" as_user rm -f $FILE
check "which erases the record" sh -c "mount -o remount $PSTORE && [ ! -e $FILE ]"
umount_pstore
mount_pstore
check "a new mount has the modes of old" test "$(stat -c %a $PSTORE $PSTORE/mem0 | xargs)" = "750 750"
check "a read-only mount erases nothing" sh -c "echo x >/dev/pmsg0; mount -o remount,ro $PSTORE && ! rm -f $FILE 2>/dev/null && [ -e $FILE ]"
umount_pstore
check "unload" rmmod mpstore
