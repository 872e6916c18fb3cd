#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The program reads from each raw source what the mounted tree shows, byte for byte:
# /proc/vmcore in a crash kernel and what makedumpfile makes of it, /dev/mem,
# /proc/kcore, dumps and the memory file of QEMU, a disk with a region, a disk with
# zones; by parameters, by the command line, by the content at an address, by a
# search. One ring has wrapped, a record is compressed, bytes of it are spoilt and
# repaired. It reads where the module is not loaded, and what it reads is compared
# with the tree that the module shows afterwards. Then the commands on that tree, and
# all of it for somebody who is not root. The debug kernel crashes into the custom
# one: with its own, makedumpfile takes 13 ms for a page.
#
# vm: mem=448M ram=file kexec timeout=300 quiet=120
# vm@debug: mem=800M kexec=custom
# cmdline: crashkernel=128M crash_kexec_post_notifiers
# cmdline@debug: crashkernel=224M
# disk: virtio 16M
# disk: virtio 1300M
# disk: virtio 1500M
# disk: virtio 4M
# kernels: custom debug
. /tests/lib.sh
plan 74
IMAGE=/dev/vda
DUMP=/dev/vdb
FS=/dev/vdc
ZONES=/dev/vdd

SIZES="record_size=0x8000 console_size=0x10000 pmsg_size=0x4000 tty_size=0x8000 ftrace_size=0x2000"
GIVEN="--record-size 0x8000 --console-size 0x10000 --pmsg-size 0x4000 --tty-size 0x8000 --ftrace-size 0x2000"

# The second region is found by its name, and is in every dump: reserve_mem= is System RAM.
# shellcheck disable=SC2086
load() {
	load_mpstore mem_address=$REGION_A, mem_name=,$REGION_NAME mem_size=$REGION_A_SIZE,0x80000 ecc=16,0,0 \
		blkdev=$ZONES blk_takeover=N $SIZES "$@"
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
# same A B: the same files with the same content, and dumps with the same times.
same() {
	[ "$(ls "$1")" = "$(ls "$2")" ] || { ls "$1" "$2"; return 1; }
	for _f in "$1"/*; do
		cmp "$_f" "$2/${_f##*/}" || return 1
		case $_f in */dmesg-*)
			[ "$(stat -c %Y "$_f")" = "$(stat -c %Y "$2/${_f##*/}")" ] || { stat "$_f" "$2/${_f##*/}"; return 1; } ;;
		esac
	done
}
# among A B: every file of the one is among what a search found. It may find more: the zones of a disk
# have copies in memory, which look alike.
among() {
	for _f in "$1"/*; do
		_kind=${_f##*/}
		for _g in "$2/${_kind%%-*}"-*; do
			! cmp -s "$_f" "$_g" || continue 2
		done
		echo "$_f is not in $2"
		ls -l "$1" "$2"
		return 1
	done
}
# says STATUS TEXT COMMAND...: the program ends so, and says that.
says() {
	_want=$1 _text=$2
	shift 2
	"$@" >/tmp/says 2>&1
	_rc=$?
	[ $_rc = "$_want" ] && grep -qF -- "$_text" /tmp/says || { echo "status $_rc"; cat /tmp/says; return 1; }
}
# as_nobody COMMAND: by somebody without any right.
as_nobody() { su nobody -s /bin/sh -c "$*"; }
# More lines than the zone holds, then a mark.
fill_pmsg() { seq 10001 13000 >/dev/pmsg0 && echo "$(uuid) pmsg" >/dev/pmsg0; }
settled() {
	for _i in $(seq 100); do
		grep -q 'waiting=Y' /sys/kernel/debug/mpstore/devices || return 0
		sleep 0.1
	done
	return 1
}

case $STAGE in
1)
	wipe $REGION_A $REGION_A_SIZE
	check "check: nothing records" says 2 "nothing will be recorded" mpstore check
	check "load" load || bail "no module"
	save NAMED "$(element 2 "$(cat /sys/module/mpstore/parameters/mem_address)")"
	save NAMED_SIZE "$(element 2 "$(cat /sys/module/mpstore/parameters/mem_size)")"
	check "check: pstore is not mounted" says 1 "pstore is not mounted" mpstore check
	mount_pstore
	check "check: no crash kernel" says 2 "but none is loaded" mpstore check --kdump
	check "a crash kernel is loaded" kexec_load -p "nr_cpus=1" || bail "no crash kernel"
	check "check: all is well" says 0 "MPSTORE OK - 3 backends record" mpstore check --kdump --backends 3
	check "plan finds the reservation" says 0 "mem_address=$REGION_A" mpstore plan
	check "more than a ring holds" fill_pmsg
	echo "$(uuid) tty" >/dev/ttyS2
	echo "<4>$(uuid) kmsg" >/dev/kmsg
	check "an oops" oops_now
	check "is on the disk" settled
	mkdir -p /sys/kernel/tracing
	mount -t tracefs tracefs /sys/kernel/tracing
	echo vfs_write >/sys/kernel/tracing/set_ftrace_filter
	echo 1 >/sys/kernel/debug/mpstore/record_ftrace
	echo "<4>$(uuid) traced" >/dev/kmsg
	mke2fs -F -i 65536 $FS >/dev/null 2>&1
	# The crash kernel may be another one.
	mount $FS /mnt
	cat /proc/kallsyms >/mnt/symbols
	umount /mnt
	next_stage 2
	panic_now ;;
2)
	check "this is the crash kernel" test -e /proc/vmcore || bail "no crash kernel"
	mount $FS /mnt
	# shellcheck disable=SC2086
	check "/proc/vmcore by sizes" raw /mnt/sizes -s /proc/vmcore --address "$NAMED" --size "$NAMED_SIZE" \
		--name ramoops1 --symbols /mnt/symbols $GIVEN
	check "/proc/vmcore by the content" raw /mnt/at -s /proc/vmcore --address "$NAMED" --name ramoops1 \
		--symbols /mnt/symbols
	check "what memmap= took away is not in it" says 2 "is in no core file" \
		mpstore list -s /proc/vmcore --address $REGION_A
	check "makedumpfile saves it" /usr/bin/makedumpfile -E -d 31 /proc/vmcore /mnt/elf
	note "$(ls -l /mnt)"
	umount /mnt
	next_stage 3
	reboot_now ;;
3)
	# Bytes of a dump go bad; parity has them back.
	note "$(mpstore list -s /dev/mem --address $REGION_A --zones)"
	dd if=/dev/mem of=/tmp/before bs=4096 skip=$((REGION_A / 4096)) count=8 2>/dev/null
	check "a dump is compressed" sh -c "tr '\\000' '\\n' </tmp/before | grep -aqE '====[0-9.]+-C\$'"
	poke $((REGION_A + 300)) "spoilt"
	# shellcheck disable=SC2086
	check "/dev/mem by sizes" raw /tmp/mem -s /dev/mem --address $REGION_A --size $REGION_A_SIZE --ecc 1 $GIVEN
	check "/dev/mem by memmap= on the command line" raw /tmp/memmap -s /dev/mem
	check "/dev/mem by the content at an address" raw /tmp/at -s /dev/mem --address $REGION_A
	check "spoilt bytes are corrected" sh -c "tail -n 1 /tmp/mem/dmesg-ramoops-0 |
		grep -aE '^ECC: [1-6] Corrected bytes, 0 unrecoverable blocks' || { tail -n 3 /tmp/mem/dmesg-ramoops-0; false; }"
	# shellcheck disable=SC2086
	check "/proc/kcore by sizes" raw /tmp/kcore -s /proc/kcore --address "$NAMED" --size "$NAMED_SIZE" \
		--name ramoops1 $GIVEN
	check "/proc/kcore by the content" raw /tmp/kcore-at -s /proc/kcore --address "$NAMED" --name ramoops1
	dd if=/dev/mem of=$IMAGE bs=4096 skip=$((REGION_A / 4096)) count=$((REGION_A_SIZE / 4096)) conv=notrunc 2>/dev/null
	check "a disk with a region" raw /tmp/disk -s $IMAGE --symbols /proc/kallsyms
	check "a disk with zones" raw /tmp/zones.d -s $ZONES --symbols /proc/kallsyms
	# This machine as QEMU dumps it: both regions, each byte of it.
	for form in elf kdump-zlib kdump-raw-zlib ram; do
		memory_to 1 $form
		check "QEMU, $form: memmap= of its command line" raw /tmp/$form -s $DUMP --cmdline /proc/cmdline \
			--symbols /proc/kallsyms
		check "QEMU, $form: at an address" raw /tmp/$form-at -s $DUMP --address "$NAMED" --name ramoops1 \
			--symbols /proc/kallsyms
	done
	# As the crash kernel saved it, and found by nothing but what is in there.
	mount $FS /mnt
	for form in elf zlib lzo zstd flat; do
		case $form in
		zlib) /usr/bin/makedumpfile -c -d 31 /mnt/elf /mnt/zlib ;;
		lzo) /usr/bin/makedumpfile -l -d 31 /mnt/elf /mnt/lzo ;;
		zstd) /usr/bin/makedumpfile -z -d 31 /mnt/elf /mnt/zstd ;;
		flat) /usr/bin/makedumpfile -F -c -d 31 /mnt/elf >/mnt/flat ;;
		esac >/dev/null 2>&1
		note "$(ls -l /mnt/$form)"
		check "makedumpfile, $form" raw /tmp/saved-$form -s /mnt/$form --name ramoops1 --symbols /proc/kallsyms
	done

	check "load" load update_ms=500 || bail "no module"
	mount_pstore
	note "$(ls -lR $PSTORE)"
	for of in mem memmap at disk elf kdump-zlib kdump-raw-zlib ram; do
		check "as the tree: $of" same "$PSTORE/ramoops" /tmp/$of
	done
	for of in kcore kcore-at elf-at kdump-zlib-at kdump-raw-zlib-at ram-at; do
		check "as the tree: $of" same "$PSTORE/ramoops1" /tmp/$of
	done
	for of in saved-elf saved-zlib saved-lzo saved-zstd saved-flat; do
		check "the tree is in: $of" among "$PSTORE/ramoops1" /tmp/$of
	done
	check "as the tree: /proc/vmcore by sizes" same "$PSTORE/ramoops1" /mnt/sizes
	check "as the tree: /proc/vmcore by the content" same "$PSTORE/ramoops1" /mnt/at
	check "as the tree: the zones" same "$PSTORE/blk" /tmp/zones.d
	umount /mnt
	check "the ring had wrapped" sh -c "[ \$(wc -c </tmp/kcore/pmsg-ramoops1-0) = $((0x4000 - 12)) ] &&
		tail -n 1 /tmp/kcore/pmsg-ramoops1-0 | grep -q '$(uuid) pmsg'"
	check "it is what was recorded" grep -q "$(uuid) tty" /tmp/mem/tty-ramoops-0
	check "the timeline has all of it" sh -c "mpstore timeline >/tmp/t && for w in pmsg tty kmsg; do
		grep -q \"$(uuid) \$w\" /tmp/t || { echo no \$w; exit 1; }; done"
	check "check: records wait" says 1 "of them dumps" mpstore check --records
	mpstore import -q --to json -o /tmp/log --state /tmp/imported.json
	check "import takes each record once" sh -c "[ \"\$(wc -l </tmp/log)\" = \$(find $PSTORE -type f | wc -l) ] &&
		mpstore import --to json -o /tmp/log --state /tmp/imported.json | grep -q '^0 records'"

	# Somebody else.
	echo 'nobody:x:65534:65534::/:/bin/sh' >/etc/passwd
	chmod 1777 /tmp
	check "nobody: the tree is closed, and it says what to do" says 2 "only root may" as_nobody mpstore list
	check "nobody: /dev/mem is closed" says 2 "as root it may work" as_nobody mpstore list -s /dev/mem
	cp /tmp/before /tmp/nobody.img && chmod 644 /tmp/nobody.img
	check "nobody: an image is not" says 0 "dmesg-ramoops-0" as_nobody mpstore list -s /tmp/nobody.img
	echo 0 >/proc/sys/kernel/dmesg_restrict
	chmod 755 $PSTORE $PSTORE/ramoops
	check "nobody: nor is a tree that was opened" says 0 "dmesg-ramoops-0" as_nobody mpstore list -s $PSTORE/ramoops
	check "nobody: a plan with what the command line reserves" says 0 "mem_address=$REGION_A" as_nobody mpstore plan
	check "nobody: a plan without" says 0 "reserve_mem=4M:4096:oops" as_nobody mpstore plan --named
	check "nobody: nothing is known, which is no alarm" says 3 "losses are not known" as_nobody mpstore check

	mpstore follow --count 1 --interval 0.2 -k dmesg >/tmp/followed 2>&1 &
	FOLLOW=$!
	sleep 3
	oops_now "$(uuid) again"
	sleep 3
	check "follow shows a new one" sh -c "! kill -0 $FOLLOW 2>/dev/null && grep -q 'Oops#' /tmp/followed || { cat /tmp/followed; false; }"
	check "erase" sh -c "mpstore erase --all >/tmp/e && [ -z \"\$(find $PSTORE -type f)\" ]" ;;
esac
