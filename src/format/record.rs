// SPDX-License-Identifier: GPL-2.0

//! The line that ramoops puts in front of a kernel message record.
//!
//! ```text
//! ====1795229979.851876-C
//!     |          |      | 'C': a raw deflate stream follows, anything else: text follows
//!     |          microseconds
//!     seconds of wall clock time
//! ```
//!
//! Old kernels wrote it without dash and letter, always before text. Exactly one line feed ends
//! it. The in-tree reader takes further white space for part of it and thus eats the first byte of
//! a deflate stream that begins with 0x0b; this one does not.

use crate::put::{
    take_number,
    Put,
    U64_DIGITS, //
};

const MARK: &[u8] = b"====";
const USEC_DIGITS: usize = 6;
const USEC_MAX: u32 = 999_999;

/// Longest header line, line feed included.
pub const DMESG_HEADER_MAX: usize = MARK.len() + U64_DIGITS + 1 + USEC_DIGITS + 3;

/// A point in time as records carry it, counted from 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Whole seconds.
    pub sec: u64,
    /// Microseconds beyond them, below one million.
    pub usec: u32,
}

/// The header line of a kernel message record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DmesgHeader {
    /// When the record was made.
    pub stamp: Stamp,
    /// Whether a raw deflate stream follows rather than text.
    pub compressed: bool,
}

impl DmesgHeader {
    /// Writes the line to the front of `out` and returns its length.
    ///
    /// Safe in a panic. Microseconds beyond the last of a second become that last one.
    pub fn encode(&self, out: &mut [u8; DMESG_HEADER_MAX]) -> usize {
        Put::new(out)
            .bytes(MARK)
            .number(self.stamp.sec, 0, b'0')
            .byte(b'.')
            .number(u64::from(self.stamp.usec.min(USEC_MAX)), USEC_DIGITS, b'0')
            .bytes(if self.compressed { b"-C\n" } else { b"-D\n" })
            .len()
    }

    /// Reads the line at the front of `bytes`. Also returns its length, line feed included: what
    /// follows is the payload.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let rest = bytes.strip_prefix(MARK)?;
        let (sec, rest) = take_number(rest)?;
        let (usec, rest) = take_number(rest.strip_prefix(b".")?)?;
        let usec = u32::try_from(usec).ok().filter(|usec| *usec <= USEC_MAX)?;
        let (compressed, rest) = match rest {
            [b'\n', rest @ ..] => (false, rest),
            [b'-', kind, b'\n', rest @ ..] if *kind != b'\n' => (*kind == b'C', rest),
            _ => return None,
        };
        let header = Self {
            stamp: Stamp { sec, usec },
            compressed,
        };
        Some((header, bytes.len() - rest.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(sec: u64, usec: u32, compressed: bool) -> Vec<u8> {
        let header = DmesgHeader {
            stamp: Stamp { sec, usec },
            compressed,
        };
        let mut out = [0; DMESG_HEADER_MAX];
        let len = header.encode(&mut out);
        out[..len].to_vec()
    }

    fn parse(bytes: &[u8]) -> Option<(u64, u32, bool, usize)> {
        let (header, len) = DmesgHeader::parse(bytes)?;
        Some((
            header.stamp.sec,
            header.stamp.usec,
            header.compressed,
            len, //
        ))
    }

    #[test]
    fn the_golden_line_comes_out() {
        assert_eq!(
            encode(1_795_229_979, 851_876, true),
            b"====1795229979.851876-C\n"
        );
        assert_eq!(encode(0, 7, false), b"====0.000007-D\n");
    }

    #[test]
    fn the_longest_line_fits() {
        let line = encode(u64::MAX, 999_999, true);
        assert_eq!(line.len(), DMESG_HEADER_MAX);
        assert_eq!(line, b"====18446744073709551615.999999-C\n");
        assert_eq!(parse(&line), Some((u64::MAX, 999_999, true, 34)));
        // Never seven digits, which would be another time when read back.
        assert_eq!(encode(1, 1_000_000, false), b"====1.999999-D\n");
    }

    #[test]
    fn what_is_written_is_read() {
        for sec in [0, 1, 59, 1_795_229_979, u64::MAX] {
            for usec in [0, 1, 99_999, 100_000, 999_999] {
                for compressed in [false, true] {
                    let line = encode(sec, usec, compressed);
                    assert_eq!(parse(&line), Some((sec, usec, compressed, line.len())));
                }
            }
        }
    }

    #[test]
    fn one_line_feed_and_no_more_is_taken() {
        // A deflate stream with a fixed block begins with 0x0b, white space to the in-tree reader.
        assert_eq!(parse(b"====5.000001-C\n\x0b\xce"), Some((5, 1, true, 15)));
        assert_eq!(parse(b"====5.000001-D\n\n\n x"), Some((5, 1, false, 15)));
        assert_eq!(parse(b"====5.000001\n\n"), Some((5, 1, false, 13)));
    }

    #[test]
    fn other_forms() {
        // Without suffix, as old kernels wrote it.
        assert_eq!(
            parse(b"====12.345678\ntext"),
            Some((12, 345_678, false, 14))
        );
        // A letter that is not known means text.
        assert_eq!(
            parse(b"====12.345678-X\ntext"),
            Some((12, 345_678, false, 16))
        );
    }

    #[test]
    fn what_is_no_header() {
        for bytes in [
            &b""[..],
            b"===",
            b"====",
            b"====12",
            b"====12.",
            b"====12.345678",
            b"====12.345678-",
            b"====12.345678-C",
            b"====12.345678-\n",
            b"====12.345678-\n\n",
            b"====12.345678-CC\n",
            b"====12.345678C\n",
            b"====12.1000000-C\n",
            b"====12.99999999999999999999-C\n",
            b"====18446744073709551616.000000-C\n",
            b"====.345678-C\n",
            b"====-1.345678-C\n",
            b"==== 1.345678-C\n",
            b"=====1.345678-C\n",
            b"x====1.345678-C\n",
        ] {
            assert_eq!(parse(bytes), None, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
