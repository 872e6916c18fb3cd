// SPDX-License-Identifier: GPL-2.0

//! What a block device holds, if it is something that people keep data in.
//!
//! Only to say so and to keep off: that nothing is recognised does not mean that there is nothing.

/// A place where something leaves its mark.
struct Mark {
    name: &'static str,
    /// Offset from the front.
    at: u64,
    magic: &'static [u8],
}

const fn mark(name: &'static str, at: u64, magic: &'static [u8]) -> Mark {
    Mark { name, at, magic }
}

/// Marks that are long enough to be no accident, or lie where nothing else does.
const MARKS: &[Mark] = &[
    mark("a LUKS volume", 0, b"LUKS\xba\xbe"),
    mark("an xfs filesystem", 0, b"XFSB"),
    mark("an LVM physical volume", 0, b"LABELONE"),
    mark("an LVM physical volume", 512, b"LABELONE"),
    mark("an LVM physical volume", 1024, b"LABELONE"),
    mark("an LVM physical volume", 1536, b"LABELONE"),
    mark("an ext2, ext3 or ext4 filesystem", 0x438, b"\x53\xef"),
    mark("a btrfs filesystem", 0x1_0040, b"_BHRfS_M"),
    mark("an f2fs filesystem", 1024, b"\x10\x20\xf5\xf2"),
    mark("an erofs filesystem", 1024, b"\xe2\xe1\xf5\xe0"),
    mark("a squashfs filesystem", 0, b"hsqs"),
    mark("a cramfs filesystem", 0, b"\x45\x3d\xcd\x28"),
    mark("a romfs filesystem", 0, b"-rom1fs-"),
    mark("an NTFS filesystem", 3, b"NTFS    "),
    mark("an exFAT filesystem", 3, b"EXFAT   "),
    mark("a FAT filesystem", 54, b"FAT1"),
    mark("a FAT filesystem", 82, b"FAT32   "),
    mark("a BitLocker volume", 3, b"-FVE-FS-"),
    mark("an ISO 9660 filesystem", 0x8001, b"CD001"),
    mark("a UDF filesystem", 0x8001, b"BEA01"),
    mark("a UDF filesystem", 0x8001, b"NSR0"),
    mark("an HFS+ filesystem", 1024, b"H+\x00\x04"),
    mark("an APFS container", 32, b"NXSB"),
    mark("a jfs filesystem", 0x8000, b"JFS1"),
    mark("a reiserfs filesystem", 0x1_0034, b"ReIsEr"),
    mark("a nilfs2 filesystem", 1030, b"\x34\x34"),
    mark("an OCFS2 filesystem", 4096, b"OCFSV2"),
    mark("a GFS2 filesystem", 0x1_0000, b"\x01\x16\x19\x70"),
    mark("an md RAID member", 0, b"\xfc\x4e\x2b\xa9"),
    mark("an md RAID member", 4096, b"\xfc\x4e\x2b\xa9"),
    mark(
        "an array for bcache or a bcachefs filesystem",
        4120,
        b"\xc6\x85\x73\xf6",
    ),
    mark("a Ceph BlueStore device", 0, b"bluestore block device"),
    mark("a VDO volume", 0, b"dmvdo001"),
    mark("a dm-verity device", 0, b"verity\x00\x00"),
    mark("a dm-integrity device", 0, b"integrt\x00"),
    mark("a swap area", 4086, b"SWAPSPACE2"),
    mark("a swap area", 4086, b"SWAP-SPACE"),
    mark("a hibernation image", 4086, b"S1SUSPEND"),
    mark("a swap area", 65526, b"SWAPSPACE2"),
];

/// Bytes that are looked at in one place.
const PIECE: usize = 4096;

/// Says what a device of `bytes` bytes holds, in words with an article; [`None`] if nothing is
/// recognised. `read` fills a buffer from an offset and says whether it could.
pub fn identify(
    bytes: u64,
    piece: &mut [u8; PIECE],
    read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
) -> Option<&'static str> {
    let mut have = None;
    let mut fetch = |at: u64, piece: &mut [u8; PIECE]| {
        let len = PIECE as u64;
        let start = at / len * len;
        if have != Some(start) {
            let fits = start.checked_add(len).is_some_and(|end| end <= bytes);
            if !fits || !read(start, piece) {
                have = None;
                return None;
            }
            have = Some(start);
        }
        // CAST: Below the length of a piece.
        Some((at - start) as usize)
    };
    let mut holds = |piece: &mut [u8; PIECE], at: u64, magic: &[u8]| {
        let at = fetch(at, piece)?;
        Some(piece.get(at..at.checked_add(magic.len())?)? == magic)
    };
    for mark in MARKS {
        if holds(piece, mark.at, mark.magic) == Some(true) {
            return Some(mark.name);
        }
    }
    // GPT: at the second block, and once more at the end.
    for at in [512, 4096] {
        if holds(piece, at, b"EFI PART") == Some(true) {
            return Some("a GPT partition table");
        }
    }
    for back in [512, 4096] {
        let last = bytes.checked_sub(back);
        if last.and_then(|at| holds(piece, at, b"EFI PART")) == Some(true) {
            return Some("a GPT partition table at its end");
        }
    }
    if holds(piece, 510, b"\x55\xaa") == Some(true) && mbr(piece) {
        return Some("an MBR partition table or a boot sector");
    }
    // md 0.90 and 1.0 keep it near the end.
    let near_end = [
        (bytes & !0xffff).checked_sub(0x1_0000),
        (bytes & !0xfff).checked_sub(0x2000),
    ];
    for at in near_end.into_iter().flatten() {
        if holds(piece, at, b"\xfc\x4e\x2b\xa9") == Some(true) {
            return Some("an md RAID member");
        }
    }
    // ZFS: uberblocks from 128 KiB on, of which one at least is in use.
    for n in 0..128u64 {
        let at = 0x2_0000 + n * 1024;
        if holds(piece, at, b"\x0c\xb1\xba\x00\x00\x00\x00\x00") == Some(true) {
            return Some("a ZFS pool member");
        }
    }
    None
}

/// The same for flash memory that is erased in blocks of `block` bytes, which has kinds of its own.
pub fn identify_flash(
    bytes: u64,
    block: u64,
    piece: &mut [u8; PIECE],
    read: &mut dyn FnMut(u64, &mut [u8]) -> bool,
) -> Option<&'static str> {
    // The first blocks may be bad, or erased.
    for at in (0..16u64).filter_map(|n| n.checked_mul(block)) {
        let fits = at.checked_add(PIECE as u64).is_some_and(|end| end <= bytes);
        if !fits || !read(at, piece) {
            continue;
        }
        match piece.first_chunk::<4>() {
            Some(b"UBI#") => return Some("UBI volumes"),
            // Node types of JFFS2, in either byte order.
            Some([0x85, 0x19, 0x01..=0x09, 0x20 | 0xe0])
            | Some([0x19, 0x85, 0x20 | 0xe0, 0x01..=0x09]) => {
                return Some("a JFFS2 filesystem");
            }
            _ => {}
        }
    }
    identify(bytes, piece, read)
}

/// Whether a sector that is signed like a boot sector is one: FAT and the like begin with a jump, and a partition table
/// has entries with a status of 0 or 0x80, one of them in use.
fn mbr(sector: &[u8; PIECE]) -> bool {
    if matches!(sector.first(), Some(0xeb | 0xe9)) {
        return true;
    }
    let mut used = false;
    for entry in (0..4).filter_map(|n| sector.get(446 + 16 * n..462 + 16 * n)) {
        let (Some(status), Some(kind)) = (entry.first(), entry.get(4)) else {
            return false;
        };
        if status & 0x7f != 0 {
            return false;
        }
        used |= *kind != 0;
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(image: &[u8]) -> Option<&'static str> {
        identify(image.len() as u64, &mut [0; PIECE], &mut |at, to| {
            let at = at as usize;
            to.copy_from_slice(&image[at..at + to.len()]);
            true
        })
    }

    #[test]
    fn each_mark_is_found() {
        for mark in MARKS {
            let mut image = vec![0; 0x8_0000];
            let at = mark.at as usize;
            image[at..at + mark.magic.len()].copy_from_slice(mark.magic);
            assert_eq!(of(&image), Some(mark.name));
            // No mark crosses the end of what is read at once.
            assert!(at % PIECE + mark.magic.len() <= PIECE);
        }
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(of(&[]), None);
        for fill in [0, 0xff, 0x55, 0xaa] {
            for len in [512, 4096, 8192, 0x2_0000, 0x8_0200] {
                assert_eq!(of(&vec![fill; len]), None, "{fill:#x} {len}");
            }
        }
    }

    #[test]
    fn partition_tables() {
        let mut image = vec![0; 0x10_0000];
        image[510..512].copy_from_slice(b"\x55\xaa");
        // Signed, but neither code nor a partition.
        assert_eq!(of(&image), None);
        image[446 + 16 + 4] = 0x83;
        assert!(of(&image).unwrap().contains("MBR"));
        image[446] = 0x33;
        assert_eq!(of(&image), None);
        image[0] = 0xeb;
        assert!(of(&image).unwrap().contains("boot sector"));
        let mut image = vec![0; 0x10_0000];
        image[0x10_0000 - 512..][..8].copy_from_slice(b"EFI PART");
        assert_eq!(of(&image), Some("a GPT partition table at its end"));
        image[512..520].copy_from_slice(b"EFI PART");
        assert_eq!(of(&image), Some("a GPT partition table"));
    }

    #[test]
    fn near_the_end_and_in_the_middle() {
        let mut image = vec![0; 0x10_3000];
        image[0xf_0000..][..4].copy_from_slice(b"\xfc\x4e\x2b\xa9");
        assert_eq!(of(&image), Some("an md RAID member"));
        let mut image = vec![0; 0x10_3000];
        image[0x10_1000..][..4].copy_from_slice(b"\xfc\x4e\x2b\xa9");
        assert_eq!(of(&image), Some("an md RAID member"));
        let mut image = vec![0; 0x10_0000];
        image[0x2_0000 + 77 * 1024..][..8].copy_from_slice(&0x00ba_b10c_u64.to_le_bytes());
        assert_eq!(of(&image), Some("a ZFS pool member"));
    }

    #[test]
    fn flash() {
        let of = |image: &[u8]| {
            let bytes = image.len() as u64;
            identify_flash(bytes, 0x4000, &mut [0; PIECE], &mut |at, to| {
                let at = at as usize;
                to.copy_from_slice(&image[at..at + to.len()]);
                // The first block is bad.
                at >= 0x4000
            })
        };
        let mut image = vec![0xff; 0x10_0000];
        assert_eq!(of(&image), None);
        image[0x8000..0x8004].copy_from_slice(b"UBI#");
        assert_eq!(of(&image), Some("UBI volumes"));
        for magic in [b"\x85\x19\x03\x20", b"\x19\x85\xe0\x01"] {
            image[0x4000..0x4004].copy_from_slice(magic);
            assert_eq!(of(&image), Some("a JFFS2 filesystem"));
        }
        assert_eq!(of(&image[..0x800]), None);
    }

    #[test]
    fn what_cannot_be_read_is_not_looked_at() {
        let mut asked = Vec::new();
        let found = identify(0x10_0000, &mut [0; PIECE], &mut |at, _| {
            asked.push(at);
            false
        });
        assert_eq!(found, None);
        assert!(asked.iter().all(|at| at + PIECE as u64 <= 0x10_0000));
    }
}
