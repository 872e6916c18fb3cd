#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A Debian system with systemd on the stock kernel, with the package `mpstore` installed:
# the module is loaded in the initramfs with its options; two crashes one after the other
# are archived by Debian's systemd-pstore without losing anything; removing the package
# leaves nothing behind. The module is put in place by hand: DKMS has its own test.
#
# vm: debian mem=1G timeout=300 quiet=120
# payload: build/deb
. /tests/lib.sh
. /tests/lib-debian.sh
plan 26
MARK=/dev/pmsg1
REL=$(uname -r)

case $STAGE in
1)
	list_files >/var/tmp/files-before
	check "the module in its place" install -D -m 644 /payload/mpstore.ko "/lib/modules/$REL/updates/mpstore.ko"
	depmod "$REL"
	check "systemd mounted the in-tree pstore" test "$(mount_of $PSTORE | cut -d' ' -f1)" = pstore
	check "dpkg -i mpstore" dpkg -i /payload/deb/mpstore_*.deb
	check "nothing is loaded before it is configured" sh -c '! grep -q "^mpstore " /proc/modules'
	check "starting the unit is no failure then" systemctl start mpstore
	cat >/etc/modprobe.d/mpstore.conf <<-END
		options mpstore mem_address=$REGION_A mem_size=$REGION_A_SIZE record_size=64K console_size=64K
		options mpstore tty_size=64K pmsg_size=64K
	END
	check "update-initramfs" update-initramfs -u
	check "module, options and script are in the initramfs" in_initramfs updates/mpstore.ko \
		etc/modprobe.d/mpstore.conf lib/modprobe.d/50-mpstore.conf init-top/mpstore
	next_stage 2
	reboot_clean ;;
2 | 3)
	# Of the second boot all is looked at, of the third what differs.
	if [ "$STAGE" = 2 ]; then
		note "loaded $(dmesg | sed -n 's/^\[ *\([0-9.]*\)\] mpstore: .*/\1/p' | head -n 1) s after the start, /sbin/init at $(dmesg | sed -n 's/^\[ *\([0-9.]*\)\].*systemd\[1\]: systemd .*/\1/p' | head -n 1) s"
		check "it was loaded before systemd ran" sh -c '
			l=$(dmesg | grep -n "mpstore: " | head -n 1 | cut -d: -f1)
			s=$(dmesg | grep -n "systemd\[1\]: systemd " | head -n 1 | cut -d: -f1)
			[ "$l" ] && [ "$s" ] && [ "$l" -lt "$s" ]'
		check "with the options of modprobe.d" test "$(cat /sys/module/mpstore/parameters/record_size)" = 65536
		check "$PSTORE is its mount, files at the root" sh -c "[ \"\$1\" ] && echo \"\$1\" | grep -q layout=both" sh "$(mount_of $PSTORE)"
		check "the unit is active" systemctl is-active mpstore
		check "nothing had to be archived" test ! -e $ARCHIVE/dmesg-ramoops-0
	else
		check "systemd-pstore ran, after mpstore" test "$(systemctl show -P Result systemd-pstore)" = success
		check "nothing is left in $PSTORE" test -z "$(find $PSTORE -type f)"
		FIRST=$(find $ARCHIVE -mindepth 1 -maxdepth 1 -type d)
		save FIRST "$FIRST"
		note "$(find $ARCHIVE | sort)"
		for f in dmesg console pmsg tty; do
			check "the archive has the $f of the first crash" grep -q "$(uuid 2)" "$FIRST/$f-ramoops-0"
		done
		note "what became of the terminals: $(grep "$(uuid 2)" "$FIRST/tty-ramoops-0")"
	fi
	[ -e $MARK ] || MARK=/dev/pmsg0
	echo "$(uuid "$STAGE") pmsg" >$MARK
	echo "$(uuid "$STAGE") log" >/dev/kmsg
	ttytool write /dev/ttyS0 "$(uuid "$STAGE") terminal" || echo "$(uuid "$STAGE") terminal" >/dev/ttyS0
	next_stage $((STAGE + 1))
	panic_saved ;;
4)
	note "$(find $ARCHIVE | sort)"
	SECOND=$(find $ARCHIVE -mindepth 1 -maxdepth 1 -type d ! -path "$FIRST")
	check "the second crash has an archive of its own" test -d "$SECOND"
	check "with its dump" grep -q "$(uuid 3)" "$SECOND/dmesg-ramoops-0"
	check "that of the first crash is as it was" grep -q "$(uuid 2)" "$FIRST/dmesg-ramoops-0"
	check "apt purge mpstore" apt-get purge -y mpstore
	check "the module is gone from memory" sh -c '! grep -q "^mpstore " /proc/modules'
	check "the in-tree pstore is mounted again" sh -c '! echo "$1" | grep -q layout && [ "$1" ]' sh "$(mount_of $PSTORE)"
	check "it is not in the initramfs any more" sh -c '! lsinitramfs "/boot/initrd.img-$(uname -r)" | grep init-top/mpstore'
	# What the test, as the administrator, put there itself.
	rm /etc/modprobe.d/mpstore.conf "/lib/modules/$REL/updates/mpstore.ko"
	rmdir --ignore-fail-on-non-empty "/lib/modules/$REL/updates"
	list_files >/var/tmp/files-after
	check "no file is left" diff /var/tmp/files-before /var/tmp/files-after ;;
esac
