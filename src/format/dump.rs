// SPDX-License-Identifier: GPL-2.0

//! Cuts one dump of the kernel log into records, for media with records of different sizes.
//!
//! The log is compressed once, in chunks of whole lines that know nothing of each other. A record
//! is its title, which says why and which part this is, and as many chunks as fit:
//!
//! ```text
//! Deflate:  stored block with the title | chunk | ... | chunk | 03 00
//! Zstd:     frame with the title        | chunk | ... | chunk
//! ```
//!
//! A deflate chunk ends at a byte (`Z_FULL_FLUSH`) and refers to nothing before it, so any
//! sequence of chunks is one raw deflate stream, which the in-tree code inflates like its own. It
//! begins with 0x00, never with a byte that the in-tree reader takes for white space. A zstd chunk
//! is a frame of its own; a sequence of frames is what a zstd decoder takes.

use crate::text::{
    head_line,
    split_newest,
    Reason,
    HEAD_LINE_MAX, //
};

/// A record's text is at most this many times as long as the room for the record: the in-tree
/// reader gives up beyond three times its record size.
pub const EXPANSION_MAX: usize = 3;

/// Most bytes in front of text that is stored as it is.
const STORED_HEAD_MAX: usize = 10;

/// Longest text that one such head can introduce, with either method.
const STORED_MAX: usize = 0xffff;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How the log is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Raw deflate, the in-tree method.
    Deflate,
    /// Zstandard, which in-tree code shows as it is.
    Zstd,
}

impl Method {
    /// How a compressed record was made.
    ///
    /// The header line has no letter for zstd, and needs none: its magic number is no beginning of
    /// a deflate stream. That would be a stored block (0x28: not the last one, type 0) of 0x2fb5
    /// bytes, and the complement of the length, which has to follow, begins with 0x4a, not 0xfd.
    pub fn of(record: &[u8]) -> Self {
        if record.starts_with(&ZSTD_MAGIC) {
            Self::Zstd
        } else {
            Self::Deflate
        }
    }

    /// Writes what goes in front of `len` bytes of text that are stored as they are, at most
    /// [`STORED_MAX`] of them, and returns its length.
    fn stored_head(self, len: usize, out: &mut [u8; STORED_HEAD_MAX]) -> usize {
        // CAST: Checked by the callers, and cut for those to come.
        let len = len.min(STORED_MAX) as u16;
        let [low, high] = len.to_le_bytes();
        let [block @ .., _] = ((u32::from(len) << 3) | 1).to_le_bytes();
        let mut put = crate::put::Put::new(out);
        match self {
            // Block type 0, the rest of the byte is padding; length and its complement.
            Self::Deflate => put.bytes(&[0, low, high, !low, !high]),
            // A frame of one segment with its length, one raw block, the last one.
            Self::Zstd if len < 256 => put.bytes(&ZSTD_MAGIC).bytes(&[0x20, low]).bytes(&block),
            Self::Zstd => {
                let [low, high] = len.saturating_sub(256).to_le_bytes();
                put.bytes(&ZSTD_MAGIC)
                    .bytes(&[0x60, low, high])
                    .bytes(&block)
            }
        }
        .len()
    }

    fn stored_head_len(self, len: usize) -> usize {
        self.stored_head(len, &mut [0; STORED_HEAD_MAX])
    }

    /// What ends a record.
    const fn trailer(self) -> &'static [u8] {
        match self {
            // The last block, of fixed codes, with nothing but its end in it.
            Self::Deflate => &[0x03, 0x00],
            Self::Zstd => &[],
        }
    }
}

/// A piece of the log, from `start` to where the next newer one starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunk {
    /// Where its text starts.
    start: usize,
    /// Where its compressed form is; without length if it is to be stored as it is.
    packed: (usize, usize),
}

/// How many chunks of `size` bytes at most a text of `len` bytes can become.
///
/// Two neighbours are longer than `size` together, or the older one's last line would be in the
/// newer one.
pub const fn chunks_max(len: usize, size: usize) -> usize {
    let size = if size == 0 { 1 } else { size };
    (len / size).saturating_mul(2).saturating_add(2)
}

/// Compresses a text to the front of a buffer and answers with the length, or [`None`] if it does
/// not fit.
pub type Compress<'a> = dyn FnMut(&[u8], &mut [u8]) -> Option<usize> + 'a;

/// Cuts `text` into chunks of at most `size` bytes, newest first, and has `pack` compress each to
/// where there is room left in `out`. Returns how many of `chunks` are in use.
///
/// Safe in a panic, if `pack` is. What is not compressible, or for which there is no place in
/// `out`, will be stored as it is.
pub fn pack(
    text: &[u8],
    size: usize,
    chunks: &mut [Chunk],
    out: &mut [u8],
    pack: &mut Compress<'_>,
) -> usize {
    let size = size.clamp(1, STORED_MAX);
    let (mut end, mut at, mut count) = (text.len(), 0usize, 0usize);
    for chunk in chunks {
        let rest = text.get(..end).unwrap_or(&[]);
        if rest.is_empty() {
            break;
        }
        // A line longer than a chunk is cut, but nothing of it is left out.
        let (_, newest) = split_newest(rest, size);
        let len = out
            .get_mut(at..)
            .and_then(|out| pack(newest, out))
            .filter(|len| *len < newest.len())
            .unwrap_or(0);
        end = end.saturating_sub(newest.len());
        *chunk = Chunk {
            start: end,
            packed: (at, len),
        };
        at = at.saturating_add(len);
        count = count.saturating_add(1);
    }
    count
}

/// The newest part of the kernel log, whole lines, oldest first, and its chunks if it is
/// compressed.
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    text: &'a [u8],
    packed: Option<Packed<'a>>,
}

/// Compressed chunks of a log.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// How.
    pub method: Method,
    /// As [`pack`] made them.
    pub chunks: &'a [Chunk],
    /// What they refer to.
    pub bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Chunk `index` of a text of `len` bytes as far as it lies in `start..end` there: where it
    /// begins, where it ends, and its compressed form if all of it lies there.
    fn piece(
        &self,
        index: usize,
        len: usize,
        start: usize,
        end: usize,
    ) -> Option<(usize, usize, Option<&'a [u8]>)> {
        let chunk = self.chunks.get(index)?;
        let next = match index.checked_sub(1) {
            Some(newer) => self.chunks.get(newer)?.start,
            None => len,
        };
        let (at, packed_len) = chunk.packed;
        let packed = self
            .bytes
            .get(at..at.saturating_add(packed_len))
            .filter(|packed| !packed.is_empty() && start <= chunk.start && next <= end);
        Some((chunk.start.max(start), next.min(end), packed))
    }
}

impl<'a> Log<'a> {
    /// A log. Chunks are those of this very text.
    pub fn new(text: &'a [u8], packed: Option<Packed<'a>>) -> Self {
        Self { text, packed }
    }

    /// Bytes of text.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Cuts it into records, newest first, until `limit` bytes of text are in them.
    pub fn parts(&'a self, reason: Reason, count: u64, limit: usize) -> Parts<'a> {
        Parts {
            log: self,
            reason,
            count,
            limit,
            end: self.text.len(),
            taken: 0,
            number: 1,
        }
    }
}

/// The records of a dump for one medium, one by one. Nothing of it allocates.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    log: &'a Log<'a>,
    reason: Reason,
    count: u64,
    limit: usize,
    /// The text before this has not been given out yet.
    end: usize,
    taken: usize,
    number: u32,
}

impl<'a> Parts<'a> {
    /// Number of the next part, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether there is a next one: the first is always owed, others while less than the limit
    /// has been given out.
    pub fn more(&self) -> bool {
        self.end > 0 && (self.number == 1 || self.taken < self.limit)
    }

    /// The next one, of at most `room` bytes. [`None`] if there is none or nothing fits.
    pub fn next(&mut self, room: usize) -> Option<Part<'a>> {
        if !self.more() {
            return None;
        }
        let mut title = [0; HEAD_LINE_MAX];
        let title_len = head_line(&mut title, self.reason, self.count, self.number);
        let text = self.log.text.get(..self.end)?;
        let packed = self.log.packed.as_ref();
        let part = match packed.and_then(|p| self.fill(p, title_len, room)) {
            Some((method, start, oldest)) => Part {
                log: self.log,
                title,
                title_len,
                start,
                end: self.end,
                packed: Some((method, oldest)),
            },
            None => {
                let (_, newest) = split_newest(text, room.checked_sub(title_len)?);
                Part {
                    log: self.log,
                    title,
                    title_len,
                    start: self.end.saturating_sub(newest.len()),
                    end: self.end,
                    packed: None,
                }
            }
        };
        if part.start >= self.end {
            return None;
        }
        self.taken = self
            .taken
            .saturating_add(title_len)
            .saturating_add(self.end.saturating_sub(part.start));
        self.end = part.start;
        self.number = self.number.saturating_add(1);
        Some(part)
    }

    /// Where the text of a compressed record of `room` bytes starts, and the oldest chunk in it;
    /// [`None`] if not one compressed chunk fits.
    fn fill(
        &self,
        packed: &Packed<'_>,
        title_len: usize,
        room: usize,
    ) -> Option<(Method, usize, usize)> {
        let method = packed.method;
        let mut left = room
            .checked_sub(method.stored_head_len(title_len))?
            .checked_sub(title_len)?
            .checked_sub(method.trailer().len())?;
        let mut text_left = room.saturating_mul(EXPANSION_MAX).saturating_sub(title_len);
        let newest = packed.chunks.iter().position(|c| c.start < self.end)?;
        let (mut start, mut oldest, mut any) = (self.end, newest, false);
        for index in newest..packed.chunks.len() {
            let (from, to, whole) = packed.piece(index, self.log.text.len(), 0, self.end)?;
            let len = to.saturating_sub(from);
            let cost = whole.map_or_else(
                || method.stored_head_len(len).saturating_add(len),
                <[u8]>::len,
            );
            let (Some(less), Some(less_text)) =
                (left.checked_sub(cost), text_left.checked_sub(len))
            else {
                // The rest of the room takes lines as they are, if no part follows that would
                // rather have this chunk compressed.
                let taken = self
                    .taken
                    .saturating_add(title_len)
                    .saturating_add(self.end.saturating_sub(start));
                let free = left
                    .saturating_sub(STORED_HEAD_MAX)
                    .min(text_left)
                    .min(STORED_MAX);
                let lines = self.log.text.get(from..to).unwrap_or(&[]);
                let (older, newer) = split_newest(lines, free);
                if taken >= self.limit
                    && older.len().saturating_add(newer.len()) == lines.len()
                    && !newer.is_empty()
                {
                    start = start.saturating_sub(newer.len());
                    oldest = index;
                }
                break;
            };
            (left, text_left, start, oldest) = (less, less_text, from, index);
            any |= whole.is_some();
        }
        any.then_some((method, start, oldest))
    }
}

/// One record.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    log: &'a Log<'a>,
    title: [u8; HEAD_LINE_MAX],
    title_len: usize,
    /// Its text in the log.
    start: usize,
    end: usize,
    /// How it is compressed, and its oldest chunk.
    packed: Option<(Method, usize)>,
}

impl Part<'_> {
    /// How it is compressed.
    pub fn method(&self) -> Option<Method> {
        self.packed.map(|(method, _)| method)
    }

    /// How many bytes it is, as written.
    pub fn len(&self) -> usize {
        let mut len = 0usize;
        self.write(&mut |bytes| len = len.saturating_add(bytes.len()));
        len
    }

    /// Never; a record has a title.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Gives all its bytes to `put`, in order and in pieces. Safe in a panic.
    pub fn write(&self, put: &mut dyn FnMut(&[u8])) {
        let title = self.title.get(..self.title_len).unwrap_or(&[]);
        let text = |from: usize, to: usize| self.log.text.get(from..to).unwrap_or(&[]);
        let (Some((method, oldest)), Some(packed)) = (self.packed, &self.log.packed) else {
            put(title);
            put(text(self.start, self.end));
            return;
        };
        let stored = |bytes: &[u8], put: &mut dyn FnMut(&[u8])| {
            let mut head = [0; STORED_HEAD_MAX];
            let len = method.stored_head(bytes.len(), &mut head);
            put(head.get(..len).unwrap_or(&[]));
            put(bytes);
        };
        stored(title, put);
        for index in (0..=oldest).rev() {
            match packed.piece(index, self.log.text.len(), self.start, self.end) {
                Some((from, to, None)) if from < to => stored(text(from, to), put),
                Some((from, to, Some(bytes))) if from < to => put(bytes),
                _ => break,
            }
        }
        put(method.trailer());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::HeadLine;
    use crate::STRIDE;
    use miniz_oxide::{
        deflate::core::{
            compress,
            create_comp_flags_from_zip_params,
            CompressorOxide,
            TDEFLFlush,
            TDEFLStatus, //
        },
        inflate::decompress_to_vec_with_limit,
    };
    use ruzstd::{
        decoding::FrameDecoder,
        encoding::{
            compress_to_vec,
            CompressionLevel, //
        },
    };

    fn deflate(text: &[u8], out: &mut [u8]) -> Option<usize> {
        let flags = create_comp_flags_from_zip_params(3, -15, 0);
        let mut state = CompressorOxide::new(flags);
        let (status, used, len) = compress(&mut state, text, out, TDEFLFlush::Full);
        (status == TDEFLStatus::Okay && used == text.len() && len < out.len()).then_some(len)
    }

    fn zstd(text: &[u8], out: &mut [u8]) -> Option<usize> {
        let frame = compress_to_vec(text, CompressionLevel::Fastest);
        out.get_mut(..frame.len())?.copy_from_slice(&frame);
        Some(frame.len())
    }

    /// What is in a record, with the limit of the in-tree reader.
    fn unpack(method: Option<Method>, bytes: &[u8], room: usize) -> Vec<u8> {
        match method {
            None => bytes.to_vec(),
            Some(method) => {
                assert_eq!(Method::of(bytes), method);
                match method {
                    Method::Deflate => {
                        assert_eq!(bytes[0], 0);
                        decompress_to_vec_with_limit(bytes, EXPANSION_MAX * room).unwrap()
                    }
                    Method::Zstd => {
                        let mut text = Vec::with_capacity(EXPANSION_MAX * room);
                        FrameDecoder::new()
                            .decode_all_to_vec(bytes, &mut text)
                            .unwrap();
                        text
                    }
                }
            }
        }
    }

    /// A text, packed.
    struct Made {
        text: Vec<u8>,
        method: Method,
        chunks: Vec<Chunk>,
        bytes: Vec<u8>,
    }

    impl Made {
        fn new(text: Vec<u8>, method: Method, size: usize, room: usize) -> Self {
            let mut chunks = vec![Chunk::default(); chunks_max(text.len(), size)];
            let mut bytes = vec![0; room];
            let packer = match method {
                Method::Deflate => deflate,
                Method::Zstd => zstd,
            };
            let count = pack(&text, size, &mut chunks, &mut bytes, &mut |text, out| {
                packer(text, out)
            });
            assert!(count < chunks.len(), "the table is never full");
            chunks.truncate(count);
            // They cover all of it.
            assert_eq!(chunks.last().map_or(0, |c| c.start), 0);
            Self {
                text,
                method,
                chunks,
                bytes,
            }
        }

        fn log(&self) -> Log<'_> {
            Log::new(
                &self.text,
                Some(Packed {
                    method: self.method,
                    chunks: &self.chunks,
                    bytes: &self.bytes,
                }),
            )
        }

        /// Cuts it and looks at each record: whether it is compressed, and how much text it has.
        fn check(&self, limit: usize, room: usize) -> Vec<(bool, usize)> {
            let log = self.log();
            let mut parts = log.parts(Reason::Panic, 7, limit);
            let (mut end, mut taken, mut seen) = (self.text.len(), 0, Vec::new());
            while let Some(part) = parts.next(room) {
                assert!(seen.is_empty() || taken < limit);
                let mut bytes = Vec::new();
                part.write(&mut |piece| bytes.extend_from_slice(piece));
                assert_eq!(bytes.len(), part.len());
                assert!(bytes.len() <= room, "{} of {room}", bytes.len());
                let text = unpack(part.method(), &bytes, room);
                let (head, skip) = HeadLine::parse(&text).unwrap();
                assert_eq!(
                    (head.reason, head.count, head.part as usize),
                    (Reason::Panic, 7, seen.len() + 1)
                );
                let lines = &text[skip..];
                // A piece of the log that ends where the one before begins, unless a single line
                // was too long.
                assert!(self.text[..end].ends_with(lines));
                end -= lines.len();
                assert!(end == 0 || self.text[end - 1] == b'\n' || part.method().is_none());
                taken += text.len();
                seen.push((part.method().is_some(), lines.len()));
            }
            assert!(end == 0 || taken >= limit || room < 200, "{end} left");
            seen
        }
    }

    fn line(number: usize) -> String {
        format!(
            "<6>[{:5}.{:06}] usb {}-{}: new high-speed device number {number} at {:#018x}\n",
            number / 7,
            number * 7919 % 1_000_000,
            number % 3,
            number % 5,
            (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )
    }

    fn lines(count: usize) -> Vec<u8> {
        (0..count).map(line).collect::<String>().into_bytes()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252u64;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                match state % 61 {
                    0 => b'\n',
                    _ => (state >> 24) as u8,
                }
            })
            .collect()
    }

    /// The lines of a long log.
    const LINES: usize = if cfg!(miri) { 240 } else { 1000 };

    const METHODS: [Method; 2] = [Method::Deflate, Method::Zstd];

    #[test]
    fn records_of_all_sizes_hold_the_newest_lines() {
        for method in METHODS {
            let made = Made::new(lines(LINES), method, 4096, 1 << 17);
            for room in (50..400)
                .step_by(7 * STRIDE)
                .chain((400..70_000).step_by(1777 * STRIDE))
                .chain([4050, 16_350])
            {
                for limit in [0, 10_240, usize::MAX] {
                    let seen = made.check(limit, room);
                    if room > 3000 {
                        // Compressed, and more than there is room for.
                        let (packed, len) = seen[0];
                        assert!(
                            packed && (len > 2 * room || len == made.text.len()),
                            "{seen:?}"
                        );
                    }
                    assert!(limit > 0 || seen.len() <= 1);
                }
            }
        }
    }

    #[test]
    fn the_rest_of_a_last_record_is_filled_with_lines() {
        for method in METHODS {
            let made = Made::new(lines(LINES), method, 8192, 1 << 17);
            // A chunk and a half.
            let size = |index: usize| made.chunks[index].packed.1;
            let room = 60 + size(0) + size(1) / 2;
            let [(true, last)] = made.check(0, room)[..] else {
                panic!();
            };
            let chunk = made.text.len() - made.chunks[0].start;
            assert!(
                last > chunk + size(1) / 4 && last < chunk + size(1),
                "{last} {chunk} {}",
                size(1)
            );
            // If another part follows, the chunk is left to that.
            assert_eq!(made.check(usize::MAX, room)[0], (true, chunk));
        }
    }

    #[test]
    fn what_does_not_compress_is_stored() {
        for method in METHODS {
            let made = Made::new(noise(50 * LINES), method, 4096, 1 << 17);
            for room in [100, 1000, 4060, 16_000, 60_000] {
                assert!(made
                    .check(usize::MAX, room)
                    .iter()
                    .all(|(packed, _)| !packed));
            }
            // In between it does.
            let mut text = noise(5 * LINES);
            text.push(b'\n');
            text.extend(lines(LINES / 10));
            text.extend(noise(9 * LINES));
            text.push(b'\n');
            text.extend(lines(LINES / 5));
            let made = Made::new(text, method, 4096, 1 << 17);
            for room in [100, 1000, 2000, 4060, 8000, 16_000, 60_000] {
                made.check(usize::MAX, room);
            }
            assert!(made.check(0, 60_000)[0].0);
        }
    }

    #[test]
    fn without_place_for_the_compressed_text_it_is_stored() {
        for method in METHODS {
            for room in [0, 10, 1000, 3000] {
                let made = Made::new(lines(LINES / 3), method, 4096, room);
                for record in [500, 4000, 16_000, 64_000] {
                    made.check(usize::MAX, record);
                }
            }
        }
    }

    #[test]
    fn a_record_too_small_for_a_chunk_is_plain() {
        for method in METHODS {
            let made = Made::new(lines(LINES / 2), method, 6144, 1 << 16);
            let seen = made.check(usize::MAX, 500);
            assert!(!seen[0].0 && seen[0].1 > 300, "{seen:?}");
            // After it, the rest of that chunk is stored and those before it are compressed.
            let log = made.log();
            let mut parts = log.parts(Reason::Oops, 1, usize::MAX);
            let plain = parts.next(500).unwrap();
            let part = parts.next(20_000).unwrap();
            assert_eq!((plain.method(), part.method()), (None, Some(method)));
            let mut bytes = Vec::new();
            part.write(&mut |piece| bytes.extend_from_slice(piece));
            let text = unpack(Some(method), &bytes, 20_000);
            let lines = text.strip_prefix(b"Oops#1 Part2\n").unwrap();
            assert!(made.text[..plain.start].ends_with(lines) && lines.len() > 8000);
        }
    }

    #[test]
    fn a_text_without_chunks_is_plain() {
        let text = lines(100);
        let log = Log::new(&text, None);
        let mut parts = log.parts(Reason::Panic, 1, 0);
        let part = parts.next(1000).unwrap();
        assert_eq!(part.method(), None);
        assert!(part.len() <= 1000 && part.len() > 900);
        assert!(parts.next(1000).is_none());
        assert!(Log::new(b"", None)
            .parts(Reason::Panic, 1, 10)
            .next(100)
            .is_none());
        let mut parts = log.parts(Reason::Panic, 1, 10);
        for room in 0..15 {
            // Not even the title and one byte.
            assert!(parts.next(room.min(14)).is_none());
        }
    }

    #[test]
    fn text_is_never_more_than_the_in_tree_reader_takes() {
        let text = b"<6>[    0.000000] the same line again and again\n".repeat(1000 + LINES);
        for method in METHODS {
            let made = Made::new(text.clone(), method, 4096, 1 << 16);
            for room in [1500, 4060, 16_350] {
                let seen = made.check(usize::MAX, room);
                assert!(
                    seen[0].1 + 14 <= 3 * room && seen[0].1 > 2 * room,
                    "{seen:?}"
                );
            }
        }
    }

    #[test]
    fn long_lines_are_cut_but_whole_in_chunks() {
        let mut text = Vec::new();
        for len in [10, 5000, 30, 2000, 9000, 1, 0, 4000] {
            text.extend(core::iter::repeat(b'x').take(len));
            text.push(b'\n');
        }
        for method in METHODS {
            let made = Made::new(text.clone(), method, 1500, 1 << 16);
            let log = made.log();
            let mut parts = log.parts(Reason::Panic, 7, usize::MAX);
            let (mut end, room) = (text.len(), 4000);
            while let Some(part) = parts.next(room) {
                let mut bytes = Vec::new();
                part.write(&mut |piece| bytes.extend_from_slice(piece));
                let piece = unpack(part.method(), &bytes, room);
                let piece = &piece[HeadLine::parse(&piece).unwrap().1..];
                assert!(text[..end].ends_with(piece));
                end -= piece.len();
            }
            assert_eq!(end, 0);
        }
    }

    #[test]
    fn a_zstd_record_is_no_deflate_stream() {
        for tail in [&[][..], &[0; 100], &[0xff; 100], &[0x4a; 100]] {
            let bytes = [&ZSTD_MAGIC[..], tail].concat();
            assert_eq!(Method::of(&bytes), Method::Zstd);
            assert!(decompress_to_vec_with_limit(&bytes, 1 << 20).is_err());
        }
        assert_eq!(Method::of(&ZSTD_MAGIC[..3]), Method::Deflate);
        assert_eq!(Method::of(&[]), Method::Deflate);
    }

    #[test]
    fn what_follows_the_stream_is_ignored() {
        let made = Made::new(lines(60), Method::Deflate, 4096, 1 << 16);
        let log = made.log();
        let part = log.parts(Reason::Panic, 7, 0).next(8000).unwrap();
        let mut bytes = Vec::new();
        part.write(&mut |piece| bytes.extend_from_slice(piece));
        let text = unpack(part.method(), &bytes, 8000);
        bytes.extend([0xa5; 500]);
        assert_eq!(unpack(part.method(), &bytes, 8000), text);
        // Without its end it is no stream.
        assert!(decompress_to_vec_with_limit(&bytes[..part.len() - 2], 24_000).is_err());
    }

    #[test]
    fn stored_heads_are_those_of_the_formats() {
        let mut out = [0; STORED_HEAD_MAX];
        let mut head = |method: Method, len| {
            let n = method.stored_head(len, &mut out);
            assert_eq!(n, method.stored_head_len(len));
            out[..n].to_vec()
        };
        assert_eq!(head(Method::Deflate, 0x1234), [0, 0x34, 0x12, 0xcb, 0xed]);
        assert_eq!(
            head(Method::Zstd, 14),
            [0x28, 0xb5, 0x2f, 0xfd, 0x20, 14, (14 << 3) | 1, 0, 0]
        );
        for method in METHODS {
            for len in [1, 255, 256, 257, 4000, STORED_MAX] {
                let text = vec![b'y'; len];
                let mut bytes = head(method, len);
                bytes.extend(&text);
                bytes.extend(method.trailer());
                assert_eq!(unpack(Some(method), &bytes, len), text);
            }
        }
    }
}
