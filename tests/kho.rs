// SPDX-License-Identifier: GPL-2.0

//! The index for Kexec HandOver: the C header says the same as the code, and whatever an earlier
//! kernel hands over, the parser does not panic, hang or believe something impossible.

use mpstore_format::kho::{
    seal, Chunk, ChunkEntry, Generation, GenerationEntry, Header, SlotHeader, SlotWriter,
    ZoneEntry, HEADER_BYTES, INDEX_BYTES, MAGIC, NODE_NAME, RELEASE_BYTES, SLOT_BYTES, SLOT_ROOM,
    VERSION, ZONES,
};
use mpstore_format::layout::{RamLayout, RamSizes};
use mpstore_format::record::Stamp;
use std::fs;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::process::Command;
use zerocopy::IntoBytes;

#[path = "believe/kho.rs"]
mod believe;
use believe::believe;

/// `C name, value in Rust` of each size and offset.
fn facts() -> Vec<(String, usize)> {
    let mut facts = Vec::new();
    macro_rules! layout {
        ($c:literal, $type:ty, $($field:ident),*) => {
            facts.push((format!("sizeof(struct {})", $c), size_of::<$type>()));
            $(facts.push((
                format!("offsetof(struct {}, {})", $c, stringify!($field)),
                offset_of!($type, $field),
            ));)*
        };
    }
    layout!(
        "mpstore_kho_header",
        Header,
        version,
        header_size,
        total_size,
        magic,
        checksum,
        slot_offset,
        slot_size,
        slot_count,
        page_size,
        taken,
        reserved
    );
    layout!(
        "mpstore_kho_slot",
        SlotHeader,
        checksum,
        used_size,
        sequence,
        next_number,
        generation_offset,
        generation_size,
        generation_count,
        chunk_offset,
        chunk_size,
        chunk_count
    );
    layout!("mpstore_kho_zones", ZoneEntry, kind, count, offset, len);
    layout!(
        "mpstore_kho_generation",
        GenerationEntry,
        number,
        start_sec,
        end_sec,
        start_usec,
        end_usec,
        boot_id,
        release,
        mem_size,
        flags,
        ecc_size,
        first_chunk,
        chunk_count,
        zones
    );
    layout!("mpstore_kho_chunk", ChunkEntry, phys, size);
    let mut value = |name: &str, n| facts.push((name.to_owned(), n));
    value("MPSTORE_KHO_VERSION", VERSION as usize);
    value("MPSTORE_KHO_MAGIC", MAGIC as usize);
    value("MPSTORE_KHO_ZONES", ZONES);
    value("MPSTORE_KHO_RELEASE", RELEASE_BYTES);
    value("MPSTORE_KHO_OPEN", mpstore_format::kho::FLAG_OPEN as usize);
    use mpstore_format::{kho::kind_number, layout::ZoneKind};
    value("MPSTORE_KHO_DMESG", kind_number(ZoneKind::Dmesg) as usize);
    value(
        "MPSTORE_KHO_CONSOLE",
        kind_number(ZoneKind::Console) as usize,
    );
    value("MPSTORE_KHO_PMSG", kind_number(ZoneKind::Pmsg) as usize);
    value("MPSTORE_KHO_FTRACE", kind_number(ZoneKind::Ftrace) as usize);
    value("MPSTORE_KHO_TTY", kind_number(ZoneKind::Tty) as usize);
    facts
}

#[test]
fn the_header_for_c_says_the_same() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join("mpstore_kho.c"), folder.join("mpstore_kho"));
    let mut text = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include \"mpstore_kho.h\"\nint main(void)\n{\n\
         puts(MPSTORE_KHO_NODE_NAME);\n",
    );
    for (name, _) in facts() {
        text += &format!("printf(\"%zu\\n\", (size_t)({name}));\n");
    }
    text += "return 0;\n}\n";
    fs::write(&source, text).unwrap();
    let done = Command::new("gcc")
        .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-std=c11", "-I"])
        .arg(top.join("src/format"))
        .arg("-o")
        .args([&program, &source])
        .status()
        .expect("no gcc");
    assert!(done.success());
    let said = Command::new(&program).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let mut lines = said.lines();
    assert_eq!(lines.next(), NODE_NAME.to_str().ok());
    for ((name, ours), theirs) in facts().iter().zip(lines.by_ref()) {
        assert_eq!(ours.to_string(), theirs, "{name}");
    }
    assert_eq!(lines.next(), None);
}

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

    /// Zero, all ones, powers of two and their neighbours, small ones.
    fn number(&mut self) -> u64 {
        let power = 1u64 << self.below(64);
        match self.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => power,
            3 => power.wrapping_sub(1),
            4 => self.next() >> self.below(64),
            _ => self.below(300) as u64,
        }
    }
}

/// A good index with a few generations. Says how many bytes of slot 1 are in use.
fn good(random: &mut Random) -> (Vec<u8>, usize) {
    let mut blob = vec![0; INDEX_BYTES];
    blob[..HEADER_BYTES].copy_from_slice(Header::new(4096).as_bytes());
    let at = Header::slot_at(1);
    let mut slot = SlotWriter::new(&mut blob[at..at + SLOT_ROOM]);
    let mut end = 0x200_0000u64;
    let count = random.below(5);
    for number in 0..count {
        let sizes = RamSizes {
            mem_size: 0x2_0000 << random.below(5),
            record_size: 0x1000 << random.below(4),
            console_size: 0x4000,
            ftrace_size: 0x2000 * random.below(2),
            pmsg_size: 0x2000,
            tty_size: 0x2000,
            ftrace_zones: 2,
            ecc_size: 16 * random.below(2),
        };
        slot.generation(&Generation {
            number: number as u64 + 3,
            start: Stamp {
                sec: 1_700_000_000,
                usec: 5,
            },
            end: None,
            boot_id: [7; 16],
            release: Generation::release_from(b"7.3.4"),
            open: number + 1 == count,
            mem_size: sizes.mem_size,
            layout: RamLayout::new(&sizes).unwrap(),
            ecc_size: sizes.ecc_size,
        })
        .unwrap();
        let pieces = 1 << random.below(3);
        for _ in 0..pieces {
            let size = (sizes.mem_size / pieces) as u64;
            let phys = end.next_multiple_of(size);
            end = phys + size;
            slot.chunk(Chunk { phys, size }).unwrap();
        }
    }
    let used = slot.finish(5, 100).unwrap();
    (blob, used)
}

/// Rounds and seed: `MPSTORE_FUZZ=ROUNDS[,SEED]`, or few and always the same.
fn fuzz() -> (u64, u64) {
    let given = std::env::var("MPSTORE_FUZZ").unwrap_or_default();
    let mut numbers = given.split(',').map(|n| n.parse().ok());
    let rounds = numbers.next().flatten().unwrap_or(12_000);
    let seed = numbers.next().flatten().unwrap_or(0x6d70_7374_6f72_6521);
    (rounds, seed.max(1))
}

#[test]
fn damaged_indexes_are_never_believed_too_much() {
    let (rounds, seed) = fuzz();
    println!("{rounds} rounds, seed {seed}");
    let mut random = Random(seed);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..rounds {
        let (mut blob, used) = good(&mut random);
        if round < 100 {
            believe(&blob).unwrap();
        }
        let at = Header::slot_at(1);
        for _ in 0..1 + random.below(3) {
            let place = match random.below(3) {
                0 => random.below(HEADER_BYTES),
                1 => at + random.below(SLOT_BYTES),
                _ => at + random.below(used),
            };
            match random.below(4) {
                0 => blob[place] ^= 1 << random.below(8),
                1 => {
                    let n = random.number();
                    let place = place & !3;
                    blob[place..place + 4].copy_from_slice(&(n as u32).to_ne_bytes());
                }
                2 => {
                    let n = random.number();
                    let place = place & !7;
                    blob[place..place + 8].copy_from_slice(&n.to_ne_bytes());
                }
                _ => {
                    // One field in the place of another.
                    let from = at + random.below(used - 8);
                    let eight: [u8; 8] = blob[from..from + 8].try_into().unwrap();
                    let place = place & !7;
                    blob[place..place + 8].copy_from_slice(&eight);
                }
            }
        }
        if random.below(8) != 0 {
            seal(&mut blob, 1, used);
        }
        if random.below(16) == 0 {
            blob.truncate(random.below(blob.len() + 1));
        }
        match believe(&blob) {
            Ok(()) => accepted += 1,
            Err(e) => {
                refused += 1;
                assert!(!e.to_string().is_empty());
            }
        }
    }
    // Both happen, or the test looks at one side only.
    println!("{accepted} accepted, {refused} refused");
    if rounds >= 12_000 {
        assert!(accepted > 200 && refused > 2000, "{accepted} {refused}");
    }
}

#[test]
fn noise_is_no_index() {
    let mut random = Random(77);
    for len in (0..200).chain([4096, INDEX_BYTES]) {
        let mut blob: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        assert!(believe(&blob).is_err());
        if let Some(version) = blob.first_chunk_mut::<4>() {
            *version = VERSION.to_ne_bytes();
            assert!(believe(&blob).is_err());
        }
    }
}
