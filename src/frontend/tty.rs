// SPDX-License-Identifier: GPL-2.0

//! tty frontend: what is written to terminals that run n_tty, as the writer wrote it.
//!
//! Only bytes that the driver took count, so a partial write is recorded once. Each line begins
//! with time and tty; the format is described in `mpstore_format::tty` and
//! `Documentation/format-ram.md`.

use crate::{
    backend::Context,
    dispatch::Dispatcher,
    params::{
        self,
        ProbeKind, //
    },
    record::Kind,
    shared::SharedText,
    sys::{
        raw_lock::{
            Level,
            RawLock, //
        },
        time,
        tty::{
            Tty as SysTty,
            TtyWrite, //
        }, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};
use mpstore_format::tty::{
    name_matches,
    stamp,
    STAMP_MAX, //
};

/// Names of ttys that were cut off in the middle of a line, so that their next piece is marked as
/// its continuation. A few are enough: what falls out is merely marked as a new line.
const OPEN_MAX: usize = 8;

/// The name of a tty that is in the middle of a line, or none. Changed under the tap's lock.
struct Open {
    name: SharedText,
}

impl Open {
    const fn new() -> Self {
        Self {
            name: SharedText::new(),
        }
    }

    fn is(&self, name: &[u8]) -> bool {
        self.name.read(|n| n == name)
    }

    fn is_none(&self) -> bool {
        self.name.read(|n| n.is_empty())
    }

    fn set(&self, name: &[u8]) {
        self.name.set(name);
    }
}

/// The tap.
struct Tap {
    dispatcher: Arc<Dispatcher>,
    /// Outer: keeps the pieces of one write together on all backends.
    lock: RawLock,
    /// The tty whose line is unfinished at the end of the stream.
    last: Open,
    /// Ttys whose unfinished lines were ended for another.
    cut: [Open; OPEN_MAX],
    /// Which of `cut` is forgotten next.
    next: Atomic<usize>,
    /// Time of the latest line, in nanoseconds.
    time: Atomic<u64>,
}

impl Tap {
    /// Remembers that `name` is in the middle of a line.
    fn cut_off(&self, name: &[u8]) {
        let free = self.cut.iter().find(|c| c.is_none());
        let slot = free.or_else(|| {
            let next = self.next.load(Relaxed);
            self.next.store((next + 1) % OPEN_MAX, Relaxed);
            self.cut.get(next % OPEN_MAX)
        });
        if let Some(slot) = slot {
            slot.set(name);
        }
    }

    /// Whether `name` was cut off, and forgets it.
    fn continues(&self, name: &[u8]) -> bool {
        let found = self.cut.iter().find(|c| c.is(name));
        if let Some(slot) = found {
            slot.set(b"");
        }
        found.is_some()
    }

    fn put(&self, parts: &[&[u8]]) {
        // A failure is counted by the dispatcher; the writer is not to blame.
        let _ = self.dispatcher.append(Kind::Tty, parts, Context::Task);
    }

    /// Lines with time and tty.
    fn stamped(&self, name: &[u8], bytes: &[u8]) {
        // The clock is a CPU's own and may lag behind another's; lines never go back in time.
        let now = time::log_ns().max(self.time.load(Relaxed));
        self.time.store(now, Relaxed);
        let mut continued = self.last.is(name);
        let mut mark = false;
        if !continued {
            if !self.last.is_none() {
                self.put(&[b"\n"]);
                self.last.name.read(|other| self.cut_off(other));
                self.last.set(b"");
            }
            mark = self.continues(name);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = rest
                .iter()
                .position(|b| *b == b'\n')
                .map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            if continued {
                self.put(&[line]);
            } else {
                let mut buf = [0; STAMP_MAX];
                let len = stamp(&mut buf, now, name, mark);
                self.put(&[buf.get(..len).unwrap_or(&[]), line]);
            }
            (continued, mark, rest) = (false, false, after);
        }
        let open = !bytes.ends_with(b"\n");
        if open != self.last.is(name) {
            self.last.set(if open { name } else { b"" });
        }
    }
}

impl TtyWrite for Tap {
    fn written(&self, tty: &SysTty, bytes: &[u8]) {
        let settings = &params::TTY;
        if !settings.enabled.load(Relaxed) {
            return;
        }
        let name = tty.name();
        if !settings.names.read(|patterns| name_matches(patterns, name)) {
            return;
        }
        let _guard = self.lock.lock();
        if settings.raw.load(Relaxed) {
            self.put(&[bytes]);
        } else {
            self.stamped(name, bytes);
        }
    }
}

/// How the writes are seen.
enum Probe {
    #[cfg(CONFIG_FPROBE)]
    Fprobe {
        _probe: crate::sys::fprobe::Fprobe<Tap>,
    },
    #[cfg(CONFIG_KRETPROBES)]
    Kretprobe {
        _probe: crate::sys::kretprobe::Kretprobe<Tap>,
    },
}

impl Probe {
    /// By the cheapest means that this kernel has, or the one that is asked for.
    fn start(tap: &Arc<Tap>, kind: ProbeKind) -> Result<Self> {
        #[cfg(CONFIG_FPROBE)]
        if kind != ProbeKind::Kprobe {
            return Ok(Self::Fprobe {
                _probe: crate::sys::fprobe::Fprobe::new(tap.clone())?,
            });
        }
        #[cfg(CONFIG_KRETPROBES)]
        if kind != ProbeKind::Fprobe {
            return Ok(Self::Kretprobe {
                _probe: crate::sys::kretprobe::Kretprobe::new(tap.clone())?,
            });
        }
        let _ = (tap, kind);
        pr_err!("tty: this kernel was built without the probe that is needed (CONFIG_FPROBE)\n");
        Err(EOPNOTSUPP)
    }
}

/// The frontend.
pub(crate) struct Tty {
    _probe: Probe,
}

impl Tty {
    /// Starts to record; ttys that are open already count. May sleep.
    pub(crate) fn start(dispatcher: Arc<Dispatcher>, probe: ProbeKind) -> Result<Self> {
        let tap = Arc::new(
            Tap {
                dispatcher,
                lock: RawLock::new(Level::Outer)?,
                last: Open::new(),
                cut: [const { Open::new() }; OPEN_MAX],
                next: Atomic::new(0),
                time: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;
        Ok(Self {
            _probe: Probe::start(&tap, probe)?,
        })
    }
}
