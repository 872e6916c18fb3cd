// SPDX-License-Identifier: GPL-2.0

//! Writing to an ordinary disk in a panic: its controller is taken away from its driver, reset, and
//! driven by polling (`mpstore_polled`).
//!
//! Everything is prepared when a device is armed, and nothing is done before the kernel panics. It
//! can't be undone, so that what may be survived never comes here. `Documentation/panic-block.md`
//! says what can be armed, what not, and why.

mod arm;
mod watch;

use crate::sys::errno::EOPNOTSUPP;
use crate::{
    backend::blk::panic_io::{
        PanicError,
        PanicIo, //
    },
    sys::{
        bdev,
        context,
        delay,
        dmabuf::DmaMemory,
        notify,
        pci,
        slots::RcuSlots,
        staging::Staging,
        sysctl::Sysctl, //
    },
};
use kernel::{
    fmt,
    prelude::*,
    str::CString,
    sync::Arc, //
};
use mpstore_polled::{
    Cause,
    Clock,
    Dma,
    Error as PolledError,
    Hardware,
    Mmio,
    Session,
    Stage,
    Target, //
};
use watch::{
    State,
    Watch, //
};

/// What may be asked for.
pub(crate) struct Settings<'a> {
    /// The address of the controller, where the kernel does not tell (NVMe multipath).
    pub(crate) controller: Option<&'a [u8]>,
    /// How long all of it may take, in seconds.
    pub(crate) seconds: u32,
    /// Where the signature goes, in bytes from the beginning of the device, and how much is free
    /// there; it ends what is written to. [`None`] if there is no such place.
    pub(crate) reserve: Option<(u64, u64)>,
}

/// What is prepared.
pub(crate) struct Armed {
    target: Target,
    bars: Bars,
    memory: Memory,
    seconds: u32,
    running: Staging<Running>,
}

/// What is going on, in a panic.
struct Running {
    session: Option<Session>,
    time: Time,
    trouble: Option<PolledError>,
}

/// A device that may be written to in a panic, or why not.
pub(crate) struct Takeover {
    device: Arc<bdev::Device>,
    watch: Arc<Watch>,
    /// By what means, or why there are none.
    text: CString,
    /// Where the signature goes, and what it is.
    signature: Option<(u64, [u8; mpstore_polled::SIGNATURE_BYTES])>,
    /// Dropped, and so unregistered, before what it tells.
    _registration: Option<notify::Registration<Watch>>,
}

/// Registers, for the polled drivers.
struct Bars(pci::Bars);

impl Mmio for Bars {
    fn read8(&self, bar: u8, at: usize) -> u8 {
        self.0.read8(bar, at)
    }

    fn read16(&self, bar: u8, at: usize) -> u16 {
        self.0.read16(bar, at)
    }

    fn read32(&self, bar: u8, at: usize) -> u32 {
        self.0.read32(bar, at)
    }

    fn write8(&self, bar: u8, at: usize, value: u8) {
        self.0.write8(bar, at, value);
    }

    fn write16(&self, bar: u8, at: usize, value: u16) {
        self.0.write16(bar, at, value);
    }

    fn write32(&self, bar: u8, at: usize, value: u32) {
        self.0.write32(bar, at, value);
    }
}

/// Memory, for the polled drivers.
struct Memory(DmaMemory);

impl Dma for Memory {
    fn bus(&self, at: usize) -> u64 {
        self.0.bus().wrapping_add(at as u64)
    }

    fn get(&self, at: usize, to: &mut [u8]) {
        self.0.get(at, to);
    }

    fn put(&self, at: usize, from: &[u8]) {
        self.0.put(at, from);
    }

    fn barrier(&self) {
        context::full_barrier();
    }
}

/// Looks at the counter for each microsecond of a pause, ten times what the fastest processor gets
/// to: should the counter stand still, a pause ends nevertheless.
const LOOKS_PER_US: u32 = 4096;

/// Time by the processor's counter, if it has one that is known; else by the kernel's delays. These
/// are as long as the processor's calibration was good, and that of a second processor of a virtual
/// machine whose host was busy can be too short by three orders of magnitude.
struct Time {
    waited_us: u64,
    limit_us: u64,
    start: u64,
    per_ms: u64,
}

impl Time {
    fn limited(seconds: u32) -> Self {
        let (start, per_ms) = delay::counter();
        Self {
            waited_us: 0,
            limit_us: u64::from(seconds).saturating_mul(1_000_000),
            start,
            per_ms,
        }
    }
}

impl Clock for Time {
    fn pause(&mut self, us: u32) -> bool {
        if self.per_ms == 0 {
            delay::busy_us(us);
        } else {
            let begin = delay::counter().0;
            let counts = u64::from(us).saturating_mul(self.per_ms) / 1000;
            for _ in 0..us.saturating_mul(LOOKS_PER_US) {
                if delay::counter().0.wrapping_sub(begin) >= counts {
                    break;
                }
                core::hint::spin_loop();
            }
        }
        self.waited_us = self.waited_us.saturating_add(u64::from(us));
        if self.waited_us >= self.limit_us {
            return false;
        }
        if self.per_ms == 0 {
            return true;
        }
        let counts = delay::counter().0.wrapping_sub(self.start);
        let limit = (self.limit_us / 1000).saturating_mul(self.per_ms);
        counts < limit
    }
}

impl Armed {
    /// What must be as it was when the device was armed.
    fn tag(&self, device: &bdev::Device, domain: u64) -> [u64; 4] {
        [
            device.start_sector(),
            device.bytes(),
            self.memory.bus(0),
            domain,
        ]
    }

    /// Lets `f` drive the controller, if it is driven.
    fn drive<R>(
        &self,
        f: impl FnOnce(&mut Session, &mut Hardware<'_, Bars, Memory, Time>) -> Result<R, PolledError>,
    ) -> Result<R, PanicError> {
        let mut result = Err(PanicError::NotArmed);
        self.running.with(|running| {
            let Some(session) = &mut running.session else {
                return;
            };
            let mut hw = Hardware {
                regs: &self.bars,
                dma: &self.memory,
                clock: &mut running.time,
            };
            result = f(session, &mut hw).map_err(|e| {
                running.trouble.get_or_insert(e);
                told(e)
            });
        });
        result
    }
}

/// What a backend is told of an error.
fn told(e: PolledError) -> PanicError {
    match e.cause {
        Cause::Gone => PanicError::Gone,
        Cause::Timeout | Cause::OutOfTime => PanicError::Timeout,
        Cause::Range => PanicError::Range,
        Cause::Mismatch if e.stage == Stage::Signature => PanicError::Signature,
        Cause::State => PanicError::NotArmed,
        Cause::Mismatch | Cause::Status | Cause::Protocol | Cause::Unsupported => {
            PanicError::Device(e.code)
        }
    }
}

/// Says what went wrong, once, when it is over. printk takes it in any context.
fn say(text: &CString, e: PolledError) {
    pr_err!(
        "{}: panic write failed: {}: {} ({:#x})\n",
        &**text,
        e.stage.as_str(),
        e.cause.as_str(),
        e.code
    );
}

impl Takeover {
    /// Prepares a device, or finds out why it can't be armed. Writes nothing. May sleep.
    pub(crate) fn new(device: Arc<bdev::Device>, settings: &Settings<'_>) -> Result<Self> {
        Ok(match arm::prepare(&device, settings) {
            Ok(ready) => {
                let watch = Arc::new(Watch::new(ready.pci, ready.armed)?, GFP_KERNEL)?;
                let registration = notify::Registration::new(watch.clone())?;
                Self {
                    device,
                    watch,
                    text: ready.text,
                    signature: Some((ready.at, ready.signature)),
                    _registration: Some(registration),
                }
            }
            Err(arm::No::Error(e)) => return Err(e),
            Err(arm::No::Refused(why)) => Self {
                device,
                watch: Arc::new(Watch::never(), GFP_KERNEL)?,
                text: why,
                signature: None,
                _registration: None,
            },
        })
    }

    /// Why it can't be armed, if so.
    pub(crate) fn refused(&self) -> Option<&CStr> {
        match self.signature {
            Some(_) => None,
            None => Some(&self.text),
        }
    }

    /// Arms it: writes the signature. Says in one line, as `name`, what a panic can expect, and if
    /// it is nothing why. May sleep.
    pub(crate) fn arm(&self, name: &CStr) -> Result {
        if let Some((at, signature)) = &self.signature {
            match arm::write(&self.device, *at, signature) {
                Ok(()) => self.watch.begin(&self.device),
                Err(e) => {
                    self.watch.leave(State::Unwritten);
                    pr_warn!("{}: the signature can't be written: {:?}\n", name, e);
                }
            }
        }
        if !self.armed() {
            let why = match self.signature {
                Some(_) => self.watch.state().as_str(),
                None => "",
            };
            pr_warn!(
                "{}: panics are not written: {}{}{}\n",
                name,
                why,
                if why.is_empty() { "" } else { ": " },
                &*self.text
            );
            return Err(EOPNOTSUPP);
        }
        pr_info!("{}: a panic is written by {}\n", name, &*self.text);
        if kdump_first() {
            pr_warn!(
                "{}: a crash kernel is loaded, which runs instead: a panic will not be written \
                 unless crash_kexec_post_notifiers is set\n",
                name
            );
        }
        Ok(())
    }

    /// Gives it up for good. May sleep.
    pub(crate) fn disarm(&self) {
        self.watch.leave(State::Removed);
    }

    /// Whether the controller would see other memory than when it was armed. Task context.
    fn domain_changed(&self) -> bool {
        // The driver is not gone before this view is left: what is armed goes first, and waits.
        let view = self.watch.armed.view();
        view.get(0).is_some_and(|armed| {
            let tag = armed.tag(&self.device, self.watch.domain());
            !armed.target.intact(&tag)
        })
    }
}

/// Whether a crash kernel would be jumped to before anything is written. May sleep.
fn kdump_first() -> bool {
    if !context::crash_kernel_loaded() {
        return false;
    }
    let mut value = [0u8; 1];
    let path = c"module/kernel/parameters/crash_kexec_post_notifiers";
    !Sysctl::open_sys(path).is_ok_and(|file| file.read(&mut value).is_ok_and(|value| value == b"Y"))
}

impl PanicIo for Takeover {
    fn begin(&self) -> Result<(), PanicError> {
        if !context::panicking() || !self.armed() {
            return Err(PanicError::NotArmed);
        }
        let view = self.watch.armed.view();
        let armed = view.get(0).ok_or(PanicError::NotArmed)?;
        if self.watch.fired() {
            return Err(PanicError::NotArmed);
        }
        let mut result = Err(PanicError::NotArmed);
        armed.running.with(|running| {
            running.time = Time::limited(armed.seconds);
            let mut hw = Hardware {
                regs: &armed.bars,
                dma: &armed.memory,
                clock: &mut running.time,
            };
            let tag = armed.tag(&self.device, self.watch.domain());
            result = match Session::open(&armed.target, &tag, &mut hw) {
                Ok(session) => {
                    running.session = Some(session);
                    Ok(())
                }
                Err(e) => {
                    say(&self.text, e);
                    Err(told(e))
                }
            };
        });
        result
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), PanicError> {
        let view = self.watch.armed.view();
        let armed = view.get(0).ok_or(PanicError::NotArmed)?;
        armed.drive(|session, hw| session.read(hw, offset, to))
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<(), PanicError> {
        let view = self.watch.armed.view();
        let armed = view.get(0).ok_or(PanicError::NotArmed)?;
        armed.drive(|session, hw| session.write(hw, offset, from))
    }

    fn flush(&self) -> Result<(), PanicError> {
        let view = self.watch.armed.view();
        let armed = view.get(0).ok_or(PanicError::NotArmed)?;
        armed.drive(|session, hw| session.flush(hw))
    }

    fn end(&self) {
        let view = self.watch.armed.view();
        let Some(armed) = view.get(0) else {
            return;
        };
        // An error is kept, and said below.
        let _ = armed.drive(|session, hw| session.close(hw));
        armed.running.with(|running| {
            running.session = None;
            if let Some(e) = running.trouble.take() {
                say(&self.text, e);
            }
        });
    }

    fn armed(&self) -> bool {
        self.watch.state() == State::Armed && !self.device.read_only() && !self.device.dead()
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self._registration.is_none() {
            return f.write_fmt(fmt!("no: {}", &*self.text));
        }
        let state = self.watch.state();
        if state != State::Armed {
            return f.write_fmt(fmt!("no: {} ({})", state.as_str(), &*self.text));
        }
        if self.device.dead() {
            return f.write_fmt(fmt!("no: the disk is gone ({})", &*self.text));
        }
        if self.device.read_only() {
            return f.write_fmt(fmt!("no: the device is read-only now ({})", &*self.text));
        }
        if self.watch.moved(&self.device) {
            return f.write_fmt(fmt!(
                "no: the device is not where it was, or not as large ({})",
                &*self.text
            ));
        }
        if self.domain_changed() {
            return f.write_fmt(fmt!(
                "no: its controller is in another domain of the IOMMU now ({})",
                &*self.text
            ));
        }
        f.write_str("armed: ")?;
        f.write_fmt(fmt!("{}", &*self.text))?;
        if kdump_first() {
            f.write_str(
                "; will not run: a crash kernel is loaded and crash_kexec_post_notifiers is not set",
            )?;
        }
        Ok(())
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        self.watch.leave(State::Removed);
    }
}

/// An address as `0000:00:1f.2`, or without the domain.
fn parse_address(text: &[u8]) -> Option<(i32, u32, u32, u32)> {
    let text = core::str::from_utf8(text).ok()?;
    let (bus, function) = text.rsplit_once('.')?;
    let mut parts = bus.rsplitn(3, ':');
    let slot = u32::from_str_radix(parts.next()?, 16).ok()?;
    let bus = u32::from_str_radix(parts.next()?, 16).ok()?;
    let domain = match parts.next() {
        Some(text) => i32::from_str_radix(text, 16).ok()?,
        None => 0,
    };
    let function = u32::from_str_radix(function, 8).ok()?;
    (bus < 256 && slot < 32 && domain >= 0).then_some((domain, bus, slot, function))
}
