// SPDX-License-Identifier: GPL-2.0

//! Dumps in EFI variables, as the in-tree efi_pstore keeps them: one variable for each record.
//!
//! ```text
//! dump-type0-1-3-1795229979-C      content: a raw deflate stream
//!          | | | |          |
//!          | | | |          C: compressed, anything else, D as a rule: text
//!          | | | seconds of wall clock time
//!          | | number of the dump since boot
//!          | part of the dump, from 1
//!          type of record, 0 for the kernel log
//! ```
//!
//! Older kernels wrote the name without letter, still older ones without the number of the dump,
//! always with text. The letters are UCS-2. The content has no header of its own.

use crate::put::{
    take_number,
    Put, //
};

/// Vendor of the variables, as it lies in memory: cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0.
pub const GUID: [u8; 16] = [
    0x79, 0xfc, 0xc8, 0xcf, 0x2e, 0xbe, 0xdc, 0x4d, 0x97, 0xf0, 0x9f, 0x98, 0xbf, 0xe2, 0x98, 0xa0,
];

/// Attributes of the variables: they outlive a reset, and boot services and a running system may
/// use them.
pub const ATTRIBUTES: u32 = 0x7;

/// The type of record that is the kernel log.
pub const TYPE_DMESG: u32 = 0;

/// Letters of the longest name, with the zero behind it; the in-tree code's buffers have as many.
pub const NAME_UNITS: usize = 66;

/// What a variable takes of the store beside name and content, in the store of EDK II, from which
/// most firmware is made: header with authentication, and alignment.
pub const OVERHEAD: u64 = 64;

/// Largest content that the kernel lets through where the firmware sets no limit.
pub const CONTENT_MAX: usize = 0x1_0000;

/// Least and usual size of a record: the in-tree code has room for no more unless told so, and
/// stops reading at one that is larger.
pub const RECORD_SIZE: usize = 1024;

const MARK: &[u8] = b"dump-type";

/// What the name of a variable says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Type of record.
    pub kind: u32,
    /// Part of the dump, from 1.
    pub part: u32,
    /// Number of the dump; [`None`] in the oldest form of the name.
    pub count: Option<i32>,
    /// Seconds since 1970.
    pub sec: u64,
    /// The letter at the end; [`None`] in the older forms.
    pub letter: Option<u8>,
}

impl Name {
    /// The name of a part of a dump of the kernel log.
    pub fn dump(part: u32, count: i32, sec: u64, compressed: bool) -> Self {
        Self {
            kind: TYPE_DMESG,
            part,
            count: Some(count),
            sec,
            letter: Some(if compressed { b'C' } else { b'D' }),
        }
    }

    /// Whether the content is compressed.
    pub fn compressed(&self) -> bool {
        self.letter == Some(b'C')
    }

    /// Number of the record among files; what the in-tree code makes of the same name, overflow
    /// included.
    pub fn id(&self) -> u64 {
        // CAST: A negative number of a dump counts down there too.
        let count = i64::from(self.count.unwrap_or(0)) as u64;
        self.sec
            .wrapping_mul(100)
            .wrapping_add(u64::from(self.part))
            .wrapping_mul(1000)
            .wrapping_add(count)
    }

    /// Writes it to the front of `out`, a zero behind it, and returns its length without that.
    /// Safe in a panic.
    pub fn encode(&self, out: &mut [u16; NAME_UNITS]) -> usize {
        let mut text = [0; NAME_UNITS];
        let mut put = Put::new(&mut text);
        put.bytes(MARK)
            .number(u64::from(self.kind), 0, b'0')
            .byte(b'-')
            .number(u64::from(self.part), 0, b'0');
        if let Some(count) = self.count {
            put.byte(b'-');
            if count < 0 {
                put.byte(b'-');
            }
            put.number(u64::from(count.unsigned_abs()), 0, b'0');
        }
        put.byte(b'-').number(self.sec, 0, b'0');
        if let (Some(letter), Some(_)) = (self.letter, self.count) {
            put.byte(b'-').byte(letter);
        }
        let len = put.len();
        for (unit, byte) in out.iter_mut().zip(text) {
            *unit = u16::from(byte);
        }
        len
    }

    /// Reads a name, without the zero behind it. [`None`] for all that [`Self::encode`] would not
    /// make of what it says: such a variable is somebody else's, and erasing by what was
    /// understood of its name would hit another one.
    pub fn parse(units: &[u16]) -> Option<Self> {
        let mut text = [0u8; NAME_UNITS];
        let text = text.get_mut(..units.len())?;
        for (byte, unit) in text.iter_mut().zip(units) {
            *byte = u8::try_from(*unit).ok().filter(u8::is_ascii_graphic)?;
        }
        let rest: &[u8] = text.strip_prefix(MARK)?;
        let (kind, rest) = small(rest)?;
        let (part, rest) = small(rest.strip_prefix(b"-")?)?;
        let rest = rest.strip_prefix(b"-")?;
        let name = match signed(rest) {
            Some((count, rest)) if !rest.is_empty() => {
                let (sec, rest) = take_number(rest.strip_prefix(b"-")?)?;
                let letter = match rest {
                    [] => None,
                    [b'-', letter] if letter.is_ascii_alphanumeric() => Some(*letter),
                    _ => return None,
                };
                Self {
                    kind,
                    part,
                    count: Some(count),
                    sec,
                    letter,
                }
            }
            _ => match take_number(rest)? {
                (sec, []) => Self {
                    kind,
                    part,
                    count: None,
                    sec,
                    letter: None,
                },
                _ => return None,
            },
        };
        let mut again = [0; NAME_UNITS];
        let len = name.encode(&mut again);
        (again.get(..len) == Some(units)).then_some(name)
    }
}

/// Takes a number off the front.
fn small(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = take_number(bytes)?;
    Some((u32::try_from(number).ok()?, rest))
}

/// Takes a number that may be negative off the front.
fn signed(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (negative, digits) = match bytes.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, bytes),
    };
    let (number, rest) = take_number(digits)?;
    let number = i64::try_from(number).ok()?;
    let number = if negative {
        number.checked_neg()?
    } else {
        number
    };
    Some((i32::try_from(number).ok()?, rest))
}

/// What a variable takes of the store, for a name of so many letters without its zero.
pub fn cost(content: u64, letters: usize) -> u64 {
    content
        .saturating_add((letters as u64).saturating_add(1).saturating_mul(2))
        .saturating_add(OVERHEAD)
}

/// How much of the store may be used for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes, by [`cost`].
    pub bytes: u64,
    /// Variables.
    pub records: u64,
    /// Bytes of the store that stay free.
    pub floor: u64,
}

/// Why a record is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many variables as may be.
    Records,
    /// They have as many bytes as they may.
    Bytes,
    /// Too little of the store would be free.
    Floor,
}

impl Budget {
    /// Whether a variable of `cost` bytes may be written beside those that there are, with `free`
    /// bytes of the store free; [`None`] if that is not known. Safe in a panic.
    pub fn admits(
        &self,
        records: u64,
        bytes: u64,
        free: Option<u64>,
        cost: u64,
    ) -> core::result::Result<(), Refusal> {
        if records >= self.records {
            return Err(Refusal::Records);
        }
        if bytes.saturating_add(cost) > self.bytes {
            return Err(Refusal::Bytes);
        }
        match free {
            Some(free) if free < self.floor.saturating_add(cost) => Err(Refusal::Floor),
            _ => Ok(()),
        }
    }
}

/// Units of the longest name that the walk takes, with its zero; the kernel takes no longer ones.
pub const WALK_UNITS: usize = 1024;

/// Bytes of a name that firmware is asked for at first: some refuses to be asked for more.
const WALK_BYTES: usize = 512;

/// Variables that the walk looks at, at most. A store of a megabyte has room for fewer.
pub const WALK_MAX: usize = 8192;

/// Where a walk over all variables is: what firmware is given to name the next one.
pub struct Cursor {
    /// Name of the latest variable, its zero included; what the next one's is written to.
    pub name: [u16; WALK_UNITS],
    /// Its vendor.
    pub guid: [u8; 16],
    /// Bytes of `name` that may be written, and what firmware wants if these are too few.
    pub bytes: usize,
}

impl Cursor {
    /// In front of the first variable.
    pub const fn new() -> Self {
        Self {
            name: [0; WALK_UNITS],
            guid: [0; 16],
            bytes: 0,
        }
    }

    /// The name, which ends at its zero, whatever firmware said of its length.
    fn name(&self) -> Option<&[u16]> {
        let len = self.name.iter().position(|unit| *unit == 0)?;
        self.name.get(..len).filter(|name| !name.is_empty())
    }
}

impl Default for Cursor {
    fn default() -> Self {
        Self::new()
    }
}

/// What firmware answers when asked for the next variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Here it is.
    Found,
    /// There is none.
    End,
    /// Its name is longer than it was allowed to write.
    TooSmall,
    /// It can't say.
    Failed,
}

/// Why a walk ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Astray {
    /// More variables than there can be.
    TooMany,
    /// They come round again.
    Loop,
    /// A name without end, or without letters, or longer than any.
    BadName,
    /// Firmware failed.
    Failed,
    /// Who looks has seen enough.
    Enough,
}

impl Astray {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "there is no end to them",
            Self::Loop => "they come round again",
            Self::BadName => "one has an impossible name",
            Self::Failed => "the firmware fails",
            Self::Enough => "there are more than are looked at",
        }
    }
}

/// Shows `visit` the name, its zero included, and the vendor of every variable, as `next` finds
/// them, until it answers `false`.
///
/// Firmware is not believed: the walk ends after a bounded number of steps, and early if variables
/// come round again.
pub fn walk(
    cursor: &mut Cursor,
    next: &mut dyn FnMut(&mut Cursor) -> Next,
    visit: &mut dyn FnMut(&[u16], &[u8; 16]) -> bool,
) -> core::result::Result<(), Astray> {
    // The variable to be recognised, renewed at each power of two: any circle closes on one.
    let (mut mark, mut mark_guid) = ([0; WALK_UNITS], [0; 16]);
    let (mut steps, mut renew) = (0usize, 1usize);
    let mut room = WALK_BYTES;
    // The zero of the longest name is never firmware's to write.
    let most = 2 * (WALK_UNITS - 1);
    while steps < WALK_MAX {
        cursor.bytes = room;
        match next(cursor) {
            Next::Found => room = WALK_BYTES,
            Next::End => return Ok(()),
            Next::TooSmall if cursor.bytes > room && cursor.bytes <= most => {
                room = cursor.bytes;
                steps = steps.saturating_add(1);
                continue;
            }
            Next::TooSmall => return Err(Astray::BadName),
            Next::Failed => return Err(Astray::Failed),
        }
        if let Some(last) = cursor.name.last_mut() {
            *last = 0;
        }
        let len = cursor.name().ok_or(Astray::BadName)?.len();
        let name = cursor.name.get(..=len).ok_or(Astray::BadName)?;
        if mark.get(..=len) == Some(name) && mark_guid == cursor.guid {
            return Err(Astray::Loop);
        }
        if !visit(name, &cursor.guid) {
            return Err(Astray::Enough);
        }
        steps = steps.saturating_add(1);
        if steps >= renew {
            renew = renew.saturating_mul(2);
            mark = cursor.name;
            mark_guid = cursor.guid;
        }
    }
    Err(Astray::TooMany)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STRIDE;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    fn parse(text: &str) -> Option<Name> {
        Name::parse(&units(text))
    }

    fn text(name: &Name) -> String {
        let mut out = [0xffff; NAME_UNITS];
        let len = name.encode(&mut out);
        assert_eq!(out[len], 0);
        String::from_utf16(&out[..len]).unwrap()
    }

    #[test]
    fn the_guid_is_that_of_the_kernel() {
        let [a, b, c, d, e, f, g, h, rest @ ..] = GUID;
        assert_eq!(u32::from_le_bytes([a, b, c, d]), 0xcfc8_fc79);
        assert_eq!(u16::from_le_bytes([e, f]), 0xbe2e);
        assert_eq!(u16::from_le_bytes([g, h]), 0x4ddc);
        assert_eq!(rest, [0x97, 0xf0, 0x9f, 0x98, 0xbf, 0xe2, 0x98, 0xa0]);
    }

    #[test]
    fn the_four_forms() {
        let name = parse("dump-type0-1-3-1795229979-C").unwrap();
        assert_eq!(name, Name::dump(1, 3, 1_795_229_979, true));
        assert!(name.compressed());
        assert_eq!(name.id(), 179_522_997_901_003);
        let name = parse("dump-type0-2-1-1795229979-D").unwrap();
        assert_eq!(name, Name::dump(2, 1, 1_795_229_979, false));
        let name = parse("dump-type0-2-1-1795229979").unwrap();
        assert_eq!((name.count, name.letter), (Some(1), None));
        assert!(!name.compressed());
        assert_eq!(name.id(), 179_522_997_902_001);
        let name = parse("dump-type0-2-1795229979").unwrap();
        assert_eq!((name.count, name.letter), (None, None));
        assert_eq!(name.id(), 179_522_997_902_000);
    }

    #[test]
    fn what_is_written_is_read() {
        for part in [0, 1, 99, 100, u32::MAX] {
            for count in [i32::MIN, -1, 0, 1, 999, i32::MAX] {
                for sec in [0, 1, 1_795_229_979, u64::MAX] {
                    for letter in [None, Some(b'C'), Some(b'D'), Some(b'x')] {
                        for kind in [0, 7, u32::MAX] {
                            let name = Name {
                                kind,
                                part,
                                count: Some(count),
                                sec,
                                letter,
                            };
                            assert_eq!(parse(&text(&name)), Some(name));
                            let name = Name {
                                count: None,
                                letter: None,
                                ..name
                            };
                            assert_eq!(parse(&text(&name)), Some(name));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_longest_name_fits_with_its_zero() {
        let name = Name {
            kind: u32::MAX,
            part: u32::MAX,
            count: Some(i32::MIN),
            sec: u64::MAX,
            letter: Some(b'C'),
        };
        assert_eq!(
            text(&name),
            "dump-type4294967295-4294967295--2147483648-18446744073709551615-C"
        );
        assert_eq!(text(&name).len() + 1, NAME_UNITS);
    }

    #[test]
    fn names_of_others() {
        for other in [
            "",
            "dump-type",
            "dump-type0",
            "dump-type0-",
            "dump-type0-1",
            "dump-type0-1-",
            "dump-type0-1-1-",
            "dump-type0-1-1-5-",
            "dump-type0-1-1-5-CC",
            "dump-type0-1-1-5-C ",
            "dump-type0-1-1-5-\u{e9}",
            "dump-type0-1-1-5-C-",
            "dump-type0-1-1-5C",
            "dump-type0-1-1--5-C",
            "dump-type0-1--0-5-C",
            "dump-type0-1---1-5-C",
            "dump-type0-1-+1-5-C",
            "dump-type00-1-1-5-C",
            "dump-type0-01-1-5-C",
            "dump-type0-1-01-5-C",
            "dump-type0-1-1-05-C",
            "dump-type 0-1-1-5-C",
            "dump-type0- 1-1-5-C",
            "dump-type4294967296-1-1-5-C",
            "dump-type0-4294967296-1-5-C",
            "dump-type0-1-2147483648-5-C",
            "dump-type0-1--2147483649-5-C",
            "dump-type0-1-1-18446744073709551616-C",
            "dump-type0-1-18446744073709551616",
            "dump-type0-1--5",
            "Dump-type0-1-1-5-C",
            "dump-type\u{ff10}-1-1-5-C",
            "BootOrder",
            "dump-type0-000000000000000000000000000000000000000000000000000000001-1-5-C",
        ] {
            assert_eq!(parse(other), None, "{other:?}");
        }
        // A zero within, or more than the buffer has.
        assert_eq!(Name::parse(&[0; 4]), None);
        assert_eq!(Name::parse(&[u16::from(b'd'); NAME_UNITS + 1]), None);
        assert_eq!(Name::parse(&[0xd800; 20]), None);
        let mut with_zero = units("dump-type0-1-1-5-C");
        with_zero.push(0);
        assert_eq!(Name::parse(&with_zero), None);
        // The low byte alone would do.
        let high: Vec<u16> = units("dump-type0-1-1-5-C")
            .iter()
            .map(|u| u | 0x100)
            .collect();
        assert_eq!(Name::parse(&high), None);
    }

    #[test]
    fn ids_of_huge_numbers_wrap_as_in_c() {
        let name = Name::dump(u32::MAX, -1, u64::MAX, true);
        let c = u64::MAX
            .wrapping_mul(100)
            .wrapping_add(u64::from(u32::MAX))
            .wrapping_mul(1000)
            .wrapping_sub(1);
        assert_eq!(name.id(), c);
    }

    #[test]
    fn the_budget() {
        let budget = Budget {
            bytes: 1000,
            records: 3,
            floor: 500,
        };
        assert_eq!(budget.admits(0, 0, Some(1000), 500), Ok(()));
        assert_eq!(budget.admits(2, 500, Some(1000), 500), Ok(()));
        assert_eq!(budget.admits(3, 0, Some(9999), 1), Err(Refusal::Records));
        assert_eq!(budget.admits(9, 0, Some(9999), 1), Err(Refusal::Records));
        assert_eq!(budget.admits(0, 501, Some(9999), 500), Err(Refusal::Bytes));
        assert_eq!(
            budget.admits(0, u64::MAX, None, u64::MAX),
            Err(Refusal::Bytes)
        );
        assert_eq!(budget.admits(0, 0, Some(999), 500), Err(Refusal::Floor));
        assert_eq!(budget.admits(0, 0, Some(0), 0), Err(Refusal::Floor));
        assert_eq!(budget.admits(0, 0, None, 1000), Ok(()));
        let no_floor = Budget { floor: 0, ..budget };
        assert_eq!(no_floor.admits(0, 0, Some(0), 1), Err(Refusal::Floor));
        assert_eq!(no_floor.admits(0, 0, None, 1), Ok(()));
        let all = Budget {
            bytes: u64::MAX,
            records: u64::MAX,
            floor: u64::MAX,
        };
        assert_eq!(all.admits(1, 1, Some(u64::MAX), 1), Ok(()));
    }

    #[test]
    fn the_cost_counts_letters_twice() {
        assert_eq!(cost(1024, 27), 1024 + 56 + OVERHEAD);
        assert_eq!(cost(u64::MAX, 27), u64::MAX);
    }

    /// Firmware with these variables, which does as it is told.
    fn firmware(names: &[String]) -> impl FnMut(&mut Cursor) -> Next + '_ {
        move |cursor| {
            let old = String::from_utf16(cursor.name().unwrap_or(&[])).unwrap();
            let at = match old.as_str() {
                "" => 0,
                old => names.iter().position(|n| n == old).unwrap() + 1,
            };
            let Some(name) = names.get(at) else {
                return Next::End;
            };
            let name = units(name);
            let need = 2 * (name.len() + 1);
            if need > cursor.bytes {
                cursor.bytes = need;
                return Next::TooSmall;
            }
            cursor.name = [0; WALK_UNITS];
            cursor.name[..name.len()].copy_from_slice(&name);
            cursor.bytes = need;
            Next::Found
        }
    }

    fn seen(
        next: &mut dyn FnMut(&mut Cursor) -> Next,
    ) -> (usize, core::result::Result<(), Astray>) {
        let mut count = 0;
        let end = walk(&mut Cursor::new(), next, &mut |name, _| {
            let (zero, name) = name.split_last().unwrap();
            assert!(*zero == 0 && !name.is_empty() && !name.contains(&0));
            assert!(name.len() < WALK_UNITS);
            count += 1;
            true
        });
        (count, end)
    }

    #[test]
    fn a_walk_sees_all() {
        for count in [0, 1, 2, 3, 100, 5000 / STRIDE] {
            let names: Vec<String> = (0..count).map(|n| format!("Boot{n:04}")).collect();
            assert_eq!(seen(&mut firmware(&names)), (count, Ok(())));
        }
        // Long names, as long as can be.
        let names = [255, 256, 300, WALK_UNITS - 2].map(|n| "x".repeat(n));
        assert_eq!(seen(&mut firmware(&names)), (4, Ok(())));
        let names = ["x".repeat(WALK_UNITS - 1)];
        assert_eq!(seen(&mut firmware(&names)), (0, Err(Astray::BadName)));
    }

    #[test]
    fn a_walk_ends_whatever_firmware_says() {
        // Circles with and without a way into them.
        for (before, length) in [
            (0usize, 1usize),
            (0, 2),
            (5, 1),
            (7, 3),
            (100, 100),
            (0, 1000),
        ] {
            let mut n = 0;
            let (count, end) = seen(&mut |cursor| {
                let at = if n < before {
                    n
                } else {
                    before + (n - before) % length
                };
                n += 1;
                let name = units(&format!("v{at}"));
                cursor.name = [0; WALK_UNITS];
                cursor.name[..name.len()].copy_from_slice(&name);
                Next::Found
            });
            assert_eq!(end, Err(Astray::Loop));
            assert!(count <= 4 * (before + length), "{count}");
        }
        // Never the same.
        let mut n = 0u64;
        let mut endless = |cursor: &mut Cursor| {
            n += 1;
            let name = units(&n.to_string());
            cursor.name = [0; WALK_UNITS];
            cursor.name[..name.len()].copy_from_slice(&name);
            Next::Found
        };
        assert_eq!(seen(&mut endless), (WALK_MAX, Err(Astray::TooMany)));
        // Without end, without letters.
        let mut full = |cursor: &mut Cursor| {
            cursor.name = [7; WALK_UNITS];
            cursor.bytes = usize::MAX;
            Next::Found
        };
        assert_eq!(seen(&mut full), (1, Err(Astray::Loop)));
        let mut empty = |cursor: &mut Cursor| {
            cursor.name = [0; WALK_UNITS];
            Next::Found
        };
        assert_eq!(seen(&mut empty), (0, Err(Astray::BadName)));
        // Wants more and more, or less than it was given.
        let mut more = |cursor: &mut Cursor| {
            cursor.bytes += 1;
            Next::TooSmall
        };
        assert_eq!(seen(&mut more), (0, Err(Astray::BadName)));
        for absurd in [0, 511, 512, 2047, 2048, usize::MAX] {
            let mut same = |cursor: &mut Cursor| {
                cursor.bytes = absurd;
                Next::TooSmall
            };
            assert_eq!(seen(&mut same), (0, Err(Astray::BadName)), "{absurd}");
        }
        assert_eq!(seen(&mut |_| Next::Failed), (0, Err(Astray::Failed)));
    }

    #[test]
    fn who_has_seen_enough_may_go() {
        let names: Vec<String> = (0..9).map(|n| format!("Boot{n:04}")).collect();
        let mut left = 3;
        let end = walk(&mut Cursor::new(), &mut firmware(&names), &mut |_, _| {
            left -= 1;
            left > 0
        });
        assert_eq!((left, end), (0, Err(Astray::Enough)));
    }
}
