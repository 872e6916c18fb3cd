// SPDX-License-Identifier: GPL-2.0

//! Compression of dumps with memory taken at load, and the way back.
//!
//! `Documentation/compression.md` has the measurements behind the numbers here.

// A kernel may lack any of the libraries.
#![cfg_attr(
    not(all(
        CONFIG_ZLIB_DEFLATE,
        CONFIG_ZLIB_INFLATE,
        CONFIG_ZSTD_COMPRESS,
        CONFIG_ZSTD_DECOMPRESS
    )),
    allow(dead_code, unused_imports, unused_variables, unused_mut)
)]

use crate::sys::errno::EOPNOTSUPP;
use crate::sys::{
    zlib,
    zstd,
    Damage, //
};
use kernel::prelude::*;
use mpstore_format::dump::{
    chunks_max,
    pack,
    Chunk,
    Method,
    Packed, //
};

/// Text in a chunk, at most: larger ones compress better, smaller ones fill records better. It is
/// also the most that the deflate settings below take.
const CHUNK_MAX: usize = 6144;

/// And where records are small, at least: smaller ones hardly compress.
const CHUNK_MIN: usize = 1024;

/// Deflate's level, a history of 2^12 bytes, and a hash table of 2^12 entries: twice that does not
/// pay. Level 3 is the last one before lazy matching, which costs a third more.
#[cfg(CONFIG_ZLIB_DEFLATE)]
const DEFLATE: (c_int, c_int, c_int) = (3, 12, 5);

/// Level 1 is as good on chunks of this size as those above it.
#[cfg(CONFIG_ZSTD_COMPRESS)]
const ZSTD_LEVEL: c_int = 1;

/// Text per byte of a compressed record that the frontend takes from the log. Kernel logs compress
/// to 0.35 to 0.4 in chunks, so that this nearly always fits, and more would cost time in a panic.
pub(crate) const TEXT_PER_BYTE: usize = 2;

/// How large chunks are for records of `capacity` bytes and more.
pub(crate) fn chunk_size(capacity: usize) -> usize {
    // At a third of its size two or more fit.
    (capacity / 4).saturating_mul(3).clamp(CHUNK_MIN, CHUNK_MAX)
}

/// Whether this kernel can compress like that.
pub(crate) fn supported(method: Method) -> bool {
    match method {
        Method::Deflate => cfg!(CONFIG_ZLIB_DEFLATE),
        Method::Zstd => cfg!(CONFIG_ZSTD_COMPRESS),
    }
}

enum Engine {
    #[cfg(CONFIG_ZLIB_DEFLATE)]
    Deflate(zlib::Deflate),
    #[cfg(CONFIG_ZSTD_COMPRESS)]
    Zstd(zstd::Compress),
}

impl Engine {
    #[allow(unreachable_patterns)]
    fn new(method: Method, size: usize) -> Result<Self> {
        match method {
            #[cfg(CONFIG_ZLIB_DEFLATE)]
            Method::Deflate => {
                let (level, window_bits, mem_level) = DEFLATE;
                zlib::Deflate::new(level, window_bits, mem_level).map(Self::Deflate)
            }
            #[cfg(CONFIG_ZSTD_COMPRESS)]
            Method::Zstd => zstd::Compress::new(ZSTD_LEVEL, size).map(Self::Zstd),
            _ => Err(EOPNOTSUPP),
        }
    }

    fn pack(&mut self, text: &[u8], out: &mut [u8]) -> Option<usize> {
        match *self {
            #[cfg(CONFIG_ZLIB_DEFLATE)]
            Self::Deflate(ref mut deflate) => deflate.chunk(text, out),
            #[cfg(CONFIG_ZSTD_COMPRESS)]
            Self::Zstd(ref mut zstd) => zstd.frame(text, out),
        }
    }
}

/// Compresses one log at a time.
pub(crate) struct Packer {
    method: Method,
    size: usize,
    engine: Engine,
    chunks: VVec<Chunk>,
    /// Of these, how many the latest log took.
    count: usize,
    bytes: VVec<u8>,
}

impl Packer {
    /// For texts of `len` bytes in chunks of `size`. May sleep.
    pub(crate) fn new(method: Method, len: usize, size: usize) -> Result<Self> {
        let count = chunks_max(len, size);
        let mut chunks = VVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            chunks.push(Chunk::default(), GFP_KERNEL)?;
        }
        Ok(Self {
            method,
            size,
            engine: Engine::new(method, size)?,
            chunks,
            count: 0,
            // What is less compressible than that is stored as it is, from the text.
            bytes: VVec::from_elem(0, len / 2, GFP_KERNEL)?,
        })
    }

    /// Compresses `text`. Any context.
    pub(crate) fn pack(&mut self, text: &[u8]) {
        let Self { engine, .. } = self;
        self.count = pack(
            text,
            self.size,
            &mut self.chunks,
            &mut self.bytes,
            &mut |text, out| engine.pack(text, out),
        );
    }

    /// The log that was compressed last. Any context.
    pub(crate) fn packed(&self) -> Packed<'_> {
        Packed {
            method: self.method,
            chunks: self.chunks.get(..self.count).unwrap_or(&[]),
            bytes: &self.bytes,
        }
    }
}

/// Decompresses records, one at a time. What it needs is allocated when it is first needed.
#[derive(Default)]
pub(crate) struct Unpacker {
    text: KVVec<u8>,
    #[cfg(CONFIG_ZLIB_INFLATE)]
    inflate: Option<zlib::Inflate>,
    #[cfg(CONFIG_ZSTD_DECOMPRESS)]
    zstd: Option<zstd::Decompress>,
}

impl Unpacker {
    /// Decompresses a record to no more than `limit` bytes, or says why it can't be. Which method
    /// this load compresses with does not matter. May sleep.
    pub(crate) fn unpack(
        &mut self,
        record: &[u8],
        limit: usize,
    ) -> Result<Result<&[u8], &'static str>> {
        if self.text.capacity() != limit {
            self.text = KVVec::with_capacity(limit, GFP_KERNEL)?;
        }
        self.text.clear();
        let text = &mut self.text;
        let method = Method::of(record);
        let done = match method {
            #[cfg(CONFIG_ZLIB_INFLATE)]
            Method::Deflate => {
                if self.inflate.is_none() {
                    self.inflate = Some(zlib::Inflate::new()?);
                }
                self.inflate.as_mut().map(|i| i.run(record, text))
            }
            #[cfg(CONFIG_ZSTD_DECOMPRESS)]
            Method::Zstd => {
                if self.zstd.is_none() {
                    self.zstd = Some(zstd::Decompress::new()?);
                }
                self.zstd.as_mut().map(|z| z.run(record, text))
            }
            #[allow(unreachable_patterns)]
            _ => None,
        };
        Ok(match done.unwrap_or(Err(Damage::Unsupported)) {
            Ok(()) => Ok(&self.text),
            Err(damage) => Err(match (damage, method) {
                (Damage::Cut, Method::Deflate) => "its end is missing",
                (Damage::TooLong, _) => "it is longer than any record should be",
                (Damage::Invalid, Method::Deflate) => "damaged, or no deflate stream",
                // zstd does not tell a frame that is missing from one that is none.
                (Damage::Cut | Damage::Invalid, Method::Zstd) => "damaged, or its end is missing",
                (Damage::Unsupported, Method::Deflate) => "this kernel has no zlib_inflate",
                (Damage::Unsupported, Method::Zstd) => "this kernel has no zstd",
            }),
        })
    }

    /// The text of the record that was decompressed last.
    pub(crate) fn take(&mut self) -> KVVec<u8> {
        core::mem::take(&mut self.text)
    }
}
