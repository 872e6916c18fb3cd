// SPDX-License-Identifier: GPL-2.0

//! What lies in the last block of a device that a panic may be written to by taking its controller
//! over.
//!
//! It is written by way of the block layer when the device is armed, and read back by way of the
//! controller before anything is written. What is compared is every byte, so that nobody need parse
//! it; the fields are for people who look at a disk.

use core::mem::offset_of;
use zerocopy::IntoBytes as _;

/// "MPSTAKE1" in a little endian dump.
pub const MAGIC: u64 = 0x3145_4b41_5453_504d;
/// The version that is written.
pub const VERSION: u32 = 1;
/// Size of [`Signature`].
pub const SIGNATURE_BYTES: usize = 128;
/// How much is kept free for it at the end of the device: whole blocks of any size there is.
pub const RESERVED_BYTES: u64 = 4096;

/// The signature, little endian; the rest of its block is zero.
#[derive(
    Clone,
    Copy,
    Debug,
    zerocopy_derive::IntoBytes,
    zerocopy_derive::FromBytes,
    zerocopy_derive::Immutable,
    zerocopy_derive::KnownLayout,
)]
#[repr(C)]
pub struct Signature {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// CRC-32 of all other bytes.
    pub checksum: u32,
    /// Random, anew each time.
    pub nonce: [u8; 16],
    /// Where the device (a partition, say) begins on its disk, in logical blocks.
    pub start_block: u64,
    /// Bytes of the device.
    pub bytes: u64,
    /// Where the block of this signature is, in bytes from the start of the device.
    pub at: u64,
    /// Bytes of a logical block.
    pub block_bytes: u32,
    /// PCI vendor, and device in the upper half, of the controller.
    pub pci_id: u32,
    /// NVMe: the namespace. AHCI: the port. Else zero.
    pub unit: u32,
    /// Bytes of `name` that are used.
    pub name_len: u32,
    /// What the kernel called controller and device when it was armed.
    pub name: [u8; 32],
    /// When it was armed, in seconds since 1970.
    pub seconds: u64,
    /// Zero.
    pub reserved: [u8; 16],
}

const _: () = {
    assert!(core::mem::size_of::<Signature>() == SIGNATURE_BYTES);
    assert!(offset_of!(Signature, checksum) == 12);
    assert!(offset_of!(Signature, nonce) == 16);
    assert!(offset_of!(Signature, start_block) == 32);
    assert!(offset_of!(Signature, bytes) == 40);
    assert!(offset_of!(Signature, at) == 48);
    assert!(offset_of!(Signature, block_bytes) == 56);
    assert!(offset_of!(Signature, pci_id) == 60);
    assert!(offset_of!(Signature, unit) == 64);
    assert!(offset_of!(Signature, name_len) == 68);
    assert!(offset_of!(Signature, name) == 72);
    assert!(offset_of!(Signature, seconds) == 104);
    assert!(offset_of!(Signature, reserved) == 112);
};

impl Signature {
    /// With its checksum.
    pub fn sealed(mut self) -> Self {
        self.checksum = 0;
        self.checksum = crate::kho::crc32(self.as_bytes());
        self
    }

    /// Whether it is one, undamaged.
    pub fn valid(&self) -> bool {
        self.magic == MAGIC && self.version == VERSION && self.sealed().checksum == self.checksum
    }

    /// As it lies on the medium.
    pub fn to_bytes(&self) -> [u8; SIGNATURE_BYTES] {
        let mut bytes = [0; SIGNATURE_BYTES];
        bytes.copy_from_slice(self.as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes as _;

    fn some() -> Signature {
        Signature {
            magic: MAGIC,
            version: VERSION,
            checksum: 0,
            nonce: *b"0123456789abcdef",
            start_block: 2048,
            bytes: 1 << 20,
            at: (1 << 20) - RESERVED_BYTES,
            block_bytes: 512,
            pci_id: 0x1001_1af4,
            unit: 1,
            name_len: 3,
            name: [0x61; 32],
            seconds: 1,
            reserved: [0; 16],
        }
        .sealed()
    }

    #[test]
    fn a_signature_is_known_again() {
        let bytes = some().to_bytes();
        assert_eq!(&bytes[..8], b"MPSTAKE1");
        let back = Signature::read_from_bytes(&bytes).unwrap();
        assert!(back.valid());
    }

    #[test]
    fn every_bit_counts() {
        let bytes = some().to_bytes();
        for bit in 0..8 * SIGNATURE_BYTES {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !Signature::read_from_bytes(&bytes).unwrap().valid(),
                "{bit}"
            );
        }
    }
}
