#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Device dumps in a vmcore of a Debian system: Debian's kernel has none, so the crash kernel
# is the custom one, with a small initramfs of its own, and runs kdump-config of the Debian
# system in a chroot. The vmcore is read back by Debian's readelf, crash and makedumpfile,
# and by the program `mpstore`.
#
# vm: debian=kdump mem=1G timeout=300 quiet=200 kexec second=custom
# cmdline: crashkernel=256M crash_kexec_post_notifiers
# cmdline: mpstore.mem_address=0x18000000 mpstore.mem_size=4M mpstore.crash_size=1M mpstore.record_size=64K mpstore.console_size=256K
# cmdline: mpstore.tty_size=256K mpstore.pmsg_size=64K
# payload: build/vm/initrd-custom-kexec.cpio.zst
. /tests/lib.sh
plan 14
has() { grep -aqE "$2" "$1" || { echo "$1 lacks '$2'"; tail -n 20 "$1" | cut -c1-200; return 1; }; }

case $STAGE in
1)
	check "the custom kernel and its initramfs" sh -c \
		'cd /var/lib/kdump && zstd -dc /payload/initrd-custom-kexec.cpio.zst | cpio -id --quiet "kexec/*" && ls -l kexec/bzImage kexec/initrd'
	cat >>/etc/default/kdump-tools <<'END'
KDUMP_KERNEL=/var/lib/kdump/kexec/bzImage
KDUMP_INITRD=/var/lib/kdump/kexec/initrd
MAKEDUMP_ARGS="-E -d 31"
END
	kdump-config unload >/dev/null
	check "are loaded by kdump-config" kdump-config load
	note "$(cat /var/crash/kexec_cmd)"
	systemctl mask systemd-pstore 2>/dev/null
	echo "$(uuid first) pmsg" >/dev/pmsg0
	echo "$(uuid first) terminal" >/dev/ttyS0
	sync
	next_stage 2
	panic_now ;;
2)
	check "this is the crash kernel" test -e /proc/vmcore || bail "no crash kernel"
	check "mpstore loads with the words of the command line" load_mpstore || bail "no module"
	check "and adds the first kernel's region to the vmcore" sh -c \
		"dmesg | grep 'ramoops: 0x300000 bytes added to the vmcore as mpstore-ramoops'"
	# The Debian disk's first partition.
	mount -t ext4 /dev/vda1 /mnt || bail "no disk"
	for d in proc sys dev; do mount -o bind /$d /mnt/$d; done
	check "kdump-config saves it" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
		chroot /mnt /usr/sbin/kdump-config savecore
	for d in proc sys dev; do umount /mnt/$d; done
	umount /mnt
	next_stage 3
	reboot_now ;;
3)
	dump=$(find /var/crash -name 'dump.2*')
	check "there is a vmcore" test -s "$dump" || bail "no vmcore"
	makedumpfile -R /var/crash/vmcore <"$dump" >/dev/null
	readelf -n /var/crash/vmcore >/tmp/readelf 2>&1
	check "readelf sees the note" has /tmp/readelf 'LINUX .*0x00000700'
	check "crash knows the vmcore" sh -c 'crash --osrelease /var/crash/vmcore | grep -qx "$(uname -r)"'
	check "the program lists the note, in the flattened file" sh -c \
		'/usr/bin/mpstore list -q --format note -s "$1" >/tmp/list 2>&1; grep -q mpstore-ramoops /tmp/list || { cat /tmp/list; exit 1; }' sh "$dump"
	note "$(cat /tmp/list)"
	/usr/bin/mpstore extract -q --format note -s "$dump" -o /var/tmp/out
	for f in dmesg console tty pmsg; do
		check "its $f is what the tree shows" cmp "$(find /var/tmp/out -name "$f-ramoops-0*" | head -n 1)" $PSTORE/ramoops/$f-ramoops-0
	done ;;
esac
