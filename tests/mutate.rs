// SPDX-License-Identifier: GPL-2.0

//! Damaged regions: whatever happened to a region, reading it ends, stays inside its zones, and
//! finds every record that the damage left whole or that its parity can put right.
//!
//! `MPSTORE_SEED` and `MPSTORE_CASES` take other regions and more of them than the default; a
//! failure says the seed and the number that lead to it.

use mpstore_format::{
    layout::{
        RamLayout,
        ZoneKind, //
    },
    text::HeadLine,
    tty::{
        lines,
        Demux, //
    },
};
use regions::{
    records,
    Case,
    Machine,
    Mutation,
    Random,
    Record, //
};
use std::panic::{
    catch_unwind,
    resume_unwind, //
};

// The guest's helper uses the rest.
#[allow(dead_code)]
#[path = "guest/regions.rs"]
mod regions;

const CASES: u64 = 12_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

/// What readers of a record's text do with it.
fn read(record: &Record) {
    match record.kind {
        ZoneKind::Dmesg => {
            // The header line ends with the first line feed, whatever follows.
            let line = record.content.iter().position(|byte| *byte == b'\n');
            assert_eq!(line.map(|at| at + 1), Some(record.skip));
            let payload = record.payload();
            if let Some((_, len)) = HeadLine::parse(payload) {
                assert!(len <= payload.len());
            }
        }
        ZoneKind::Tty => {
            let mut total = 0;
            for line in lines(&record.content).take(20) {
                let written: usize = Demux::new(&record.content, line.name)
                    .map(<[u8]>::len)
                    .sum();
                assert!(written <= record.content.len());
                total += line.text.len();
            }
            assert!(total <= record.content.len());
        }
        _ => {}
    }
}

/// Tallies, so that the test can't pass by making regions with nothing in them.
#[derive(Default)]
struct Seen {
    damaged: usize,
    found: usize,
    survived: usize,
    corrected: usize,
    beyond_repair: usize,
}

fn one(seed: u64, number: u64, seen: &mut Seen) {
    let mut random = Random::new(!seed, number);
    let machine = Machine {
        cpus: 1 + random.below(4),
        version: 0x07_03_04,
        mem_most: 1 << (10 + random.below(7)),
    };
    let case = Case::new(seed, number, &machine);

    // Undamaged, all of it is there.
    let whole = records(&case.whole.bytes, &case.whole.sizes, &machine);
    assert!(whole
        .iter()
        .map(|record| (record.kind, record.index, &record.content))
        .eq(case
            .whole
            .truth
            .iter()
            .map(|(k, i, content)| (*k, *i, content))));

    let damaged = case.bytes != case.whole.bytes || case.read_as != case.whole.sizes;
    seen.damaged += usize::from(damaged);
    let found = records(&case.bytes, &case.read_as, &machine);
    for record in &found {
        read(record);
        let layout = RamLayout::new(&case.read_as).unwrap();
        let len = |(k, i, zone): (_, _, mpstore_format::layout::Zone)| {
            ((k, i) == (record.kind, record.index)).then_some(zone.len)
        };
        assert!(record.content.len() < layout.zones().find_map(len).unwrap());
        seen.beyond_repair += usize::from(record.repair.lost > 0);
    }
    seen.found += found.len();

    for (kind, index, content, damaged) in case.survivors() {
        let record = found.iter().find(|r| (r.kind, r.index) == (kind, index));
        match record {
            Some(record) => {
                assert_eq!(record.content, content, "{kind:?} {index}");
                assert_eq!(record.repair.corrected, damaged, "{kind:?} {index}");
                assert_eq!(record.repair.lost, 0, "{kind:?} {index}");
                seen.survived += 1;
                seen.corrected += damaged;
            }
            None => assert_eq!(content, b"", "{kind:?} {index} is gone"),
        }
    }

    // The medium may also be shorter than the region should be.
    let end = random.below(case.bytes.len());
    let kept = records(&case.bytes[..end], &case.read_as, &machine);
    assert!(kept.len() <= found.len());
}

#[test]
fn damaged_regions() {
    let (seed, cases) = (number("MPSTORE_SEED", 1), number("MPSTORE_CASES", CASES));
    let first = number("MPSTORE_FIRST", 0);
    println!("seed {seed}, cases {first} to {}", first + cases);
    let mut tallies: Vec<_> = Mutation::ALL.map(|kind| (kind, Seen::default())).into();
    for number in first..first + cases {
        let (_, seen) = &mut tallies[number as usize % Mutation::ALL.len()];
        let mut this = Seen::default();
        let unwind = std::panic::AssertUnwindSafe(|| one(seed, number, &mut this));
        if let Err(panic) = catch_unwind(unwind) {
            eprintln!("again with: MPSTORE_SEED={seed} MPSTORE_FIRST={number} MPSTORE_CASES=1");
            resume_unwind(panic);
        }
        seen.damaged += this.damaged;
        seen.found += this.found;
        seen.survived += this.survived;
        seen.corrected += this.corrected;
        seen.beyond_repair += this.beyond_repair;
    }
    for (kind, seen) in &tallies {
        println!(
            "{kind:?}: {} regions, {} records read, {} survived, {} bytes corrected, \
             {} beyond repair",
            seen.damaged, seen.found, seen.survived, seen.corrected, seen.beyond_repair
        );
        if cases < CASES {
            continue;
        }
        // No damage of these kinds hits everything.
        assert!(seen.found > 0, "{kind:?}");
        assert!(
            *kind == Mutation::OtherSizes || seen.survived > 100,
            "{kind:?}"
        );
    }
    if cases >= CASES {
        let sum = |f: fn(&Seen) -> usize| tallies.iter().map(|(_, seen)| f(seen)).sum::<usize>();
        assert!(sum(|seen| seen.damaged) >= 10_000);
        assert!(sum(|seen| seen.corrected) > 1000);
        assert!(sum(|seen| seen.beyond_repair) > 1000);
    }
}
