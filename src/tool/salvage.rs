// SPDX-License-Identifier: GPL-2.0

//! `salvage`: what can still be read where headers and boundaries are gone.
//!
//! Four things are looked for, in any bytes: the line that a dmesg record begins with, and what of
//! the stream behind it can be decompressed; chunks of compressed text in the middle of a record,
//! since each can be read without those before it; header lines whose zone is gone; and runs of
//! text.

use crate::{
    cli::Context,
    decode::unzstd_frame,
    out::{
        harmless_line,
        Out,
        DOUBT,
        NAME, //
    },
    record::rfc3339,
    source::{
        self,
        Memory, //
    },
};
use anyhow::{
    bail,
    Result, //
};
use clap::Args;
use miniz_oxide::inflate::{
    core::{
        decompress,
        inflate_flags::{
            TINFL_FLAG_HAS_MORE_INPUT,
            TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF, //
        },
        DecompressorOxide, //
    },
    TINFLStatus, //
};
use mpstore_format::{
    dump::Method,
    record::DmesgHeader, //
};
use serde::Serialize;
use std::{
    ops::Range,
    process::ExitCode, //
};

/// Most bytes that are looked at without being told where.
const MOST: usize = 256 << 20;
/// Longest compressed record that is believed in.
const RECORD_MAX: usize = 4 << 20;
/// Most text out of one piece.
const TEXT_MAX: usize = 16 << 20;
/// Where a deflate chunk ends: an empty stored block at a byte boundary.
const FLUSH: &[u8] = &[0x00, 0x00, 0xff, 0xff];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const MARK: &[u8] = b"====";

#[derive(Args, Debug)]
pub(crate) struct SalvageArgs {
    /// Shortest run of text
    #[arg(long, value_name = "BYTES", default_value_t = 24)]
    least: usize,
    /// No runs of plain text, only what was compressed
    #[arg(long)]
    no_text: bool,
}

/// Something that was found.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    at: usize,
    /// Bytes of the source that it comes from.
    len: usize,
    what: String,
    whole: bool,
    text: Vec<u8>,
}

/// Inflates as far as it goes. Answers the text, the bytes of input taken, and whether the stream
/// came to its end.
fn inflate(input: &[u8]) -> (Vec<u8>, usize, bool) {
    let mut state = Box::<DecompressorOxide>::default();
    let mut out = vec![0; (input.len().saturating_mul(4)).clamp(256, 1 << 16)];
    let (mut taken, mut made) = (0, 0);
    loop {
        // The input is all there is, but with this flag the decoder gives out what it has.
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_HAS_MORE_INPUT;
        let rest = input.get(taken..).unwrap_or(&[]);
        let (status, read, wrote) = decompress(&mut state, rest, &mut out, made, flags);
        taken += read;
        made += wrote;
        match status {
            TINFLStatus::HasMoreOutput if out.len() < TEXT_MAX => {
                out.resize(out.len() * 2, 0);
            }
            TINFLStatus::Done => {
                out.truncate(made);
                return (out, taken, true);
            }
            _ => {
                out.truncate(made);
                return (out, taken, false);
            }
        }
    }
}

/// How much of some bytes is text, in percent.
fn texty(bytes: &[u8]) -> usize {
    let good = bytes.iter().filter(|b| is_text(**b)).count();
    (good * 100).checked_div(bytes.len()).unwrap_or(0)
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\t' | 0x1b | 0x20..=0x7e)
}

/// Everything found in `bytes`, in order, none inside of another.
fn pieces(bytes: &[u8], least: usize, plain: bool) -> Vec<Piece> {
    let mut found: Vec<Piece> = Vec::new();
    let mut taken: Vec<Range<usize>> = Vec::new();
    // Records by their header line.
    for at in memchr::memmem::find_iter(bytes, MARK) {
        let rest = bytes.get(at..).unwrap_or(&[]);
        let Some((header, skip)) = DmesgHeader::parse(rest) else {
            continue;
        };
        if taken.last().is_some_and(|last| at < last.end) {
            continue;
        }
        let time = rfc3339(header.stamp);
        let stored = rest.get(skip..).unwrap_or(&[]);
        let stored = stored.get(..stored.len().min(RECORD_MAX)).unwrap_or(&[]);
        if !header.compressed {
            let len = stored
                .iter()
                .take_while(|b| is_text(**b) || **b >= 0x80)
                .count();
            taken.push(at..at + skip + len);
            found.push(Piece {
                at,
                len: skip + len,
                what: format!("record of {time}"),
                whole: false,
                text: stored.get(..len).unwrap_or(&[]).to_vec(),
            });
            continue;
        }
        let (text, used, whole) = match Method::of(stored) {
            Method::Deflate => inflate(stored),
            Method::Zstd => frames(stored),
        };
        if text.is_empty() {
            continue;
        }
        // A damaged stream may go on as nonsense before it ends.
        let (text, used) = if whole {
            (text, used)
        } else {
            (sane(text), used)
        };
        taken.push(at..at + skip + used);
        found.push(Piece {
            at,
            len: skip + used,
            what: format!("compressed record of {time}"),
            whole,
            text,
        });
    }
    let free = |taken: &[Range<usize>], at: usize| !taken.iter().any(|r| r.contains(&at));
    // Chunks without their beginning: deflate behind each mark, zstd at each magic number.
    let mut at = 0;
    while let Some(place) = bytes
        .get(at..)
        .and_then(|rest| memchr::memmem::find(rest, FLUSH))
    {
        let begin = at + place + FLUSH.len();
        at = begin;
        if !free(&taken, begin) {
            continue;
        }
        let rest = bytes.get(begin..).unwrap_or(&[]);
        let rest = rest.get(..rest.len().min(RECORD_MAX)).unwrap_or(&[]);
        let (text, used, whole) = inflate(rest);
        let text = if whole { text } else { sane(text) };
        if text.len() >= least.max(16) && texty(&text) > 90 {
            taken.push(begin..begin + used);
            found.push(Piece {
                at: begin,
                len: used,
                what: "part of a compressed record".to_owned(),
                whole: false,
                text,
            });
            at = begin + used.max(1);
        }
    }
    for begin in memchr::memmem::find_iter(bytes, ZSTD) {
        if !free(&taken, begin) {
            continue;
        }
        let rest = bytes.get(begin..).unwrap_or(&[]);
        let rest = rest.get(..rest.len().min(RECORD_MAX)).unwrap_or(&[]);
        let (text, used, whole) = frames(rest);
        if text.len() >= least && texty(&text) > 90 {
            taken.push(begin..begin + used.max(4));
            found.push(Piece {
                at: begin,
                len: used,
                what: "part of a record compressed with zstd".to_owned(),
                whole,
                text,
            });
        }
    }
    if plain {
        let mut at = 0;
        while at < bytes.len() {
            let run = bytes
                .get(at..)
                .unwrap_or(&[])
                .iter()
                .take_while(|b| is_text(**b))
                .count();
            if run >= least.max(4) && free(&taken, at) {
                let text = bytes.get(at..at + run).unwrap_or(&[]).to_vec();
                found.push(Piece {
                    at,
                    len: run,
                    what: "text".to_owned(),
                    whole: true,
                    text,
                });
            }
            at += run.max(1);
        }
    }
    found.sort_by_key(|piece| piece.at);
    found
}

/// The text of frames up to the first that is damaged.
fn frames(bytes: &[u8]) -> (Vec<u8>, usize, bool) {
    let (mut text, mut used) = (Vec::new(), 0);
    while let Some(rest) = bytes.get(used..).filter(|rest| rest.starts_with(ZSTD)) {
        match unzstd_frame(rest, TEXT_MAX.saturating_sub(text.len()), &mut text) {
            Some(len) if len > 0 => used += len,
            _ => return (sane(text), used, false),
        }
    }
    let whole = used > 0;
    (text, used, whole)
}

/// The front of a text up to where it stops to be one.
fn sane(mut text: Vec<u8>) -> Vec<u8> {
    let mut keep = 0;
    for (n, window) in text.chunks(64).enumerate() {
        if texty(window) < 80 {
            break;
        }
        keep = n * 64 + window.len();
    }
    text.truncate(keep);
    text
}

#[derive(Serialize)]
struct PieceJson<'a> {
    address: String,
    length: usize,
    what: &'a str,
    whole: bool,
    text: String,
}

/// `mpstore salvage`.
pub(crate) fn salvage(
    context: &Context<'_>,
    args: &SalvageArgs,
    out: &mut Out,
) -> Result<ExitCode> {
    let given = &context.cli.source;
    if given.source.is_empty() {
        bail!("--source names what to look at: an image, a disk, a dump, /dev/mem");
    }
    let mut any = false;
    for path in &given.source {
        let source = source::open(path, &context.host)?;
        let memory: &dyn Memory = source.memory.as_ref();
        let ranges: Vec<Range<u64>> = match (given.address, given.size) {
            (Some(address), size) => {
                let end = address.saturating_add(size.unwrap_or(MOST) as u64);
                std::iter::once(address..end).collect()
            }
            (None, Some(size)) => std::iter::once(0..size as u64).collect(),
            (None, None) => memory.ranges(),
        };
        let mut left = given.size.unwrap_or(MOST);
        for range in ranges {
            let want = usize::try_from(range.end - range.start).map_or(left, |n| n.min(left));
            let bytes = memory.read_some(range.start, want);
            left -= want.min(left);
            for piece in pieces(&bytes, args.least, !args.no_text) {
                any = true;
                print(context, &piece, range.start, out)?;
            }
            if left == 0 {
                context.remark(&format!(
                    "{}: only {MOST:#x} bytes were looked at; --address and --size choose others",
                    memory.name()
                ));
                break;
            }
        }
    }
    if !any {
        context.remark("nothing that could be text or a record");
    }
    Ok(ExitCode::from(u8::from(!any)))
}

fn print(context: &Context<'_>, piece: &Piece, base: u64, out: &mut Out) -> Result<()> {
    let address = base + piece.at as u64;
    if context.cli.json {
        return out.json(&PieceJson {
            address: format!("{address:#x}"),
            length: piece.len,
            what: &piece.what,
            whole: piece.whole,
            text: String::from_utf8_lossy(&piece.text).into_owned(),
        });
    }
    let (name, doubt) = (NAME, DOUBT);
    let state = if piece.whole { "" } else { ", not whole" };
    out.line(format!(
        "{name}==> {address:#x}+{:#x} {}{name:#}{doubt}{state}{doubt:#}{name} <=={name:#}",
        piece.len,
        harmless_line(piece.what.as_bytes())
    ))?;
    out.text(&piece.text)?;
    if !piece.text.ends_with(b"\n") {
        out.line("")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/c-ramoops-64k-ecc16.img");

    #[test]
    fn records_without_their_zones() {
        let mut bytes = GOLDEN.to_vec();
        // All headers are gone.
        for zone in bytes.chunks_mut(0x1000) {
            zone[..12].fill(0xee);
        }
        let found = pieces(&bytes, 24, true);
        let records: Vec<_> = found.iter().filter(|p| p.what.contains("record")).collect();
        assert_eq!(records.len(), 3);
        assert!(records.iter().all(|p| p.whole));
        assert!(records[2].text.starts_with(b"Panic#3 Part1\n"));
        assert!(found
            .iter()
            .any(|p| p.text.starts_with(b"Testing pstore: uuid=")));
    }

    #[test]
    fn the_front_of_a_damaged_stream() {
        let mut bytes = GOLDEN.get(..0x1000).unwrap().to_vec();
        bytes.truncate(1200);
        let found = pieces(&bytes, 24, false);
        assert!(!found[0].whole);
        assert!(found[0].text.starts_with(b"Oops#1 Part1\n"));
        assert!(found[0].text.len() > 500);
    }

    #[test]
    fn chunks_behind_damage() {
        // As mpstore writes them: stored block with the title, chunks that end with a flush.
        let chunk = |text: &[u8]| {
            use miniz_oxide::deflate::core::{
                compress, create_comp_flags_from_zip_params, CompressorOxide, TDEFLFlush,
            };
            let mut c = CompressorOxide::new(create_comp_flags_from_zip_params(6, -15, 0));
            let mut out = vec![0; 4096];
            let (_, _, len) = compress(&mut c, text, &mut out, TDEFLFlush::Full);
            out.truncate(len);
            out
        };
        let (one, two) = (
            chunk(&b"<6>[    1.000000] the first chunk of text\n".repeat(20)),
            chunk(&b"<6>[    2.000000] the second chunk of text\n".repeat(20)),
        );
        assert!(one.ends_with(FLUSH));
        let mut bytes = [&one[..], &two, &[3, 0]].concat();
        bytes[..10].fill(0x55);
        let found = pieces(&bytes, 24, false);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.starts_with(b"<6>[    2.000000] the second"));
        assert_eq!(found[0].text.len(), 20 * 43);
    }
}
