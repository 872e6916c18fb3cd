// SPDX-License-Identifier: GPL-2.0

//! What firmware hands out may be anything: names of variables and error records of any bytes.
//!
//! The input comes from a generator with a fixed seed, so a failure happens again.

use mpstore_format::{
    efi::{
        self,
        Name,
        NAME_UNITS, //
    },
    erst::{
        self,
        Found,
        HEADER_BYTES, //
    },
};

struct Random(u64);

impl Random {
    /// xorshift64*.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }
}

/// A name is believed only if it is what would be written for what it says: erasing goes by that.
#[test]
fn names_are_believed_only_as_they_would_be_written() {
    let mut random = Random(0x5eed);
    let (mut accepted, mut canonical) = (0, 0);
    for round in 0..400_000 {
        let mut units: Vec<u16> = match round % 4 {
            0 => (0..random.below(80))
                .map(|_| random.next() as u16)
                .collect(),
            1 => {
                let letters = b"0123456789-CD";
                let tail = random.below(60);
                let mut text = b"dump-type".to_vec();
                text.extend((0..tail).map(|_| letters[random.below(letters.len())]));
                text.iter().map(|b| u16::from(*b)).collect()
            }
            _ => {
                let shift = random.below(64) as u32;
                let name = Name {
                    kind: random.next() as u32 >> random.below(32),
                    part: random.next() as u32 >> random.below(32),
                    count: (random.below(4) > 0).then_some(random.next() as i32),
                    sec: random.next() >> shift,
                    letter: (random.below(3) > 0).then_some(b"CDx"[random.below(3)]),
                };
                let mut out = [0; NAME_UNITS];
                let len = name.encode(&mut out);
                canonical += 1;
                out[..len].to_vec()
            }
        };
        if round % 4 == 3 && !units.is_empty() {
            let at = random.below(units.len());
            units[at] ^= 1 << random.below(16);
        }
        if let Some(name) = Name::parse(&units) {
            let mut out = [0; NAME_UNITS];
            let len = name.encode(&mut out);
            assert_eq!(&out[..len], &units[..]);
            assert!(len < NAME_UNITS);
            let _ = name.id();
            accepted += 1;
        }
    }
    assert!(accepted > canonical / 2, "{accepted} of {canonical}");
}

#[test]
fn any_bytes_are_an_error_record() {
    let mut random = Random(0xe57);
    let mut dumps = 0;
    for _ in 0..200_000 {
        let len = random.below(600);
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        if random.below(4) > 0 && bytes.len() >= HEADER_BYTES {
            let mut header = [0; HEADER_BYTES];
            let content = random.below(400);
            erst::header(
                &mut header,
                random.next(),
                random.next(),
                content,
                random.below(2) == 0,
            );
            for _ in 0..random.below(3) {
                header[random.below(HEADER_BYTES)] = random.next() as u8;
            }
            bytes[..HEADER_BYTES].copy_from_slice(&header);
        }
        if let Found::Dump(dump) = erst::parse(&bytes) {
            assert!(dump.content.len() + HEADER_BYTES <= bytes.len());
            dumps += 1;
        }
    }
    assert!(dumps > 1000, "{dumps}");
}

/// Whatever is written and erased, the variables never go beyond the budget, nor the store below
/// the floor.
#[test]
fn the_budget_is_kept_whatever_happens() {
    let mut random = Random(0xb0d);
    for _ in 0..2_000 {
        let budget = efi::Budget {
            bytes: random.next() >> random.below(64),
            records: random.below(40) as u64,
            floor: random.next() >> random.below(64),
        };
        let (mut there, mut free) = (Vec::new(), random.next() >> random.below(64));
        let most = free;
        for _ in 0..60 {
            let bytes: u64 = there.iter().fold(0, |a: u64, b: &u64| a.saturating_add(*b));
            if random.below(4) == 0 && !there.is_empty() {
                let at = random.below(there.len());
                free += there.remove(at);
                continue;
            }
            let cost = efi::cost(random.next() >> random.below(64), random.below(70));
            if budget
                .admits(there.len() as u64, bytes, Some(free), cost)
                .is_ok()
            {
                there.push(cost);
                free = free.checked_sub(cost).expect("more than there was");
                assert!(free >= budget.floor);
                assert!(there.len() as u64 <= budget.records);
                assert!(bytes.saturating_add(cost) <= budget.bytes);
            }
        }
        assert!(free <= most);
    }
}
