#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A Debian system with systemd, the module built and signed there by DKMS when apt installed the
# packages (qemu/debian dkms): loaded from the initramfs of initramfs-tools and of dracut,
# layout=flat for systemd-pstore, a crash with each; apt purge on the running system.
#
# vm: debian=dkms mem=1G timeout=900 quiet=400
. /tests/lib.sh
. /tests/lib-debian.sh
plan 34
REL=$(uname -r)
INITRD=/boot/initrd.img-$REL

first() { dmesg | grep -n "$1" | head -n 1 | cut -d: -f1; }
before() {
	_a=$(first "$1") _b=$(first "$2")
	[ "$_a" ] && [ "$_b" ] && [ "$_a" -lt "$_b" ] || { echo "'$1' in line $_a, '$2' in line $_b"; return 1; }
}
crash() {
	echo "$(uuid "$STAGE") pmsg" >/dev/pmsg0
	echo "$(uuid "$STAGE") log" >/dev/kmsg
	echo "<0>$(uuid "$STAGE") console" >/dev/kmsg
	echo "$(uuid "$STAGE") terminal" >/dev/ttyS0
	next_stage $((STAGE + 1))
	panic_saved
}
mounted_flat() { mount_of $PSTORE | grep layout=flat; }
archives() { find $ARCHIVE -mindepth 1 -maxdepth 1 -type d; }
# has_crash DIRECTORY STAGE
has_crash() {
	for _f in dmesg console pmsg tty; do
		grep -q "$(uuid "$2")" "$1/$_f-ramoops-0" || { echo "not in $_f"; find $ARCHIVE; return 1; }
	done
}
none_failed() { _u=$(systemctl list-units --failed --plain --no-legend); [ -z "$_u" ] || { echo "$_u"; return 1; }; }
# What has the name and was there without the packages, or is the administrator's.
left() {
	find / -xdev \( -path /payload -o -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/tmp \
		-o -path /var/log -o -path /var/cache/apt -o -path /var/lib/apt \) -prune -o -name '*mpstore*' -print |
		grep -vxE '/mpstore_(oops|crash)\.ko|/usr/local/sbin/mpstore-agent|/etc/systemd/system/(multi-user.target.wants/)?mpstore-agent.service|/etc/initramfs-tools/conf.d/mpstore-guest|/etc/(apt/apt.conf.d|dpkg/dpkg.cfg.d)/90mpstore|/etc/modprobe.d/mpstore.conf'
}

case $STAGE in
1)
	check "both packages are installed" dpkg-query -W mpstore mpstore-dkms
	check "the module is DKMS's" test "$(modinfo -n mpstore | grep -c updates/dkms)" = 1
	check "signed with its key" sh -c 'modinfo -F signer mpstore | grep DKMS'
	check "it was loaded before systemd ran" before 'mpstore: ' 'systemd\[1\]: systemd '
	check "with the options of modprobe.d" test "$(cat /sys/module/mpstore/parameters/record_size)" = 65536
	check "the unit is active" systemctl is-active mpstore
	check "nothing failed in this boot" none_failed
	check "layout=flat is set" sh -c 'echo "options mpstore layout=flat" >>/etc/modprobe.d/mpstore.conf && /usr/lib/mpstore/mpstore-start --undo && systemctl restart mpstore'
	check "and is what is mounted" mounted_flat
	check "update-initramfs" update-initramfs -u
	check "has put that into the initramfs" sh -c 'unmkinitramfs "$1" /var/tmp/x && cat $(find /var/tmp/x -path "*etc/modprobe.d/mpstore.conf") | grep layout=flat' sh "$INITRD"
	rm -rf /var/tmp/x
	crash ;;
2)
	check "flat from the start" mounted_flat
	check "systemd-pstore ran" test "$(systemctl show -P ExecMainStatus -P Result -P ActiveState systemd-pstore | tr '\n' ' ')" = "success 0 active "
	check "without a complaint" sh -c '! echo "$1" | grep -i "fail\|error"' sh "$(journal systemd-pstore)"
	note "$(find $ARCHIVE -type f -exec ls -l {} +)"
	check "nothing is left in $PSTORE" test -z "$(ls $PSTORE)"
	check "there is one archive" test "$(archives | wc -l)" = 1
	save FIRST "$(archives)"
	check "of the whole crash" has_crash "$FIRST" 1
	(cd "$FIRST" && sha256sum ./* >/var/tmp/sums)
	# Made when the guest was, with the options of then.
	check "an initramfs by dracut is to be booted" cp /boot/dracut.img "$INITRD"
	crash ;;
3)
	check "dracut booted this" sh -c 'dmesg | grep "dracut"'
	check "it was loaded before the root was there" before 'mpstore: ' 'EXT4-fs.*mounted filesystem'
	check "with its options" test "$(cat /sys/module/mpstore/parameters/record_size)" = 65536
	SECOND=$(archives | grep -vxF "$FIRST")
	check "the second crash has an archive of its own" has_crash "$SECOND" 2
	check "the first is as it was" sh -c 'cd "$1" && sha256sum -c /var/tmp/sums' sh "$FIRST"
	check "nothing failed in this boot" none_failed
	check "apt purge" apt-get purge -y mpstore mpstore-dkms
	check "the module is not loaded any more" test ! -d /sys/module/mpstore
	check "nor known" sh -c '! modinfo mpstore'
	check "the in-tree pstore is to be seen" sh -c 'case $1 in *layout=*) exit 1 ;; "pstore "*) ;; *) exit 1 ;; esac' sh "$(mount_of $PSTORE)"
	check "no file is left" test -z "$(left)" || note "$(left)"
	check "the initramfs is without it" sh -c '! lsinitramfs "$1" | grep -v mpstore-guest | grep -v modprobe.d/mpstore.conf | grep mpstore' sh "$INITRD"
	next_stage 4
	reboot_clean ;;
4)
	check "the next boot is without it" test ! -d /sys/module/mpstore
	check "with the in-tree pstore" sh -c 'echo "$1" | grep "^pstore "' sh "$(mount_of $PSTORE)"
	check "nothing failed in this boot" none_failed
	check "what was archived is there" test "$(archives | wc -l)" = 2 ;;
esac
