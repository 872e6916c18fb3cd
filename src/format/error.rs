// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with bytes or with sizes.

use crate::layout::LayoutError;
use crate::ram::Garbage;
use core::fmt;

/// A result of this crate.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// Everything that this crate reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A region cannot be divided as asked.
    Layout(LayoutError),
    /// A zone holds something that is not ours.
    Garbage(Garbage),
    /// A zone is too small for its header and its parity.
    ZoneTooSmall {
        /// Bytes in the zone.
        len: usize,
    },
    /// The number of parity bytes is not supported.
    EccSize {
        /// As asked for.
        ecc_size: usize,
    },
    /// A code word is longer than the code allows, or its parity has another length.
    CodeWord,
    /// More bytes of a code word are damaged than its parity can tell.
    Uncorrectable,
}

impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

impl From<Garbage> for Error {
    fn from(garbage: Garbage) -> Self {
        Self::Garbage(garbage)
    }
}

impl fmt::Display for Garbage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(sig) => write!(f, "foreign signature {sig:#010x}"),
            Self::Counters { start, size } => {
                write!(f, "impossible counters, start {start}, size {size}")
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(error) => error.fmt(f),
            Self::Garbage(garbage) => garbage.fmt(f),
            Self::ZoneTooSmall { len } => {
                write!(f, "a zone of {len} bytes has no room for header and parity")
            }
            Self::EccSize { ecc_size } => write!(
                f,
                "{ecc_size} parity bytes per block, at most {} are possible",
                crate::ecc::ECC_SIZE_MAX
            ),
            Self::CodeWord => f.write_str("not a code word of this code"),
            Self::Uncorrectable => f.write_str("damaged beyond repair"),
        }
    }
}

impl core::error::Error for Error {}
impl core::error::Error for LayoutError {}

#[cfg(CONFIG_RUST)]
impl kernel::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

#[cfg(CONFIG_RUST)]
impl From<LayoutError> for kernel::error::Error {
    fn from(error: LayoutError) -> Self {
        match error {
            // What the in-tree probe answers when zones do not fit.
            LayoutError::NoRoom { .. } => kernel::error::code::ENOMEM,
            _ => kernel::error::code::EINVAL,
        }
    }
}

#[cfg(CONFIG_RUST)]
impl From<Error> for kernel::error::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Layout(error) => error.into(),
            Error::Uncorrectable => kernel::error::code::EIO,
            Error::Garbage(_)
            | Error::ZoneTooSmall { .. }
            | Error::EccSize { .. }
            | Error::CodeWord => kernel::error::code::EINVAL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_is_wrong() {
        assert_eq!(
            Error::from(Garbage::Signature(0xff)).to_string(),
            "foreign signature 0x000000ff"
        );
        assert_eq!(
            Error::from(Garbage::Counters { start: 3, size: 2 }).to_string(),
            "impossible counters, start 3, size 2"
        );
        assert_eq!(
            Error::EccSize { ecc_size: 128 }.to_string(),
            "128 parity bytes per block, at most 127 are possible"
        );
        assert_eq!(
            Error::from(LayoutError::NoMemory).to_string(),
            LayoutError::NoMemory.to_string()
        );
        for error in [
            Error::ZoneTooSmall { len: 3 },
            Error::CodeWord,
            Error::Uncorrectable,
        ] {
            assert!(!error.to_string().is_empty());
        }
    }
}
