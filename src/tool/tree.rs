// SPDX-License-Identifier: GPL-2.0

//! Records as files: a mounted pstore, ours or the in-tree one, or copies of it.

use crate::{
    host::Host,
    load::Loaded,
    record::{
        parse_name,
        parse_notice,
        Kind,
        Record, //
    },
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use mpstore_format::record::Stamp;
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{
        Path,
        PathBuf, //
    },
};

/// Where pstore is mounted by custom.
pub(crate) const MOUNT: &str = "/sys/fs/pstore";

/// Where pstore is mounted, each once.
pub(crate) fn mounts(host: &Host) -> Vec<PathBuf> {
    let mut at: Vec<PathBuf> = host.mounts("pstore").into_iter().map(|(p, _)| p).collect();
    at.dedup();
    at
}

/// The records of what is mounted. Several mounts show the same ones.
pub(crate) fn load_default(host: &Host) -> Result<Loaded> {
    let path = default_path(host)?;
    load(&path)
}

/// The first mount, the custom one if it is among them.
pub(crate) fn default_path(host: &Host) -> Result<PathBuf> {
    let mounts = mounts(host);
    let usual = host.path(MOUNT);
    if mounts.contains(&usual) {
        return Ok(usual);
    }
    if let Some(first) = mounts.first() {
        return Ok(first.clone());
    }
    // Without /proc, or a copy of the tree: what is there counts.
    if usual.is_dir() && fs::read_dir(&usual).is_ok_and(|mut d| d.next().is_some()) {
        return Ok(usual);
    }
    let disks: Vec<String> = crate::find::devices(host, None)
        .into_iter()
        .filter_map(|device| Some(format!(", {}", device.path?.display())))
        .collect();
    bail!(
        "no pstore is mounted. Mount it (mount -t pstore pstore {MOUNT}), or name a directory or a \
         raw source with --source: without the module, /dev/mem or /proc/kcore{}",
        disks.concat()
    )
}

/// Reads all record files of a tree: those in the root, and one level below. A file with names in
/// both places counts once.
pub(crate) fn load(root: &Path) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    loaded.tried.push(root.display().to_string());
    let mut folders = vec![root.to_owned()];
    let mut seen: Vec<(u64, u64)> = Vec::new();
    let mut first = true;
    while let Some(folder) = folders.pop() {
        let top = std::mem::take(&mut first);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if top => return Err(denied(error, &folder)),
            // A backend that has just gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                loaded
                    .complaints
                    .push(format!("{:#}", denied(error, &folder)));
                continue;
            }
        };
        let mut entries: Vec<_> = entries.filter_map(Result::ok).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                if top {
                    folders.push(path);
                }
                continue;
            }
            let name = entry.file_name();
            let Some((kind, backend, id, encoded)) = name.to_str().and_then(parse_name) else {
                continue;
            };
            if !meta.is_file() || seen.contains(&(meta.dev(), meta.ino())) {
                continue;
            }
            if meta.nlink() > 1 {
                seen.push((meta.dev(), meta.ino()));
            }
            let text = match fs::read(&path) {
                Ok(text) => text,
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    loaded
                        .complaints
                        .push(format!("{:#}", denied(error, &path)));
                    continue;
                }
            };
            loaded
                .records
                .push(record(&path, kind, backend, id, encoded, &meta, text));
        }
    }
    loaded.records.sort_by(|a, b| {
        (&a.backend, &a.kind, a.id, &a.path).cmp(&(&b.backend, &b.kind, b.id, &b.path))
    });
    Ok(loaded)
}

fn record(
    path: &Path,
    kind: Kind,
    backend: &str,
    id: u64,
    encoded: bool,
    meta: &fs::Metadata,
    text: Vec<u8>,
) -> Record {
    let (notice, parity) = match parse_notice(&text) {
        Some((len, parity)) => (len, Some(parity)),
        None => (0, None),
    };
    let time = u64::try_from(meta.mtime()).ok().map(|sec| Stamp {
        sec,
        usec: u32::try_from(meta.mtime_nsec() / 1000).unwrap_or(0),
    });
    Record {
        backend: backend.to_owned(),
        kind,
        id,
        time,
        text,
        notice,
        parity,
        encoded,
        origin: path.parent().unwrap_or(path).display().to_string(),
        path: Some(path.to_owned()),
        remark: None,
    }
}

/// What went wrong, and what to do if it was the permissions.
fn denied(error: io::Error, path: &Path) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": only root may, unless the directory is opened (chmod 755) and \
             kernel.dmesg_restrict is 0 or you have CAP_SYSLOG"
        }
        _ => "",
    };
    anyhow::Error::from(error).context(format!("{}: can't read{hint}", path.display()))
}

/// Removes a record's file, which erases the record.
pub(crate) fn erase(record: &Record) -> Result<()> {
    let path = record
        .path
        .as_ref()
        .context("only records of a mounted tree can be erased")?;
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            let hint = match error.raw_os_error() {
                Some(30) => ": the mount is read-only, or the record is not this kernel's to erase",
                Some(1) => ": the backend can't erase, or kernel.dmesg_restrict is 1",
                Some(13) => ": be root",
                _ => "",
            };
            Err(error).with_context(|| format!("{}: can't erase{hint}", path.display()))
        }
    }
}
