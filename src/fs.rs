// SPDX-License-Identifier: GPL-2.0

//! The filesystem: `/<backend>/<kind>-<backend>-<id>`, names, modes, sizes and times as in-tree.
//!
//! What records there are is read when the first mount is made; their content when a file is
//! opened. Removing a file erases that record.

use crate::{
    dispatch::{
        Dispatcher,
        Entry, //
    },
    record::RecordId,
    sys::vfs::{
        self,
        Dir,
        FileInfo, //
    }, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// Name of the filesystem type, and of the directory in `/sys/fs`.
pub(crate) const NAME: &CStr = c"pstore";

static TYPE: vfs::FsType<Tree> = vfs::FsType::new();

/// The tree.
pub(crate) struct Tree {
    dispatcher: Arc<Dispatcher>,
}

/// What a file stands for.
pub(crate) struct Node {
    entry: Arc<Entry>,
    id: RecordId,
}

impl vfs::Tree for Tree {
    type Node = Node;

    fn populate(&self, root: &Dir<'_, Self>) -> Result {
        for entry in self.dispatcher.entries() {
            let backend = entry.backend();
            let dir = root.dir(backend.name())?;
            backend.records(&mut |record| {
                let name = CString::try_from_fmt(fmt!(
                    "{}-{}-{}{}",
                    record.id.kind.as_str(),
                    backend.name(),
                    record.id.id,
                    if record.compressed { ".enc.z" } else { "" }
                ))?;
                let info = FileInfo {
                    size: u64::try_from(record.size)?,
                    time: match record.stamp {
                        Some(stamp) if stamp.sec > 0 => {
                            Some((i64::try_from(stamp.sec)?, stamp.usec * 1000))
                        }
                        _ => None,
                    },
                };
                let node = Node {
                    entry: entry.clone(),
                    id: record.id,
                };
                dir.file(&name, &info, node)
            })?;
        }
        Ok(())
    }

    fn open(&self, node: &Node) -> Result<VVec<u8>> {
        node.entry.backend().read(&node.id)
    }

    fn unlink(&self, node: &Node) -> Result {
        match node.entry.backend().erase(&node.id) {
            // Another record took its place: the one that the file stood for is gone already.
            Err(e) if e == ESTALE => Ok(()),
            other => other,
        }
    }
}

/// The registered filesystem.
///
/// Dropped in the order of the fields: no new mounts, then the place to mount on.
pub(crate) struct PstoreFs {
    _registration: vfs::Registration<Tree>,
    _mount_point: Option<vfs::MountPoint>,
}

impl PstoreFs {
    /// Registers it, and makes the mount point where there is none. May sleep.
    pub(crate) fn register(
        dispatcher: Arc<Dispatcher>,
        module: &'static ThisModule,
    ) -> Result<Self> {
        let registration = vfs::Registration::new(&TYPE, Tree { dispatcher }, module, NAME)?;
        Ok(Self {
            _registration: registration,
            // The type was free, so the in-tree pstore, which makes both, is not there.
            _mount_point: Some(vfs::MountPoint::new(CString::try_from_fmt(fmt!(
                "{}", NAME
            ))?)?),
        })
    }
}
