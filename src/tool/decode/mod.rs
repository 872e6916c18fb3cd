// SPDX-License-Identifier: GPL-2.0

//! From the bytes of a medium to records. Nothing here panics, whatever the bytes are.

pub(crate) mod infer;
pub(crate) mod kho;
pub(crate) mod lzo;
pub(crate) mod ram;
pub(crate) mod symbols;
pub(crate) mod zone;

use mpstore_format::dump::Method;

/// Most text that one compressed record may become: deflate makes at most 1032 times as much of a
/// byte, so this is only met by records of the size of a region.
pub(crate) const TEXT_MAX: usize = 64 << 20;

/// Decompresses a dmesg record's payload, all of it or nothing. `limit` is the most that it may
/// become.
pub(crate) fn unpack(stored: &[u8], limit: usize) -> Option<Vec<u8>> {
    let limit = limit.min(TEXT_MAX);
    match Method::of(stored) {
        Method::Deflate => miniz_oxide::inflate::decompress_to_vec_with_limit(stored, limit).ok(),
        Method::Zstd => {
            let mut text = Vec::new();
            let whole = unzstd(stored, limit, &mut text);
            (whole && text.len() <= limit).then_some(text)
        }
    }
}

/// Appends the text of zstd frames to `text`, as far as they go and at most a frame beyond
/// `limit`. Says whether it was all of them.
pub(crate) fn unzstd(mut frames: &[u8], limit: usize, text: &mut Vec<u8>) -> bool {
    while !frames.is_empty() {
        if text.len() > limit {
            return false;
        }
        let Some(used) = unzstd_frame(frames, limit.saturating_sub(text.len()), text) else {
            return false;
        };
        frames = frames.get(used..).unwrap_or(&[]);
    }
    true
}

/// One zstd frame. Answers how many bytes of input it has.
pub(crate) fn unzstd_frame(frame: &[u8], limit: usize, text: &mut Vec<u8>) -> Option<usize> {
    use ruzstd::decoding::{
        BlockDecodingStrategy,
        FrameDecoder, //
    };
    let mut rest = frame;
    let mut decoder = FrameDecoder::new();
    // A frame that says it is larger than all that is allowed is not begun.
    decoder.init(&mut rest).ok()?;
    let promised = decoder.content_size();
    if promised > limit as u64 {
        return None;
    }
    let before = text.len();
    loop {
        let done = decoder.decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1));
        if let Some(part) = decoder.collect() {
            text.extend_from_slice(&part);
        }
        if text.len() - before > limit {
            return None;
        }
        match done {
            Ok(true) => break,
            Ok(false) => {}
            Err(_) => return None,
        }
    }
    Some(frame.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_one_behind_the_other() {
        // Two frames with a raw block each.
        let frame = |text: &[u8]| {
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, text.len() as u8];
            frame.extend(
                (((text.len() as u32) << 3) | 1)
                    .to_le_bytes()
                    .iter()
                    .take(3),
            );
            frame.extend(text);
            frame
        };
        let both = [frame(b"one "), frame(b"two")].concat();
        assert_eq!(unpack(&both, 100).unwrap(), b"one two");
        assert_eq!(unpack(&both, 6), None);
        assert_eq!(unpack(both.get(..both.len() - 1).unwrap(), 100), None);
        let mut text = Vec::new();
        assert!(!unzstd(both.get(..both.len() - 1).unwrap(), 100, &mut text));
        assert!(text.starts_with(b"one "));
    }
}
