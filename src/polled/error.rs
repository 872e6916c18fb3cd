// SPDX-License-Identifier: GPL-2.0

//! What went wrong, and where.

/// A result of this crate.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// How far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Whether what was armed is still what it was.
    Check,
    /// Whether the controller is there.
    Alive,
    /// Its reset.
    Reset,
    /// Setting it up.
    Setup,
    /// Asking it for the size of the disk.
    Identify,
    /// Reading the signature back.
    Signature,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Emptying its cache.
    Flush,
    /// Stopping it.
    Stop,
}

impl Stage {
    /// A word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Alive => "alive",
            Self::Reset => "reset",
            Self::Setup => "setup",
            Self::Identify => "identify",
            Self::Signature => "signature",
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Stop => "stop",
        }
    }
}

/// Why it went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The registers read as all ones.
    Gone,
    /// No answer; `code` is the milliseconds it was waited for.
    Timeout,
    /// No time left for the whole.
    OutOfTime,
    /// The controller reports an error; `code` is its status.
    Status,
    /// The controller does what it must not do.
    Protocol,
    /// It, or the disk, is not of a kind that can be used.
    Unsupported,
    /// It is another disk, or another place on it, than was armed.
    Mismatch,
    /// Outside of the area, or not whole blocks.
    Range,
    /// It was not taken over, or has failed before.
    State,
}

impl Cause {
    /// A few words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Timeout => "no answer",
            Self::OutOfTime => "out of time",
            Self::Status => "error status",
            Self::Protocol => "protocol violated",
            Self::Unsupported => "unsupported",
            Self::Mismatch => "mismatch",
            Self::Range => "out of range",
            Self::State => "not taken over",
        }
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// How far it had come.
    pub stage: Stage,
    /// Why it went no further.
    pub cause: Cause,
    /// As [`Cause`] says, or a detail for whoever reads the source.
    pub code: u32,
}

impl Error {
    /// Puts it together.
    pub const fn new(stage: Stage, cause: Cause, code: u32) -> Self {
        Self { stage, cause, code }
    }
}
