// SPDX-License-Identifier: GPL-2.0

//! The vocabulary that frontends, backends, dispatcher and filesystem share.

pub(crate) use mpstore_format::{
    dump::{
        Log,
        Parts, //
    },
    record::Stamp,
    text::Reason, //
};

/// What a record is made of; decides which backends take it and how its file is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The kernel log, when the kernel oopses, panics or goes down.
    Dmesg,
    /// What the kernel printed to its consoles.
    Console,
    /// What user space wrote to `/dev/pmsg0`.
    Pmsg,
    /// Which kernel functions were called.
    Ftrace,
    /// What was written to terminals.
    Tty,
}

impl Kind {
    /// Every kind, in the order of [`Self::index`].
    pub(crate) const ALL: [Self; 5] = [
        Self::Dmesg,
        Self::Console,
        Self::Pmsg,
        Self::Ftrace,
        Self::Tty,
    ];

    /// How many kinds there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// First part of a file name, as in-tree.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Dmesg => "dmesg",
            Self::Console => "console",
            Self::Pmsg => "pmsg",
            Self::Ftrace => "ftrace",
            Self::Tty => "tty",
        }
    }

    /// Place in tables by kind.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Dmesg => 0,
            Self::Console => 1,
            Self::Pmsg => 2,
            Self::Ftrace => 3,
            Self::Tty => 4,
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Kinds(u32);

impl Kinds {
    /// This set and `kind`.
    pub(crate) const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind.index())
    }

    /// What is in both sets.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set without `kind`.
    pub(crate) const fn without(self, kind: Kind) -> Self {
        Self(self.0 & !(1 << kind.index()))
    }

    /// As a number, for an atomic.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    /// Back from [`Self::bits`].
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits & ((1 << Kind::COUNT) - 1))
    }

    /// Whether `kind` is in it.
    pub(crate) const fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind.index() != 0
    }
}

/// The kernel log at one moment, formatted once for all backends.
pub(crate) struct Dump<'a> {
    /// Why.
    pub(crate) reason: Reason,
    /// Number of this dump since the module was loaded, from 1.
    pub(crate) count: u64,
    /// When.
    pub(crate) stamp: Stamp,
    /// The newest part of the log, compressed once for all backends.
    pub(crate) log: Log<'a>,
    /// How many bytes of text a backend stops after, in whole records.
    pub(crate) limit: usize,
}

/// That a function was entered.
pub(crate) struct Call {
    /// The function, as it is kept (`mpstore_format::ftrace::Slide`).
    pub(crate) ip: u64,
    /// Where it was called from, likewise.
    pub(crate) parent_ip: u64,
    /// On which CPU.
    pub(crate) cpu: u32,
}

impl Dump<'_> {
    /// The records to be kept, newest first, each as large as the backend asks for.
    /// [`Context::Crash`](crate::backend::Context::Crash).
    pub(crate) fn parts(&self) -> Parts<'_> {
        self.log.parts(self.reason, self.count, self.limit)
    }
}

/// Names one record of a backend.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordId {
    /// What it is made of.
    pub(crate) kind: Kind,
    /// Number among the backend's records of that kind.
    pub(crate) id: u64,
    /// Tells it from another record that took its place; means nothing to others.
    pub(crate) cookie: u64,
}

/// What is known of a record without reading it.
#[derive(Clone, Copy)]
pub(crate) struct RecordInfo {
    /// Its name.
    pub(crate) id: RecordId,
    /// Bytes of content.
    pub(crate) size: usize,
    /// When it was made, if the medium tells.
    pub(crate) stamp: Option<Stamp>,
    /// Whether the content is still compressed, because it can't be decompressed.
    pub(crate) compressed: bool,
    /// Whether size and `compressed` are not known yet: to know them, most of the work of reading
    /// it has to be done.
    pub(crate) open: bool,
}

/// A run of the recorder, of which a backend keeps the records apart from those of other runs.
pub(crate) struct GenerationInfo<'a> {
    /// Its number.
    pub(crate) number: u64,
    /// Whether it is the present one.
    pub(crate) current: bool,
    /// When it began.
    pub(crate) start: Stamp,
    /// When it ended, if that is known.
    pub(crate) end: Option<Stamp>,
    /// Of its kernel's boot, zeros if not known.
    pub(crate) boot_id: [u8; 16],
    /// Of its kernel.
    pub(crate) release: &'a str,
    /// Memory that it takes up.
    pub(crate) bytes: usize,
    /// Records that can be read.
    pub(crate) records: usize,
}
