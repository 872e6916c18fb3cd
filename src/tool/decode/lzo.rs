// SPDX-License-Identifier: GPL-2.0

//! LZO1X, which makedumpfile compresses pages with. The crates that decompress it trust their
//! input; dumps can't be trusted. Source of the format: `Documentation/staging/lzo.rst` of Linux.

/// Takes bytes off the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(usize::from(*first))
    }

    fn pair(&mut self) -> Option<usize> {
        Some(self.byte()? | (self.byte()? << 8))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A length that did not fit its instruction: zeros count 255 each, another byte ends it.
    fn long(&mut self, base: usize) -> Option<usize> {
        let mut sum = base;
        loop {
            match self.byte()? {
                0 => sum = sum.checked_add(255)?,
                last => return sum.checked_add(last),
            }
        }
    }
}

/// Decompresses to at most `limit` bytes. [`None`] if the input is damaged or is more than that.
pub(crate) fn decompress(input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut input = Bytes(input);
    let mut out: Vec<u8> = Vec::with_capacity(limit);
    // How many literals came before: none, one to three, or more.
    let mut state = 0;
    let first = usize::from(*input.0.first()?);
    if first >= 18 {
        input.byte()?;
        let len = first - 17;
        literals(&mut input, &mut out, len, limit)?;
        state = len.min(4);
    }
    loop {
        let code = input.byte()?;
        let (distance, len, after) = match code {
            0..=15 if state == 0 => {
                let len = if code == 0 { input.long(15)? } else { code } + 3;
                literals(&mut input, &mut out, len, limit)?;
                state = 4;
                continue;
            }
            0..=15 => {
                let high = input.byte()? << 2;
                let (base, len) = if state == 4 { (2049, 3) } else { (1, 2) };
                (high + (code >> 2) + base, len, code & 3)
            }
            16..=31 => {
                let low = code & 7;
                let len = if low == 0 { input.long(7)? } else { low } + 2;
                let pair = input.pair()?;
                let distance = 16384 + ((code & 8) << 11) + (pair >> 2);
                if distance == 16384 {
                    return Some(out);
                }
                (distance, len, pair & 3)
            }
            32..=63 => {
                let low = code & 31;
                let len = if low == 0 { input.long(31)? } else { low } + 2;
                let pair = input.pair()?;
                ((pair >> 2) + 1, len, pair & 3)
            }
            64..=127 => {
                let distance = (input.byte()? << 3) + ((code >> 2) & 7) + 1;
                (distance, 3 + ((code >> 5) & 1), code & 3)
            }
            _ => {
                let distance = (input.byte()? << 3) + ((code >> 2) & 7) + 1;
                (distance, 5 + ((code >> 5) & 3), code & 3)
            }
        };
        let from = out.len().checked_sub(distance)?;
        if out.len().checked_add(len)? > limit {
            return None;
        }
        // What is copied may reach into the copy.
        for at in from..from + len {
            let byte = *out.get(at)?;
            out.push(byte);
        }
        literals(&mut input, &mut out, after, limit)?;
        state = after;
    }
}

fn literals(input: &mut Bytes<'_>, out: &mut Vec<u8>, len: usize, limit: usize) -> Option<()> {
    let taken = input.take(len)?;
    if out.len() + taken.len() > limit {
        return None;
    }
    out.extend_from_slice(taken);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_library_compresses() {
        let mut state = 1u32;
        for len in (1..300).chain([4095, 4096, 65536]) {
            for kind in 0..4 {
                let text: Vec<u8> = (0..len)
                    .map(|i: u32| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        match kind {
                            0 => 0,
                            1 => (state >> 24) as u8,
                            2 => b"the quick brown fox "[(i % 20) as usize],
                            _ => (state >> 30) as u8 | (i >> 9) as u8,
                        }
                    })
                    .collect();
                let packed = lzokay_native::compress(&text).unwrap();
                assert_eq!(
                    decompress(&packed, text.len()).as_ref(),
                    Some(&text),
                    "{len} {kind}"
                );
                if len > 0 {
                    assert_eq!(decompress(&packed, text.len() - 1), None);
                    assert_eq!(decompress(&packed[..packed.len() - 1], text.len()), None);
                }
                // Damage gives anything but a panic, and never too much.
                for _ in 0..8 {
                    let mut bad = packed.clone();
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let at = (state >> 8) as usize % bad.len();
                    bad[at] ^= 1 << (state & 7);
                    if let Some(out) = decompress(&bad, text.len()) {
                        assert!(out.len() <= text.len());
                    }
                }
            }
        }
    }
}
