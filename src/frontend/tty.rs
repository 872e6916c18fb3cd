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
        inline_atomic::{
            read_once,
            write_once, //
        },
        param::Watch,
        raw_lock::{
            Level,
            RawLock, //
        },
        time,
        tty::{
            Tty as SysTty,
            TtyName,
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

    fn is(&self, name: TtyName<'_>) -> bool {
        read_once(&self.head) == name.head
            && read_once(&self.len) == name.bytes.len()
            && (name.bytes.len() <= 8 || self.whole.read(|whole| whole == name.bytes))
    }

    fn is_none(&self) -> bool {
        read_once(&self.len) == 0
    }

    fn set(&self, name: TtyName<'_>) {
        write_once(&self.len, name.bytes.len());
        write_once(&self.head, name.head);
        if name.bytes.len() > 8 {
            self.whole.set(name.bytes);
        }
    }

    fn clear(&self) {
        write_once(&self.len, 0);
        write_once(&self.head, 0);
    }

    fn set_to(&self, other: &Self) {
        let len = read_once(&other.len);
        write_once(&self.len, len);
        write_once(&self.head, read_once(&other.head));
        if len > 8 {
            other.whole.read(|name| self.whole.set(name));
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
    fn wants(&self, name: TtyName<'_>) -> bool {
        let names = &params::TTY.names;
        let version = names.version();
        if read_once(&self.asked_version) == version && self.asked.is(name) {
            return read_once(&self.answer);
        }
        let answer = names.read(|patterns| name_matches(patterns, name.bytes));
        self.asked.set(name);
        write_once(&self.asked_version, version);
        write_once(&self.answer, answer);
        answer
    }

    /// Remembers that the last tty is in the middle of a line.
    fn cut_off(&self) {
        let free = self.cut.iter().find(|c| c.is_none());
        if free.is_some() {
            write_once(&self.cuts, read_once(&self.cuts) + 1);
        }
        let slot = free.or_else(|| {
            let next = read_once(&self.next);
            write_once(&self.next, (next + 1) % OPEN_MAX);
            self.cut.get(next % OPEN_MAX)
        });
        if let Some(slot) = slot {
            slot.set_to(&self.last);
        }
    }

    /// Whether `name` was cut off, and forgets it.
    fn continues(&self, name: TtyName<'_>) -> bool {
        let cuts = read_once(&self.cuts);
        if cuts == 0 {
            return false;
        }
        let found = self.cut.iter().find(|c| c.is(name));
        if let Some(slot) = found {
            slot.clear();
            write_once(&self.cuts, cuts - 1);
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
            drawn: read_once(&self.drawn),
            returned: read_once(&self.returned),
            dropping: read_once(&self.dropping),
        };
        let (after, dropped) = before.next(same, now, bytes);
        write_once(&self.drawn, after.drawn);
        write_once(&self.returned, after.returned);
        write_once(&self.dropping, after.dropping);
        dropped
    }

    /// Lines with time and tty.
    fn stamped(&self, name: TtyName<'_>, bytes: &[u8]) {
        // The clock is a CPU's own and may lag behind another's; lines never go back in time.
        let now = time::log_ns().max(read_once(&self.time));
        write_once(&self.time, now);
        let open_before = !self.last.is_none();
        let mut continued = open_before && self.last.is(name);
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
            mark = self.continues(name);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            if continued {
                self.put(&[line]);
            } else {
                let mut buf = [0; STAMP_MAX];
                let len = stamp(&mut buf, now, name.bytes, mark);
                self.put(&[buf.get(..len).unwrap_or(&[]), line]);
            }
            (continued, mark, rest) = (false, false, after);
        }
        let open = !bytes.ends_with(b"\n");
        if open != open_before || (open && !same) {
            if open {
                self.last.set(name);
            } else {
                self.last.clear();
            }
        }
    }
}

impl TtyWrite for Tap {
    fn written(&self, tty: &SysTty, bytes: &[u8]) {
        let settings = &params::TTY;
        let name = tty.name();
        // Without it, who died with it kept it: pieces may get mixed, but they are there.
        let _guard = self.lock.lock();
        if !self.wants(name) {
            return;
        }
        if read_once(&settings.raw) {
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
