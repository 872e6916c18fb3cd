// SPDX-License-Identifier: GPL-2.0

//! Writes text into a fixed buffer without `core::fmt`.
//!
//! A panic must not depend on the formatting machinery: it is large, it goes through function
//! pointers and it may unwind. What is needed here is bytes and decimal numbers.

/// Digits of the largest `u64`.
pub(crate) const U64_DIGITS: usize = 20;

/// Digits of the largest `u32`.
pub(crate) const U32_DIGITS: usize = 10;

/// A buffer that is filled from the front. What does not fit is dropped.
pub(crate) struct Put<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Put<'a> {
    /// Starts at the front of `out`.
    pub(crate) fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.at
    }

    /// Appends one byte.
    pub(crate) fn byte(&mut self, byte: u8) -> &mut Self {
        if let Some(slot) = self.out.get_mut(self.at) {
            *slot = byte;
            self.at += 1;
        }
        self
    }

    /// Appends `bytes`.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let rest = self.out.get_mut(self.at..).unwrap_or_default();
        match rest.get_mut(..bytes.len()) {
            Some(to) => to.copy_from_slice(bytes),
            None => {
                for (to, from) in rest.iter_mut().zip(bytes) {
                    *to = *from;
                }
            }
        }
        self.at = self.at.saturating_add(bytes.len()).min(self.out.len());
        self
    }

    /// Appends `value` in decimal, filled up to `width` from the left with `fill`.
    pub(crate) fn number(&mut self, value: u64, width: usize, fill: u8) -> &mut Self {
        let mut digits = [0u8; U64_DIGITS];
        let mut count = 0;
        let mut rest = value;
        for slot in digits.iter_mut().rev() {
            // CAST: A remainder modulo ten fits any integer.
            *slot = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        for _ in count..width {
            self.byte(fill);
        }
        for &digit in digits.iter().skip(U64_DIGITS.saturating_sub(count)) {
            self.byte(digit);
        }
        self
    }
}

/// Takes a decimal number off the front of `bytes`: at least one digit, nothing beyond `u64`.
pub(crate) fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let count = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, rest) = bytes.split_at_checked(count)?;
    let first = digits.first()?;
    let value = digits
        .get(1..)?
        .iter()
        .try_fold(u64::from(first - b'0'), |value, digit| {
            value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })?;
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u64, width: usize, fill: u8) -> String {
        let mut out = [0; 32];
        let mut put = Put::new(&mut out);
        let len = put.number(value, width, fill).len();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn numbers_are_those_of_format() {
        for value in [0, 1, 9, 10, 99, 100, 12_345, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(number(value, 0, b'0'), format!("{value}"));
            assert_eq!(number(value, 6, b'0'), format!("{value:06}"));
            assert_eq!(number(value, 5, b' '), format!("{value:5}"));
        }
    }

    #[test]
    fn a_full_buffer_drops_the_rest() {
        let mut out = [0; 4];
        let mut put = Put::new(&mut out);
        put.bytes(b"ab").number(123_456, 0, b'0').byte(b'x');
        assert_eq!(put.len(), 4);
        assert_eq!(&out, b"ab12");
    }

    #[test]
    fn numbers_are_taken() {
        assert_eq!(take_number(b"12.5"), Some((12, &b".5"[..])));
        assert_eq!(take_number(b"007"), Some((7, &b""[..])));
        assert_eq!(
            take_number(b"18446744073709551615x"),
            Some((u64::MAX, &b"x"[..]))
        );
        assert_eq!(take_number(b"18446744073709551616"), None);
        assert_eq!(take_number(b""), None);
        assert_eq!(take_number(b"-1"), None);
    }
}
