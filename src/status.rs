// SPDX-License-Identifier: GPL-2.0

//! What became of the records: `/sys/kernel/debug/mpstore/status`, a line for each backend and
//! kind; and beside it what backends have of earlier runs, `generations`, the state of their
//! devices, `devices`, and what a crash kernel's command line must say, `crash_cmdline`.

use crate::{
    dispatch::{
        Dispatcher,
        Entry, //
    },
    record::{
        GenerationInfo,
        Kind, //
    },
};
use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
};

/// The file in debugfs. Without debugfs there is none, and nothing is missing.
pub(crate) struct Status {
    _file: Pin<KBox<File<Arc<Dispatcher>>>>,
    _generations: Pin<KBox<File<Arc<Dispatcher>>>>,
    _crash_cmdline: Pin<KBox<File<()>>>,
    _devices: Pin<KBox<File<Arc<Dispatcher>>>>,
}

impl Status {
    /// Makes it in `dir`. May sleep.
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, dir: &Dir) -> Result<Self> {
        let file = KBox::pin_init(
            dir.read_callback_file(c"status", dispatcher.clone(), &show),
            GFP_KERNEL,
        )?;
        let generations = KBox::pin_init(
            dir.read_callback_file(c"generations", dispatcher.clone(), &show_generations),
            GFP_KERNEL,
        )?;
        let devices = KBox::pin_init(
            dir.read_callback_file(c"devices", dispatcher, &show_devices),
            GFP_KERNEL,
        )?;
        let crash_cmdline = KBox::pin_init(
            dir.read_callback_file(c"crash_cmdline", (), &|(), f| crate::params::crash_words(f)),
            GFP_KERNEL,
        )?;
        Ok(Self {
            _file: file,
            _generations: generations,
            _crash_cmdline: crash_cmdline,
            _devices: devices,
        })
    }
}

/// Columns are separated by blanks and keep their places; new ones come at the end.
fn show(dispatcher: &Arc<Dispatcher>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(
        "backend kind on records bytes busy full failed corrected lost_blocks last_error\n",
    )?;
    dispatcher.entries().try_for_each(|entry| lines(&entry, f))
}

fn lines(entry: &Entry, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let backend = entry.backend();
    let repairs = backend.repairs();
    for kind in Kind::ALL {
        if !backend.kinds().has(kind) {
            continue;
        }
        let Some(tally) = entry.tally(kind) else {
            continue;
        };
        f.write_fmt(fmt!(
            "{} {} {} {} {} {} {} {} {} {} {}\n",
            entry.name(),
            kind.as_str(),
            if entry.enabled().has(kind) { "Y" } else { "N" },
            tally.records.load(Relaxed),
            tally.bytes.load(Relaxed),
            tally.busy.load(Relaxed),
            tally.full.load(Relaxed),
            tally.failed.load(Relaxed),
            repairs.corrected,
            repairs.lost,
            entry.last_error()
        ))?;
    }
    Ok(())
}

/// As [`show`]: columns keep their places.
fn show_generations(dispatcher: &Arc<Dispatcher>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("backend generation current start end boot_id release bytes records\n")?;
    dispatcher.entries().try_for_each(|entry| {
        let show = &mut |g: &GenerationInfo<'_>| {
            let end = g.end.unwrap_or_default();
            f.write_fmt(fmt!(
                "{} {} {} {}.{:06} {}.{:06} ",
                entry.name(),
                g.number,
                if g.current { "Y" } else { "N" },
                g.start.sec,
                g.start.usec,
                end.sec,
                end.usec
            ))
            .and_then(|()| {
                g.boot_id
                    .iter()
                    .try_for_each(|byte| f.write_fmt(fmt!("{:02x}", byte)))
            })
            .and_then(|()| f.write_fmt(fmt!(" {} {} {}\n", g.release, g.bytes, g.records)))
            .map_err(|_| EIO)
        };
        entry.backend().generations(show).map_err(|_| fmt::Error)
    })
}

/// A line for each backend that has more to say.
fn show_devices(dispatcher: &Arc<Dispatcher>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    dispatcher
        .entries()
        .try_for_each(|entry| entry.backend().describe(f))
}
