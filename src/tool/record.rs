// SPDX-License-Identifier: GPL-2.0

//! A record, wherever it came from: what all commands work on.

use mpstore_format::{
    layout::ZoneKind,
    record::Stamp,
    text::HeadLine, //
};
use serde::{
    Serialize,
    Serializer, //
};
use sha2::{
    Digest as _,
    Sha256, //
};
use std::fmt::{
    self,
    Write as _, //
};

/// What a record is of. The order is that of a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Dmesg,
    Console,
    Tty,
    Pmsg,
    Ftrace,
    /// One that only the in-tree pstore has, by its name there.
    Other(String),
}

impl Kind {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Dmesg => "dmesg",
            Self::Console => "console",
            Self::Tty => "tty",
            Self::Pmsg => "pmsg",
            Self::Ftrace => "ftrace",
            Self::Other(name) => name,
        }
    }

    pub(crate) fn parse(name: &str) -> Self {
        match name {
            "dmesg" => Self::Dmesg,
            "console" => Self::Console,
            "tty" => Self::Tty,
            "pmsg" => Self::Pmsg,
            "ftrace" => Self::Ftrace,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl From<ZoneKind> for Kind {
    fn from(kind: ZoneKind) -> Self {
        Self::parse(kind.as_str())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// What parity told about a record's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Parity {
    pub(crate) corrected: usize,
    pub(crate) lost: usize,
}

/// One record with all of its content, as the mounted tree shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) backend: String,
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    /// When it was made, if it or the medium tells.
    pub(crate) time: Option<Stamp>,
    pub(crate) text: Vec<u8>,
    /// How many bytes at the end of `text` are the notice about parity.
    pub(crate) notice: usize,
    /// What parity told, if there is any.
    pub(crate) parity: Option<Parity>,
    /// Compressed, and can't be decompressed.
    pub(crate) encoded: bool,
    /// Where it was read, for people.
    pub(crate) origin: String,
    /// Its file, if it is one of a mounted tree.
    pub(crate) path: Option<std::path::PathBuf>,
    /// Something that the reader should know.
    pub(crate) remark: Option<String>,
}

impl Record {
    /// The name of its file in a mounted tree.
    pub(crate) fn name(&self) -> String {
        let suffix = if self.encoded { ".enc.z" } else { "" };
        format!("{}-{}-{}{suffix}", self.kind, self.backend, self.id)
    }

    /// Its content without the notice about parity.
    pub(crate) fn content(&self) -> &[u8] {
        self.text
            .get(..self.text.len().saturating_sub(self.notice))
            .unwrap_or(&[])
    }

    /// The first line of a dmesg record, taken apart.
    pub(crate) fn head(&self) -> Option<HeadLine> {
        if self.kind != Kind::Dmesg || self.encoded {
            return None;
        }
        HeadLine::parse(after_total(&self.text)).map(|(head, _)| head)
    }

    /// The run of the recorder that it belongs to, where the medium keeps several apart.
    pub(crate) fn generation(&self) -> Option<u64> {
        (self.id >= GENERATION_STEP).then_some(self.id / GENERATION_STEP)
    }

    /// A number for the record that is the same whenever and wherever it is read. Records that
    /// have no time of their own are told apart by `salt`, as two boots may say the same. A crash
    /// kernel's bank is shown by every boot until it is erased: what it has is known by its content.
    pub(crate) fn identity(&self, salt: &str) -> String {
        let mut hash = Sha256::new();
        let timed = self.kind == Kind::Dmesg || self.generation().is_some();
        let time = self.time.filter(|_| timed).unwrap_or_default();
        let bank = self.backend.ends_with("_crash");
        let salt = if timed || bank { "" } else { salt };
        for part in [
            self.kind.as_str().as_bytes(),
            self.backend.as_bytes(),
            &time.sec.to_le_bytes(),
            &time.usec.to_le_bytes(),
            salt.as_bytes(),
            self.content(),
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut text = String::new();
        for byte in hash.finalize().iter().take(16) {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// What machines are told about it. The content is left out unless `with_text`.
    pub(crate) fn to_json(&self, with_text: bool) -> RecordJson<'_> {
        let head = self.head();
        RecordJson {
            name: self.name(),
            backend: &self.backend,
            kind: &self.kind,
            id: self.id,
            generation: self.generation(),
            time: self.time.map(rfc3339),
            size: self.text.len(),
            reason: head.map(|h| h.reason.as_str()),
            count: head.map(|h| h.count),
            part: head.map(|h| h.part),
            encoded: self.encoded,
            parity: self.parity,
            origin: &self.origin,
            path: self.path.as_deref().map(|p| p.display().to_string()),
            remark: self.remark.as_deref(),
            text: with_text.then(|| String::from_utf8_lossy(&self.text).into_owned()),
        }
    }
}

/// Ids of media that keep several runs apart are the run's number times this, plus the id.
pub(crate) const GENERATION_STEP: u64 = 10_000;

/// [`Record`] for machines.
#[derive(Serialize)]
pub(crate) struct RecordJson<'a> {
    name: String,
    backend: &'a str,
    kind: &'a Kind,
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    time: Option<String>,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u32>,
    encoded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    parity: Option<Parity>,
    origin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// A point in time in UTC, with microseconds. One that no calendar has is given in seconds.
pub(crate) fn rfc3339(stamp: Stamp) -> String {
    let since = std::time::Duration::new(stamp.sec, stamp.usec.min(999_999) * 1000);
    // The year 9999 is the last one that the format has.
    match std::time::UNIX_EPOCH.checked_add(since) {
        Some(time) if stamp.sec < 253_402_300_800 => {
            humantime::format_rfc3339_micros(time).to_string()
        }
        _ => format!("@{}.{:06}", stamp.sec, stamp.usec),
    }
}

/// What follows the line `Oops: Total 1 times`, which the in-tree pstore_zone inserts in front of
/// records.
pub(crate) fn after_total(text: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'\n', text.get(..text.len().min(64)).unwrap_or(&[]));
    let inserted = end
        .and_then(|end| text.split_at_checked(end + 1))
        .filter(|(line, _)| {
            line.ends_with(b" times\n") && memchr::memmem::find(line, b": Total ").is_some()
        });
    inserted.map_or(text, |(_, rest)| rest)
}

/// Takes the name of a record's file apart: kind, backend, id, and whether it is compressed.
pub(crate) fn parse_name(name: &str) -> Option<(Kind, &str, u64, bool)> {
    let (name, encoded) = match name.strip_suffix(".enc.z") {
        Some(name) => (name, true),
        None => (name, false),
    };
    // The in-tree kinds `powerpc-ofw`, `powerpc-common` and `powerpc-opal` have a dash in them;
    // backends have none.
    let (rest, id) = name.rsplit_once('-')?;
    let (kind, backend) = rest.rsplit_once('-')?;
    if kind.is_empty() || backend.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((Kind::parse(kind), backend, id.parse().ok()?, encoded))
}

/// The notice about parity at the end of a text: its length and what it tells.
pub(crate) fn parse_notice(text: &[u8]) -> Option<(usize, Parity)> {
    let body = text.strip_suffix(b"\n")?;
    let from = body.len().saturating_sub(120);
    let tail = body.get(from..)?;
    let at = memchr::memmem::rfind(tail, b"\nECC: ")?;
    let line = std::str::from_utf8(tail.get(at + 6..)?).ok()?;
    let parity = if line == "No errors detected" {
        Parity::default()
    } else {
        let (corrected, rest) = line.split_once(" Corrected bytes, ")?;
        let lost = rest.strip_suffix(" unrecoverable blocks")?;
        Parity {
            corrected: corrected.parse().ok()?,
            lost: lost.parse().ok()?,
        }
    };
    Some((text.len() - (from + at), parity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(
            parse_name("dmesg-ramoops-0"),
            Some((Kind::Dmesg, "ramoops", 0, false))
        );
        assert_eq!(
            parse_name("dmesg-efi_pstore-175000000001001.enc.z"),
            Some((Kind::Dmesg, "efi_pstore", 175_000_000_001_001, true))
        );
        assert_eq!(
            parse_name("powerpc-ofw-nvram-1"),
            Some((Kind::Other("powerpc-ofw".into()), "nvram", 1, false))
        );
        for name in [
            "",
            "dmesg",
            "dmesg-0",
            "-a-0",
            "dmesg--0",
            "dmesg-a-",
            "dmesg-a-x",
            "dmesg-a-99999999999999999999",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn notices_are_found() {
        assert_eq!(
            parse_notice(b"text\n\nECC: No errors detected\n"),
            Some((25, Parity::default()))
        );
        let (len, parity) =
            parse_notice(b"x\nECC: 5 Corrected bytes, 2 unrecoverable blocks\n").unwrap();
        assert_eq!((len, parity.corrected, parity.lost), (48, 5, 2));
        assert_eq!(parse_notice(b"ECC: No errors detected\n"), None);
        assert_eq!(
            parse_notice(b"x\nECC: 5 Corrected bytes, - unrecoverable blocks\n"),
            None
        );
        assert_eq!(parse_notice(b""), None);
    }

    #[test]
    fn streams_are_of_a_boot_unless_of_a_bank() {
        let record = |backend: &str| Record {
            backend: backend.into(),
            kind: Kind::Tty,
            id: 0,
            time: None,
            text: b"x\n".to_vec(),
            notice: 0,
            parity: None,
            encoded: false,
            origin: "o".into(),
            path: None,
            remark: None,
        };
        let (first, bank) = (record("ramoops"), record("ramoops_crash"));
        assert_ne!(first.identity("boot 1"), first.identity("boot 2"));
        assert_eq!(bank.identity("boot 1"), bank.identity("boot 2"));
        assert_ne!(bank.identity("boot 1"), first.identity("boot 1"));
    }

    #[test]
    fn times_beyond_calendars() {
        assert_eq!(
            rfc3339(Stamp { sec: 0, usec: 1 }),
            "1970-01-01T00:00:00.000001Z"
        );
        assert_eq!(
            rfc3339(Stamp {
                sec: u64::MAX,
                usec: 1
            }),
            "@18446744073709551615.000001"
        );
        assert_eq!(
            rfc3339(Stamp {
                sec: 253_402_300_799,
                usec: 0
            }),
            "9999-12-31T23:59:59.000000Z"
        );
    }
}
