// SPDX-License-Identifier: GPL-2.0

//! The parity that ramoops keeps beside its data: a Reed-Solomon code over bytes.
//!
//! The field is GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1 and its generator is 2. A code word is
//! data, highest power first, followed by `n` parity bytes that make it divisible by
//! (x - 1)(x - 2)(x - 2^2)...(x - 2^(n-1)). Words are shorter than the 255 bytes that the code has
//! room for; the missing bytes count as zeros in front.
//!
//! ```text
//!   0        12     12 + capacity                       zone_len - n  zone_len
//!   +--------+------+----------+-----+------------------+-------------+
//!   | header | data | parity 0 | ... | parity of last   | of header   |
//!   +--------+------+----------+-----+------------------+-------------+
//! ```
//!
//! Parity `i` covers bytes `128 * i` up to `128 * (i + 1)` of the data, or less at its end. Up to
//! `n / 2` damaged bytes of a word can be corrected.

use crate::error::Error;
use crate::ram::{
    Header,
    Ring,
    Span,
    HEADER_BYTES, //
};
use crate::Result;
use core::ops::Range;

/// Data bytes that share one group of parity bytes.
pub const BLOCK_BYTES: usize = 128;

/// Most parity bytes per block: with them a word has 255 bytes.
pub const ECC_SIZE_MAX: usize = 127;

/// What the parameter value 1 stands for in the in-tree ramoops.
pub const ECC_SIZE_DEFAULT: usize = 16;

/// Longest code word.
const WORD_MAX: usize = 255;
const POLY: u16 = 0x11d;

const _: () = assert!(BLOCK_BYTES + ECC_SIZE_MAX == WORD_MAX);

/// Powers of 2, twice over and a bit more: the sum of any two `u8` is inside the table.
static EXP: [u8; 512] = exp_table();
/// Logarithms to base 2; that of zero is never asked for.
static LOG: [u8; 256] = log_table();

const fn exp_table() -> [u8; 512] {
    let mut table = [0; 512];
    let mut value: u16 = 1;
    let mut i = 0;
    while i < table.len() {
        // CAST: Reduced to eight bits below.
        table[i] = value as u8;
        value <<= 1;
        if value > 0xff {
            value ^= POLY;
        }
        i += 1;
    }
    table
}

const fn log_table() -> [u8; 256] {
    let powers = exp_table();
    let mut table = [0; 256];
    let mut i: u8 = 0;
    // CAST: Widening, `From` is not const.
    while (i as usize) < WORD_MAX {
        table[powers[i as usize] as usize] = i;
        i += 1;
    }
    table
}

/// Logarithm of a value other than zero. A `u8` is always inside the table.
const fn log(value: u8) -> usize {
    // CAST: Widening, `From` is not const.
    LOG[value as usize] as usize
}

/// Two to the power of `power`, which may have any value.
const fn exp(power: usize) -> u8 {
    // A remainder modulo 255 is always inside the table.
    EXP[power % WORD_MAX]
}

const fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        0
    } else {
        // Two logarithms are 508 at most, inside the table.
        EXP[log(a) + log(b)]
    }
}

/// `a / b` for `b` other than zero.
const fn div(a: u8, b: u8) -> u8 {
    if a == 0 {
        0
    } else {
        EXP[log(a) + WORD_MAX - log(b)]
    }
}

/// The generator polynomial for `n` parity bytes without its leading one, highest power first.
const fn generator(n: usize) -> [u8; ECC_SIZE_MAX] {
    let mut poly = [0; ECC_SIZE_MAX + 1];
    poly[0] = 1;
    // Multiply by one factor (x - 2^i) after the other, lowest power last.
    let mut i = 0;
    while i < n {
        let root = exp(i);
        let mut j = i + 1;
        while j > 0 {
            poly[j] ^= mul(poly[j - 1], root);
            j -= 1;
        }
        i += 1;
    }
    let mut out = [0; ECC_SIZE_MAX];
    let mut j = 0;
    while j < n {
        out[j] = poly[j + 1];
        j += 1;
    }
    out
}

/// Multiples of the generator for sixteen parity bytes, packed highest power first, so that the
/// usual case takes one table look-up per byte. Row `k` is for a byte with `k` more behind it, so
/// that four bytes are taken in at once.
static ROWS16: [[[u64; 2]; 256]; 4] = shifted16();

const fn shifted16() -> [[[u64; 2]; 256]; 4] {
    let first = rows16();
    let mut rows = [first; 4];
    let mut k = 1;
    while k < 4 {
        let mut factor = 0;
        while factor < 256 {
            let [high, low] = rows[k - 1][factor];
            // CAST: Eight bits are left; widening otherwise.
            let [row_high, row_low] = first[(high >> 56) as usize];
            rows[k][factor] = [((high << 8) | (low >> 56)) ^ row_high, (low << 8) ^ row_low];
            factor += 1;
        }
        k += 1;
    }
    rows
}

const fn rows16() -> [[u64; 2]; 256] {
    let poly = generator(16);
    let mut rows = [[0; 2]; 256];
    let mut factor = 0;
    while factor < 256 {
        let mut half = 0;
        while half < 2 {
            let mut packed = 0u64;
            let mut j = 0;
            while j < 8 {
                // CAST: The factor is below 256; widening otherwise.
                packed = (packed << 8) | mul(poly[half * 8 + j], factor as u8) as u64;
                j += 1;
            }
            rows[factor][half] = packed;
            half += 1;
        }
        factor += 1;
    }
    rows
}

/// The code for a certain number of parity bytes.
///
/// # Invariants
///
/// `1 <= size <= ECC_SIZE_MAX`, and `poly` is the generator polynomial for it.
#[derive(Clone, Debug)]
pub struct Codec {
    size: usize,
    poly: [u8; ECC_SIZE_MAX],
}

impl Codec {
    /// Prepares the code with `ecc_size` parity bytes, 1 to 127.
    pub fn new(ecc_size: usize) -> Result<Self> {
        if ecc_size == 0 || ecc_size > ECC_SIZE_MAX {
            return Err(Error::EccSize { ecc_size });
        }
        // INVARIANT: Just checked.
        Ok(Self {
            size: ecc_size,
            poly: generator(ecc_size),
        })
    }

    /// Parity bytes per code word.
    pub const fn ecc_size(&self) -> usize {
        self.size
    }

    /// The parity of `data`, if the code has [`ECC_SIZE_DEFAULT`] parity bytes. Safe in a panic.
    #[inline]
    pub fn encode_default(&self, data: &[u8]) -> Option<[u8; ECC_SIZE_DEFAULT]> {
        (self.size == ECC_SIZE_DEFAULT).then(|| encode16(data))
    }

    /// Computes the parity of `data` into the first [`Self::ecc_size`] bytes of `parity`; a shorter
    /// buffer gets as many as it holds.
    ///
    /// Safe in a panic.
    pub fn encode(&self, data: &[u8], parity: &mut [u8]) {
        if self.size == 16 {
            if let Some(parity) = parity.first_chunk_mut::<16>() {
                *parity = encode16(data);
                return;
            }
        }
        let mut state = [0; ECC_SIZE_MAX];
        // By the type invariants both slices are `size` long.
        let state = state.get_mut(..self.size).unwrap_or(&mut []);
        let poly = self.poly.get(..self.size).unwrap_or(&[]);
        for &byte in data {
            let Some(first) = state.first() else { break };
            let factor = byte ^ *first;
            state.copy_within(1.., 0);
            if let Some(last) = state.last_mut() {
                *last = 0;
            }
            if factor == 0 {
                continue;
            }
            for (slot, coefficient) in state.iter_mut().zip(poly) {
                *slot ^= mul(*coefficient, factor);
            }
        }
        for (to, from) in parity.iter_mut().zip(state) {
            *to = *from;
        }
    }

    /// Corrects damage to `data` and `parity` in place and returns how many bytes were damaged.
    /// Changes nothing if it fails.
    ///
    /// `parity` must have [`Self::ecc_size`] bytes and both together 255 at most.
    pub fn decode(&self, data: &mut [u8], parity: &mut [u8]) -> Result<usize> {
        let len = data.len().saturating_add(parity.len());
        if parity.len() != self.size || len > WORD_MAX {
            return Err(Error::CodeWord);
        }
        let syndromes = self.syndromes(data, parity);
        let syndromes = syndromes.get(..self.size).unwrap_or(&[]);
        if syndromes.iter().all(|value| *value == 0) {
            return Ok(0);
        }
        let (locator, errors) = locator(syndromes);
        if errors == 0 || errors > self.size / 2 {
            return Err(Error::Uncorrectable);
        }

        // Where the locator vanishes there is damage. Look before touching anything.
        let weights = weights(syndromes, &locator);
        let locator = locator.get(..=errors).unwrap_or(&[]);
        let weights = weights.get(..errors).unwrap_or(&[]);
        let damage = |power: usize| {
            let inverse = exp(WORD_MAX - power);
            (evaluate(locator, inverse) == 0)
                .then(|| magnitude(weights, locator, power))
                .flatten()
        };
        let mut fixes = [(0u8, 0u8); ECC_SIZE_MAX / 2];
        let mut found = 0;
        // A word has 255 bytes at most, so every power fits.
        for power in (0..u8::MAX).take(len) {
            if let Some(value) = damage(usize::from(power)) {
                let slot = fixes.get_mut(found).ok_or(Error::Uncorrectable)?;
                *slot = (power, value);
                found += 1;
            }
        }
        // A root outside the word, or one twice: the damage is another than it seems.
        if found != errors {
            return Err(Error::Uncorrectable);
        }
        let fixes = fixes.get(..found).unwrap_or(&[]);
        apply(data, parity, fixes);
        let after = self.syndromes(data, parity);
        if after.iter().any(|value| *value != 0) {
            apply(data, parity, fixes);
            return Err(Error::Uncorrectable);
        }
        Ok(found)
    }

    /// The values of the word at the roots of the generator, all zero if there is no damage.
    fn syndromes(&self, data: &[u8], parity: &[u8]) -> [u8; ECC_SIZE_MAX] {
        let mut out = [0; ECC_SIZE_MAX];
        for (power, slot) in out.iter_mut().enumerate().take(self.size) {
            let root = exp(power);
            *slot = data
                .iter()
                .chain(parity)
                .fold(0, |value, byte| mul(value, root) ^ byte);
        }
        out
    }
}

fn encode16(data: &[u8]) -> [u8; 16] {
    let (mut high, mut low) = (0u64, 0u64);
    let [row0, row1, row2, row3] = &ROWS16;
    let mut rest = data;
    while let Some((word, after)) = rest.split_first_chunk::<4>() {
        // CAST: 32 bits are left.
        let factors = u32::from_be_bytes(*word) ^ (high >> 32) as u32;
        let [a, b, c, d] = factors.to_be_bytes();
        // A `u8` is always inside a table.
        let [a_high, a_low] = row3[usize::from(a)];
        let [b_high, b_low] = row2[usize::from(b)];
        let [c_high, c_low] = row1[usize::from(c)];
        let [d_high, d_low] = row0[usize::from(d)];
        high = ((high << 32) | (low >> 32)) ^ a_high ^ b_high ^ c_high ^ d_high;
        low = (low << 32) ^ a_low ^ b_low ^ c_low ^ d_low;
        rest = after;
    }
    for &byte in rest {
        // CAST: Eight bits are left.
        let factor = byte ^ (high >> 56) as u8;
        let [row_high, row_low] = row0[usize::from(factor)];
        high = ((high << 8) | (low >> 56)) ^ row_high;
        low = (low << 8) ^ row_low;
    }
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

/// A polynomial, lowest power first. One more coefficient than there are parity bytes.
type Poly = [u8; ECC_SIZE_MAX + 1];

fn coefficient(poly: &[u8], power: usize) -> u8 {
    poly.get(power).copied().unwrap_or(0)
}

fn evaluate(poly: &[u8], at: u8) -> u8 {
    poly.iter()
        .rev()
        .fold(0, |value, coefficient| mul(value, at) ^ coefficient)
}

/// Finds the shortest polynomial that predicts the syndromes (Berlekamp and Massey). Its roots are
/// the inverses of the places with damage. Also returns how many places it claims.
fn locator(syndromes: &[u8]) -> (Poly, usize) {
    let mut current: Poly = [0; ECC_SIZE_MAX + 1];
    current[0] = 1;
    // The polynomial before the last change of length, the discrepancy it failed with, and how many
    // steps ago that was.
    let mut before = current;
    let mut before_discrepancy = 1;
    let mut age = 1;
    let mut length = 0;
    for step in 0..syndromes.len() {
        let discrepancy = (0..=length.min(step)).fold(0, |sum, i| {
            sum ^ mul(coefficient(&current, i), coefficient(syndromes, step - i))
        });
        if discrepancy == 0 {
            age += 1;
            continue;
        }
        let factor = div(discrepancy, before_discrepancy);
        let old = current;
        for (slot, value) in current.iter_mut().skip(age).zip(before) {
            *slot ^= mul(factor, value);
        }
        if 2 * length <= step {
            length = step + 1 - length;
            before = old;
            before_discrepancy = discrepancy;
            age = 1;
        } else {
            age += 1;
        }
    }
    (current, length)
}

/// The product of syndromes and locator, as far as there are syndromes. It has fewer coefficients
/// than the locator claims places, if the claim is true.
fn weights(syndromes: &[u8], locator: &Poly) -> Poly {
    let mut out = [0; ECC_SIZE_MAX + 1];
    for (i, slot) in out.iter_mut().enumerate().take(syndromes.len()) {
        *slot = (0..=i).fold(0, |sum, j| {
            sum ^ mul(coefficient(locator, j), coefficient(syndromes, i - j))
        });
    }
    out
}

/// By how much the byte at `power` is off (Forney). `None` if the locator has a multiple root.
fn magnitude(weights: &[u8], locator: &[u8], power: usize) -> Option<u8> {
    let inverse = exp(WORD_MAX - power);
    let above = evaluate(weights, inverse);
    // The derivative of the locator there: of the odd powers, one lower each.
    let square = mul(inverse, inverse);
    let mut weight = 1;
    let mut below = 0;
    for value in locator.iter().skip(1).step_by(2) {
        below ^= mul(*value, weight);
        weight = mul(weight, square);
    }
    (below != 0).then(|| mul(exp(power), div(above, below)))
}

/// Adds each fix to its byte. Doing so again takes it back.
fn apply(data: &mut [u8], parity: &mut [u8], fixes: &[(u8, u8)]) {
    for &(power, value) in fixes {
        if let Some(byte) = data
            .iter_mut()
            .chain(parity.iter_mut())
            .rev()
            .nth(usize::from(power))
        {
            *byte ^= value;
        }
    }
}

/// One block of a zone. Offsets count from behind the zone's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The data it covers. Empty for a last block that rounding has left without any.
    pub data: Span,
    /// Where its parity is.
    pub parity: Span,
}

/// How a zone is divided between data and parity.
///
/// # Invariants
///
/// `capacity + (blocks + 1) * ecc_size == zone_len - HEADER_BYTES` and `capacity > 0`; without
/// parity `blocks` and `ecc_size` are zero. `blocks * BLOCK_BYTES >= capacity` otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EccGeometry {
    capacity: usize,
    blocks: usize,
    ecc_size: usize,
}

impl EccGeometry {
    /// Divides a zone of `zone_len` bytes, header included. With an `ecc_size` of zero there is no
    /// parity.
    #[inline]
    pub fn new(zone_len: usize, ecc_size: usize) -> Result<Self> {
        if ecc_size > ECC_SIZE_MAX {
            return Err(Error::EccSize { ecc_size });
        }
        let small = Error::ZoneTooSmall { len: zone_len };
        let usable = zone_len.checked_sub(HEADER_BYTES).ok_or(small)?;
        let (blocks, parity) = if ecc_size == 0 {
            (0, 0)
        } else {
            let shared = usable.checked_sub(ecc_size).ok_or(small)?;
            let blocks = shared.div_ceil(BLOCK_BYTES + ecc_size);
            // At most one parity byte per byte of the zone and `ecc_size` more.
            (blocks, (blocks + 1).saturating_mul(ecc_size))
        };
        let capacity = usable
            .checked_sub(parity)
            .filter(|rest| *rest > 0)
            .ok_or(small)?;
        // INVARIANT: Just computed so; rounding up made the blocks reach the capacity.
        Ok(Self {
            capacity,
            blocks,
            ecc_size,
        })
    }

    /// Bytes of data in the zone.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of blocks, zero without parity.
    pub const fn blocks(&self) -> usize {
        self.blocks
    }

    /// Parity bytes per block, zero without parity.
    pub const fn ecc_size(&self) -> usize {
        self.ecc_size
    }

    /// The block `index`.
    #[inline]
    pub fn block(&self, index: usize) -> Option<Block> {
        if index >= self.blocks {
            return None;
        }
        let at = index.saturating_mul(BLOCK_BYTES).min(self.capacity);
        Some(Block {
            data: Span {
                at,
                len: BLOCK_BYTES.min(self.capacity.saturating_sub(at)),
            },
            parity: Span {
                at: self
                    .capacity
                    .saturating_add(index.saturating_mul(self.ecc_size)),
                len: self.ecc_size,
            },
        })
    }

    /// Where the parity of the header is, behind that of the blocks. `None` without parity.
    #[inline]
    pub fn header_parity(&self) -> Option<Span> {
        (self.ecc_size != 0).then_some(Span {
            at: self
                .capacity
                .saturating_add(self.blocks.saturating_mul(self.ecc_size)),
            len: self.ecc_size,
        })
    }

    /// The numbers of the blocks that `span` touches: those to encode anew after writing there.
    #[inline]
    pub fn touched(&self, span: Span) -> Range<usize> {
        if self.ecc_size == 0 || span.len == 0 {
            return 0..0;
        }
        let first = span.at / BLOCK_BYTES;
        let end = span.end().div_ceil(BLOCK_BYTES).min(self.blocks);
        first.min(end)..end
    }
}

/// What a check of a zone found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Damaged bytes that are right again.
    pub corrected: usize,
    /// Blocks that stay damaged, the header counted as one.
    pub lost: usize,
}

/// Corrects the zone's header, and then as much of its data as the header says is valid, in place.
///
/// What cannot be corrected is counted and left as it is. Does nothing if `ecc_size` is zero.
pub fn repair_zone(zone: &mut [u8], sig: u32, ecc_size: usize) -> Result<Repair> {
    let geometry = EccGeometry::new(zone.len(), ecc_size)?;
    let mut repair = Repair::default();
    let small = Error::ZoneTooSmall { len: zone.len() };
    let (header, area) = zone.split_first_chunk_mut::<HEADER_BYTES>().ok_or(small)?;
    let Some(parity) = geometry.header_parity() else {
        return Ok(repair);
    };
    let codec = Codec::new(ecc_size)?;
    let mut decode = |data: &mut [u8], parity: &mut [u8]| match codec.decode(data, parity) {
        Ok(count) => repair.corrected += count,
        Err(_) => repair.lost += 1,
    };
    if let Some(parity) = area.get_mut(parity.at..parity.end()) {
        decode(header, parity);
    }
    let size = Ring::check(Header::from_bytes(*header), sig, geometry.capacity())
        .map_or(0, |ring| ring.size());
    let (data, parity) = area
        .split_at_mut_checked(geometry.capacity())
        .ok_or(small)?;
    let words = data
        .chunks_mut(BLOCK_BYTES)
        .zip(parity.chunks_mut(ecc_size))
        .take(size.div_ceil(BLOCK_BYTES));
    for (data, parity) in words {
        decode(data, parity);
    }
    Ok(repair)
}

/// Computes all parity of a zone from its header and data. For making images; the module encodes
/// what it touches.
pub fn seal_zone(zone: &mut [u8], ecc_size: usize) -> Result {
    let geometry = EccGeometry::new(zone.len(), ecc_size)?;
    let small = Error::ZoneTooSmall { len: zone.len() };
    let Some(span) = geometry.header_parity() else {
        return Ok(());
    };
    let codec = Codec::new(ecc_size)?;
    let (header, area) = zone.split_first_chunk_mut::<HEADER_BYTES>().ok_or(small)?;
    if let Some(parity) = area.get_mut(span.at..span.end()) {
        codec.encode(header, parity);
    }
    let (data, parity) = area
        .split_at_mut_checked(geometry.capacity())
        .ok_or(small)?;
    for (data, parity) in data.chunks(BLOCK_BYTES).zip(parity.chunks_mut(ecc_size)) {
        codec.encode(data, parity);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::SIGNATURE;
    use crate::STRIDE;

    /// Any generator will do, as long as it gives the same numbers each time.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound as u64) as usize
        }

        fn bytes(&mut self, len: usize) -> Vec<u8> {
            (0..len).map(|_| self.next() as u8).collect()
        }

        /// Changes `count` different bytes.
        fn damage(&mut self, word: &mut [u8], count: usize) {
            let mut places: Vec<usize> = (0..word.len()).collect();
            for _ in 0..count {
                let place = places.swap_remove(self.below(places.len()));
                word[place] ^= 1 + self.below(255) as u8;
            }
        }
    }

    fn parity(data: &[u8], ecc_size: usize) -> Vec<u8> {
        let mut out = vec![0xee; ecc_size];
        Codec::new(ecc_size).unwrap().encode(data, &mut out);
        out
    }

    fn hex(bytes: &[u8]) -> String {
        let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    }

    const HEADER: [u8; 12] = [0x44, 0x42, 0x47, 0x43, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn parity_is_that_of_the_in_tree_code() {
        assert_eq!(
            hex(&parity(&HEADER, 16)),
            "aa25d52132e2353a385519c02bcbad5f"
        );
        assert_eq!(
            hex(&parity(b"hello world, this is a test", 16)),
            "811d9fd325466d7b6c02d361812c01b2"
        );
        assert_eq!(hex(&parity(&HEADER, 8)), "8e5fcb3a2dc94680");
    }

    #[test]
    fn zeros_have_zero_parity() {
        for ecc_size in (1..=ECC_SIZE_MAX).step_by(STRIDE) {
            assert_eq!(parity(&[0; BLOCK_BYTES], ecc_size), vec![0; ecc_size]);
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for ecc_size in [0, 128, 255, usize::MAX] {
            assert_eq!(
                Codec::new(ecc_size).err(),
                Some(Error::EccSize { ecc_size })
            );
        }
        let codec = Codec::new(16).unwrap();
        assert_eq!(codec.ecc_size(), 16);
        assert_eq!(codec.decode(&mut [], &mut [0; 15]), Err(Error::CodeWord));
        assert_eq!(
            codec.decode(&mut [0; 240], &mut [0; 16]),
            Err(Error::CodeWord)
        );
        assert_eq!(codec.decode(&mut [0; 239], &mut [0; 16]), Ok(0));
        assert_eq!(codec.decode(&mut [], &mut [0; 16]), Ok(0));
    }

    #[test]
    fn the_quick_way_agrees_with_the_plain_one() {
        let mut random = Random(1);
        let codec = Codec::new(16).unwrap();
        for len in (0..=239).step_by(STRIDE) {
            let data = random.bytes(len);
            // What `encode` does for any other size, on a buffer that the quick way does not take.
            let mut long = [0; 16];
            codec.encode(&data, &mut long);
            let mut short = [0; 15];
            codec.encode(&data, &mut short);
            assert_eq!(long[..15], short);
        }
    }

    #[test]
    fn every_code_corrects_half_its_parity() {
        let mut random = Random(2);
        for ecc_size in (1..=ECC_SIZE_MAX).step_by(STRIDE) {
            let codec = Codec::new(ecc_size).unwrap();
            for len in [0, 1, 12, BLOCK_BYTES] {
                let data = random.bytes(len);
                let parity = parity(&data, ecc_size);
                let word = [data, parity].concat();
                let most = (ecc_size / 2).min(word.len());
                for count in (0..=most).rev().step_by(STRIDE.min(1 + ecc_size / 4)) {
                    let mut bad = word.clone();
                    random.damage(&mut bad, count);
                    let (data, parity) = bad.split_at_mut(len);
                    assert_eq!(codec.decode(data, parity), Ok(count));
                    assert_eq!(bad, word);
                }
            }
        }
    }

    #[test]
    fn single_bytes_are_corrected_wherever_they_are() {
        let codec = Codec::new(2).unwrap();
        let data: Vec<u8> = (0..253).collect();
        let word = [data.clone(), parity(&data, 2)].concat();
        for place in (0..word.len()).step_by(STRIDE) {
            for value in [1, 0x80, 0xff] {
                let mut bad = word.clone();
                bad[place] ^= value;
                let (data, parity) = bad.split_at_mut(253);
                assert_eq!(codec.decode(data, parity), Ok(1));
                assert_eq!(bad, word);
            }
        }
    }

    #[test]
    fn more_damage_is_reported_and_left_alone() {
        let mut random = Random(3);
        for ecc_size in [16, 17, 32, 127] {
            let codec = Codec::new(ecc_size).unwrap();
            for _ in (0..200).step_by(STRIDE) {
                let data = random.bytes(BLOCK_BYTES);
                let mut word = [data.clone(), parity(&data, ecc_size)].concat();
                let count = ecc_size / 2 + 1 + random.below(ecc_size / 2);
                random.damage(&mut word, count);
                let before = word.clone();
                let (data, parity) = word.split_at_mut(BLOCK_BYTES);
                // Once in tens of thousands of times another code word would be nearer.
                assert_eq!(codec.decode(data, parity), Err(Error::Uncorrectable));
                assert_eq!(word, before);
            }
        }
    }

    #[test]
    fn whatever_comes_out_is_a_code_word() {
        let mut random = Random(4);
        let mut wrong = 0;
        for _ in (0..5000).step_by(STRIDE) {
            let ecc_size = 1 + random.below(6);
            let codec = Codec::new(ecc_size).unwrap();
            let len = random.below(BLOCK_BYTES);
            let mut word = random.bytes(len + ecc_size);
            let before = word.clone();
            let (data, parity) = word.split_at_mut(len);
            match codec.decode(data, parity) {
                Ok(count) => {
                    assert_eq!(self::parity(data, ecc_size), parity);
                    let changed = before.iter().zip(&word).filter(|(a, b)| a != b).count();
                    assert_eq!(count, changed);
                    wrong += 1;
                }
                Err(error) => {
                    assert_eq!(error, Error::Uncorrectable);
                    assert_eq!(before, word);
                }
            }
        }
        // Short codes do find something near now and then.
        assert!(wrong > 0);
    }

    #[test]
    fn geometry_is_that_of_the_in_tree_code() {
        let geometry = EccGeometry::new(4096, 16).unwrap();
        assert_eq!(geometry.blocks(), 29);
        assert_eq!(geometry.capacity(), 3604);
        assert_eq!(geometry.ecc_size(), 16);
        // Offsets count from behind the header.
        assert_eq!(geometry.block(0).unwrap().parity.at, 3616 - 12);
        assert_eq!(
            geometry.header_parity(),
            Some(Span {
                at: 4080 - 12,
                len: 16
            })
        );
        assert_eq!(
            geometry.block(28).unwrap().data,
            Span {
                at: 28 * 128,
                len: 20
            }
        );
        assert_eq!(geometry.block(29), None);

        let geometry = EccGeometry::new(8192, 16).unwrap();
        assert_eq!(geometry.blocks(), 57);
        assert_eq!(geometry.capacity(), 7252);
    }

    #[test]
    fn without_parity_all_is_data() {
        let geometry = EccGeometry::new(4096, 0).unwrap();
        assert_eq!(geometry.capacity(), 4084);
        assert_eq!(geometry.blocks(), 0);
        assert_eq!(geometry.block(0), None);
        assert_eq!(geometry.header_parity(), None);
        assert_eq!(geometry.touched(Span { at: 0, len: 100 }), 0..0);
    }

    #[test]
    fn parts_of_a_zone_do_not_overlap() {
        for ecc_size in (0..=ECC_SIZE_MAX).step_by(STRIDE) {
            for zone_len in (0..2000).step_by(STRIDE) {
                let Ok(geometry) = EccGeometry::new(zone_len, ecc_size) else {
                    continue;
                };
                let mut data_end = 0;
                let mut parity_end = geometry.capacity();
                for index in 0..geometry.blocks() {
                    let block = geometry.block(index).unwrap();
                    assert_eq!(block.data.at, data_end);
                    assert_eq!(block.parity.at, parity_end);
                    assert_eq!(block.parity.len, ecc_size);
                    data_end = block.data.end();
                    parity_end = block.parity.end();
                }
                if let Some(header) = geometry.header_parity() {
                    assert_eq!(data_end, geometry.capacity());
                    assert_eq!(header.at, parity_end);
                    parity_end = header.end();
                }
                assert_eq!(parity_end, zone_len - HEADER_BYTES);
            }
        }
    }

    #[test]
    fn zones_without_room_are_refused() {
        assert!(EccGeometry::new(12, 0).is_err());
        assert!(EccGeometry::new(13, 0).is_ok());
        assert!(EccGeometry::new(0, 16).is_err());
        assert!(EccGeometry::new(12 + 32, 16).is_err());
        assert!(EccGeometry::new(12 + 33, 16).is_ok());
        assert!(EccGeometry::new(4096, 128).is_err());
        assert!(EccGeometry::new(usize::MAX, 127).is_ok());
    }

    #[test]
    fn touched_blocks() {
        let geometry = EccGeometry::new(4096, 16).unwrap();
        let touched = |at, len| geometry.touched(Span { at, len });
        assert_eq!(touched(0, 1), 0..1);
        assert_eq!(touched(127, 1), 0..1);
        assert_eq!(touched(127, 2), 0..2);
        assert_eq!(touched(128, 128), 1..2);
        assert_eq!(touched(100, 300), 0..4);
        assert!(touched(128, 0).is_empty());
        assert_eq!(touched(3600, 4), 28..29);
        assert_eq!(touched(0, 3604), 0..29);
        assert!(touched(usize::MAX, 9).is_empty());
    }

    #[test]
    fn a_zone_is_sealed_and_repaired() {
        let mut random = Random(5);
        for (zone_len, ecc_size) in [(4096, 16), (1000, 8), (600, 127), (45, 16)] {
            let capacity = EccGeometry::new(zone_len, ecc_size).unwrap().capacity();
            let mut ring = Ring::empty(capacity);
            ring.append(capacity);
            let mut zone = ring.header(SIGNATURE).to_bytes().to_vec();
            zone.extend(random.bytes(zone_len - HEADER_BYTES));
            seal_zone(&mut zone, ecc_size).unwrap();
            let sealed = zone.clone();
            assert_eq!(
                repair_zone(&mut zone, SIGNATURE, ecc_size),
                Ok(Repair::default())
            );
            // Signature, counters, first and last byte of data, and the header's parity.
            let mut places = vec![0, 4, 11, 12, 12 + capacity - 1, zone_len - 1];
            places.dedup();
            let expected = Repair {
                corrected: places.len(),
                lost: 0,
            };
            for place in places {
                zone[place] ^= 0x55;
            }
            assert_eq!(repair_zone(&mut zone, SIGNATURE, ecc_size), Ok(expected));
            assert_eq!(zone, sealed);
        }
    }

    #[test]
    fn damage_beyond_repair_is_counted() {
        let mut ring = Ring::empty(3604);
        ring.append(200);
        let mut zone = ring.header(SIGNATURE).to_bytes().to_vec();
        zone.resize(4096, b'x');
        seal_zone(&mut zone, 16).unwrap();
        let broken = |from: usize| {
            let mut zone = zone.clone();
            for byte in &mut zone[from..from + 9] {
                *byte ^= 0xff;
            }
            repair_zone(&mut zone, SIGNATURE, 16).unwrap()
        };
        let one = Repair {
            corrected: 0,
            lost: 1,
        };
        assert_eq!(broken(12), one);
        assert_eq!(broken(12 + 128), one);
        assert_eq!(broken(0), one);
        // Beyond the valid data nobody looks.
        assert_eq!(broken(12 + 256), Repair::default());
    }
}
