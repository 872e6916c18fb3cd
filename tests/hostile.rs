// SPDX-License-Identifier: GPL-2.0

//! Bytes from a medium may be anything. Whatever they are, no parser panics, hangs or reaches out of
//! its input, and what it accepts keeps its promises.
//!
//! The input comes from a generator with a fixed seed, so a failure happens again.

use mpstore_format::{
    dump::{
        chunks_max,
        pack,
        Chunk,
        Log,
        Method,
        Packed,
        EXPANSION_MAX, //
    },
    ecc::{
        repair_zone,
        seal_zone,
        Codec,
        EccGeometry, //
    },
    ftrace::{
        self,
        kaslr_offset,
        version_of,
        Merge,
        Run,
        Slide,
        RECORD_BYTES, //
    },
    layout::{
        RamLayout,
        RamSizes,
        ZoneKind, //
    },
    ram::{
        self,
        split_zone,
        zone_text,
        Header,
        Ring,
        SIGNATURE, //
    },
    record::DmesgHeader,
    text::{
        split_newest,
        HeadLine,
        Reason, //
    },
    tty::{
        lines,
        name_matches,
        stamp,
        Demux,
        STAMP_MAX, //
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

    /// Small ones, powers of two and their neighbours are likely.
    fn number(&mut self) -> usize {
        let number = self.next() as usize >> self.below(64);
        match self.below(4) {
            0 => number
                .checked_next_power_of_two()
                .map_or(number, |power| power - 1),
            1 => number.checked_next_power_of_two().unwrap_or(number),
            _ => number,
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Bytes out of those that mean something to a parser.
    fn letters(&mut self, letters: &[u8], len: usize) -> Vec<u8> {
        (0..len)
            .map(|_| letters[self.below(letters.len())])
            .collect()
    }

    /// `text` with a few bytes changed, left out or put in.
    fn disturb(&mut self, text: &[u8]) -> Vec<u8> {
        let mut text = text.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(text.len() + 1);
            match self.below(3) {
                0 if at < text.len() => text[at] = self.next() as u8,
                1 if at < text.len() => {
                    text.remove(at);
                }
                _ => text.insert(at, self.next() as u8),
            }
        }
        text
    }
}

/// Whether `part` is a piece of `whole`, not a copy of one.
fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    part.is_empty() || (whole.start <= part.start && part.end <= whole.end)
}

#[test]
fn zones() {
    let mut random = Random(1);
    for _ in 0..50_000 {
        let len = random.below(300);
        let mut zone = random.bytes(len);
        let ecc_size = [0, 1, 16, 127, 128, usize::MAX][random.below(6)];
        if random.below(2) == 0 {
            // Counters that are nearly right.
            let header = Header {
                sig: SIGNATURE,
                start: random.below(320) as u32,
                size: random.below(320) as u32,
            };
            for (to, from) in zone.iter_mut().zip(header.to_bytes()) {
                *to = from;
            }
        }
        if let Ok(parts) = zone_text(&zone, SIGNATURE, ecc_size) {
            let (header, _) = split_zone(&zone).unwrap();
            assert_eq!(parts.concat().len(), header.size as usize);
            assert!(parts.iter().all(|part| lies_in(part, &zone)));
        }
        let _ = repair_zone(&mut zone, SIGNATURE, ecc_size);
        if seal_zone(&mut zone, ecc_size).is_ok() {
            let repair = repair_zone(&mut zone, SIGNATURE, ecc_size).unwrap();
            assert_eq!((repair.corrected, repair.lost), (0, 0));
        }
    }
}

#[test]
fn rings() {
    let mut random = Random(2);
    for _ in 0..200_000 {
        let header = Header {
            sig: SIGNATURE,
            start: random.number() as u32,
            size: random.number() as u32,
        };
        let capacity = random.number();
        let Ok(mut ring) = Ring::check(header, SIGNATURE, capacity) else {
            continue;
        };
        for _ in 0..4 {
            let len = random.number();
            let plan = ring.append(len);
            assert_eq!(plan.skip + plan.spans[0].len + plan.spans[1].len, len);
            for span in plan.spans.into_iter().chain(ring.linear()) {
                assert!(span.at <= capacity && span.len <= capacity - span.at);
            }
            let again = Ring::check(ring.header(SIGNATURE), SIGNATURE, capacity);
            assert_eq!(again, Ok(ring));
        }
    }
}

#[test]
fn layouts_are_in_bounds_and_disjoint() {
    let mut random = Random(3);
    let mut accepted = 0;
    for round in 0..100_000 {
        // In every other round sizes that are likely to fit.
        let mut size = |limit: u32| match (round % 2, random.below(4)) {
            (_, 0) => 0,
            (0, _) => random.number(),
            _ => random.below(1 << limit),
        };
        let sizes = RamSizes {
            mem_size: size(20),
            record_size: size(17),
            console_size: size(16),
            ftrace_size: size(16),
            pmsg_size: size(16),
            tty_size: size(16),
            ftrace_zones: size(4),
            ecc_size: [0, 0, 8, 16, 127, 128][random.below(6)],
        };
        let layout = match RamLayout::new(&sizes) {
            Ok(layout) => layout,
            Err(error) => {
                assert!(error.to_string().starts_with(error.field()));
                continue;
            }
        };
        accepted += 1;
        assert_eq!(Ok(layout), RamLayout::new(&sizes.rounded()));
        let mut end = 0;
        let mut total = 0;
        let mut last = None;
        // Beyond this many they only take time.
        for (kind, index, zone) in layout.zones().take(1000) {
            assert!(zone.offset >= end, "{sizes:?}");
            end = zone.offset.checked_add(zone.len).unwrap();
            assert!(end <= sizes.mem_size, "{sizes:?}");
            assert!(EccGeometry::new(zone.len, sizes.ecc_size).is_ok());
            if kind != ZoneKind::Tty {
                assert_eq!(zone.offset, total, "only the tty zone is apart");
            }
            total += zone.len;
            let same = match kind {
                ZoneKind::Dmesg => layout.dmesg(index),
                ZoneKind::Console => layout.console(),
                ZoneKind::Pmsg => layout.pmsg(),
                ZoneKind::Ftrace => layout.ftrace(index),
                ZoneKind::Tty => layout.tty(),
            };
            assert_eq!(same, Some(zone));
            if kind == ZoneKind::Dmesg {
                assert!(zone.len >= sizes.rounded().record_size);
            }
            last = Some(zone);
        }
        if let Some(tty) = layout.tty() {
            assert_eq!(tty.offset + tty.len, sizes.mem_size);
            let without = RamSizes {
                mem_size: sizes.mem_size - tty.len,
                tty_size: 0,
                ..sizes
            };
            // For the in-tree ramoops the rest must be a region of its own.
            if let Ok(without) = RamLayout::new(&without) {
                let others = layout.zones().filter(|(kind, ..)| *kind != ZoneKind::Tty);
                assert!(others.take(1000).eq(without.zones().take(1000)));
            }
        }
        assert!(last.is_some());
    }
    assert!(accepted > 5_000, "{accepted}");
}

#[test]
fn record_headers() {
    let mut random = Random(4);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let bytes = match random.below(3) {
            0 => {
                let len = random.below(64);
                random.bytes(len)
            }
            1 => {
                let len = random.below(40);
                let mut bytes = b"====".to_vec();
                bytes.extend(random.letters(b"0123456789.-CD\n ", len));
                bytes
            }
            _ => random.disturb(b"====1795229979.851876-C\nrest"),
        };
        if let Some((header, len)) = DmesgHeader::parse(&bytes) {
            assert_eq!(bytes[len - 1], b'\n');
            assert!(!bytes[..len - 1].contains(&b'\n'));
            assert!(header.stamp.usec < 1_000_000);
            accepted += 1;
        }
    }
    assert!(accepted > 1000);
}

#[test]
fn head_lines() {
    let mut random = Random(5);
    for _ in 0..100_000 {
        let text = random.disturb(b"Emergency#18446744073709551615 Part4294967295\nrest");
        if let Some((_, len)) = HeadLine::parse(&text) {
            assert_eq!(text[len - 1], b'\n');
        }
    }
}

#[test]
fn texts_are_used_up() {
    let mut random = Random(6);
    for _ in 0..20_000 {
        let len = random.below(200);
        let text = random.letters(b"ab\n", len);
        let room = 1 + random.below(30);
        let mut rest = &text[..];
        let mut rounds = 0;
        while !rest.is_empty() {
            let (older, newer) = split_newest(rest, room);
            assert!(newer.len() <= room && !newer.is_empty());
            assert!(rest.starts_with(older) && rest.ends_with(newer));
            rest = older;
            rounds += 1;
        }
        assert!(rounds <= text.len());
    }
}

#[test]
fn tty_zones() {
    let mut random = Random(7);
    let mut stamped = 0;
    for _ in 0..50_000 {
        let text = match random.below(3) {
            0 => {
                let len = random.below(200);
                random.bytes(len)
            }
            1 => {
                let len = random.below(80);
                random.letters(b"[] .0123456789:+ty\n", len)
            }
            _ => random.disturb(
                b"gone\n[    1.000002] ttyS0: a\n[    1.000003] pts/1+ b\n[    1.000004] ttyS0+ c",
            ),
        };
        // Nothing is lost: the lines and their line feeds are as long as the text.
        let mut total = 0;
        for line in lines(&text) {
            assert!(lies_in(line.text, &text) && lies_in(line.name, &text));
            assert_eq!(line.time_us.is_some(), !line.name.is_empty());
            stamped += usize::from(line.time_us.is_some());
            assert!(!line.text.contains(&b'\n'));
            total += line.text.len();
            let written: usize = Demux::new(&text, line.name).map(<[u8]>::len).sum();
            assert!(written <= text.len());
        }
        assert!(total <= text.len());
    }
    assert!(stamped > 10_000);
}

#[test]
fn stamps_are_read_back() {
    let mut random = Random(8);
    for _ in 0..50_000 {
        let len = random.below(80);
        let name = random.bytes(len);
        let ns = random.number() as u64;
        let continued = random.below(2) == 0;
        let mut out = [0; STAMP_MAX];
        let len = stamp(&mut out, ns, &name, continued);
        let mut text = out[..len].to_vec();
        text.extend(b"text: +\n");
        let line = lines(&text).next().unwrap();
        assert_eq!(line.time_us, Some(ns / 1000));
        assert_eq!(line.name.len(), name.len().clamp(1, 63));
        assert_eq!(line.continued, continued);
        assert_eq!(line.text, b"text: +");
        assert!(line.ended);
    }
}

#[test]
fn patterns_do_not_run_away() {
    let mut random = Random(9);
    for _ in 0..50_000 {
        let len = random.below(60);
        let patterns = random.letters(b"ab*?!, ", len);
        let len = random.below(20);
        let name = random.letters(b"ab", len);
        let selected = name_matches(&patterns, &name);
        // One more pattern decides by itself.
        assert!(name_matches(&[&patterns[..], b",*"].concat(), &name));
        assert!(!name_matches(&[&patterns[..], b",!*"].concat(), &name));
        assert_eq!(
            name_matches(&[&patterns[..], b",x"].concat(), &name),
            selected
        );
    }
}

#[test]
fn code_words() {
    let mut random = Random(10);
    for _ in 0..3_000 {
        let ecc_size = 1 + random.below(127);
        let codec = Codec::new(ecc_size).unwrap();
        let len = random.below(140);
        let mut data = random.bytes(len);
        let parity_len = ecc_size + random.below(2);
        let mut parity = random.bytes(parity_len);
        let (before, parity_before) = (data.clone(), parity.clone());
        match codec.decode(&mut data, &mut parity) {
            Ok(count) => {
                assert!(count <= ecc_size / 2);
                let mut expected = vec![0; ecc_size];
                codec.encode(&data, &mut expected);
                assert_eq!(expected, parity);
            }
            Err(_) => assert_eq!((before, parity_before), (data, parity)),
        }
    }
}

#[test]
fn any_bytes_are_a_trace() {
    let mut random = Random(71);
    for _ in 0..3000 {
        let zones: Vec<_> = (0..random.below(9))
            .map(|_| {
                let len = random.below(40 * RECORD_BYTES);
                // Few different bytes make equal and contradicting sequence numbers.
                let most = [2, 256][random.below(2)];
                (0..len).map(|_| random.below(most) as u8).collect()
            })
            .collect::<Vec<Vec<u8>>>();
        let mut runs: Vec<_> = (0..).zip(&zones).map(|(i, z)| Run::new(z, i)).collect();
        let mut left: Vec<_> = zones
            .iter()
            .map(|zone| zone[zone.len() % RECORD_BYTES..].chunks(RECORD_BYTES))
            .collect();
        let mut count = 0;
        for (index, record) in Merge::new(&mut runs) {
            // Each zone in its own order, nothing left out, nothing made up.
            let expected = left[index].next().unwrap();
            assert_eq!(record.ip.to_ne_bytes(), expected[..8]);
            assert_eq!(record.parent_ip.to_ne_bytes(), expected[8..16]);
            count += 1;
        }
        assert_eq!(count, zones.iter().map(|z| ftrace::count(z)).sum::<usize>());
    }
}

#[test]
fn any_number_is_an_address() {
    let mut random = Random(73);
    for _ in 0..100_000 {
        let mut number = || random.number() as u64;
        let (slide, ip) = (Slide::new(number(), number(), number()), number());
        let (_, _, _) = (slide.encode(ip), slide.decode(ip), slide.decode_foreign(ip));
        let sig = number() as u32;
        if let Some(version) = version_of(sig) {
            assert_eq!(ram::ftrace_signature(version), sig);
        }
    }
}

#[test]
fn any_bytes_are_a_note() {
    let mut random = Random(79);
    let mut good = vec![11, 0, 0, 0, 22, 0, 0, 0, 0, 0, 0, 0];
    good.extend(b"VMCOREINFO\0\0KERNELOFFSET=19000000\n");
    assert_eq!(kaslr_offset(&good), Some(0x1900_0000));
    for _ in 0..100_000 {
        let mut note = good.clone();
        for _ in 0..random.below(4) {
            let at = random.below(note.len());
            note[at] = random.next() as u8;
        }
        note.truncate(
            random
                .below(note.len() + 1)
                .max(random.below(note.len() + 1)),
        );
        let _ = kaslr_offset(&note);
    }
}

/// A text that somebody wrote to the log, and a compressor that may do anything.
#[test]
fn dumps_are_cut_in_bounds() {
    let mut random = Random(11);
    let mut packed = 0;
    for _ in 0..20_000 {
        let len = random.below(3000);
        let text = random.letters(b"abc\n", len);
        let size = 1 + random.below(700);
        let mut chunks = vec![Chunk::default(); random.below(2 + chunks_max(len, size))];
        let mut bytes = vec![0; random.below(2000)];
        let count = pack(&text, size, &mut chunks, &mut bytes, &mut |text, out| {
            assert!(!text.is_empty() && text.len() <= size);
            match random.below(4) {
                0 => None,
                1 => Some(random.number()),
                _ => Some(random.below(1 + text.len().min(out.len()))),
            }
        });
        let log = Log::new(
            &text,
            Some(Packed {
                method: [Method::Deflate, Method::Zstd][random.below(2)],
                chunks: &chunks[..count],
                bytes: &bytes,
            }),
        );
        let mut parts = log.parts(Reason::Oops, 3, random.number());
        let mut rounds = 0;
        while parts.more() {
            let room = random.below(1000);
            let Some(part) = parts.next(room) else {
                assert!(room < 20);
                break;
            };
            let mut written = 0;
            part.write(&mut |piece| written += piece.len());
            assert_eq!(written, part.len());
            assert!(written <= room && written <= EXPANSION_MAX * room);
            packed += usize::from(part.method().is_some());
            rounds += 1;
        }
        assert!(rounds <= len);
    }
    assert!(packed > 1000, "{packed}");
}
