// SPDX-License-Identifier: GPL-2.0

//! Headers and lines of records, and the patterns for terminals.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpstore_format::{
    record::DmesgHeader,
    text::{
        split_newest,
        HeadLine, //
    },
    tty::{
        lines,
        name_matches,
        split_line,
        Demux, //
    },
};

fuzz_target!(|text: &[u8]| {
    if let Some((header, len)) = DmesgHeader::parse(text) {
        assert_eq!(text[len - 1], b'\n');
        assert!(header.stamp.usec < 1_000_000);
    }
    if let Some((_, len)) = HeadLine::parse(text) {
        assert_eq!(text[len - 1], b'\n');
    }
    let (line, rest) = split_line(text);
    assert!(line.len() + rest.len() <= text.len());
    let mut total = 0;
    for line in lines(text).take(64) {
        assert_eq!(line.time_us.is_some(), !line.name.is_empty());
        total += line.text.len();
        let written: usize = Demux::new(text, line.name).map(<[u8]>::len).sum();
        assert!(written <= text.len());
    }
    assert!(total <= text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (older, newer) = split_newest(rest, 80);
        assert!(!newer.is_empty() && newer.len() <= 80 && older.len() < rest.len());
        rest = older;
    }
    let (patterns, name) = text.split_at(text.len() / 2);
    let patterns = &patterns[..patterns.len().min(256)];
    assert!(name_matches(&[patterns, b",*"].concat(), name));
    assert!(!name_matches(&[patterns, b",!*"].concat(), name));
});
