#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# ECC: a region that the C ramoops wrote with ecc=1 is read, damage included,
# and what mpstore writes can be damaged and is put right.
#
# vm: timeout=150
# kernels: custom debug stock
. /tests/lib.sh
plan 17

# As the golden image was made; its ftrace zones lie before the end.
golden() {
	load_mpstore mem_address=$REGION_A mem_size=0x10000 record_size=0x1000 \
		console_size=0x2000 ftrace_size=0x1000 pmsg_size=0x1000 tty_size=0 ecc=1
}
ours() {
	load_mpstore mem_address=$REGION_B mem_size=0x100000 record_size=0x4000 \
		console_size=0x8000 pmsg_size=0x4000 tty_size=0x4000 ftrace_size=0 ecc=1 "$@"
}
put() { dd if="$1" of=/dev/mem bs=4096 seek=$((REGION_A / 4096)) conv=notrunc 2>/dev/null; }
unload() { umount_pstore; rmmod mpstore; }
# The golden image's zones: dmesg 0-11 of 4 KiB each, console at 0xc000, pmsg at 0xe000.
GOLD=/tests/golden/c-ramoops-64k-ecc16.img

case $STAGE in
1)
	put $GOLD
	check "a region that the C code wrote is taken" golden || bail "no module"
	mount_pstore
	check "its pmsg record ends with the in-tree notice" \
		sh -c "tail -n 1 $PSTORE/ramoops/pmsg-ramoops-0 | grep -qx 'ECC: No errors detected'"
	check "its trace has both CPUs' records in one order" \
		sh -c "[ \"\$(sed -n 's/^CPU:\([01]\) ts:\([0-9]*\) .*/\2/p' $PSTORE/ramoops/ftrace-ramoops-0 | tr '\n' ' ')\" = '0 1 2 3 4 5 6 7 ' ]"
	cp $PSTORE/ramoops/pmsg-ramoops-0 /tmp/pmsg
	cp $PSTORE/ramoops/console-ramoops-0 /tmp/console
	unload
	# A burst in the first data block, a byte in the header, one in the parity.
	cp $GOLD /tmp/img
	for at in $((0xe000 + 4)) $((0xe000 + 12)) $((0xe000 + 13)) $((0xe000 + 14)) $((0xe000 + 15)); do
		printf '\377' | dd of=/tmp/img bs=1 seek=$at conv=notrunc 2>/dev/null
	done
	put /tmp/img
	check "a damaged region is taken" golden
	mount_pstore
	check "what can be corrected is corrected and counted" \
		sh -c "tail -n 1 $PSTORE/ramoops/pmsg-ramoops-0 | grep -qx 'ECC: 5 Corrected bytes, 0 unrecoverable blocks'"
	check "the corrected text is the original" sh -c "
		grep -v '^ECC: ' /tmp/pmsg >/tmp/a; grep -v '^ECC: ' $PSTORE/ramoops/pmsg-ramoops-0 >/tmp/b
		cmp /tmp/a /tmp/b"
	check "a record without damage is as it was" cmp /tmp/console $PSTORE/ramoops/console-ramoops-0
	unload
	# More damage than 16 parity bytes can tell from something else.
	i=0
	while [ $i -lt 20 ]; do
		printf '\252' | dd of=/tmp/img bs=1 seek=$((0xc000 + 12 + i * 3)) conv=notrunc 2>/dev/null
		i=$((i + 1))
	done
	put /tmp/img
	golden && mount_pstore
	check "what can't be corrected is counted and shown as it is" \
		sh -c "tail -n 1 $PSTORE/ramoops/console-ramoops-0 | grep -qx 'ECC: 0 Corrected bytes, 1 unrecoverable blocks'"
	unload
	too_many() {
		! ours ecc=128 2>/dev/null && dmesg | tail -n 3 | grep -q 'mpstore: ecc=128: give 0'
	}
	check "more than 127 parity bytes are refused" too_many

	wipe $REGION_B 0x100000
	check "a new region with ECC loads" ours || bail "no module"
	echo "$(uuid pmsg)" >/dev/pmsg0
	echo "$(uuid tty)" >/dev/ttyS2
	echo "$(uuid kmsg)" >/dev/kmsg
	next_stage 2
	panic_now ;;
2)
	# One bad byte in the pmsg zone's data and one in the first dmesg record's.
	printf '\001' | dd of=/dev/mem bs=1 seek=$((REGION_B + 0xf4000 + 8 + 12)) conv=notrunc 2>/dev/null
	printf '\001' | dd of=/dev/mem bs=1 seek=$((REGION_B + 12 + 300)) conv=notrunc 2>/dev/null
	check "it loads again" ours || bail "no module"
	mount_pstore
	note "$(ls -lR $PSTORE | tail -n 6)"
	check "pmsg is whole" grep -qx "$(uuid pmsg)" $PSTORE/ramoops/pmsg-ramoops-0
	check "tty is whole" grep -q "ttyS2: $(uuid tty)" $PSTORE/ramoops/tty-ramoops-0
	check "console is whole" grep -q "$(uuid kmsg)" $PSTORE/ramoops/console-ramoops-0
	check "dmesg is whole" grep -q "$(uuid kmsg)" $PSTORE/ramoops/dmesg-ramoops-0
	check "the damage to dmesg was corrected" \
		sh -c "tail -n 1 $PSTORE/ramoops/dmesg-ramoops-0 | grep -qx 'ECC: 1 Corrected bytes, 0 unrecoverable blocks'"
	check "sizes are those of the content" sh -c "
		for f in $PSTORE/ramoops/*; do [ \$(stat -c %s \$f) = \$(wc -c <\$f) ] || exit 1; done" ;;
esac
