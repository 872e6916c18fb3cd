// SPDX-License-Identifier: GPL-2.0

//! tty frontend: what is written to terminals that run n_tty, as the writer wrote it.
//!
//! Only bytes that the driver took count, so a partial write is recorded once. Each line begins
//! with time and tty; the format is described in `mpstore_format::tty` and
//! `Documentation/format-ram.md`.

use crate::sys::errno::EOPNOTSUPP;
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
        crash_dump::in_crash_kernel,
        param::Watch,
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
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};
use mpstore_format::tty::{
    name_matches,
    split_line,
    stamp,
    Redraw,
    STAMP_MAX, //
};

/// Names of ttys that were cut off in the middle of a line, so that their next piece is marked as
/// its continuation. A few are enough: what falls out is merely marked as a new line.
const OPEN_MAX: usize = 8;

/// The name of a tty, or none. Looked at and changed under the tap's lock only.
struct Name {
    len: Atomic<usize>,
    /// Its first bytes, which are all of most names.
    head: Atomic<u64>,
    /// All of it, if it is longer.
    whole: SharedText,
}

impl Name {
    const fn new() -> Self {
        Self {
            len: Atomic::new(0),
            head: Atomic::new(0),
            whole: SharedText::new(),
        }
    }

    fn head_of(name: &[u8]) -> u64 {
        let mut head = 0;
        for byte in name.iter().take(8) {
            head = head << 8 | u64::from(*byte);
        }
        head
    }

    /// `head` is [`Self::head_of`] of `name`.
    fn is(&self, name: &[u8], head: u64) -> bool {
        self.len.load(Relaxed) == name.len()
            && self.head.load(Relaxed) == head
            && (name.len() <= 8 || self.whole.read(|whole| whole == name))
    }

    fn is_none(&self) -> bool {
        self.len.load(Relaxed) == 0
    }

    fn set(&self, name: &[u8]) {
        self.len.store(name.len(), Relaxed);
        self.head.store(Self::head_of(name), Relaxed);
        if name.len() > 8 {
            self.whole.set(name);
        }
    }

    fn set_to(&self, other: &Self) {
        let len = other.len.load(Relaxed);
        if len > 8 {
            other.whole.read(|name| self.set(name));
        } else {
            self.len.store(len, Relaxed);
            self.head.store(other.head.load(Relaxed), Relaxed);
        }
    }
}

/// The tap.
struct Tap {
    dispatcher: Arc<Dispatcher>,
    /// Outer: keeps the pieces of one write together on all backends.
    lock: RawLock,
    /// The tty that was asked about last, for which version of `tty_names`, and the answer.
    asked: Name,
    asked_version: Atomic<u32>,
    answer: Atomic<bool>,
    /// The tty whose line is unfinished at the end of the stream.
    last: Name,
    /// Ttys whose unfinished lines were ended for another.
    cut: [Name; OPEN_MAX],
    /// How many there are.
    cuts: Atomic<usize>,
    /// Which of `cut` is forgotten next.
    next: Atomic<usize>,
    /// Time of the latest line, in nanoseconds.
    time: Atomic<u64>,
    /// Whether lines that are drawn over and over are recorded but once a second: in a crash kernel,
    /// where the progress of saving would push out all else.
    thin_out: bool,
    /// The state of the line at hand, see [`Redraw`].
    drawn: Atomic<u64>,
    returned: Atomic<bool>,
    dropping: Atomic<bool>,
}

impl Tap {
    /// Whether a tty is to be recorded.
    fn wants(&self, name: &[u8], head: u64) -> bool {
        let names = &params::TTY.names;
        let version = names.version();
        if self.asked_version.load(Relaxed) == version && self.asked.is(name, head) {
            return self.answer.load(Relaxed);
        }
        let answer = names.read(|patterns| name_matches(patterns, name));
        self.asked.set(name);
        self.asked_version.store(version, Relaxed);
        self.answer.store(answer, Relaxed);
        answer
    }

    /// Remembers that the last tty is in the middle of a line.
    fn cut_off(&self) {
        let free = self.cut.iter().find(|c| c.is_none());
        if free.is_some() {
            self.cuts.store(self.cuts.load(Relaxed) + 1, Relaxed);
        }
        let slot = free.or_else(|| {
            let next = self.next.load(Relaxed);
            self.next.store((next + 1) % OPEN_MAX, Relaxed);
            self.cut.get(next % OPEN_MAX)
        });
        if let Some(slot) = slot {
            slot.set_to(&self.last);
        }
    }

    /// Whether `name` was cut off, and forgets it.
    fn continues(&self, name: &[u8], head: u64) -> bool {
        let cuts = self.cuts.load(Relaxed);
        if cuts == 0 {
            return false;
        }
        let found = self.cut.iter().find(|c| c.is(name, head));
        if let Some(slot) = found {
            slot.set(b"");
            self.cuts.store(cuts - 1, Relaxed);
        }
        found.is_some()
    }

    fn put(&self, parts: &[&[u8]]) {
        // A failure is counted by the dispatcher; the writer is not to blame.
        let _ = self.dispatcher.append(Kind::Tty, parts, Context::Task);
    }

    /// Whether this write is one of many that draw the same line.
    fn thinned_out(&self, same: bool, now: u64, bytes: &[u8]) -> bool {
        let before = Redraw {
            drawn: self.drawn.load(Relaxed),
            returned: self.returned.load(Relaxed),
            dropping: self.dropping.load(Relaxed),
        };
        let (after, dropped) = before.next(same, now, bytes);
        self.drawn.store(after.drawn, Relaxed);
        self.returned.store(after.returned, Relaxed);
        self.dropping.store(after.dropping, Relaxed);
        dropped
    }

    /// Lines with time and tty.
    fn stamped(&self, name: &[u8], head: u64, bytes: &[u8]) {
        // The clock is a CPU's own and may lag behind another's; lines never go back in time.
        let now = time::log_ns().max(self.time.load(Relaxed));
        self.time.store(now, Relaxed);
        let open_before = !self.last.is_none();
        let mut continued = open_before && self.last.is(name, head);
        let same = continued;
        if self.thin_out && self.thinned_out(same, now, bytes) {
            return;
        }
        let mut mark = false;
        if !continued {
            if open_before {
                self.put(&[b"\n"]);
                self.cut_off();
            }
            mark = self.continues(name, head);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
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
        if open != open_before || (open && !same) {
            self.last.set(if open { name } else { b"" });
        }
    }
}

impl TtyWrite for Tap {
    fn written(&self, tty: &SysTty, bytes: &[u8]) {
        let settings = &params::TTY;
        let name = tty.name();
        let head = Name::head_of(name);
        // Without it, who died with it kept it: pieces may get mixed, but they are there.
        let _guard = self.lock.lock();
        if !self.wants(name, head) {
            return;
        }
        if settings.raw.load(Relaxed) {
            self.put(&[bytes]);
        } else {
            self.stamped(name, head, bytes);
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

/// Watches while the parameter `tty` says so: what is not watched costs nothing.
#[pin_data]
struct Switch {
    tap: Arc<Tap>,
    kind: ProbeKind,
    #[pin]
    state: Mutex<State>,
}

/// Whether terminals are watched.
enum State {
    Off,
    On {
        _probe: Probe,
    },
    /// The frontend is gone.
    Over,
}

impl Switch {
    /// Does what the parameter says. May sleep.
    fn follow(&self) -> Result {
        let mut state = self.state.lock();
        match (&*state, params::TTY.enabled.load(Relaxed)) {
            (State::Off, true) => {
                let _probe = Probe::start(&self.tap, self.kind)?;
                *state = State::On { _probe };
            }
            (State::On { .. }, false) => *state = State::Off,
            _ => {}
        }
        Ok(())
    }
}

struct Watcher(Arc<Switch>);

impl Watch for Watcher {
    fn changed(&self) -> Result {
        self.0.follow()
    }
}

/// The frontend.
pub(crate) struct Tty {
    switch: Arc<Switch>,
}

impl Drop for Tty {
    fn drop(&mut self) {
        drop(params::TTY_WATCH.take(0));
        *self.switch.state.lock() = State::Over;
    }
}

impl Tty {
    /// Starts to record; ttys that are open already count. May sleep.
    pub(crate) fn start(dispatcher: Arc<Dispatcher>, probe: ProbeKind) -> Result<Self> {
        let tap = Arc::new(
            Tap {
                dispatcher,
                lock: RawLock::new(Level::Outer)?,
                asked: Name::new(),
                asked_version: Atomic::new(0),
                answer: Atomic::new(false),
                last: Name::new(),
                cut: [const { Name::new() }; OPEN_MAX],
                cuts: Atomic::new(0),
                next: Atomic::new(0),
                time: Atomic::new(0),
                thin_out: in_crash_kernel(),
                drawn: Atomic::new(0),
                returned: Atomic::new(false),
                dropping: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;
        let this = Self {
            switch: Arc::pin_init(
                pin_init!(Switch {
                    tap,
                    kind: probe,
                    state <- new_mutex!(State::Off),
                }),
                GFP_KERNEL,
            )?,
        };
        let watcher: KBox<dyn Watch> = KBox::new(Watcher(this.switch.clone()), GFP_KERNEL)?;
        let watcher = Arc::new(watcher, GFP_KERNEL)?;
        params::TTY_WATCH.put(0, watcher).map_err(|_| EBUSY)?;
        this.switch.follow()?;
        Ok(this)
    }
}
