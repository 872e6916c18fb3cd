// SPDX-License-Identifier: GPL-2.0

//! `timeline`: the lines of all records in one order.
//!
//! Lines of dmesg, console and tty tell the time since boot. The boot is told apart by when it
//! began: that of a dump is its time less that of its last line. What has no time of its own goes to
//! the boot whose lines it shares, or else to the last one. The same line on several media is one.

use crate::{
    cli::Context,
    list::{
        load_all,
        Filter, //
    },
    out::{
        harmless_line,
        Out,
        BAD,
        DOUBT,
        FAINT,
        GOOD,
        NAME, //
    },
    record::{
        after_total,
        rfc3339,
        Kind,
        Record, //
    },
};
use anyhow::Result;
use clap::Args;
use mpstore_format::{
    record::Stamp,
    text::HeadLine, //
};
use serde::Serialize;
use std::{
    collections::{
        BTreeSet,
        HashMap,
        HashSet, //
    },
    process::ExitCode, //
};

/// Two dumps belong to one boot if it began at about the same moment for both. Clocks are set
/// during a boot, but not often by more than this.
const SAME_BOOT_US: i64 = 5_000_000;

#[derive(Args, Debug)]
pub(crate) struct TimelineArgs {
    #[command(flatten)]
    filter: Filter,
    /// Lines that came twice are not folded into one
    #[arg(long)]
    duplicates: bool,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "NUMBER")]
    tail: Option<usize>,
}

/// One line of some record.
#[derive(Clone, Debug)]
struct Line {
    /// Microseconds since boot, if the line or its neighbour tells.
    uptime: Option<i64>,
    /// Whether the time is its own.
    own: bool,
    text: Vec<u8>,
    /// The tty it was written to.
    tty: Option<String>,
    level: Option<u8>,
    kind: Kind,
    /// The backends that have it.
    backends: BTreeSet<String>,
    kinds: BTreeSet<Kind>,
    /// Its place among those of the same time.
    place: usize,
}

/// A boot, as far as it can be told from others.
#[derive(Default)]
struct Boot {
    /// When it began, microseconds since 1970.
    began: Option<i64>,
    generation: Option<u64>,
    lines: Vec<Line>,
    /// Texts with their times, to recognize it by.
    known: HashSet<(i64, Vec<u8>)>,
}

/// `[   12.345678] text` with its time; printk may put the caller behind it.
fn stamped(line: &[u8]) -> Option<(i64, &[u8])> {
    let rest = line.strip_prefix(b"[")?;
    let end = memchr::memchr(b']', rest)?;
    let number = std::str::from_utf8(rest.get(..end)?)
        .ok()?
        .trim_start_matches(' ');
    let (sec, usec) = number.split_once('.')?;
    if usec.len() != 6
        || sec.is_empty()
        || !sec.bytes().chain(usec.bytes()).all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let sec: i64 = sec.parse().ok().filter(|sec| *sec < 1 << 40)?;
    let usec: i64 = usec.parse().ok()?;
    let text = rest.get(end + 1..)?;
    Some((
        sec * 1_000_000 + usec,
        text.strip_prefix(b" ").unwrap_or(text),
    ))
}

/// `<4>` in front of a line of the kernel's log, or with a facility `<30>`.
fn level(line: &[u8]) -> (Option<u8>, &[u8]) {
    let parse = || {
        let rest = line.strip_prefix(b"<")?;
        let end = memchr::memchr(b'>', rest.get(..rest.len().min(5))?)?;
        let number: u16 = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
        // CAST: Three bits.
        Some(((number & 7) as u8, rest.get(end + 1..)?))
    };
    match parse() {
        Some((level, rest)) => (Some(level), rest),
        None => (None, line),
    }
}

/// The lines of one record.
fn lines_of(record: &Record) -> Vec<Line> {
    let mut out = Vec::new();
    let mut add = |uptime: Option<i64>, text: &[u8], tty: Option<String>, level| {
        let last: Option<&Line> = out.last();
        let inherited = last.and_then(|line| line.uptime);
        out.push(Line {
            uptime: uptime.or(inherited),
            own: uptime.is_some(),
            text: text.to_vec(),
            tty,
            level,
            kind: record.kind.clone(),
            backends: std::iter::once(record.backend.clone()).collect(),
            kinds: std::iter::once(record.kind.clone()).collect(),
            place: 0,
        });
    };
    let content = match record.kind {
        Kind::Dmesg => after_total(record.content()),
        _ => record.content(),
    };
    if record.encoded {
        add(None, b"(a record that can't be decompressed)", None, None);
        return out;
    }
    let body = match HeadLine::parse(content) {
        Some((_, len)) if record.kind == Kind::Dmesg => content.get(len..).unwrap_or(&[]),
        _ => content,
    };
    if record.kind == Kind::Tty {
        for line in mpstore_format::tty::lines(body) {
            let uptime = line.time_us.and_then(|us| i64::try_from(us).ok());
            let name = line
                .time_us
                .map(|_| String::from_utf8_lossy(line.name).into_owned());
            let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
            add(uptime, text, name, None);
        }
        return out;
    }
    for line in body.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (level, rest) = match record.kind {
            Kind::Dmesg => level(line),
            _ => (None, line),
        };
        match stamped(rest) {
            Some((uptime, text)) => add(Some(uptime), text, None, level),
            None => add(None, rest, None, level),
        }
    }
    // What comes before the first time came before it.
    let first = out.iter().find_map(|line| line.uptime);
    for line in out.iter_mut().take_while(|line| line.uptime.is_none()) {
        line.uptime = first.filter(|_| record.kind != Kind::Ftrace);
    }
    out
}

fn micros(stamp: Stamp) -> i64 {
    i64::try_from(stamp.sec)
        .unwrap_or(i64::MAX / 4_000_000)
        .min(i64::MAX / 4_000_000)
        .saturating_mul(1_000_000)
        .saturating_add(i64::from(stamp.usec))
}

fn sort(records: &[&Record]) -> Vec<Boot> {
    let mut boots: Vec<Boot> = Vec::new();
    // Dumps first: they tell when their boot began.
    let mut dumps: Vec<(Option<i64>, &Record, Vec<Line>)> = Vec::new();
    let mut rest: Vec<(&Record, Vec<Line>)> = Vec::new();
    for record in records {
        let lines = lines_of(record);
        let last = lines
            .iter()
            .filter(|l| l.own)
            .filter_map(|l| l.uptime)
            .next_back();
        match (record.kind == Kind::Dmesg, record.time) {
            (true, Some(time)) => {
                // Of a dump in parts the older ones end long before.
                let part = record.head().map_or(1, |h| h.part);
                let began = last
                    .filter(|_| part == 1)
                    .map(|last| micros(time).saturating_sub(last));
                dumps.push((began, record, lines));
            }
            _ => rest.push((record, lines)),
        }
    }
    dumps.sort_by_key(|(began, record, _)| (began.is_none(), *began, record.time));
    let remember = |boot: &mut Boot, lines: &[Line]| {
        boot.known.extend(
            lines
                .iter()
                .filter(|l| l.own && l.kind != Kind::Tty)
                .filter_map(|l| Some((l.uptime?, l.text.clone()))),
        );
    };
    for (began, record, lines) in dumps {
        let head = record.head();
        let found = boots.iter_mut().find(|boot| {
            if boot.generation != record.generation() {
                // The same boot in a medium that keeps generations and in one that does not.
                let other = boot.generation.is_some() && record.generation().is_some();
                if other {
                    return false;
                }
            }
            match (boot.began, began) {
                (Some(a), Some(b)) => a.abs_diff(b) <= SAME_BOOT_US.unsigned_abs(),
                // A later part: of the dump at the same moment.
                (Some(a), None) => {
                    head.is_some_and(|h| h.part > 1)
                        && record.time.is_some_and(|t| {
                            let behind = micros(t).saturating_sub(a);
                            boot.lines
                                .iter()
                                .filter_map(|l| l.uptime)
                                .any(|up| up.abs_diff(behind) <= SAME_BOOT_US.unsigned_abs())
                        })
                }
                _ => false,
            }
        });
        let boot = match found {
            Some(boot) => boot,
            None => {
                boots.push(Boot {
                    began,
                    generation: record.generation(),
                    ..Boot::default()
                });
                match boots.last_mut() {
                    Some(boot) => boot,
                    None => continue,
                }
            }
        };
        boot.generation = boot.generation.or(record.generation());
        remember(boot, &lines);
        boot.lines.extend(lines);
    }
    // Consoles share lines with dumps, and ttys with nothing.
    rest.sort_by_key(|(record, _)| record.kind != Kind::Console);
    for (record, lines) in rest {
        let same = |boot: &Boot| {
            lines
                .iter()
                .filter(|l| l.own)
                .filter(|l| {
                    l.uptime
                        .is_some_and(|up| boot.known.contains(&(up, l.text.clone())))
                })
                .count()
        };
        let by_generation = record
            .generation()
            .and_then(|generation| boots.iter().position(|b| b.generation == Some(generation)));
        let by_lines = || {
            let best = boots
                .iter()
                .enumerate()
                .max_by_key(|(n, boot)| (same(boot), *n))?;
            // One line may be the same by chance: most boots begin alike.
            (same(best.1) > 0).then_some(best.0)
        };
        let index = match by_generation {
            Some(index) => Some(index),
            None if record.generation().is_some() => None,
            // Streams are what the boot before this one left.
            None => by_lines().or_else(|| {
                (record.kind != Kind::Console)
                    .then(|| boots.len().checked_sub(1))
                    .flatten()
            }),
        };
        let index = index.unwrap_or_else(|| {
            boots.push(Boot {
                began: None,
                generation: record.generation(),
                ..Boot::default()
            });
            boots.len() - 1
        });
        if let Some(boot) = boots.get_mut(index) {
            remember(boot, &lines);
            boot.lines.extend(lines);
        }
    }
    boots.sort_by_key(|boot| {
        (
            boot.began.is_none() && boot.generation.is_none(),
            boot.generation.unwrap_or(0),
            boot.began,
        )
    });
    boots
}

/// What lines that are the same have in common: time, text, tty, and whether the time is their own.
type Key = (Option<i64>, Vec<u8>, Option<String>, bool);

/// Puts the lines of a boot in order, and makes one of those that are the same.
fn merge(boot: &mut Boot, fold: bool) {
    for (place, line) in boot.lines.iter_mut().enumerate() {
        line.place = place;
    }
    // What has no time at all is told last: it is what was said up to the end.
    boot.lines
        .sort_by_key(|line| (line.uptime.unwrap_or(i64::MAX), line.place));
    if !fold {
        return;
    }
    let mut seen: HashMap<Key, usize> = HashMap::new();
    let mut kept: Vec<Line> = Vec::with_capacity(boot.lines.len());
    for line in std::mem::take(&mut boot.lines) {
        // What one record says twice, it said twice: only other records' lines are the same ones.
        let key = (line.uptime, line.text.clone(), line.tty.clone(), line.own);
        let same = seen
            .get(&key)
            .and_then(|at| kept.get_mut(*at))
            .filter(|old| {
                let foldable = |kind: &Kind| matches!(kind, Kind::Dmesg | Kind::Console);
                let alike = old.kind == line.kind || foldable(&old.kind) && foldable(&line.kind);
                let new =
                    !line.backends.is_subset(&old.backends) || !line.kinds.is_subset(&old.kinds);
                // Dumps of one boot overlap.
                alike && (new || line.kind == Kind::Dmesg && line.own)
            });
        match same {
            Some(old) => {
                old.backends.extend(line.backends);
                old.kinds.extend(line.kinds);
                old.level = old.level.or(line.level);
            }
            None => {
                seen.insert(key, kept.len());
                kept.push(line);
            }
        }
    }
    boot.lines = kept;
}

#[derive(Serialize)]
struct LineJson<'a> {
    boot: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_us: Option<i64>,
    /// Whether the time is that of a line before it.
    inherited: bool,
    kinds: Vec<&'a str>,
    backends: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tty: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<u8>,
    text: String,
}

fn wall(boot: &Boot, uptime: Option<i64>) -> Option<String> {
    let us = boot.began?.checked_add(uptime?)?;
    let us = u64::try_from(us).ok()?;
    Some(rfc3339(Stamp {
        sec: us / 1_000_000,
        usec: u32::try_from(us % 1_000_000).ok()?,
    }))
}

/// `mpstore timeline`.
pub(crate) fn timeline(
    context: &Context<'_>,
    args: &TimelineArgs,
    out: &mut Out,
) -> Result<ExitCode> {
    let loaded = load_all(context)?;
    let records: Vec<&Record> = loaded
        .records
        .iter()
        .filter(|r| args.filter.takes(r))
        .collect();
    let mut boots = sort(&records);
    for boot in &mut boots {
        merge(boot, !args.duplicates);
    }
    let total: usize = boots.iter().map(|b| b.lines.len()).sum();
    let mut skip = args.tail.map_or(0, |tail| total.saturating_sub(tail));
    for (number, boot) in boots.iter().enumerate() {
        let lines = boot.lines.get(skip.min(boot.lines.len())..).unwrap_or(&[]);
        skip = skip.saturating_sub(boot.lines.len());
        if lines.is_empty() {
            continue;
        }
        if context.cli.json {
            for line in lines {
                out.json(&LineJson {
                    boot: number + 1,
                    generation: boot.generation,
                    time: wall(boot, line.uptime),
                    uptime_us: line.uptime,
                    inherited: !line.own,
                    kinds: line.kinds.iter().map(Kind::as_str).collect(),
                    backends: line.backends.iter().map(String::as_str).collect(),
                    tty: line.tty.as_deref(),
                    level: line.level,
                    text: String::from_utf8_lossy(&line.text).into_owned(),
                })?;
            }
            continue;
        }
        let name = NAME;
        let mut title = format!("boot {}", number + 1);
        if let Some(generation) = boot.generation {
            title.push_str(&format!(", generation {generation}"));
        }
        title.push_str(&match wall(boot, Some(0)) {
            Some(time) => format!(", began about {time}"),
            None => ", nobody tells when it began".to_owned(),
        });
        out.line(format!("{name}==> {title} <=={name:#}"))?;
        for line in lines {
            print(line, out)?;
        }
    }
    Ok(ExitCode::from(u8::from(total == 0)))
}

fn print(line: &Line, out: &mut Out) -> Result<()> {
    let time = match line.uptime {
        Some(us) if line.own => format!("[{:5}.{:06}]", us / 1_000_000, us % 1_000_000),
        Some(_) => " ".repeat(14),
        None => format!("[{:^12}]", "?"),
    };
    let kinds: Vec<&str> = line.kinds.iter().map(Kind::as_str).collect();
    let from = match &line.tty {
        Some(tty) => format!("tty:{}", harmless_line(tty.as_bytes())),
        None => kinds.join("+"),
    };
    let backends: Vec<&str> = line.backends.iter().map(String::as_str).collect();
    let text = harmless_line(&line.text);
    let style = match (line.level, &line.kind) {
        (Some(0..=3), _) => BAD,
        (Some(4), _) => DOUBT,
        (_, Kind::Tty | Kind::Pmsg) => GOOD,
        (_, Kind::Ftrace) => FAINT,
        _ => anstyle::Style::new(),
    };
    let faint = FAINT;
    out.line(format!(
        "{faint}{time} {from:13} {}{faint:#} {style}{text}{style:#}",
        backends.join("+"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(backend: &str, kind: Kind, id: u64, time: Option<u64>, text: &str) -> Record {
        Record {
            backend: backend.to_owned(),
            kind,
            id,
            time: time.map(|sec| Stamp { sec, usec: 0 }),
            text: text.as_bytes().to_vec(),
            notice: 0,
            parity: None,
            encoded: false,
            origin: String::new(),
            path: None,
            remark: None,
        }
    }

    fn texts(boot: &Boot) -> Vec<String> {
        boot.lines
            .iter()
            .map(|l| String::from_utf8_lossy(&l.text).into_owned())
            .collect()
    }

    #[test]
    fn lines_are_merged_and_folded() {
        let records = [
            record(
                "ramoops",
                Kind::Dmesg,
                0,
                Some(1000),
                "Oops#1 Part1\n<6>[    1.000000] one\n<4>[    3.000000] three\n",
            ),
            record(
                "kho",
                Kind::Dmesg,
                10000,
                Some(1000),
                "Oops#1 Part1\n<6>[    1.000000] one\n<4>[    3.000000] three\n",
            ),
            record(
                "ramoops",
                Kind::Console,
                0,
                None,
                "[    1.000000] one\n[    3.000000] three\ncut\n",
            ),
            record("ramoops", Kind::Tty, 0, None, "[    2.000000] ttyS0: two\n"),
            record(
                "ramoops",
                Kind::Dmesg,
                1,
                Some(5000),
                "Panic#1 Part1\n<6>[    9.000000] later\n",
            ),
            record("ramoops", Kind::Pmsg, 0, None, "message\n"),
        ];
        let all: Vec<&Record> = records.iter().collect();
        let mut boots = sort(&all);
        assert_eq!(boots.len(), 2);
        for boot in &mut boots {
            merge(boot, true);
        }
        let first = boots.iter().find(|b| b.began == Some(997_000_000)).unwrap();
        assert_eq!(texts(first), ["one", "three", "cut"]);
        let one = &first.lines[0];
        assert_eq!(one.backends.len(), 2);
        assert_eq!(one.kinds.len(), 2);
        let second = boots
            .iter()
            .find(|b| b.began == Some(4_991_000_000))
            .unwrap();
        assert_eq!(texts(second), ["two", "later", "message"]);
    }

    #[test]
    fn a_line_that_was_said_twice_stays_twice() {
        let records = [record(
            "ramoops",
            Kind::Console,
            0,
            None,
            "[    1.000000] x\n[    1.000000] x\n",
        )];
        let all: Vec<&Record> = records.iter().collect();
        let mut boots = sort(&all);
        merge(&mut boots[0], true);
        assert_eq!(texts(&boots[0]), ["x", "x"]);
    }

    #[test]
    fn stamps_and_levels() {
        assert_eq!(stamped(b"[   12.345678] x"), Some((12_345_678, &b"x"[..])));
        assert_eq!(
            stamped(b"[   12.345678][    T1] x"),
            Some((12_345_678, &b"[    T1] x"[..]))
        );
        for line in [
            &b"[12.34] x"[..],
            b"[] x",
            b"[.123456] x",
            b"[-1.123456]",
            b"x",
            b"[9999999999999999999.123456] x",
        ] {
            assert_eq!(stamped(line), None);
        }
        assert_eq!(level(b"<30>x"), (Some(6), &b"x"[..]));
        assert_eq!(level(b"<x"), (None, &b"<x"[..]));
    }
}
