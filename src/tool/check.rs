// SPDX-License-Identifier: GPL-2.0

//! `check`: is everything armed? Exit status and first line are those of a monitoring plugin: 0 OK,
//! 1 WARNING, 2 CRITICAL, 3 UNKNOWN.

use crate::{
    cli::Context,
    host::Host,
    out::{
        Out,
        BAD,
        DOUBT,
        GOOD, //
    },
    tree,
};
use anyhow::Result;
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// A crash kernel must be loaded
    #[arg(long)]
    kdump: bool,
    /// At least so many backends must record
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    backends: usize,
    /// Records of earlier crashes that wait to be collected are a warning
    #[arg(long)]
    records: bool,
}

/// How good or bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Unknown,
    Critical,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Unknown => "UNKNOWN",
            Self::Critical => "CRITICAL",
        }
    }

    const fn status(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}

#[derive(Serialize)]
struct Finding {
    level: Level,
    what: String,
}

/// A line of `/sys/kernel/debug/mpstore/status`. Columns keep their places; the line of names says
/// which.
struct Tally<'a> {
    names: &'a [&'a str],
    values: Vec<&'a str>,
}

impl Tally<'_> {
    fn get(&self, name: &str) -> &str {
        self.names
            .iter()
            .position(|n| *n == name)
            .and_then(|at| self.values.get(at))
            .copied()
            .unwrap_or("")
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }
}

#[derive(Default)]
struct Numbers {
    backends: usize,
    recorded: u64,
    lost: u64,
    corrected: u64,
    lost_blocks: u64,
    waiting: usize,
}

fn status(text: &str, findings: &mut Vec<Finding>, numbers: &mut Numbers) {
    let mut lines = text.lines();
    let names: Vec<&str> = lines
        .next()
        .unwrap_or("")
        .split_ascii_whitespace()
        .collect();
    let mut backends: Vec<&str> = Vec::new();
    let mut recording: Vec<&str> = Vec::new();
    for line in lines {
        let tally = Tally {
            names: &names,
            values: line.split_ascii_whitespace().collect(),
        };
        let Some(backend) = tally.values.first().copied() else {
            continue;
        };
        if !backends.contains(&backend) {
            backends.push(backend);
            numbers.corrected += tally.number("corrected");
            numbers.lost_blocks += tally.number("lost_blocks");
            let error = tally.get("last_error");
            if !matches!(error, "" | "0") {
                findings.push(Finding {
                    level: Level::Warning,
                    what: format!("{backend}: its last error was {error}"),
                });
            }
        }
        let kind = tally.get("kind").to_owned();
        if tally.get("on") == "Y" {
            if !recording.contains(&backend) {
                recording.push(backend);
            }
        } else if kind == "dmesg" {
            findings.push(Finding {
                level: Level::Warning,
                what: format!("{backend}: dmesg is switched off there"),
            });
        }
        numbers.recorded += tally.number("records");
        let lost = tally.number("busy") + tally.number("full") + tally.number("failed");
        numbers.lost += lost;
        if tally.number("failed") > 0 {
            findings.push(Finding {
                level: Level::Warning,
                what: format!(
                    "{backend}: {} records of {kind} failed",
                    tally.number("failed")
                ),
            });
        }
    }
    numbers.backends = recording.len();
}

fn look(host: &Host, args: &CheckArgs) -> (Vec<Finding>, Numbers) {
    let mut findings = Vec::new();
    let mut numbers = Numbers::default();
    let mut say = |level, what: String| findings.push(Finding { level, what });
    let ours = host.exists("/sys/module/mpstore");
    let in_tree = host.parameters("pstore").get("backend").cloned();
    let in_tree = in_tree.filter(|b| !b.is_empty() && b != "(null)");
    match (ours, &in_tree) {
        (true, _) => say(Level::Ok, "mpstore is loaded".to_owned()),
        (false, Some(backend)) => {
            say(
                Level::Ok,
                format!("the in-tree pstore records to {backend}; mpstore is not loaded"),
            );
            numbers.backends = 1;
        }
        (false, None) => say(
            Level::Critical,
            "neither mpstore nor an in-tree backend is loaded: nothing will be recorded. See \
             `mpstore plan`"
                .to_owned(),
        ),
    }
    let text = host.read("/sys/kernel/debug/mpstore/status");
    // Whoever may read neither the status nor the parameters can't say how many there are.
    let mut known = true;
    match (&text, ours) {
        (Some(text), true) => status(text, &mut findings, &mut numbers),
        (None, true) => {
            // Without debugfs the parameters tell which regions are in use.
            let parameters = host.parameters("mpstore");
            let count = |name: &str| {
                parameters
                    .get(name)
                    .map_or(0, |list| list.split(',').filter(|x| !x.is_empty()).count())
            };
            let on = |name: &str| parameters.get(name).is_some_and(|v| v == "Y");
            numbers.backends = count("mem_size").max(count("mem_address"))
                + count("blkdev")
                + usize::from(on("kho"));
            known = !parameters.is_empty();
            findings.push(Finding {
                level: if known { Level::Ok } else { Level::Unknown },
                what: "/sys/kernel/debug/mpstore/status can't be read (root, debugfs): losses are \
                       not known"
                    .to_owned(),
            });
        }
        _ => {}
    }
    let mut say = |level, what: String| findings.push(Finding { level, what });
    if known && (ours || in_tree.is_some()) && numbers.backends < args.backends {
        say(
            Level::Critical,
            format!(
                "{} backends record, {} are wanted",
                numbers.backends, args.backends
            ),
        );
    }
    if numbers.lost > 0 {
        say(
            Level::Warning,
            format!("{} records were lost since the load", numbers.lost),
        );
    }
    if numbers.lost_blocks > 0 {
        say(
            Level::Warning,
            format!(
                "{} blocks were beyond repair: the medium forgets",
                numbers.lost_blocks
            ),
        );
    }
    match tree::default_path(host) {
        Ok(path) => match tree::load(&path) {
            Ok(loaded) => {
                numbers.waiting = loaded.records.len();
                let dumps = loaded.records.iter().filter(|r| r.head().is_some()).count();
                let level = if args.records && dumps > 0 {
                    Level::Warning
                } else {
                    Level::Ok
                };
                say(
                    level,
                    format!(
                        "{} records of earlier kernels, {dumps} of them dumps",
                        loaded.records.len()
                    ),
                );
            }
            Err(error) => say(Level::Unknown, format!("{error:#}")),
        },
        Err(_) if ours => say(
            Level::Warning,
            "pstore is not mounted: nobody will collect the records (mount -t pstore pstore \
             /sys/fs/pstore)"
                .to_owned(),
        ),
        Err(_) => {}
    }
    let crash = host
        .read("/sys/kernel/kexec_crash_size")
        .and_then(|s| s.parse::<u64>().ok());
    let loaded = host.read("/sys/kernel/kexec_crash_loaded");
    match (loaded.as_deref(), crash) {
        (Some("1"), _) => {
            let bank = host
                .read("/sys/kernel/debug/mpstore/crash_cmdline")
                .is_some_and(|text| text.contains("crash_size="));
            let dumps = host
                .read("/sys/module/kernel/parameters/crash_kexec_post_notifiers")
                .is_some_and(|on| on == "Y");
            say(
                Level::Ok,
                format!(
                    "a crash kernel is loaded{}{}",
                    if bank {
                        ", and there is a bank for it"
                    } else {
                        ""
                    },
                    if dumps {
                        ""
                    } else {
                        ". It takes over in a panic before anything is dumped here, unless \
                         crash_kexec_post_notifiers is given; the console is kept"
                    }
                ),
            );
        }
        (_, Some(size)) if size > 0 => say(
            if args.kdump {
                Level::Critical
            } else {
                Level::Warning
            },
            "memory is reserved for a crash kernel, but none is loaded".to_owned(),
        ),
        _ if args.kdump => say(
            Level::Critical,
            "no memory is reserved for a crash kernel (crashkernel=)".to_owned(),
        ),
        _ => {}
    }
    // A panic that waits for somebody to press a button keeps the records, but not in service.
    if host.read("/proc/sys/kernel/panic").as_deref() == Some("0") {
        say(
            Level::Warning,
            "kernel.panic is 0: after a panic this machine waits for ever".to_owned(),
        );
    }
    (findings, numbers)
}

/// `mpstore check`.
pub(crate) fn check(context: &Context<'_>, args: &CheckArgs, out: &mut Out) -> Result<ExitCode> {
    let (mut findings, numbers) = look(&context.host, args);
    findings.sort_by_key(|f| std::cmp::Reverse(f.level));
    let worst = findings
        .iter()
        .map(|f| f.level)
        .max()
        .unwrap_or(Level::Unknown);
    if context.cli.json {
        out.json_pretty(&serde_json::json!({
            "status": worst,
            "findings": findings,
            "backends": numbers.backends,
            "recorded": numbers.recorded,
            "lost": numbers.lost,
            "corrected_bytes": numbers.corrected,
            "lost_blocks": numbers.lost_blocks,
            "records": numbers.waiting,
        }))?;
        return Ok(ExitCode::from(worst.status()));
    }
    let style = match worst {
        Level::Ok => GOOD,
        Level::Warning | Level::Unknown => DOUBT,
        Level::Critical => BAD,
    };
    let first = findings
        .first()
        .filter(|f| f.level > Level::Ok)
        .map_or_else(
            || format!("{} backends record", numbers.backends),
            |f| f.what.clone(),
        );
    // A bar is where a plugin's numbers begin.
    out.line(format!(
        "{style}MPSTORE {}{style:#} - {} | backends={} records={} recorded={}c lost={}c corrected={}c lost_blocks={}c",
        worst.name(),
        first.replace('|', "/"),
        numbers.backends,
        numbers.waiting,
        numbers.recorded,
        numbers.lost,
        numbers.corrected,
        numbers.lost_blocks
    ))?;
    for finding in &findings {
        out.line(format!(
            "{}: {}",
            finding.level.name(),
            finding.what.replace('|', "/")
        ))?;
    }
    Ok(ExitCode::from(worst.status()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_file_is_read_by_its_names() {
        let text =
            "backend kind on records bytes busy full failed corrected lost_blocks last_error\n\
                    ramoops dmesg Y 3 100 0 1 0 5 0 0\n\
                    ramoops tty N 7 100 0 0 0 5 0 0\n\
                    bank dmesg N 0 0 0 0 2 0 1 -5\n";
        let (mut findings, mut numbers) = (Vec::new(), Numbers::default());
        status(text, &mut findings, &mut numbers);
        assert_eq!(
            (numbers.backends, numbers.recorded, numbers.lost),
            (1, 10, 3)
        );
        assert_eq!((numbers.corrected, numbers.lost_blocks), (5, 1));
        assert_eq!(findings.len(), 3);
        // One without names tells nothing, and breaks nothing.
        status("", &mut Vec::new(), &mut Numbers::default());
        status("x\ny", &mut Vec::new(), &mut Numbers::default());
    }
}
