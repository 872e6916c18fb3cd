// SPDX-License-Identifier: GPL-2.0

//! Kernel message text: why it was saved, the line that says so, and how to cut it.

use crate::put::{
    take_number,
    Put,
    U32_DIGITS,
    U64_DIGITS, //
};

/// Why the kernel had its messages saved. The names are those of the in-tree record files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Something this code has no name for.
    Unknown,
    /// The kernel stopped for good.
    Panic,
    /// The kernel hurt itself and went on.
    Oops,
    /// Restart without shutting down.
    Emergency,
    /// Orderly restart, halt, power-off or kexec.
    Shutdown,
}

impl Reason {
    /// Every reason, in the order of the kernel's numbers.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Panic,
        Self::Oops,
        Self::Emergency,
        Self::Shutdown,
    ];

    /// The word for it in a record's first line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Panic => "Panic",
            Self::Oops => "Oops",
            Self::Emergency => "Emergency",
            Self::Shutdown => "Shutdown",
        }
    }

    /// Takes the kernel's number, `enum kmsg_dump_reason`.
    pub const fn from_kmsg(reason: u32) -> Self {
        match reason {
            1 => Self::Panic,
            2 => Self::Oops,
            3 => Self::Emergency,
            4 => Self::Shutdown,
            _ => Self::Unknown,
        }
    }

    /// The kernel's number, zero for an unknown reason.
    pub const fn to_kmsg(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::Panic => 1,
            Self::Oops => 2,
            Self::Emergency => 3,
            Self::Shutdown => 4,
        }
    }
}

impl From<Reason> for u32 {
    fn from(reason: Reason) -> Self {
        reason.to_kmsg()
    }
}

/// Longest first line of a record, line feed included.
pub const HEAD_LINE_MAX: usize =
    "Emergency".len() + 1 + U64_DIGITS + " Part".len() + U32_DIGITS + 1;

/// Writes the first line of a record, "Panic#1 Part1", to the front of `out` and returns its
/// length, line feed included. `count` numbers the dumps since the recorder started and `part` the records of one
/// dump, both from one.
///
/// Safe in a panic.
pub fn head_line(out: &mut [u8; HEAD_LINE_MAX], reason: Reason, count: u64, part: u32) -> usize {
    Put::new(out)
        .bytes(reason.as_str().as_bytes())
        .byte(b'#')
        .number(count, 0, b'0')
        .bytes(b" Part")
        .number(u64::from(part), 0, b'0')
        .byte(b'\n')
        .len()
}

/// The first line of a record, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLine {
    /// Why the record was made.
    pub reason: Reason,
    /// Number of the dump since the recorder started.
    pub count: u64,
    /// Number of the record within the dump.
    pub part: u32,
}

impl HeadLine {
    /// Reads the line at the front of `text`. Also returns its length, line feed included.
    pub fn parse(text: &[u8]) -> Option<(Self, usize)> {
        Reason::ALL.into_iter().find_map(|reason| {
            let rest = text.strip_prefix(reason.as_str().as_bytes())?;
            let (count, rest) = take_number(rest.strip_prefix(b"#")?)?;
            let (part, rest) = take_number(rest.strip_prefix(b" Part")?)?;
            let part = u32::try_from(part).ok()?;
            let rest = rest.strip_prefix(b"\n")?;
            let line = Self {
                reason,
                count,
                part,
            };
            Some((line, text.len() - rest.len()))
        })
    }
}

/// Cuts `text` in two, older part first, so that the newer one fits `room`: it is the longest tail
/// of whole lines that does.
///
/// If not even the last line fits, its last `room` bytes are the newer part and the rest of it
/// is in neither. So unless `room` is zero, the older part is shorter than `text` (or both are
/// empty), and calling this in turn on what it leaves over comes to an end.
pub fn split_newest(text: &[u8], room: usize) -> (&[u8], &[u8]) {
    if room == 0 {
        return (text, &[]);
    }
    let cut = text.len().saturating_sub(room);
    if cut == 0 {
        return (&[], text);
    }
    let newline = |byte: &u8| *byte == b'\n';
    // The last byte may end the last line but never one before it.
    let body = text.get(..text.len() - 1).unwrap_or(&[]);
    // A line begins behind each line feed; the first one that begins at `cut` or later wins.
    let tail = body.get(cut - 1..).unwrap_or(&[]);
    if let Some(found) = tail.iter().position(newline) {
        return text
            .split_at_checked(cut.saturating_add(found))
            .unwrap_or((&[], text));
    }
    let line = body
        .iter()
        .rposition(newline)
        .map_or(0, |found| found.saturating_add(1));
    (
        text.get(..line).unwrap_or(&[]),
        text.get(cut..).unwrap_or(&[]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STRIDE;

    fn head(reason: Reason, count: u64, part: u32) -> Vec<u8> {
        let mut out = [0; HEAD_LINE_MAX];
        let len = head_line(&mut out, reason, count, part);
        out[..len].to_vec()
    }

    #[test]
    fn reasons_have_the_kernels_numbers() {
        for (number, reason) in (0..).zip(Reason::ALL) {
            assert_eq!(Reason::from_kmsg(number), reason);
            assert_eq!(reason.to_kmsg(), number);
            assert_eq!(u32::from(reason), number);
        }
        assert_eq!(Reason::from_kmsg(5), Reason::Unknown);
        assert_eq!(Reason::from_kmsg(u32::MAX), Reason::Unknown);
    }

    #[test]
    fn head_lines() {
        assert_eq!(head(Reason::Panic, 1, 1), b"Panic#1 Part1\n");
        assert_eq!(head(Reason::Shutdown, 12, 3), b"Shutdown#12 Part3\n");
        let longest = head(Reason::Emergency, u64::MAX, u32::MAX);
        assert_eq!(longest.len(), HEAD_LINE_MAX);
        assert_eq!(longest, b"Emergency#18446744073709551615 Part4294967295\n");
    }

    #[test]
    fn head_lines_are_read() {
        for reason in Reason::ALL {
            for (count, part) in [(0, 0), (1, 1), (u64::MAX, u32::MAX)] {
                let line = head(reason, count, part);
                let parsed = HeadLine {
                    reason,
                    count,
                    part,
                };
                assert_eq!(HeadLine::parse(&line), Some((parsed, line.len())));
                assert_eq!(HeadLine::parse(&line[..line.len() - 1]), None);
            }
        }
        assert_eq!(HeadLine::parse(b"Panic#1 Part4294967296\n"), None);
        assert_eq!(HeadLine::parse(b"Panic# Part1\n"), None);
        assert_eq!(HeadLine::parse(b"panic#1 Part1\n"), None);
    }

    #[test]
    fn whole_lines_are_kept() {
        let text = b"one\ntwo\nthree\n";
        let split = |room| {
            let (older, newer) = split_newest(text, room);
            (
                core::str::from_utf8(older).unwrap(),
                core::str::from_utf8(newer).unwrap(), //
            )
        };
        assert_eq!(split(0), ("one\ntwo\nthree\n", ""));
        assert_eq!(split(1), ("one\ntwo\n", "\n"));
        assert_eq!(split(5), ("one\ntwo\n", "hree\n"));
        assert_eq!(split(6), ("one\ntwo\n", "three\n"));
        assert_eq!(split(9), ("one\ntwo\n", "three\n"));
        assert_eq!(split(10), ("one\n", "two\nthree\n"));
        assert_eq!(split(13), ("one\n", "two\nthree\n"));
        assert_eq!(split(14), ("", "one\ntwo\nthree\n"));
        assert_eq!(split(99), ("", "one\ntwo\nthree\n"));
    }

    #[test]
    fn a_last_line_without_line_feed_is_a_line() {
        assert_eq!(split_newest(b"a\nbcd", 3), (&b"a\n"[..], &b"bcd"[..]));
        assert_eq!(split_newest(b"a\nbcd", 2), (&b"a\n"[..], &b"cd"[..]));
        assert_eq!(split_newest(b"a\nbcd", 4), (&b"a\n"[..], &b"bcd"[..]));
        assert_eq!(split_newest(b"abcd", 3), (&b""[..], &b"bcd"[..]));
        assert_eq!(split_newest(b"\n\n\n", 1), (&b"\n\n"[..], &b"\n"[..]));
        assert_eq!(split_newest(b"", 3), (&b""[..], &b""[..]));
        assert_eq!(split_newest(b"", 0), (&b""[..], &b""[..]));
    }

    /// The same by trying every tail.
    fn split_slowly(text: &[u8], room: usize) -> (&[u8], &[u8]) {
        if room == 0 || text.len() <= room {
            return if room == 0 { (text, &[]) } else { (&[], text) };
        }
        let starts = |at: usize| at == 0 || text[at - 1] == b'\n';
        let at = (0..text.len()).find(|&at| starts(at) && text.len() - at <= room);
        match at {
            Some(at) => text.split_at(at),
            None => {
                let line = (0..text.len()).rfind(|&at| starts(at)).unwrap_or(0);
                (&text[..line], &text[text.len() - room..])
            }
        }
    }

    #[test]
    fn every_short_text_is_cut_right() {
        for len in 0..11u32 {
            for pattern in (0..1u32 << len).step_by(STRIDE) {
                let text: Vec<u8> = (0..len)
                    .map(|bit| {
                        if (pattern >> bit) & 1 == 0 {
                            b'x'
                        } else {
                            b'\n'
                        }
                    })
                    .collect();
                for room in 0..13 {
                    let cut = split_newest(&text, room);
                    assert_eq!(cut, split_slowly(&text, room), "{text:?} {room}");
                    assert!(cut.1.len() <= room);
                    assert!(text.ends_with(cut.1) && text.starts_with(cut.0));
                    assert!(room == 0 || text.is_empty() || cut.0.len() < text.len());
                }
            }
        }
    }
}
