// SPDX-License-Identifier: GPL-2.0

//! Regions of persistent RAM: whole ones, damaged ones, and what must be read from either.
//!
//! `tests/mutate.rs` on the host and `regiontool` in the guest are two users of this file, so that
//! the module is given the very regions that the host side has decoded. A case is known by its seed
//! and its number and by nothing else.

use mpstore_format::{
    ecc::{
        repair_zone,
        seal_zone,
        Codec,
        EccGeometry,
        Repair,
        BLOCK_BYTES, //
    },
    layout::{
        RamLayout,
        RamSizes,
        Zone,
        ZoneKind, //
    },
    ram::{
        ftrace_signature,
        split_zone,
        zone_text,
        Header,
        Ring,
        HEADER_BYTES,
        SIGNATURE, //
    },
    record::{
        DmesgHeader,
        Stamp,
        DMESG_HEADER_MAX, //
    },
    text::{
        head_line,
        Reason,
        HEAD_LINE_MAX, //
    },
    tty::{
        stamp,
        STAMP_MAX, //
    },
};

const GOLDEN: &[u8] = include_bytes!("../golden/c-ramoops-64k-ecc16.img");
/// A zone whose deflate stream begins with what C takes for white space.
const GOLDEN_0B: &[u8] = include_bytes!("../golden/c-ramoops-fixedhuffman-0b.bin");

/// xorshift64*, begun anew for each case.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        // Neighbouring numbers must not begin alike, and the state must not be zero.
        let mut mixed = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Lines as a kernel writes them, `len` bytes or a little more.
    fn text(&mut self, len: usize) -> Vec<u8> {
        let mut text = Vec::new();
        while text.len() < len {
            let line = format!(
                "<{}>[{:5}.{:06}] zone {:x} holds {} of {}\n",
                self.below(8),
                self.below(100_000),
                self.below(1_000_000),
                self.next(),
                self.below(1 << 20),
                self.below(1 << 30),
            );
            text.extend(line.bytes());
        }
        text
    }
}

/// What the layout and the signatures depend on.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    /// Possible CPUs: zones of the function trace.
    pub(crate) cpus: usize,
    /// `LINUX_VERSION_CODE`.
    pub(crate) version: u32,
    /// Largest region to make.
    pub(crate) mem_most: usize,
}

impl Machine {
    fn signature(&self, kind: ZoneKind) -> u32 {
        match kind {
            ZoneKind::Ftrace => ftrace_signature(self.version),
            _ => SIGNATURE,
        }
    }
}

/// A region as it was written, with what was written to it.
pub(crate) struct Whole {
    pub(crate) sizes: RamSizes,
    pub(crate) bytes: Vec<u8>,
    /// The content of each zone that has any, header line of a dump included.
    pub(crate) truth: Vec<(ZoneKind, usize, Vec<u8>)>,
}

/// Parity of a zone's header alone.
fn seal_header(zone: &mut [u8], ecc_size: usize) {
    let span = EccGeometry::new(zone.len(), ecc_size)
        .ok()
        .and_then(|geometry| geometry.header_parity());
    if let Some(span) = span {
        let (header, area) = zone.split_at_mut(HEADER_BYTES);
        let parity = &mut area[span.at..span.end()];
        Codec::new(ecc_size).unwrap().encode(header, parity);
    }
}

fn put_header(zone: &mut [u8], header: Header) {
    for (to, from) in zone.iter_mut().zip(header.to_bytes()) {
        *to = from;
    }
}

/// A dump record: header line and payload, no longer than `room`.
fn dump(random: &mut Random, room: usize) -> Vec<u8> {
    let header = DmesgHeader {
        stamp: Stamp {
            sec: 1_600_000_000 + random.below(200_000_000) as u64,
            usec: random.below(1_000_000) as u32,
        },
        compressed: random.one_in(3),
    };
    let mut line = [0; DMESG_HEADER_MAX];
    let len = header.encode(&mut line);
    let mut record = line[..len].to_vec();
    if !header.compressed && random.one_in(6) {
        // As kernels before compression wrote it.
        record.truncate(len - 3);
        record.push(b'\n');
    }
    let mut head = [0; HEAD_LINE_MAX];
    let reason = random.of(&Reason::ALL);
    let head_len = head_line(&mut head, reason, random.next() >> 40, 1);
    let room = room - record.len();
    let mut text = head[..head_len].to_vec();
    if header.compressed {
        let most = 1 + random.below(room * 3);
        text.extend(random.text(most));
        let mut deflated = miniz_oxide::deflate::compress_to_vec(&text, 6);
        while deflated.len() > room {
            text.truncate(text.len() / 2);
            deflated = miniz_oxide::deflate::compress_to_vec(&text, 6);
        }
        record.extend(deflated);
    } else {
        let len = match random.below(4) {
            // Full to the last byte.
            0 => room,
            _ => 1 + random.below(room),
        };
        text.extend(random.text(len));
        text.truncate(len.min(room));
        record.extend(text);
    }
    record
}

/// What a frontend appends in one go.
fn piece(random: &mut Random, kind: ZoneKind, machine: &Machine) -> Vec<u8> {
    match kind {
        ZoneKind::Ftrace => {
            let cpu = random.below(machine.cpus) as u64;
            let words = [
                0xffff_ffff_8100_0000 | (random.next() >> 40),
                0xffff_ffff_8100_0000 | (random.next() >> 40),
                ((random.next() >> 40) << 8) | cpu,
            ];
            words.iter().flat_map(|word| word.to_ne_bytes()).collect()
        }
        ZoneKind::Tty => {
            let mut line = [0; STAMP_MAX];
            let continued = random.one_in(4);
            let name = random.of(&["ttyS0", "tty1", "pts/3"]);
            let len = stamp(&mut line, random.next() >> 20, name.as_bytes(), continued);
            let text_len = random.below(60);
            [&line[..len], &random.text(text_len), b"\n"].concat()
        }
        ZoneKind::Pmsg => {
            let len = random.below(100);
            random.bytes(len)
        }
        _ => {
            let len = 1 + random.below(200);
            random.text(len)
        }
    }
}

/// Writes a zone as its owner would have. Returns its content.
fn fill(random: &mut Random, kind: ZoneKind, zone: &mut [u8], ecc: usize, m: &Machine) -> Vec<u8> {
    let capacity = EccGeometry::new(zone.len(), ecc).unwrap().capacity();
    let mut ring = Ring::empty(capacity);
    if random.one_in(8) {
        // Old bytes behind an empty header, as an erased zone has them.
        let stale = random.text(zone.len() / 2);
        let len = stale.len().min(zone.len() - HEADER_BYTES);
        zone[HEADER_BYTES..HEADER_BYTES + len].copy_from_slice(&stale[..len]);
    }
    let mut all = Vec::new();
    let mut append = |ring: &mut Ring, bytes: &[u8]| {
        let plan = ring.append(bytes.len());
        let mut rest = &bytes[plan.skip..];
        for span in plan.spans {
            let (part, after) = rest.split_at(span.len);
            let at = HEADER_BYTES + span.at;
            zone[at..at + span.len].copy_from_slice(part);
            rest = after;
        }
        all.extend(bytes);
    };
    match kind {
        ZoneKind::Dmesg if random.one_in(4) => {}
        ZoneKind::Dmesg => {
            let record = dump(random, capacity);
            append(&mut ring, &record);
        }
        _ => {
            // From nothing to several times around.
            let total = random.below(capacity * 3);
            let mut done = 0;
            while done < total {
                let piece = piece(random, kind, m);
                done += piece.len().max(1);
                append(&mut ring, &piece);
            }
        }
    }
    put_header(zone, ring.header(m.signature(kind)));
    seal_zone(zone, ecc).unwrap();
    all.split_off(all.len().saturating_sub(capacity))
}

/// Sizes that make a region.
fn sizes(random: &mut Random, machine: &Machine) -> RamSizes {
    loop {
        let mem_size = match random.below(3) {
            0 => machine.mem_most,
            _ => 1 + random.below(machine.mem_most),
        };
        let mut power = |least: u32, most: u32| match random.below(5) {
            0 => 0,
            _ => 1 << (least as usize + random.below((most - least) as usize)),
        };
        let sizes = RamSizes {
            mem_size,
            record_size: power(8, 14),
            console_size: power(7, 14),
            ftrace_size: power(7, 13),
            pmsg_size: power(7, 13),
            tty_size: power(7, 14),
            ftrace_zones: machine.cpus,
            ecc_size: random.of(&[0, 0, 0, 2, 8, 16, 16, 17, 127]),
        };
        // Many small zones only take time.
        if RamLayout::new(&sizes).is_ok_and(|layout| layout.dmesg_count() <= 64) {
            return sizes;
        }
    }
}

fn whole(random: &mut Random, machine: &Machine) -> Whole {
    if machine.mem_most >= GOLDEN.len() && machine.cpus == 2 && random.one_in(8) {
        return golden(machine);
    }
    let sizes = sizes(random, machine);
    let layout = RamLayout::new(&sizes).unwrap();
    let mut bytes = vec![0; sizes.mem_size];
    if random.one_in(3) {
        bytes = random.bytes(sizes.mem_size);
    }
    let mut truth = Vec::new();
    for (kind, index, zone) in layout.zones() {
        let place = zone.of_mut(&mut bytes);
        let content = if kind == ZoneKind::Dmesg && sizes.ecc_size == 0 && random.one_in(8) {
            golden_0b(place)
        } else {
            fill(random, kind, place, sizes.ecc_size, machine)
        };
        if !content.is_empty() {
            truth.push((kind, index, content));
        }
    }
    Whole {
        sizes,
        bytes,
        truth,
    }
}

/// The image that the C code wrote; `tests/golden.rs` knows what is in it.
fn golden(machine: &Machine) -> Whole {
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
    let content = |(kind, index, zone): (ZoneKind, usize, Zone)| {
        let text = zone_text(zone.of(GOLDEN), machine.signature(kind), 16).ok()?;
        let text = text.concat();
        (!text.is_empty()).then_some((kind, index, text))
    };
    Whole {
        sizes,
        bytes: GOLDEN.to_vec(),
        truth: layout.zones().filter_map(content).collect(),
    }
}

/// The other image, in a zone of any length that is long enough.
fn golden_0b(zone: &mut [u8]) -> Vec<u8> {
    let [_, content] = zone_text(GOLDEN_0B, SIGNATURE, 0).unwrap();
    let len = HEADER_BYTES + content.len();
    zone[..len].copy_from_slice(&GOLDEN_0B[..len]);
    content.to_vec()
}

/// What happens to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Single bits, anywhere or all in one zone.
    BitFlips,
    /// A stretch of random bytes.
    Burst,
    /// A zone from somewhere in its header on: gone.
    CutHeader,
    /// Counters that no writer would have written.
    AbsurdSizes,
    /// Random bytes for whole zones, or for all there is.
    Noise,
    /// Zones that lie elsewhere, or at another address altogether.
    Moved,
    /// The line in front of a dump, letter by letter.
    HeaderLine,
    /// A write that a reset cut off.
    Torn,
    /// Cache lines or pages that were never written back.
    LostLines,
    /// Read with other sizes or another `ecc` than it was written with.
    OtherSizes,
}

impl Mutation {
    pub(crate) const ALL: [Self; 10] = [
        Self::BitFlips,
        Self::Burst,
        Self::CutHeader,
        Self::AbsurdSizes,
        Self::Noise,
        Self::Moved,
        Self::HeaderLine,
        Self::Torn,
        Self::LostLines,
        Self::OtherSizes,
    ];

    fn apply(self, random: &mut Random, whole: &Whole, machine: &Machine) -> (RamSizes, Vec<u8>) {
        let mut bytes = whole.bytes.clone();
        let mut read_as = whole.sizes;
        let ecc = whole.sizes.ecc_size;
        let layout = RamLayout::new(&whole.sizes).unwrap();
        let zones: Vec<_> = layout.zones().collect();
        let some = 1 + random.below(4);
        match self {
            Self::BitFlips => {
                let (_, _, zone) = random.of(&zones);
                let (at, len) = match random.below(3) {
                    0 => (0, bytes.len()),
                    1 => (zone.offset, zone.len),
                    _ => (zone.offset, zone.len.min(64)),
                };
                for _ in 0..1 + random.below(64) {
                    bytes[at + random.below(len)] ^= 1 << random.below(8);
                }
            }
            Self::Burst => {
                for _ in 0..some {
                    let at = random.below(bytes.len());
                    let len = 1 + random.below((bytes.len() - at).min(4096));
                    bytes[at..at + len].copy_from_slice(&random.bytes(len));
                }
            }
            Self::CutHeader => {
                for _ in 0..some {
                    let (_, _, zone) = random.of(&zones);
                    let zone = zone.of_mut(&mut bytes);
                    let end = random.of(&[HEADER_BYTES, zone.len()]);
                    let from = random.below(HEADER_BYTES);
                    let value = random.of(&[0, 0xff]);
                    zone[from..end].fill(value);
                    if random.one_in(2) {
                        seal_header(zone, ecc);
                    }
                }
            }
            Self::AbsurdSizes => {
                for _ in 0..some {
                    let (kind, _, zone) = random.of(&zones);
                    let zone = zone.of_mut(&mut bytes);
                    absurd(random, kind, zone, ecc, machine);
                }
            }
            Self::Noise if random.one_in(2) => bytes = random.bytes(bytes.len()),
            Self::Noise => {
                for _ in 0..some {
                    let (kind, _, zone) = random.of(&zones);
                    let zone = zone.of_mut(&mut bytes);
                    let noise = random.bytes(zone.len());
                    zone.copy_from_slice(&noise);
                    if random.one_in(2) {
                        // Noise that is believed: a header that fits in front of it.
                        absurd(random, kind, zone, ecc, machine);
                        let _ = seal_zone(zone, random.of(&[0, ecc]));
                    }
                }
            }
            Self::Moved if random.one_in(2) => {
                let by = 1 + random.below(bytes.len());
                bytes.rotate_left(by % whole.bytes.len());
            }
            Self::Moved => {
                for _ in 0..some {
                    let (_, _, from) = random.of(&zones);
                    let (_, _, to) = random.of(&zones);
                    let zone = from.of(&bytes).to_vec();
                    for (to, from) in to.of_mut(&mut bytes).iter_mut().zip(zone) {
                        *to = from;
                    }
                }
            }
            Self::HeaderLine => {
                let dumps = layout.dmesg_count();
                for _ in 0..some {
                    let zone = match layout.dmesg(random.below(dumps)) {
                        Some(zone) => zone.of_mut(&mut bytes),
                        None => random.of(&zones).2.of_mut(&mut bytes),
                    };
                    let room = EccGeometry::new(zone.len(), ecc).unwrap().capacity();
                    header_line(random, &mut zone[HEADER_BYTES..HEADER_BYTES + room]);
                    if random.one_in(2) {
                        let _ = seal_zone(zone, ecc);
                    }
                }
            }
            Self::Torn => {
                for _ in 0..some {
                    let (kind, _, place) = random.of(&zones);
                    let mut later = place.of(&bytes).to_vec();
                    fill(random, kind, &mut later, ecc, machine);
                    let zone = place.of_mut(&mut bytes);
                    // The new header over the old data, as in-tree code writes, or the old header
                    // over some of the new data and parity.
                    let cut = match random.below(3) {
                        0 => HEADER_BYTES,
                        _ => random.below(zone.len()),
                    };
                    if random.one_in(2) {
                        zone[..cut].copy_from_slice(&later[..cut]);
                    } else {
                        zone[cut..].copy_from_slice(&later[cut..]);
                    }
                }
            }
            Self::LostLines => {
                let line = random.of(&[64, 64, 4096]);
                for _ in 0..some * 4 {
                    let at = random.below(bytes.len()) / line * line;
                    let end = (at + line).min(bytes.len());
                    bytes[at..end].fill(random.of(&[0, 0xff]));
                }
            }
            Self::OtherSizes => loop {
                let other = sizes(random, machine);
                read_as = match random.below(3) {
                    0 => RamSizes {
                        ecc_size: other.ecc_size,
                        ..whole.sizes
                    },
                    1 => RamSizes {
                        mem_size: whole.sizes.mem_size,
                        ..other
                    },
                    _ => RamSizes {
                        console_size: other.console_size,
                        tty_size: other.tty_size,
                        ..whole.sizes
                    },
                };
                let usable = |layout: RamLayout| layout.dmesg_count() <= 64;
                if RamLayout::new(&read_as).is_ok_and(usable) {
                    break;
                }
            },
        }
        (read_as, bytes)
    }
}

/// A header that lies; half of them with parity that says it does not.
fn absurd(random: &mut Random, kind: ZoneKind, zone: &mut [u8], ecc: usize, machine: &Machine) {
    let capacity = EccGeometry::new(zone.len(), ecc).map_or(0, |geometry| geometry.capacity());
    let mut number = || {
        let near = random.of(&[0, capacity, zone.len(), 0x8000, 0x7fff_ffff, 0x8000_0000]);
        match random.below(4) {
            0 => random.next() as u32,
            1 => random.below(zone.len()) as u32,
            _ => (near as u32)
                .wrapping_add(random.below(5) as u32)
                .wrapping_sub(2),
        }
    };
    let (start, size) = (number(), number());
    let sig = match random.below(6) {
        0 => random.next() as u32,
        1 => ftrace_signature(machine.version ^ 1),
        _ => machine.signature(kind),
    };
    put_header(zone, Header { sig, start, size });
    if random.one_in(2) {
        seal_header(zone, ecc);
    }
}

/// Replaces, adds and removes letters of a header line, or writes one that is on the edge.
fn header_line(random: &mut Random, data: &mut [u8]) {
    let edge = [
        "====18446744073709551615.999999-C\n",
        "====18446744073709551615.999999-D\n",
        "====18446744073709551616.000000-D\n",
        "====9223372036854775807.999999-D\n",
        "====9223372036854775808.000000-D\n",
        "====9223372036854775808.000000-C\n",
        "====253402300800.000000-D\n",
        "====0.000000-D\n",
        "====1.1000000-D\n",
        "====1.000001-\n\n",
        "====1.000001-C\n\n\n",
        "====1.000001\n",
        "=====1.000001-D\n",
        "====-1.000001-D\n",
    ];
    if !random.one_in(3) {
        let line = random.of(&edge);
        for (to, from) in data.iter_mut().zip(line.bytes()) {
            *to = from;
        }
        return;
    }
    let len = data.len().min(40);
    for _ in 0..1 + random.below(4) {
        let at = random.below(len);
        match random.below(3) {
            0 => data[at] = random.of(b"0123456789=.-CDX\n\r\t \0\x0b\xff"),
            1 => data[at..].rotate_left(1),
            _ => data[at..].rotate_right(1),
        }
    }
}

/// A damaged region, and how it is to be read.
pub(crate) struct Case {
    pub(crate) mutation: Mutation,
    pub(crate) whole: Whole,
    pub(crate) read_as: RamSizes,
    pub(crate) bytes: Vec<u8>,
}

impl Case {
    pub(crate) fn new(seed: u64, number: u64, machine: &Machine) -> Self {
        let mut random = Random::new(seed, number);
        let mutation = Mutation::ALL[number as usize % Mutation::ALL.len()];
        let whole = whole(&mut random, machine);
        let (read_as, bytes) = mutation.apply(&mut random, &whole, machine);
        Self {
            mutation,
            whole,
            read_as,
            bytes,
        }
    }

    /// What was written to the zones that the damage left alone, or that their parity can put
    /// right, with the number of bytes to be put right.
    pub(crate) fn survivors(&self) -> Vec<(ZoneKind, usize, &[u8], usize)> {
        let layout = RamLayout::new(&self.whole.sizes).unwrap();
        let same = self.read_as.rounded() == self.whole.sizes.rounded();
        let mut survivors = Vec::new();
        for (kind, index, zone) in layout.zones().filter(|_| same) {
            let truth = self.whole.truth.iter();
            let content = truth
                .filter(|(k, i, _)| (*k, *i) == (kind, index))
                .map(|(_, _, content)| &content[..])
                .next()
                .unwrap_or(&[]);
            let (old, new) = (zone.of(&self.whole.bytes), zone.of(&self.bytes));
            if let Some(damage) = damage(old, new, content.len(), self.whole.sizes.ecc_size) {
                survivors.push((kind, index, content, damage));
            }
        }
        survivors
    }
}

/// How many bytes of a zone that count are damaged, if its parity can put that right.
fn damage(old: &[u8], new: &[u8], size: usize, ecc: usize) -> Option<usize> {
    let differ = |at: usize, len: usize| {
        let (old, new) = (&old[at..at + len], &new[at..at + len]);
        old.iter().zip(new).filter(|(old, new)| old != new).count()
    };
    let geometry = EccGeometry::new(old.len(), ecc).unwrap();
    let Some(parity) = geometry.header_parity() else {
        // `size` is all that counts if the ring never wrapped, and if it did, all there is.
        return (differ(0, HEADER_BYTES + size) == 0).then_some(0);
    };
    let mut total = 0;
    let header = differ(0, HEADER_BYTES) + differ(HEADER_BYTES + parity.at, parity.len);
    let blocks = (0..size.div_ceil(BLOCK_BYTES)).filter_map(|number| geometry.block(number));
    let blocks = blocks.map(|block| {
        differ(HEADER_BYTES + block.data.at, block.data.len)
            + differ(HEADER_BYTES + block.parity.at, block.parity.len)
    });
    for damaged in std::iter::once(header).chain(blocks) {
        if damaged > ecc / 2 {
            return None;
        }
        total += damaged;
    }
    Some(total)
}

/// What a zone holds.
pub(crate) struct Record {
    pub(crate) kind: ZoneKind,
    pub(crate) index: usize,
    /// Of a dump.
    pub(crate) header: Option<DmesgHeader>,
    /// All of the ring, a dump's header line included.
    pub(crate) content: Vec<u8>,
    /// What follows the header line.
    pub(crate) skip: usize,
    pub(crate) repair: Repair,
}

impl Record {
    pub(crate) fn payload(&self) -> &[u8] {
        &self.content[self.skip..]
    }

    /// What is shown behind the content.
    pub(crate) fn notice(&self, ecc: usize) -> String {
        match (ecc, self.repair.corrected, self.repair.lost) {
            (0, _, _) => String::new(),
            (_, 0, 0) => "\nECC: No errors detected\n".to_owned(),
            (_, corrected, lost) => {
                format!("\nECC: {corrected} Corrected bytes, {lost} unrecoverable blocks\n")
            }
        }
    }
}

/// Whether `part` is a piece of `whole`, not a copy of one.
fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    part.is_empty() || (whole.start <= part.start && part.end <= whole.end)
}

/// Every record in a region, in the order of the medium. `region` may be shorter than it should be.
pub(crate) fn records(region: &[u8], sizes: &RamSizes, machine: &Machine) -> Vec<Record> {
    let layout = RamLayout::new(sizes).unwrap();
    let record = |(kind, index, zone): (ZoneKind, usize, Zone)| {
        let sig = machine.signature(kind);
        let mut zone = zone.of(region).to_vec();
        let repair = repair_zone(&mut zone, sig, sizes.ecc_size).ok()?;
        let parts = zone_text(&zone, sig, sizes.ecc_size).ok()?;
        assert!(parts.iter().all(|part| lies_in(part, &zone)));
        let content = parts.concat();
        // What the header says, and no byte of the parity behind the data.
        let (header, _) = split_zone(&zone)?;
        let capacity = EccGeometry::new(zone.len(), sizes.ecc_size)
            .ok()?
            .capacity();
        assert!(header.start <= header.size && header.size as usize <= capacity);
        assert_eq!(content.len(), header.size as usize);
        let (header, skip) = match kind {
            _ if content.is_empty() => return None,
            ZoneKind::Dmesg => DmesgHeader::parse(&content).map(|(h, len)| (Some(h), len))?,
            _ => (None, 0),
        };
        Some(Record {
            kind,
            index,
            header,
            content,
            skip,
            repair,
        })
    };
    layout.zones().filter_map(record).collect()
}
