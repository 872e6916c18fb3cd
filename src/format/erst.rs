// SPDX-License-Identifier: GPL-2.0

//! Dumps in the Error Record Serialization Table of ACPI, as the in-tree erst backend keeps them.
//!
//! A record is an error record of UEFI's Common Platform Error Record format with one section:
//!
//! ```text
//!   0               128                  200               record_length
//!   +---------------+--------------------+-----------------+
//!   | record header | section descriptor | text or deflate |
//!   +---------------+--------------------+-----------------+
//! ```
//!
//! The creator tells records of a pstore from a machine check's, the section's type what is in it.
//! All numbers are little endian, nothing is aligned.

use core::mem::{
    offset_of,
    size_of, //
};
use zerocopy::{
    byteorder::little_endian::{
        U16,
        U32,
        U64, //
    },
    FromBytes as _,
    IntoBytes as _, //
};

/// Bytes in front of a record's content.
pub const HEADER_BYTES: usize = 200;

/// What no record is called.
pub const INVALID_ID: u64 = u64::MAX;

/// Who writes dumps: 75a574e3-5052-4b29-8a8e-be2c6490b89d.
const CREATOR: [u8; 16] = [
    0xe3, 0x74, 0xa5, 0x75, 0x52, 0x50, 0x29, 0x4b, 0x8a, 0x8e, 0xbe, 0x2c, 0x64, 0x90, 0xb8, 0x9d,
];
/// The section is text of the kernel log: c197e04e-d545-4a70-9c17-a5549419eb12.
const DMESG: [u8; 16] = [
    0x4e, 0xe0, 0x97, 0xc1, 0x45, 0xd5, 0x70, 0x4a, 0x9c, 0x17, 0xa5, 0x54, 0x94, 0x19, 0xeb, 0x12,
];
/// It is compressed: 4f118707-04dd-4055-b5dd-956d34ddfac6.
const DMESG_COMPRESSED: [u8; 16] = [
    0x07, 0x87, 0x11, 0x4f, 0xdd, 0x04, 0x55, 0x40, 0xb5, 0xdd, 0x95, 0x6d, 0x34, 0xdd, 0xfa, 0xc6,
];
/// What the error was noticed by, for want of something better: a machine check,
/// e8f56ffe-919c-4cc5-ba88-65abe14913bb.
const NOTIFY_MCE: [u8; 16] = [
    0xfe, 0x6f, 0xf5, 0xe8, 0x9c, 0x91, 0xc5, 0x4c, 0xba, 0x88, 0x65, 0xab, 0xe1, 0x49, 0x13, 0xbb,
];

const SIGNATURE: [u8; 4] = *b"CPER";
const SIGNATURE_END: u32 = 0xffff_ffff;
const REVISION: u16 = 0x0100;
const SEVERITY_FATAL: u32 = 1;
const VALID_TIMESTAMP: u32 = 0x2;
/// Left from an earlier session.
const FLAG_PREVIOUS: u32 = 0x2;
const SECTION_PRIMARY: u32 = 0x1;

/// Declares a struct with its size and the offset of every field asserted.
macro_rules! wire {
    ($(#[$meta:meta])* $name:ident, $size:expr, { $($field:ident: $type:ty = $offset:expr,)* }) => {
        $(#[$meta])*
        #[derive(
            Clone,
            Copy,
            zerocopy_derive::FromBytes,
            zerocopy_derive::IntoBytes,
            zerocopy_derive::Immutable,
            zerocopy_derive::KnownLayout,
            zerocopy_derive::Unaligned,
        )]
        #[repr(C)]
        struct $name {
            $($field: $type,)*
        }

        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(offset_of!($name, $field) == $offset);)*
        };
    };
}

wire! {
    /// UEFI 2.7, appendix N.2.1.
    RecordHeader, 128, {
        signature: [u8; 4] = 0,
        revision: U16 = 4,
        signature_end: U32 = 6,
        section_count: U16 = 10,
        severity: U32 = 12,
        validation: U32 = 16,
        record_length: U32 = 20,
        timestamp: U64 = 24,
        platform: [u8; 16] = 32,
        partition: [u8; 16] = 48,
        creator: [u8; 16] = 64,
        notification: [u8; 16] = 80,
        record_id: U64 = 96,
        flags: U32 = 104,
        persistence: [u8; 8] = 108,
        reserved: [u8; 12] = 116,
    }
}

wire! {
    /// UEFI 2.7, appendix N.2.2.
    SectionDescriptor, 72, {
        offset: U32 = 0,
        length: U32 = 4,
        revision: U16 = 8,
        validation: u8 = 10,
        reserved: u8 = 11,
        flags: U32 = 12,
        kind: [u8; 16] = 16,
        fru_id: [u8; 16] = 32,
        severity: U32 = 48,
        fru_text: [u8; 20] = 52,
    }
}

const _: () = assert!(size_of::<RecordHeader>() + size_of::<SectionDescriptor>() == HEADER_BYTES);

/// Writes what goes in front of `content` bytes of a dump. Safe in a panic.
pub fn header(
    out: &mut [u8; HEADER_BYTES],
    id: u64,
    sec: u64,
    content: usize,
    compressed: bool,
) -> usize {
    // CAST: A record that long does not exist; the caller's buffer is smaller.
    let content = content.min(u32::MAX as usize - HEADER_BYTES) as u32;
    let record = RecordHeader {
        signature: SIGNATURE,
        revision: U16::new(REVISION),
        signature_end: U32::new(SIGNATURE_END),
        section_count: U16::new(1),
        severity: U32::new(SEVERITY_FATAL),
        validation: U32::new(VALID_TIMESTAMP),
        record_length: U32::new(content.saturating_add(HEADER_BYTES as u32)),
        timestamp: U64::new(sec),
        platform: [0; 16],
        partition: [0; 16],
        creator: CREATOR,
        notification: NOTIFY_MCE,
        record_id: U64::new(id),
        flags: U32::new(FLAG_PREVIOUS),
        persistence: [0; 8],
        reserved: [0; 12],
    };
    let section = SectionDescriptor {
        offset: U32::new(HEADER_BYTES as u32),
        length: U32::new(content),
        revision: U16::new(REVISION),
        validation: 0,
        reserved: 0,
        flags: U32::new(SECTION_PRIMARY),
        kind: if compressed { DMESG_COMPRESSED } else { DMESG },
        fru_id: [0; 16],
        severity: U32::new(SEVERITY_FATAL),
        fru_text: [0; 20],
    };
    let bytes = Iterator::chain(record.as_bytes().iter(), section.as_bytes());
    let mut len = 0usize;
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
        len = len.saturating_add(1);
    }
    len
}

/// What became of a record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A dump.
    Dump(Dump<'a>),
    /// A record of a pstore, but not of the kernel log.
    Other,
    /// A record that another writer made.
    Foreign,
    /// No error record, or one that is not whole.
    Damaged,
}

/// A dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dump<'a> {
    /// Seconds since 1970, if the writer knew.
    pub sec: Option<u64>,
    /// Whether the content is compressed.
    pub compressed: bool,
    /// Text, or its compressed form.
    pub content: &'a [u8],
}

/// Reads the record at the front of `bytes`.
///
/// The content is all behind the headers, as for the in-tree reader, whatever the descriptor says
/// of its place. Records of other creators may have other sections, so that of those only the
/// header is looked at.
pub fn parse(bytes: &[u8]) -> Found<'_> {
    let Ok((record, rest)) = RecordHeader::ref_from_prefix(bytes) else {
        return Found::Damaged;
    };
    if record.signature != SIGNATURE || record.signature_end.get() != SIGNATURE_END {
        return Found::Damaged;
    }
    if record.creator != CREATOR {
        return Found::Foreign;
    }
    let length = usize::try_from(record.record_length.get());
    let Some(content) = length.ok().and_then(|n| bytes.get(HEADER_BYTES..n)) else {
        return Found::Damaged;
    };
    let Ok((section, _)) = SectionDescriptor::ref_from_prefix(rest) else {
        return Found::Damaged;
    };
    let compressed = match section.kind {
        DMESG => false,
        DMESG_COMPRESSED => true,
        _ => return Found::Other,
    };
    let valid = record.validation.get() & VALID_TIMESTAMP != 0;
    Found::Dump(Dump {
        sec: valid.then_some(record.timestamp.get()),
        compressed,
        content,
    })
}

/// The largest range that `/proc/iomem` has for this table: the buffer by which records are
/// exchanged. The others are registers. [`None`] if there is none of a record's size, as is all that
/// an unprivileged reader gets to see.
pub fn exchange_bytes(iomem: &[u8]) -> Option<usize> {
    let number = |text: &[u8]| {
        let mut digits = text.iter().map(|b| char::from(*b).to_digit(16));
        (1..=16).contains(&text.len()).then_some(())?;
        digits.try_fold(0u64, |n, digit| Some((n << 4) | u64::from(digit?)))
    };
    let range = |line: &[u8]| {
        let addresses = line.trim_ascii().strip_suffix(b" : APEI ERST")?;
        let mut ends = addresses.split(|b| *b == b'-').map(number);
        let (first, last) = (ends.next()??, ends.next()??);
        ends.next().is_none().then_some(())?;
        usize::try_from(last.checked_sub(first)?.checked_add(1)?).ok()
    };
    let ranges = iomem.split(|b| *b == b'\n').filter_map(range);
    ranges.max().filter(|size| *size > HEADER_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u64, sec: u64, content: &[u8], compressed: bool) -> Vec<u8> {
        let mut out = [0xee; HEADER_BYTES];
        assert_eq!(
            header(&mut out, id, sec, content.len(), compressed),
            HEADER_BYTES
        );
        [&out[..], content].concat()
    }

    /// As the fact sheet of the C code has it: drivers/acpi/apei/erst.c, include/linux/cper.h.
    #[test]
    fn the_bytes_are_those_of_the_in_tree_writer() {
        let mut bytes = record(0x6a1b_0000_0000_0001, 0x6a1b_2c3d, b"text", false);
        assert_eq!(&bytes[..4], b"CPER");
        assert_eq!(bytes[4..12], [0, 1, 0xff, 0xff, 0xff, 0xff, 1, 0]);
        assert_eq!(bytes[12..24], [1, 0, 0, 0, 2, 0, 0, 0, 204, 0, 0, 0]);
        assert_eq!(bytes[24..32], 0x6a1b_2c3du64.to_le_bytes());
        assert_eq!(bytes[32..64], [0; 32]);
        assert_eq!(bytes[64..68], 0x75a5_74e3u32.to_le_bytes());
        assert_eq!(bytes[80..84], 0xe8f5_6ffeu32.to_le_bytes());
        assert_eq!(bytes[96..104], 0x6a1b_0000_0000_0001u64.to_le_bytes());
        assert_eq!(bytes[104..128], {
            let mut flags = [0; 24];
            flags[0] = 2;
            flags
        });
        assert_eq!(bytes[128..140], [200, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(bytes[140..144], [1, 0, 0, 0]);
        assert_eq!(bytes[144..148], 0xc197_e04eu32.to_le_bytes());
        assert_eq!(bytes[160..176], [0; 16]);
        assert_eq!(bytes[176..180], [1, 0, 0, 0]);
        assert_eq!(bytes[180..200], [0; 20]);
        assert_eq!(&bytes[200..], b"text");
        // The kernel marks what it hands to the firmware; that is no part of the format.
        bytes[108..110].copy_from_slice(b"ER");
        assert!(matches!(parse(&bytes), Found::Dump(d) if d.content == b"text"));
    }

    #[test]
    fn what_is_written_is_read() {
        for compressed in [false, true] {
            for content in [&b""[..], b"x", &[0xab; 4000]] {
                let bytes = record(7, 1_795_229_979, content, compressed);
                let dump = Dump {
                    sec: Some(1_795_229_979),
                    compressed,
                    content,
                };
                assert_eq!(parse(&bytes), Found::Dump(dump));
                // What lies behind a record in the exchange buffer is not its content.
                let behind = [&bytes[..], &[0x55; 100]].concat();
                assert_eq!(parse(&behind), Found::Dump(dump));
            }
        }
    }

    #[test]
    fn without_a_time() {
        let mut bytes = record(7, 5, b"x", false);
        bytes[16] = 0;
        assert!(matches!(parse(&bytes), Found::Dump(Dump { sec: None, .. })));
    }

    #[test]
    fn others() {
        let good = record(7, 5, b"content", true);
        let mut bytes = good.clone();
        bytes[64] ^= 1;
        assert_eq!(parse(&bytes), Found::Foreign);
        let mut bytes = good.clone();
        bytes[144] ^= 1;
        assert_eq!(parse(&bytes), Found::Other);
        for at in 0..4 {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert_eq!(parse(&bytes), Found::Damaged);
        }
        for at in 6..10 {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert_eq!(parse(&bytes), Found::Damaged);
        }
        // Shorter than its headers, or longer than what there is.
        for length in [0u32, 1, 127, 128, 199, 208, 0x7fff_ffff, u32::MAX] {
            let mut bytes = good.clone();
            bytes[20..24].copy_from_slice(&length.to_le_bytes());
            assert_eq!(parse(&bytes), Found::Damaged, "{length}");
        }
        for len in 0..good.len() {
            assert_eq!(parse(&good[..len]), Found::Damaged, "{len}");
        }
    }

    #[test]
    fn the_exchange_buffer() {
        let iomem = b"00000000-00000fff : Reserved\n\
            fe000000-febfffff : PCI Bus 0000:00\n\
            \x20 febf0000-febf000f : 0000:00:03.0\n\
            \x20   febf0000-febf000f : APEI ERST\n\
            \x20 febf2000-febf3fff : APEI ERST\n";
        assert_eq!(exchange_bytes(iomem), Some(0x2000));
        assert_eq!(exchange_bytes(b"1000-1fff : APEI ERST"), Some(0x1000));
        for other in [
            &b""[..],
            b"00000000-00000000 : APEI ERST",
            b"1000-10c7 : APEI ERST",
            b"1000-1fff : APEI EINJ",
            b"1000-1fff : XAPEI ERST",
            b"1000 : APEI ERST",
            b"-1fff : APEI ERST",
            b"1000-1fff-2fff : APEI ERST",
            b"2000-1fff : APEI ERST",
            b"0-ffffffffffffffff : APEI ERST",
            b"0-fffffffffffffffff : APEI ERST",
            b"1000-1xff : APEI ERST",
        ] {
            assert_eq!(
                exchange_bytes(other),
                None,
                "{}",
                String::from_utf8_lossy(other)
            );
        }
    }

    #[test]
    fn an_impossible_length_is_cut_not_wrapped() {
        let mut out = [0; HEADER_BYTES];
        header(&mut out, 1, 1, usize::MAX, false);
        assert_eq!(out[20..24], [0xff; 4]);
    }
}
