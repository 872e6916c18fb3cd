#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# layout=tree, flat and both: each record at its places, with one content, one
# inode in each mount and one end, whichever name is removed.
#
# vm: timeout=400
# kernels: custom debug stock
# cmdline: log_buf_len=1M
. /tests/lib.sh
plan 61
PARAMS=/sys/module/mpstore/parameters
TREE=/mnt/tree FLAT=/mnt/flat BOTH=/mnt/both
mkdir -p $TREE $FLAT $BOTH

mount_as() { mount -t pstore -o layout="$1" pstore "$2"; }
mount_all() { mount_as tree $TREE && mount_as flat $FLAT && mount_as both $BOTH; }
umount_all() { umount $TREE && umount $FLAT && umount $BOTH; }
names() { find "$1" -mindepth 1 | sed "s|^$1/||" | sort | tr '\n' ' '; }
names_are() { # DIR NAMES
	_names=$(names "$1")
	[ "$_names" = "$2" ] || { echo "'$_names', not '$2'"; return 1; }
}
all_gone() { # NAME: at none of its places, neither to a lookup nor in a listing
	for _d in $TREE/mem0 $FLAT $BOTH $BOTH/mem0; do
		[ ! -e "$_d/$1" ] || { echo "$_d/$1 is there"; return 1; }
		! ls "$_d" | grep -qx "$1" || { echo "$_d/$1 is listed"; return 1; }
	done
}
all_there() {
	for _d in $TREE/mem0 $FLAT $BOTH $BOTH/mem0; do
		[ -e "$_d/$1" ] || { echo "$_d/$1 is not there"; return 1; }
		ls "$_d" | grep -qx "$1" || { echo "$_d/$1 is not listed"; return 1; }
	done
}
errno_is() { # ERRNO COMMAND...
	_want=$1
	shift
	_got=$("$@" 2>&1) && { echo "succeeded, wanted $_want"; return 1; }
	[ "${_got##*: }" = "$_want" ] || { echo "'$_got', wanted $_want"; return 1; }
}
load() { load_mpstore test_mem=2 console_size=0 tty_names=ttyS2 "$@"; }
fill() {
	uuid pmsg >/dev/pmsg0
	uuid tty >/dev/ttyS2
	oops_now
}

# --- three mounts at once
check "load two plain-memory backends" load || bail "no module"
fill
check "mount in all three layouts" mount_all
FILES0="pmsg-mem0-0 tty-mem0-0" FILES1="pmsg-mem1-0 tty-mem1-0"
sorted() { printf '%s\n' "$@" | sort | tr '\n' ' '; }
in_dir() { for _f in $2; do echo "$1/$_f"; done; }
D0=$(cd $TREE/mem0 && echo dmesg-*) D1=$(cd $TREE/mem1 && echo dmesg-*)
check "there is a dump in each" test -s $TREE/mem0/dmesg-mem0-0 -a -s $TREE/mem1/dmesg-mem1-0
# shellcheck disable=SC2086,SC2046
{
check "tree: a directory for each backend, and its files in there" names_are $TREE \
	"$(sorted mem0 mem1 $(in_dir mem0 "$D0 $FILES0") $(in_dir mem1 "$D1 $FILES1"))"
check "flat: the files, and no directory" names_are $FLAT "$(sorted $D0 $D1 $FILES0 $FILES1)"
check "both: all of these" names_are $BOTH \
	"$(sorted mem0 mem1 $(in_dir mem0 "$D0 $FILES0") $(in_dir mem1 "$D1 $FILES1") $D0 $D1 $FILES0 $FILES1)"
}
same() {
	for _f in $D0 $FILES0; do
		for _d in $FLAT $BOTH $BOTH/mem0; do
			cmp "$TREE/mem0/$_f" "$_d/$_f" || return 1
		done
	done
}
check "one content at all places" same
check "what is in it is right" test "$(cat $FLAT/pmsg-mem0-0)" = "$(uuid pmsg)"
sizes() {
	for _f in $FLAT/*; do [ "$(stat -c %s "$_f")" = "$(wc -c <"$_f")" ] || { echo "$_f"; return 1; }; done
}
check "sizes are those of the contents" sizes
check "both: two names of one inode" test \
	"$(stat -c '%i %h' $BOTH/pmsg-mem0-0)" = "$(stat -c '%i %h' $BOTH/mem0/pmsg-mem0-0)" \
	-a "$(stat -c %h $BOTH/pmsg-mem0-0)" = 2
check "tree and flat: one name each" test "$(stat -c %h $TREE/mem0/pmsg-mem0-0 $FLAT/pmsg-mem0-0 | xargs)" = "1 1"
check "links of the roots count the directories" test "$(stat -c %h $TREE $FLAT $BOTH | xargs)" = "4 2 4"
check "every inode has a number of its own" test \
	"$(find $BOTH | xargs stat -c %i | sort -u | wc -l)" = "$(($(find $TREE | wc -l)))"
check "/proc/mounts tells the layouts" test "$(sed -n 's/.*pstore.*,layout=\([a-z]*\).*/\1/p' /proc/mounts | xargs)" = "tree flat both"
modes() { [ "$(stat -c '%a %u %g' $TREE $TREE/mem0 $FLAT $BOTH/mem1 | sort -u)" = "750 0 0" ] &&
	[ "$(stat -c '%a %u %g' $FLAT/* | sort -u)" = "444 0 0" ]; }
check "modes and owners are as in-tree" modes
record_time() { [ "$(stat -c %Y $FLAT/dmesg-mem0-0)" -gt 1000000000 ] &&
	[ "$(stat -c '%Y %Z' $FLAT/dmesg-mem0-0)" = "$(stat -c '%Y %Z' $BOTH/mem0/dmesg-mem0-0)" ]; }
check "a dump's time is its own, everywhere" record_time

# --- names that are none
for name in pmsg-mem0-00 pmsg-mem0-1 pmsg-mem0- pmsg-mem0 pmsg- pmsg pmsg-mem0-0.enc.z pmsg-mem2-0 \
	kmsg-mem0-0 dmesg-mem0-18446744073709551616 pmsg-mem0-0x pmsg-mem-0; do
	[ ! -e "$FLAT/$name" ] && [ ! -e "$TREE/mem0/$name" ] && [ ! -e "$BOTH/$name" ] || bad="$bad $name"
done
check "no other name finds a record" test -z "$bad"
check "a name that is too long is refused as such" errno_is ENAMETOOLONG \
	ttytool try open "$FLAT/$(printf '%0256d' 0)"
check "one backend's file is not in the other's directory" test ! -e $TREE/mem0/pmsg-mem1-0
check "flat has no directories" test ! -e $FLAT/mem0

# --- removal at one place is removal at all
exec 8<$BOTH/mem0/pmsg-mem0-0 9<$TREE/mem0/pmsg-mem0-0
check "remove at the root of flat" rm $FLAT/pmsg-mem0-0
check "it is gone at all places" all_gone pmsg-mem0-0
check "the other backend's record is still there" test -s $FLAT/pmsg-mem1-0 -a -s $BOTH/mem1/pmsg-mem1-0
check "who has it open can read it" test "$(cat <&8; cat <&9)" = "$(uuid pmsg; uuid pmsg)"
check "and sees that it has no name any more" test "$(stat -L -c %h /proc/self/fd/8)" = 0
exec 8<&- 9<&-
check "remove in the directory, of both" rm $BOTH/mem0/tty-mem0-0
check "it is gone at all places" all_gone tty-mem0-0
check "remove at the root, of both" rm $BOTH/dmesg-mem0-0
check "it is gone at all places" all_gone dmesg-mem0-0
check "remove in the tree" rm $TREE/mem1/tty-mem1-0
check "it is gone in flat and both" test ! -e $FLAT/tty-mem1-0 -a ! -e $BOTH/tty-mem1-0 -a ! -e $BOTH/mem1/tty-mem1-0
check "a second removal finds nothing" errno_is ENOENT ttytool try unlink $BOTH/tty-mem1-0
# In parallel, the same record by all its names.
race() {
	_lost=0
	for _i in 1 2 3 4 5 6 7 8 9 10; do
		echo "$_i" >/dev/pmsg0
		mount -o remount $TREE || return 1
		all_there pmsg-mem0-0 || return 1
		for _d in $TREE/mem0 $FLAT $BOTH $BOTH/mem0; do
			rm "$_d/pmsg-mem0-0" 2>/dev/null && echo removed &
		done >/tmp/race
		wait
		[ "$(wc -l </tmp/race)" = 1 ] || { cat /tmp/race; return 1; }
		all_gone pmsg-mem0-0 || return 1
	done
}
check "of four removals at once exactly one succeeds, ten times" race
check "a listing after the first name works" sh -c "ls $BOTH >/dev/null && ls -R $TREE >/dev/null"

# --- what is not to be had
fill
mount -o remount $TREE
check "after the remount the records are back" all_there pmsg-mem0-0
check "no directory can be made" errno_is EPERM ttytool try mkdir $TREE/x
check "none can be removed" errno_is EPERM ttytool try rmdir $TREE/mem1
check "a directory can't be unlinked" errno_is EISDIR ttytool try unlink $TREE/mem1
check "no file can be made" sh -c "! echo x 2>/dev/null >$FLAT/x"
check "none can be written" sh -c "! echo x 2>/dev/null >>$FLAT/pmsg-mem0-0"
check "none can be cut" errno_is EPERM ttytool try truncate $FLAT/pmsg-mem0-0
check "none can be renamed" sh -c "! mv $FLAT/pmsg-mem0-0 $FLAT/y 2>/dev/null"
check "none can be linked" sh -c "! ln $FLAT/pmsg-mem0-0 $FLAT/y 2>/dev/null"
check "and it is as it was" test "$(cat $FLAT/pmsg-mem0-0)" = "$(uuid pmsg)"

# --- remount
check "a remount with the same layout is fine" mount -o remount,layout=flat $FLAT
check "with another one it is not" sh -c "! mount -o remount,layout=tree $FLAT 2>/dev/null"
check "and the log says why" sh -c "dmesg | grep -q 'remount with layout=tree: a mount keeps its layout, flat'"
umount_all
rmmod mpstore

# --- the module parameter
check "layout=flat as a parameter" load layout=flat
fill
mount_pstore
check "is the default of a mount" test -s $PSTORE/pmsg-mem0-0 -a ! -e $PSTORE/mem0
check "sysfs shows it" test "$(cat $PARAMS/layout)" = flat
check "a mount that says otherwise gets that" mount_as tree $TREE
check "beside the other one" test -s $TREE/mem0/pmsg-mem0-0
umount $TREE
umount_pstore
rmmod mpstore
check "layout=x is refused" errno_is EINVAL ttytool insmod /mpstore.ko test_mem=1 layout=x
check "with a line" sh -c "dmesg | grep -q 'layout=x: give tree, flat or both'"

# --- ten thousand records
# The debug kernel is some ten times as slow; what is quadratic is a hundred times.
SLOW=1
[ ! -e /proc/lockdep ] || SLOW=10
# Records of some 100 bytes, and a log that makes very many of them at once.
load_many() {
	load_mpstore test_mem=4 test_mem_size=512K record_size=128 console_size=0 pmsg_size=0 tty_size=0 \
		ftrace_size=0 kmsg_bytes=16M layout=both
}
check "load four backends with 4096 places each" load_many
ttytool kmsg 2500 "$(uuid many)" >/dev/null
oops_now
before=$(cut -d. -f1 /proc/uptime)
mount_pstore
took=$(($(cut -d. -f1 /proc/uptime) - before))
count=$(find $PSTORE/mem* -type f | wc -l)
note "$count records, mounted in $took s"
check "they hold more than 10000 records" test "$count" -gt 10000
check "which are mounted in no time" test $took -lt $((30 * SLOW))
before=$(cut -d. -f1 /proc/uptime)
# shellcheck disable=SC2012
listed=$(ls $PSTORE | wc -l)
check "the root lists them all" test "$listed" = "$((count + 4))"
check "they can all be read at once" sh -c "find $PSTORE -maxdepth 1 -type f | xargs cat >/dev/null"
check "and removed" sh -c "find $PSTORE/mem0 -type f | xargs rm && [ -z \"\$(ls $PSTORE/mem0)\" ]"
took=$(($(cut -d. -f1 /proc/uptime) - before))
note "listed, read and removed in $took s"
check "in no time" test $took -lt $((180 * SLOW))
umount_pstore
rmmod mpstore
