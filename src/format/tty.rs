// SPDX-License-Identifier: GPL-2.0

//! What the tty zone holds: lines of text, each with its time and the tty it was written to.
//!
//! ```text
//! [   12.345678] ttyS0: login: ro
//! [   12.345701] pts0: make[1]: Entering directory
//! [   13.000120] ttyS0+ ot
//! ```
//!
//! A colon and a space come before the text of a line that begins here. A plus sign and a space
//! come before text that goes on where the last line of the same tty left off: another tty got in
//! between, so the recorder ended that line with a line feed that nobody had written. [`Demux`]
//! undoes this and gives back what was written to one tty, byte for byte.
//!
//! The time is that of the kernel's own messages, seconds since boot.

use crate::put::{
    take_number,
    Put, //
};

/// Longest name of a tty, the rest is cut off.
pub const NAME_MAX: usize = 63;

/// Digits of the seconds in the largest number of nanoseconds.
const SEC_DIGITS_MAX: usize = 11;
const SEC_DIGITS: usize = 5;
const USEC_DIGITS: usize = 6;

/// Longest stamp.
pub const STAMP_MAX: usize = 1 + SEC_DIGITS_MAX + 1 + USEC_DIGITS + 2 + NAME_MAX + 2;

/// Writes what comes before a line's text to the front of `out` and returns its length.
///
/// In names, bytes that would make the stamp ambiguous (control characters, spaces, colons and plus
/// signs) become underscores; ttys have none of these.
///
/// Safe in a panic.
pub fn stamp(out: &mut [u8; STAMP_MAX], ns_since_boot: u64, name: &[u8], continued: bool) -> usize {
    let us = ns_since_boot / 1000;
    let (sec, usec) = (us / 1_000_000, us % 1_000_000);
    let name = name.get(..NAME_MAX).unwrap_or(name);
    // CAST: A remainder modulo a million.
    let mut at = put_time(out, sec, usec as u32);
    // At least one byte, as a reader wants it.
    for &byte in if name.is_empty() { b"_" } else { name } {
        let plain = NAME_BYTES.get(usize::from(byte)) == Some(&true);
        if let Some(slot) = out.get_mut(at) {
            *slot = if plain { byte } else { b'_' };
            at += 1;
        }
    }
    let end = if continued { *b"+ " } else { *b": " };
    if let Some(slots) = out.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *slots = end;
        at += end.len();
    }
    at
}

/// The time in brackets, and its length. Every line has one, so that of the usual length is put as
/// a whole.
fn put_time(out: &mut [u8; STAMP_MAX], sec: u64, usec: u32) -> usize {
    let Ok(sec @ 0..=99_999) = u32::try_from(sec) else {
        return Put::new(out)
            .byte(b'[')
            .number(sec, SEC_DIGITS, b' ')
            .byte(b'.')
            .number(usec.into(), USEC_DIGITS, b'0')
            .bytes(b"] ")
            .len();
    };
    let mut time = *b"[    0.000000] ";
    const { assert!(SEC_DIGITS == 5 && USEC_DIGITS == 6) };
    let [_, s0, s1, s2, s3, s4, _, u0, u1, u2, u3, u4, u5, _, _] = &mut time;
    [*u0, *u1] = pair(usec / 10_000);
    [*u2, *u3] = pair(usec / 100);
    [*u4, *u5] = pair(usec);
    [*s3, *s4] = pair(sec);
    if sec < 10 {
        *s3 = b' ';
    } else if sec >= 100 {
        [*s1, *s2] = pair(sec / 100);
        if sec < 1000 {
            *s1 = b' ';
        } else if sec >= 10_000 {
            // CAST: A digit.
            *s0 = b'0' + (sec / 10_000) as u8;
        }
    }
    if let Some(front) = out.first_chunk_mut() {
        *front = time;
    }
    time.len()
}

/// The last two digits of a number.
fn pair(number: u32) -> [u8; 2] {
    const PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[b'0'; 2]; 100];
        let mut n = 0;
        while n < 100 {
            // CAST: Digits.
            pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
            n += 1;
        }
        pairs
    };
    // CAST: Below a hundred.
    PAIRS
        .get((number % 100) as usize)
        .copied()
        .unwrap_or([b'?'; 2])
}

/// The first line of `text`, line feed included if there is one, and the rest.
pub fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    let mut rest = text;
    // A byte at a time is most of what a line of usual length costs.
    while let Some((words, after)) = rest.split_first_chunk::<32>() {
        let [a, b, c, d] = words_of(words);
        if line_feeds(a) | line_feeds(b) | line_feeds(c) | line_feeds(d) != 0 {
            break;
        }
        at += 32;
        rest = after;
    }
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let found = line_feeds(u64::from_le_bytes(*word));
        if found != 0 {
            // CAST: At most 63.
            let end = at + (found.trailing_zeros() / 8) as usize + 1;
            return text.split_at_checked(end).unwrap_or((text, &[]));
        }
        at += 8;
        rest = after;
    }
    let end = rest.iter().position(|byte| *byte == b'\n');
    let end = end.map_or(text.len(), |i| at + i + 1);
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// Eight bytes each, the first in the lowest place.
#[inline]
fn words_of(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        if let Some(bytes) = bytes.first_chunk() {
            *word = u64::from_le_bytes(*bytes);
        }
    }
    words
}

/// Not zero if there is a line feed; the lowest bit is in the lowest byte that is one.
#[inline]
fn line_feeds(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let diff = word ^ (ONES * u64::from(b'\n'));
    diff.wrapping_sub(ONES) & !diff & (ONES << 7)
}

/// By byte, whether it can stand in a name.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // CAST: A byte.
        table[byte] = is_name_byte(byte as u8);
        byte += 1;
    }
    table
};

const fn is_name_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && byte != b':' && byte != b'+'
}

/// One line of the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Microseconds since boot. `None` if the line has no stamp: it is the rest of one whose
    /// beginning was overwritten, or was recorded without stamps.
    pub time_us: Option<u64>,
    /// The tty, empty without a stamp.
    pub name: &'a [u8],
    /// Whether it goes on where the tty's last line left off.
    pub continued: bool,
    /// The text, without the line feed at its end.
    pub text: &'a [u8],
    /// Whether there was one. Only the last line may lack it.
    pub ended: bool,
}

impl<'a> Line<'a> {
    fn new(line: &'a [u8], ended: bool) -> Self {
        parse_stamp(line).map_or(
            Self {
                time_us: None,
                name: &[],
                continued: false,
                text: line,
                ended,
            },
            |(time_us, name, continued, text)| Self {
                time_us: Some(time_us),
                name,
                continued,
                text,
                ended,
            },
        )
    }
}

fn parse_stamp(line: &[u8]) -> Option<(u64, &[u8], bool, &[u8])> {
    let rest = line.strip_prefix(b"[")?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    if spaces >= SEC_DIGITS {
        return None;
    }
    let rest = rest.get(spaces..)?;
    let (sec, rest) = take_number(rest)?;
    let rest = rest.strip_prefix(b".")?;
    let (usec, after) = take_number(rest)?;
    if rest.len() - after.len() != USEC_DIGITS {
        return None;
    }
    let time_us = sec.checked_mul(1_000_000)?.checked_add(usec)?;
    let rest = after.strip_prefix(b"] ")?;
    let len = rest.iter().take_while(|byte| is_name_byte(**byte)).count();
    if len == 0 || len > NAME_MAX {
        return None;
    }
    let (name, rest) = rest.split_at_checked(len)?;
    match rest {
        [b':', b' ', text @ ..] => Some((time_us, name, false, text)),
        [b'+', b' ', text @ ..] => Some((time_us, name, true, text)),
        _ => None,
    }
}

/// The lines of a zone's text, in the order in which they were recorded.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

/// Iterates over the lines of `text`. Takes any bytes.
pub fn lines(text: &[u8]) -> Lines<'_> {
    Lines { rest: text }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end {
            Some(end) => (self.rest.get(..end)?, self.rest.get(end + 1..)?),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(Line::new(line, end.is_some()))
    }
}

/// What was written to one tty, in pieces that are to be read as one text.
///
/// Lines without a stamp belong to no tty and are left out. If the last line was cut short by
/// another tty and has not gone on since, it ends with the recorder's line feed, which cannot be
/// told from a written one.
#[derive(Clone, Debug)]
pub struct Demux<'a> {
    lines: Lines<'a>,
    name: &'a [u8],
    /// The last piece ended with a line feed that has not been handed out yet.
    newline: bool,
    /// A piece whose turn comes after that line feed.
    next: Option<&'a [u8]>,
}

impl<'a> Demux<'a> {
    /// Picks the tty `name` out of `text`.
    pub fn new(text: &'a [u8], name: &'a [u8]) -> Self {
        Self {
            lines: lines(text),
            name,
            newline: false,
            next: None,
        }
    }
}

impl<'a> Iterator for Demux<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if let Some(text) = self.next.take() {
            return Some(text);
        }
        let name = self.name;
        let line = self
            .lines
            .find(|line| line.time_us.is_some() && line.name == name);
        let newline = core::mem::replace(&mut self.newline, line.is_some_and(|line| line.ended));
        match line {
            Some(line) if newline && !line.continued => {
                self.next = Some(line.text);
                Some(b"\n")
            }
            Some(line) => Some(line.text),
            None if newline => Some(b"\n"),
            None => None,
        }
    }
}

/// Whether `name` is selected by `patterns`, a list with commas in between.
///
/// In a pattern `*` stands for any number of bytes and `?` for one. With `!` in front it takes out
/// what it matches. The last pattern that matches decides; if none does, the name is not selected.
/// Space around patterns counts for nothing, and so do empty ones.
///
/// Takes time proportional to the product of both lengths at most.
pub fn name_matches(patterns: &[u8], name: &[u8]) -> bool {
    let mut selected = false;
    for pattern in patterns.split(|byte| *byte == b',') {
        let pattern = pattern.trim_ascii();
        let (pattern, wanted) = match pattern.strip_prefix(b"!") {
            Some(pattern) => (pattern.trim_ascii(), false),
            None => (pattern, true),
        };
        if !pattern.is_empty() && glob(pattern, name) {
            selected = wanted;
        }
    }
    selected
}

/// Matches without recursion: when something does not fit, only the last star need take in one more
/// byte, since whatever an earlier star might take in, the later one can as well.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // What follows the last star, and the name from where that star now ends.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([b'*', rest @ ..], _) => {
                star = Some((rest, name));
                pattern = rest;
            }
            ([], []) => return true,
            ([p, pattern_rest @ ..], [n, name_rest @ ..]) if *p == b'?' || p == n => {
                pattern = pattern_rest;
                name = name_rest;
            }
            _ => match star {
                Some((rest, [_, shorter @ ..])) => {
                    star = Some((rest, shorter));
                    pattern = rest;
                    name = shorter;
                }
                _ => return false,
            },
        }
    }
}

/// How often a line that a program draws over and over is recorded, in nanoseconds.
const REDRAW_NS: u64 = 1_000_000_000;

/// Finds lines that are drawn over and over, as those of progress are: a carriage return takes the
/// program back to their beginning. Of such a line one drawing in a second is worth its room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redraw {
    /// When the line was last drawn and recorded, in nanoseconds, zero if it was not.
    pub drawn: u64,
    /// The line was left at its beginning.
    pub returned: bool,
    /// The drawing at hand is left out.
    pub dropping: bool,
}

impl Redraw {
    /// What becomes of a write at `now`, which goes on with the `same` line of the same tty as the
    /// one before or not: the state after it, and whether it is left out. A write that ends a line
    /// never is.
    pub fn next(mut self, same: bool, now: u64, bytes: &[u8]) -> (Self, bool) {
        let lead = bytes.iter().take_while(|b| **b == b'\r').count();
        let body = bytes.get(lead..).unwrap_or(&[]);
        let ends = bytes.ends_with(b"\r");
        if !same || bytes.contains(&b'\n') {
            let fresh = Self {
                returned: ends,
                ..Self::default()
            };
            return (fresh, false);
        }
        if body.is_empty() {
            self.returned |= lead > 0;
            return (self, self.dropping);
        }
        if self.returned || lead > 0 {
            self.dropping = self.drawn != 0 && now.saturating_sub(self.drawn) < REDRAW_NS;
            if !self.dropping {
                // Zero says that it never was.
                self.drawn = now.max(1);
            }
        }
        self.returned = ends;
        (self, self.dropping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STRIDE;

    fn stamped(ns: u64, name: &[u8], continued: bool) -> Vec<u8> {
        let mut out = [0; STAMP_MAX];
        let len = stamp(&mut out, ns, name, continued);
        out[..len].to_vec()
    }

    /// What is recorded of these writes, each of them so many milliseconds after the one before.
    fn drawn(writes: &[(u64, &str)]) -> String {
        let (mut state, mut now, mut out) = (Redraw::default(), 5_000_000_000, String::new());
        let mut open = false;
        for (ms, text) in writes {
            now += ms * 1_000_000;
            let (next, dropped) = state.next(open, now, text.as_bytes());
            state = next;
            if !dropped {
                out.push_str(text);
                open = !text.ends_with('\n');
            }
        }
        out
    }

    #[test]
    fn times_are_those_of_format() {
        let ends = [
            0, 1, 9, 10, 99, 100, 101, 999, 1000, 1005, 9999, 10_000, 12_345, 99_999, 100_000,
        ];
        for sec in ends {
            for usec in [0, 1, 10, 100, 1000, 10_000, 100_000, 123_456, 999_999] {
                let line = stamped((sec * 1_000_000 + usec) * 1000 + 999, b"pts0", false);
                let want = format!("[{sec:5}.{usec:06}] pts0: ");
                assert_eq!(String::from_utf8(line).unwrap(), want);
            }
        }
    }

    #[test]
    fn progress_is_kept_once_a_second() {
        let mut alone = vec![(0, "start\n")];
        let mut ahead = alone.clone();
        let mut behind = alone.clone();
        for _ in 0..40 {
            alone.extend([(50, "\r"), (50, "10 %")]);
            ahead.push((100, "\r10 %"));
            behind.push((100, "10 %\r"));
        }
        for writes in [&mut alone, &mut ahead, &mut behind] {
            writes.extend([(10, "\n"), (0, "done\n")]);
            let out = drawn(writes);
            let times = out.matches("10 %").count();
            assert!((4..=6).contains(&times), "{out:?}");
            assert!(out.starts_with("start\n") && out.ends_with("\ndone\n"));
        }
    }

    #[test]
    fn what_is_no_progress_is_whole() {
        for text in [
            &[(0, "one\r\n"), (0, "two\r\n"), (0, "three")][..],
            &[(0, "\r[ OK ] one\r\n"), (0, "\r[ OK ] two\r\n")],
            &[
                (0, "$ "),
                (1, "l"),
                (1, "s"),
                (1, "\r\n"),
                (1, "\r"),
                (1, "$ "),
            ],
            &[
                (0, "10 %"),
                (0, "\r"),
                (0, "20 %"),
                (0, "\n"),
                (0, "failed"),
                (0, ": no room\n"),
            ],
        ] {
            let all: String = text.iter().map(|(_, text)| *text).collect();
            assert_eq!(drawn(text), all);
        }
        // An error that comes while a drawing is left out ends its line, or a line follows.
        let out = drawn(&[
            (0, "1 %"),
            (0, "\r2 %"),
            (0, "\r3 %"),
            (0, "no space left\n"),
        ]);
        assert_eq!(out, "1 %\r2 %no space left\n");
    }

    #[test]
    fn redraw_takes_anything() {
        let mut state = Redraw::default();
        for (n, bytes) in [&b""[..], b"\r", b"\r\r", b"x", b"\n", b"\r\n", b"\r\0\xff"]
            .iter()
            .cycle()
            .take(500)
            .enumerate()
        {
            for now in [0, n as u64, u64::MAX] {
                state = state.next(n % 3 != 0, now, bytes).0;
            }
        }
    }

    fn line<'a>(time_us: u64, name: &'a str, continued: bool, text: &'a str) -> Line<'a> {
        Line {
            time_us: Some(time_us),
            name: name.as_bytes(),
            continued,
            text: text.as_bytes(),
            ended: true,
        }
    }

    fn demux(text: &[u8], name: &[u8]) -> Vec<u8> {
        Demux::new(text, name).collect::<Vec<_>>().concat()
    }

    #[test]
    fn stamps() {
        assert_eq!(
            stamped(12_345_678_999, b"ttyS0", false),
            b"[   12.345678] ttyS0: "
        );
        assert_eq!(stamped(999, b"pts/3", true), b"[    0.000000] pts/3+ ");
        assert_eq!(
            stamped(1_234_567_000_001_000, b"tty1", false),
            b"[1234567.000001] tty1: "
        );
    }

    #[test]
    fn the_longest_stamp_fits_exactly() {
        let longest = stamped(u64::MAX, &[b'x'; 200], false);
        assert_eq!(longest.len(), STAMP_MAX);
        assert!(longest.ends_with(b"xx: "));
        let line = lines(&longest).next().unwrap();
        assert_eq!(line.time_us, Some(u64::MAX / 1000));
        assert_eq!(line.name, [b'x'; NAME_MAX]);
    }

    #[test]
    fn lines_are_split_at_the_first_line_feed() {
        // Words are looked at four at a time, then one, then bytes.
        for len in 0..80 {
            // With bytes that differ from a line feed in one bit, or by one.
            let text: Vec<u8> = (0..len).map(|i| b"\x0b\x8a\x09\0\xffx"[i % 6]).collect();
            assert_eq!(split_line(&text), (&text[..], &[][..]));
            for first in (0..len).step_by(STRIDE) {
                for second in (first..len).step_by(STRIDE) {
                    let mut text = text.clone();
                    text[first] = b'\n';
                    text[second] = b'\n';
                    assert_eq!(split_line(&text), text.split_at(first + 1));
                }
            }
        }
    }

    #[test]
    fn names_cannot_forge_a_stamp() {
        assert_eq!(
            stamped(0, b"a: b\n+\x7f", false),
            b"[    0.000000] a__b___: "
        );
        assert_eq!(stamped(0, b"", false), b"[    0.000000] _: ");
    }

    #[test]
    fn lines_are_read() {
        let text = b"cut off\n[    1.000002] ttyS0: a: b+ c\n[12345.000000] pts0+ \n\n[   99.9";
        let read: Vec<_> = lines(text).collect();
        let rest = |text: &'static str, ended| Line {
            time_us: None,
            name: b"",
            continued: false,
            text: text.as_bytes(),
            ended,
        };
        assert_eq!(
            read,
            [
                rest("cut off", true),
                line(1_000_002, "ttyS0", false, "a: b+ c"),
                line(12_345_000_000, "pts0", true, ""),
                rest("", true),
                rest("[   99.9", false),
            ]
        );
    }

    #[test]
    fn what_is_no_stamp() {
        for text in [
            "[    1.00002] tty: x",
            "[    1.0000020] tty: x",
            "[     1.000002] tty: x",
            "[     .000002] tty: x",
            "[    1.000002]tty: x",
            "[    1.000002] : x",
            "[    1.000002] tty:x",
            "[    1.000002] tty x",
            "[    1.000002] tty",
            "[    1.000002] ",
            "[18446744073709551615.000002] tty: x",
            " [    1.000002] tty: x",
            "[",
        ] {
            let line = lines(text.as_bytes()).next().unwrap();
            assert_eq!(line.time_us, None, "{text}");
            assert_eq!(line.text, text.as_bytes());
        }
    }

    #[test]
    fn a_tty_is_put_together_again() {
        let text = b"[    1.000000] ttyS0: log\n\
                     [    1.000001] pts0: one\n\
                     [    1.000002] ttyS0+ in: \n\
                     [    1.000003] pts0: two\n\
                     [    1.000004] ttyS0+ root\n\
                     [    1.000005] ttyS0: Password: ";
        assert_eq!(demux(text, b"ttyS0"), b"login: root\nPassword: ");
        assert_eq!(demux(text, b"pts0"), b"one\ntwo\n");
        assert_eq!(demux(text, b"tty"), b"");
        assert_eq!(demux(b"no stamp\n", b""), b"");
    }

    /// What a recorder does, in its simplest form.
    fn record(writes: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        // Who left the last line open, and everybody whose line was cut off by another.
        let mut open: Option<&str> = None;
        let mut cut: Vec<&str> = Vec::new();
        for (name, bytes) in writes {
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                if open != Some(name) {
                    if let Some(other) = open.take() {
                        out.push(b'\n');
                        cut.push(other);
                    }
                    let continued = cut.contains(name);
                    cut.retain(|other| other != name);
                    out.extend(stamped(5, name.as_bytes(), continued));
                }
                out.extend(piece);
                open = (!piece.ends_with(b"\n")).then_some(name);
            }
        }
        out
    }

    #[test]
    fn any_mixture_comes_apart_again() {
        let pieces: [&[u8]; 5] = [b"a", b"\n", b"b\n", b"\nc", b"[    1.000000] x: d\n\n"];
        let names = ["ttyS0", "pts0"];
        for pattern in (0..10usize.pow(5)).step_by(STRIDE * STRIDE) {
            let mut rest = pattern;
            let mut writes = Vec::new();
            for _ in 0..5 {
                writes.push((names[rest % 2], pieces[rest / 2 % 5]));
                rest /= 10;
            }
            let zone = record(&writes);
            for name in names {
                let mut written: Vec<u8> = Vec::new();
                for (_, bytes) in writes.iter().filter(|(other, _)| *other == name) {
                    written.extend(*bytes);
                }
                let mut read = demux(&zone, name.as_bytes());
                // A line cut off for good keeps the recorder's line feed.
                if read.len() == written.len() + 1 && !written.ends_with(b"\n") {
                    assert_eq!(read.pop(), Some(b'\n'));
                }
                assert_eq!(read, written, "{writes:?}");
            }
        }
    }

    #[test]
    fn patterns() {
        for (patterns, name, expected) in [
            ("", "ttyS0", false),
            ("*", "ttyS0", true),
            ("*", "", true),
            ("ttyS0", "ttyS0", true),
            ("ttyS0", "ttyS01", false),
            ("ttyS", "ttyS0", false),
            ("ttyS?", "ttyS0", true),
            ("ttyS?", "ttyS", false),
            ("ttyS?", "ttyS10", false),
            ("ttyS*", "ttyS10", true),
            ("ttyS*", "ttyS", true),
            ("*S*0", "ttyS10", true),
            ("*S*0", "ttyS01", false),
            ("**?**", "", false),
            ("**?**", "x", true),
            ("*,!pts*", "pts3", false),
            ("*,!pts*", "tty3", true),
            ("!pts*,*", "pts3", true),
            ("*,!pts*,pts3", "pts3", true),
            ("!pts*", "tty1", false),
            (" ttyS0 , tty1\n", "tty1", true),
            (" ttyS0 , tty1\n", "ttyS0", true),
            ("*, ! pts*", "pts0", false),
            (",,", "", false),
            ("!", "", false),
        ] {
            let selected = name_matches(patterns.as_bytes(), name.as_bytes());
            assert_eq!(selected, expected, "{patterns:?} {name:?}");
        }
    }

    /// The definition, for comparison.
    fn glob_slowly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|skip| glob_slowly(rest, &name[skip..])),
            ([p, rest @ ..], [n, shorter @ ..]) => {
                (*p == b'?' || p == n) && glob_slowly(rest, shorter)
            }
            _ => false,
        }
    }

    #[test]
    fn globs_match_as_defined() {
        let spell = |mut number: usize, len: usize, letters: &[u8]| -> Vec<u8> {
            (0..len)
                .map(|_| {
                    let letter = letters[number % letters.len()];
                    number /= letters.len();
                    letter
                })
                .collect()
        };
        for pattern_len in 0..6 {
            for pattern in (0..4usize.pow(pattern_len)).step_by(STRIDE) {
                let pattern = spell(pattern, pattern_len as usize, b"ab*?");
                for name_len in 0..6 {
                    for name in 0..2usize.pow(name_len) {
                        let name = spell(name, name_len as usize, b"ab");
                        assert_eq!(glob(&pattern, &name), glob_slowly(&pattern, &name));
                    }
                }
            }
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = b"*a".repeat(2000);
        assert!(!name_matches(&pattern, &[b'b'; 64]));
        let mut name = vec![b'a'; 4096];
        name.push(b'b');
        assert!(!name_matches(
            &b"a*".repeat(500).repeat(2)[..1999],
            &name[4000..]
        ));
        assert!(!name_matches(&pattern, &name));
    }
}
