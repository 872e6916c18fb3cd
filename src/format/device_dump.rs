// SPDX-License-Identifier: GPL-2.0

//! What a crash kernel adds to `/proc/vmcore`: the records of the kernel that crashed, as a device
//! dump.
//!
//! In the ELF file a device dump is a note with the name `LINUX` and the type 0x700. Its content
//! begins with a name of 44 bytes ([`NOTE_NAME_BYTES`]), and is filled up with zeros to whole pages
//! by the kernel, so that the length of the note says nothing. What follows the name is
//!
//! ```text
//!   0        header_size                          total_size
//!   +--------+------------------------------------+-----------------
//!   | header | the medium, byte for byte          | zeros
//!   +--------+------------------------------------+-----------------
//! ```
//!
//! with all numbers in little endian. The medium is read as it would be in place: see
//! [`crate::ram`] and [`crate::layout`].

use crate::kho::crc32;
use crate::layout::RamSizes;
use core::fmt;
use core::mem::offset_of;
use zerocopy::little_endian::{
    U32,
    U64, //
};
use zerocopy::{
    FromBytes as _,
    IntoBytes as _, //
};

/// Type of the ELF note, `NT_VMCOREDD`.
pub const NOTE_TYPE: u32 = 0x700;
/// Name of the ELF note, without the zeros behind it.
pub const NOTE_OWNER: &[u8] = b"LINUX";
/// Bytes of the dump's name, which the note's content begins with.
pub const NOTE_NAME_BYTES: usize = 44;
/// What the name of a dump of mpstore begins with; the backend's name follows.
pub const NOTE_NAME_PREFIX: &[u8] = b"mpstore-";

/// What a dump begins with.
pub const MAGIC: [u8; 8] = *b"MPSTDUMP";
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// Size of [`Header`].
pub const HEADER_BYTES: usize = 160;
/// Room for the name of a backend, at least one zero included.
pub const NAME_BYTES: usize = 32;

/// The medium is a RAM region.
pub const KIND_RAM: u32 = 1;
/// The medium is one generation's memory of the backend for Kexec HandOver. Not written yet.
pub const KIND_KHO: u32 = 2;
/// The medium is a block device's. Not written yet.
pub const KIND_BLK: u32 = 3;

/// What the medium's copy is preceded by.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    zerocopy_derive::FromBytes,
    zerocopy_derive::IntoBytes,
    zerocopy_derive::Immutable,
    zerocopy_derive::KnownLayout,
    zerocopy_derive::Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// Bytes of this header; a longer one has fields behind those known.
    pub header_size: U32,
    /// Bytes of header and medium.
    pub total_size: U64,
    /// CRC-32 (IEEE 802.3, reflected) of `total_size` bytes, with this field as zero.
    pub checksum: U32,
    /// [`KIND_RAM`] or another.
    pub kind: U32,
    /// Physical address of the medium's first byte, zero if it has none.
    pub address: U64,
    /// Bytes of the medium.
    pub data_size: U64,
    /// As in [`RamSizes`], likewise the following.
    pub record_size: U64,
    /// See there.
    pub console_size: U64,
    /// See there.
    pub ftrace_size: U64,
    /// See there.
    pub pmsg_size: U64,
    /// See there.
    pub tty_size: U64,
    /// See there.
    pub ftrace_zones: U32,
    /// See there.
    pub ecc_size: U32,
    /// Name of the backend, filled up with zeros.
    pub name: [u8; NAME_BYTES],
    /// Zeros.
    pub reserved: [u8; 32],
}

const _: () = {
    assert!(core::mem::size_of::<Header>() == HEADER_BYTES);
    assert!(offset_of!(Header, version) == 8);
    assert!(offset_of!(Header, header_size) == 12);
    assert!(offset_of!(Header, total_size) == 16);
    assert!(offset_of!(Header, checksum) == 24);
    assert!(offset_of!(Header, kind) == 28);
    assert!(offset_of!(Header, address) == 32);
    assert!(offset_of!(Header, data_size) == 40);
    assert!(offset_of!(Header, record_size) == 48);
    assert!(offset_of!(Header, console_size) == 56);
    assert!(offset_of!(Header, ftrace_size) == 64);
    assert!(offset_of!(Header, pmsg_size) == 72);
    assert!(offset_of!(Header, tty_size) == 80);
    assert!(offset_of!(Header, ftrace_zones) == 88);
    assert!(offset_of!(Header, ecc_size) == 92);
    assert!(offset_of!(Header, name) == 96);
    assert!(offset_of!(Header, reserved) == 128);
};

/// Why bytes are no dump of mpstore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpError {
    /// They do not begin with [`MAGIC`]: another driver's.
    Foreign,
    /// They end before the header does.
    Short,
    /// A version that is not read.
    Version(u32),
    /// The sizes contradict each other or what there is.
    Size,
    /// They are damaged.
    Checksum,
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a device dump of mpstore"),
            Self::Short => f.write_str("the device dump ends within its header"),
            Self::Version(version) => {
                write!(
                    f,
                    "the device dump's version is {version}, only {VERSION} is read"
                )
            }
            Self::Size => f.write_str("the device dump's sizes contradict each other"),
            Self::Checksum => f.write_str("the device dump's checksum is wrong"),
        }
    }
}

impl core::error::Error for DumpError {}

/// A dump whose sizes and checksum are right.
#[derive(Clone, Copy, Debug)]
pub struct DeviceDump<'a> {
    header: Header,
    data: &'a [u8],
}

impl<'a> DeviceDump<'a> {
    /// Reads what follows the name in a note; what is behind the dump is passed over.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DumpError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(DumpError::Foreign);
        }
        let (header, _) = Header::read_from_prefix(bytes).map_err(|_| DumpError::Short)?;
        if header.version.get() != VERSION {
            return Err(DumpError::Version(header.version.get()));
        }
        let size = |n: u64| usize::try_from(n).map_err(|_| DumpError::Size);
        let header_size = size(header.header_size.get().into())?;
        let total = bytes
            .get(..size(header.total_size.get())?)
            .ok_or(DumpError::Size)?;
        let data = total.get(header_size..).ok_or(DumpError::Size)?;
        if header_size < HEADER_BYTES || data.len() != size(header.data_size.get())? {
            return Err(DumpError::Size);
        }
        if checksum(total) != header.checksum.get() {
            return Err(DumpError::Checksum);
        }
        Ok(Self { header, data })
    }

    /// Name of the backend that has the medium in use, without the zeros behind it.
    pub fn name(&self) -> &[u8] {
        let name = &self.header.name;
        name.split(|b| *b == 0).next().unwrap_or(name)
    }

    /// [`KIND_RAM`] or another.
    pub fn kind(&self) -> u32 {
        self.header.kind.get()
    }

    /// Physical address that the medium was copied from, zero if it has none.
    pub fn address(&self) -> u64 {
        self.header.address.get()
    }

    /// The medium.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// How it is divided; sizes that are no sizes are none.
    pub fn sizes(&self) -> RamSizes {
        let size = |n: U64| usize::try_from(n.get()).unwrap_or(0);
        let count = |n: U32| usize::try_from(n.get()).unwrap_or(0);
        RamSizes {
            mem_size: self.data.len(),
            record_size: size(self.header.record_size),
            console_size: size(self.header.console_size),
            ftrace_size: size(self.header.ftrace_size),
            pmsg_size: size(self.header.pmsg_size),
            tty_size: size(self.header.tty_size),
            ftrace_zones: count(self.header.ftrace_zones),
            ecc_size: count(self.header.ecc_size),
        }
    }
}

/// Bytes of a dump of a medium of `data_size` bytes, if that can be said in a note.
pub fn total_size(data_size: usize) -> Option<u32> {
    u32::try_from(data_size.checked_add(HEADER_BYTES)?).ok()
}

/// Completes a dump of the medium at `address`, of a RAM region called `name`: `out` has room for
/// the header, followed by the copy. Nothing is written to an `out` without that room.
pub fn complete(out: &mut [u8], name: &[u8], address: u64, sizes: &RamSizes) {
    // CAST: Sizes of memory fit.
    let number = |n: usize| U64::new(n as u64);
    let small = |n: usize| U32::new(u32::try_from(n).unwrap_or(u32::MAX));
    let total = out.len();
    let mut header = Header {
        magic: MAGIC,
        version: U32::new(VERSION),
        header_size: small(HEADER_BYTES),
        total_size: number(total),
        checksum: U32::new(0),
        kind: U32::new(KIND_RAM),
        address: U64::new(address),
        data_size: number(total.saturating_sub(HEADER_BYTES)),
        record_size: number(sizes.record_size),
        console_size: number(sizes.console_size),
        ftrace_size: number(sizes.ftrace_size),
        pmsg_size: number(sizes.pmsg_size),
        tty_size: number(sizes.tty_size),
        ftrace_zones: small(sizes.ftrace_zones),
        ecc_size: small(sizes.ecc_size),
        name: [0; NAME_BYTES],
        reserved: [0; 32],
    };
    for (to, from) in header
        .name
        .iter_mut()
        .take(NAME_BYTES.saturating_sub(1))
        .zip(name)
    {
        *to = *from;
    }
    if header.write_to_prefix(out).is_err() {
        return;
    }
    header.checksum = U32::new(checksum(out));
    // It had room a moment ago.
    let _ = header.write_to_prefix(out);
}

/// The checksum of a whole dump: the field itself counts as zero.
fn checksum(total: &[u8]) -> u32 {
    const FIELD: usize = offset_of!(Header, checksum);
    let (before, rest) = total.split_at_checked(FIELD).unwrap_or((total, &[]));
    let after = rest.get(4..).unwrap_or(&[]);
    crc32(before.iter().chain(&[0; 4]).chain(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STRIDE;

    const SIZES: RamSizes = RamSizes {
        mem_size: 0x3000,
        record_size: 0x400,
        console_size: 0x800,
        ftrace_size: 0x200,
        pmsg_size: 0x100,
        tty_size: 0x1000,
        ftrace_zones: 3,
        ecc_size: 16,
    };

    fn dump() -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES + SIZES.mem_size];
        for (n, byte) in out.iter_mut().enumerate().skip(HEADER_BYTES) {
            *byte = (n % 251) as u8;
        }
        complete(&mut out, b"ramoops", 0x1800_0000, &SIZES);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let out = dump();
        assert_eq!(total_size(SIZES.mem_size), u32::try_from(out.len()).ok());
        let dump = DeviceDump::parse(&out).unwrap();
        assert_eq!(dump.name(), b"ramoops");
        assert_eq!(dump.kind(), KIND_RAM);
        assert_eq!(dump.address(), 0x1800_0000);
        assert_eq!(dump.data(), &out[HEADER_BYTES..]);
        assert_eq!(dump.sizes(), SIZES);
    }

    #[test]
    fn padding_is_passed_over() {
        let mut out = dump();
        let whole = out.len();
        out.resize(whole + 3000, 0);
        assert_eq!(
            DeviceDump::parse(&out).unwrap().data(),
            &out[HEADER_BYTES..whole]
        );
    }

    #[test]
    fn the_bytes_are_these() {
        let out = dump();
        assert_eq!(&out[..8], b"MPSTDUMP");
        assert_eq!(&out[8..16], &[1, 0, 0, 0, 160, 0, 0, 0]);
        assert_eq!(&out[16..24], &(0x30a0u64).to_le_bytes());
        assert_eq!(&out[28..32], &[1, 0, 0, 0]);
        assert_eq!(&out[32..40], &(0x1800_0000u64).to_le_bytes());
        assert_eq!(&out[88..96], &[3, 0, 0, 0, 16, 0, 0, 0]);
        assert_eq!(&out[96..104], b"ramoops\0");
    }

    #[test]
    fn a_long_name_is_cut_and_still_ends() {
        let mut out = vec![0; HEADER_BYTES];
        complete(&mut out, &[b'x'; 100], 0, &SIZES);
        assert_eq!(DeviceDump::parse(&out).unwrap().name(), &[b'x'; 31]);
    }

    #[test]
    fn every_single_damage_is_noticed() {
        let out = dump();
        for at in (0..HEADER_BYTES + 64).step_by(STRIDE) {
            for bit in (0..8).step_by(STRIDE) {
                let mut bad = out.clone();
                bad[at] ^= 1 << bit;
                assert!(DeviceDump::parse(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let out = dump();
        for len in (0..out.len()).step_by(STRIDE) {
            assert!(DeviceDump::parse(&out[..len]).is_err(), "{len} bytes");
        }
        let mut little = [0; HEADER_BYTES - 1];
        complete(&mut little, b"x", 0, &SIZES);
        assert_eq!(little, [0; HEADER_BYTES - 1]);
    }

    #[test]
    fn sizes_that_lie_are_refused() {
        // With a right checksum, so that nothing but the sizes is wrong.
        for (at, value) in [(16, u64::MAX), (40, u64::MAX), (40, 0), (16, 8), (16, 0)] {
            let mut bad = dump();
            bad[at..at + 8].copy_from_slice(&value.to_le_bytes());
            let sum = checksum(&bad);
            bad[24..28].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(DeviceDump::parse(&bad).unwrap_err(), DumpError::Size);
        }
        for header_size in [0u32, 159, 0x4000, u32::MAX] {
            let mut bad = dump();
            bad[12..16].copy_from_slice(&header_size.to_le_bytes());
            let sum = checksum(&bad);
            bad[24..28].copy_from_slice(&sum.to_le_bytes());
            assert_eq!(DeviceDump::parse(&bad).unwrap_err(), DumpError::Size);
        }
    }

    #[test]
    fn a_longer_header_is_read() {
        let old = dump();
        let mut new = old[..HEADER_BYTES].to_vec();
        new.extend_from_slice(&[7; 40]);
        new.extend_from_slice(&old[HEADER_BYTES..]);
        new[12..16].copy_from_slice(&200u32.to_le_bytes());
        let total = new.len() as u64;
        new[16..24].copy_from_slice(&total.to_le_bytes());
        let sum = checksum(&new);
        new[24..28].copy_from_slice(&sum.to_le_bytes());
        let dump = DeviceDump::parse(&new).unwrap();
        assert_eq!(dump.data(), &old[HEADER_BYTES..]);
    }

    #[test]
    fn others_are_told_apart() {
        assert_eq!(
            DeviceDump::parse(&[0; 4096]).unwrap_err(),
            DumpError::Foreign
        );
        let mut newer = dump();
        newer[8] = 2;
        assert_eq!(
            DeviceDump::parse(&newer).unwrap_err(),
            DumpError::Version(2)
        );
        for error in [
            DumpError::Foreign,
            DumpError::Short,
            DumpError::Version(2),
            DumpError::Size,
            DumpError::Checksum,
        ] {
            assert!(!error.to_string().is_empty());
        }
    }
}
