// SPDX-License-Identifier: GPL-2.0

//! Whether what was armed still is.

use super::{
    Armed,
    RcuSlots, //
};
use crate::sys::{
    bdev,
    notify,
    pci, //
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

/// Why a panic would be written, or not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It would.
    Armed,
    /// It can't be.
    Never,
    /// The controller lost its driver.
    Unbound,
    /// The controller or the disk was removed, or given up.
    Removed,
    /// The machine is going to sleep.
    Asleep,
    /// It was, once.
    Fired,
    /// The signature could not be written.
    Unwritten,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Armed,
        Self::Never,
        Self::Unbound,
        Self::Removed,
        Self::Asleep,
        Self::Fired,
        Self::Unwritten,
    ];

    /// In words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Never => "not yet",
            Self::Unbound => "the controller was taken from its driver; load again to arm",
            Self::Removed => "the device was removed",
            Self::Asleep => "the machine is going to sleep",
            Self::Fired => "it has been done",
            Self::Unwritten => "the signature can't be written and read back",
        }
    }

    fn to_u32(self) -> u32 {
        // CAST: As declared.
        self as u32
    }
}

/// The armed device, and what may have happened to it.
pub(crate) struct Watch {
    /// Given up, and its memory with it, when the controller loses its driver.
    pub(super) armed: RcuSlots<Armed, 1>,
    pci: Option<pci::Device>,
    state: Atomic<u32>,
    asleep: Atomic<bool>,
    /// Where the device was, and how large.
    start: Atomic<u64>,
    bytes: Atomic<u64>,
}

impl Watch {
    /// Watches what is armed. Nothing is written before [`Self::begin`].
    pub(super) fn new(pci: pci::Device, armed: Armed) -> Result<Self> {
        let this = Self {
            pci: Some(pci),
            ..Self::never()
        };
        this.armed
            .put(0, Arc::new(armed, GFP_KERNEL)?)
            .map_err(|_| EBUSY)?;
        Ok(this)
    }

    /// Nothing to watch.
    pub(super) fn never() -> Self {
        Self {
            armed: RcuSlots::new(),
            pci: None,
            state: Atomic::new(State::Never.to_u32()),
            asleep: Atomic::new(false),
            start: Atomic::new(0),
            bytes: Atomic::new(0),
        }
    }

    /// It is armed from now on, unless something happened in the meantime.
    pub(super) fn begin(&self, device: &bdev::Device) {
        self.start.store(device.start_sector(), Relaxed);
        self.bytes.store(device.bytes(), Relaxed);
        let _ = self.state.cmpxchg(
            State::Never.to_u32(),
            State::Armed.to_u32(),
            kernel::sync::atomic::Full,
        );
    }

    /// Any context.
    pub(super) fn state(&self) -> State {
        let state = self.state.load(Relaxed);
        let state = State::ALL
            .into_iter()
            .find(|s| s.to_u32() == state)
            .unwrap_or(State::Never);
        if state == State::Armed && self.asleep.load(Relaxed) {
            return State::Asleep;
        }
        state
    }

    /// Whether the device is at another place, or of another size. Any context.
    pub(super) fn moved(&self, device: &bdev::Device) -> bool {
        self.start.load(Relaxed) != device.start_sector()
            || self.bytes.load(Relaxed) != device.bytes()
    }

    /// Says that it is being used, and whether it was before. Any context.
    pub(super) fn fired(&self) -> bool {
        self.state
            .xchg(State::Fired.to_u32(), kernel::sync::atomic::Full)
            == State::Fired.to_u32()
    }

    /// The address space that the controller is in. Any context.
    pub(super) fn domain(&self) -> u64 {
        self.pci.as_ref().map_or(0, |pci| match pci.healthy() {
            true => pci.iommu().0,
            // No address space is called that.
            false => u64::MAX,
        })
    }

    /// Gives it up. May sleep.
    pub(super) fn leave(&self, why: State) {
        // First the state, so that a panic from now on does not begin.
        if self.state.load(Relaxed) != State::Fired.to_u32() {
            self.state.store(why.to_u32(), Relaxed);
        }
        drop(self.armed.take(0));
    }
}

impl notify::Watcher for Watch {
    fn device(&self) -> Option<&pci::Device> {
        self.pci.as_ref()
    }

    fn leaving(&self, unbound: bool) {
        let armed = self.state.load(Relaxed) == State::Armed.to_u32();
        self.leave(if unbound {
            State::Unbound
        } else {
            State::Removed
        });
        if armed {
            pr_warn!(
                "a disk's controller leaves its driver: panics are not written to it any more\n"
            );
        }
    }

    fn sleeping(&self, asleep: bool) {
        self.asleep.store(asleep, Relaxed);
    }
}
