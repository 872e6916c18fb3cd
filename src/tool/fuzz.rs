// SPDX-License-Identifier: GPL-2.0

//! Whatever a source holds, nothing panics or hangs. Always the same rounds; more with
//! `MPSTORE_FUZZ=ROUNDS,SEED`.

use crate::{
    decode::{
        infer,
        ram::{
            records,
            Naming, //
        },
        symbols::Symbols,
        unpack,
        zone, //
    },
    find,
    forms,
    host::Host,
    load,
    progress::Progress,
    source::Bytes, //
};
use clap::Parser as _;
use mpstore_format::layout::{
    RamLayout,
    RamSizes, //
};
use std::time::Duration;

const GOLDEN: &[u8] = include_bytes!("../../tests/golden/c-ramoops-64k-ecc16.img");
const GOLDEN_0B: &[u8] = include_bytes!("../../tests/golden/c-ramoops-fixedhuffman-0b.bin");

pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// xorshift64*.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound.max(1)
    }
}

fn rounds(default: u64) -> (u64, Random) {
    let given = std::env::var("MPSTORE_FUZZ").unwrap_or_default();
    let mut numbers = given.split(',').map(|n| n.parse::<u64>().ok());
    let rounds = numbers.next().flatten().unwrap_or(default);
    let seed = numbers.next().flatten().unwrap_or(0x6d70_7374_6f6f_6c21);
    (rounds, Random(seed.max(1)))
}

/// Changes bytes where it matters: in headers more often than elsewhere.
fn damage(bytes: &mut [u8], random: &mut Random) {
    for _ in 0..1 + random.below(6) {
        let len = bytes.len();
        if len < 16 {
            return;
        }
        let at = match random.below(3) {
            0 => random.below(len / 4096 + 1) * 4096 + random.below(40),
            1 => random.below(64),
            _ => random.below(len),
        }
        .min(len - 9);
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let n = [0u32, 1, u32::MAX, 0x7fff_ffff, 0x8000_0000, 4096, 12][random.below(7)];
                bytes[at..at + 4].copy_from_slice(&n.to_le_bytes());
            }
            _ => {
                let from = random.below(len - 8);
                let eight: [u8; 8] = bytes[from..from + 8].try_into().unwrap();
                bytes[at..at + 8].copy_from_slice(&eight);
            }
        }
    }
}

#[test]
fn damaged_regions() {
    let (rounds, mut random) = rounds(1500);
    let symbols = Symbols::default();
    for _ in 0..rounds {
        let mut bytes = GOLDEN.to_vec();
        damage(&mut bytes, &mut random);
        if random.below(4) == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        let naming = Naming {
            backend: "x",
            first_id: u64::MAX - random.below(3) as u64,
            time: None,
            origin: "",
            symbols: &symbols,
        };
        // With the right sizes, with odd ones, and with those that the content tells.
        let sizes = RamSizes {
            mem_size: bytes.len(),
            record_size: [0x1000, 0x100, 64, 0, 0x8000][random.below(5)],
            console_size: [0x2000, 0, 0x40][random.below(3)],
            ftrace_size: [0x1000, 0, 0x100][random.below(3)],
            pmsg_size: [0x1000, 0][random.below(2)],
            tty_size: [0, 0x800][random.below(2)],
            ftrace_zones: random.below(4),
            ecc_size: [16, 0, 127, 1][random.below(4)],
        };
        if let Ok(layout) = find::layout_of(&sizes, &bytes) {
            for record in records(&naming, &bytes, &layout, sizes.ecc_size) {
                assert!(record.notice <= record.text.len());
                let _ = (record.name(), record.identity("x"), record.to_json(true));
            }
        }
        if random.below(12) == 0 {
            for (at, guess) in find::regions_in(&bytes) {
                let region = bytes.get(at..at + guess.len).unwrap();
                let _ = records(&naming, region, &guess.layout, guess.ecc_size);
            }
        }
    }
}

#[test]
fn the_usual_division_of_damaged_regions() {
    let (rounds, mut random) = rounds(1500);
    let symbols = Symbols::default();
    let sizes = RamSizes {
        mem_size: GOLDEN.len(),
        record_size: 0x1000,
        console_size: 0x2000,
        ftrace_size: 0x1000,
        pmsg_size: 0x1000,
        tty_size: 0,
        ftrace_zones: 2,
        ecc_size: 16,
    };
    let layout = RamLayout::new(&sizes).unwrap();
    let naming = Naming {
        backend: "ramoops",
        first_id: 0,
        time: None,
        origin: "",
        symbols: &symbols,
    };
    let good = records(&naming, GOLDEN, &layout, 16);
    assert_eq!(good.len(), 6);
    let mut repaired = 0;
    for _ in 0..rounds {
        let mut bytes = GOLDEN.to_vec();
        // Up to eight bytes in a block are repaired.
        let zone = random.below(3) * 0x1000;
        let block = random.below(8);
        for _ in 0..random.below(9) {
            bytes[zone + 12 + block * 128 + random.below(128)] ^= 1 + random.below(255) as u8;
        }
        let now = records(&naming, &bytes, &layout, 16);
        assert_eq!(now.len(), 6);
        for (a, b) in good.iter().zip(&now) {
            assert_eq!(a.content(), b.content());
            repaired += b.parity.map_or(0, |p| p.corrected);
        }
    }
    assert!(repaired > 0);
}

#[test]
fn damaged_streams() {
    let (rounds, mut random) = rounds(20_000);
    // 24 bytes of header line are behind the zone's header.
    let deflate = GOLDEN_0B.get(36..12 + 0x75).unwrap();
    assert!(unpack(deflate, 4096).is_some());
    for round in 0..rounds {
        let mut bytes = deflate.to_vec();
        damage(&mut bytes, &mut random);
        if round % 3 == 0 {
            // A zstd frame with a raw and a broken block.
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
            frame.extend((0..random.below(60)).map(|_| random.next() as u8));
            bytes = frame;
        }
        if let Some(text) = unpack(&bytes, 10_000) {
            assert!(text.len() <= 10_000);
        }
    }
}

#[test]
fn memory_that_is_noise() {
    let (rounds, mut random) = rounds(300);
    for _ in 0..rounds {
        let mut bytes = vec![0u8; 0x4000 + random.below(0x8000)];
        for _ in 0..random.below(20) {
            let at = (random.below(bytes.len() - 64)) & !1;
            let at = if random.below(2) == 0 {
                at & !0xfff
            } else {
                at
            };
            bytes[at..at + 4].copy_from_slice(b"DBGC");
            let n = random.below(0x3000) as u32;
            bytes[at + 4..at + 8]
                .copy_from_slice(&(n / (1 + random.below(3)) as u32).to_le_bytes());
            bytes[at + 8..at + 12].copy_from_slice(&n.to_le_bytes());
            if random.below(3) == 0 {
                bytes[at + 12..at + 27].copy_from_slice(b"====5.000001-D\n");
            }
            if random.below(3) == 0 {
                bytes[at] = [0x46, 0x47, 0x43, 0x30][random.below(4)];
            }
        }
        let hits = infer::hits(&bytes);
        let _ = infer::best(&bytes, &hits, None);
        let _ = find::scan(&Bytes(&bytes), None, &crate::progress::Progress::off());
        if let Some(guess) = zone::guess(&bytes) {
            let _ = zone::records(&bytes, &guess, "blk", "", &Symbols::default());
        }
    }
}

/// Time that this thread has had a processor.
fn spent_by_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ns = text.split_ascii_whitespace().next().unwrap();
    Duration::from_nanos(ns.parse().unwrap())
}

/// Most memory that this process has ever had, in KiB.
fn peak_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// A source of the form `number`, and where in it the bytes are that decide most.
fn form(
    number: usize,
    random: &mut Random,
) -> (Vec<u8>, Vec<(usize, usize)>, &'static [&'static str]) {
    let (mut region, sizes) = forms::region(16 * random.below(2));
    // Half of them have something wrong inside of a form that is right.
    if random.below(2) == 0 {
        damage(&mut region, random);
    }
    let mut memory = vec![0x11; 0x4_0000];
    memory[0x2_0000..].copy_from_slice(&region);
    let notes = [
        forms::note("VMCOREINFO", 0, b"OSRELEASE=7.3.4\n"),
        forms::device_dump_note(&region, &sizes),
    ]
    .concat();
    let kdump = vec![
        (0, 64),
        (420, 40),
        (4096, 110),
        (8192, 64),
        (8192 + notes.len(), 9000),
    ];
    const LINE: &[&str] = &[
        "--cmdline",
        "memmap=128K$0x20000 mpstore.mem_address=0x20000 mpstore.mem_size=128K mpstore.record_size=8K \
         mpstore.console_size=8K mpstore.ftrace_size=8K mpstore.pmsg_size=4K mpstore.tty_size=8K",
    ];
    match number {
        0 => (
            forms::elf64(&memory, &notes),
            vec![(0, 64), (64, 168), (232, 400)],
            &[],
        ),
        1 => (forms::elf64(&memory, &[]), vec![(0, 64), (64, 168)], LINE),
        2 => (
            forms::elf32(&memory),
            vec![(0, 52), (52, 32)],
            &["--address", "0x20000"],
        ),
        3 => (
            forms::kdump(&memory, 1, &notes),
            kdump,
            &["--format", "note"],
        ),
        4 => (forms::kdump(&memory, 2, &[]), kdump, LINE),
        5 => (forms::kdump(&memory, 4, &[]), kdump, LINE),
        6 => (forms::kdump(&memory, 0x20, &[]), kdump, LINE),
        7 => (
            forms::flattened(&forms::kdump(&memory, 1, &[])),
            vec![(0, 32), (4096, 16), (9112, 16)],
            LINE,
        ),
        8 => {
            let (region, sizes) = forms::region(0);
            let memory = forms::handed_over_anew(&region, &sizes, 0x8_0000);
            (
                forms::elf64(&memory, &[]),
                vec![(232, 64), (232, 2048), (0, 232)],
                &["--format", "kho", "--address", "0x100000"],
            )
        }
        9 => (
            forms::disk(),
            (0..64).map(|n| (n * 0x1000, 100)).collect(),
            &[],
        ),
        10 => (
            forms::disk(),
            (0..64).map(|n| (n * 0x1000, 100)).collect(),
            &[
                "--cmdline",
                "mpstore.blkdev=/dev/x mpstore.kmsg_size=8K mpstore.console_size=8K \
                 mpstore.pmsg_size=4K mpstore.ftrace_size=8K mpstore.tty_size=8K",
            ],
        ),
        11 => {
            let (region, sizes) = forms::region(16);
            (
                forms::lone_note(&region, &sizes),
                vec![(0, 160), (160, 2048)],
                &[],
            )
        }
        _ => (region, (0..16).map(|n| (n * 0x2000, 100)).collect(), &[]),
    }
}

#[test]
fn damaged_sources() {
    const FORMS: usize = 13;
    let (rounds, mut random) = rounds(20 * FORMS as u64);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("source");
    let host = Host::new(dir.path());
    let mut found = [0usize; FORMS];
    for round in 0..rounds {
        let number = round as usize % FORMS;
        let (mut bytes, hot, args) = form(number, &mut random);
        // The first of each is whole, so that the others are known to be read.
        let whole = round < FORMS as u64;
        for _ in 0..if whole { 0 } else { 1 + random.below(5) } {
            let (from, len) = hot[random.below(hot.len())];
            let at = (from + random.below(len)).min(bytes.len() - 9);
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at..at + 4].fill(0xff),
                2 => bytes[at..at + 8].copy_from_slice(&(1u64 << random.below(64)).to_le_bytes()),
                _ => bytes[at..at + 8].copy_from_slice(&random.next().to_be_bytes()),
            }
        }
        if !whole && random.below(6) == 0 {
            bytes.truncate(1 + random.below(bytes.len() - 1));
        }
        std::fs::write(&path, &bytes).unwrap();
        let words = ["mpstore", "-s", path.to_str().unwrap()];
        let cli = crate::cli::Cli::parse_from(
            words
                .iter()
                .chain(args)
                .copied()
                .chain(std::iter::once("list")),
        );
        let begin = spent_by_thread();
        // An error is as good as records.
        if let Ok(loaded) = load::load(&cli.source, &host, Progress::off()) {
            found[number] += loaded.records.len();
            for record in &loaded.records {
                let _ = (record.name(), record.identity("x"), record.to_json(true));
            }
        }
        let spent = spent_by_thread() - begin;
        // Seconds at most, whatever else the machine has to do.
        assert!(
            spent < Duration::from_secs(60),
            "round {round}, form {number}: {spent:?}"
        );
        assert!(
            peak_kib() < 3 << 20,
            "round {round}, form {number}: {} KiB",
            peak_kib()
        );
    }
    assert!(found.iter().all(|n| *n > 0), "{found:?}");
}
