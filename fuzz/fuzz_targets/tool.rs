// SPDX-License-Identifier: GPL-2.0

//! The program on a raw source of any content: core files, compressed dumps, disks, memory.

#![no_main]

use clap::Parser as _;
use libfuzzer_sys::fuzz_target;
use std::{
    fs,
    path::PathBuf,
    sync::LazyLock, //
};

#[path = "../../src/tool/check.rs"]
mod check;
#[path = "../../src/tool/cli.rs"]
mod cli;
#[path = "../../src/tool/decode/mod.rs"]
mod decode;
#[path = "../../src/tool/disk.rs"]
mod disk;
#[path = "../../src/tool/find.rs"]
mod find;
#[path = "../../src/tool/host.rs"]
mod host;
#[path = "../../src/tool/import.rs"]
mod import;
#[path = "../../src/tool/list.rs"]
mod list;
#[path = "../../src/tool/load.rs"]
mod load;
#[path = "../../src/tool/out.rs"]
mod out;
#[path = "../../src/tool/plan.rs"]
mod plan;
#[path = "../../src/tool/progress.rs"]
mod progress;
#[path = "../../src/tool/record.rs"]
mod record;
#[path = "../../src/tool/salvage.rs"]
mod salvage;
#[path = "../../src/tool/source/mod.rs"]
mod source;
#[path = "../../src/tool/survey.rs"]
mod survey;
#[path = "../../src/tool/timeline.rs"]
mod timeline;
#[path = "../../src/tool/tree.rs"]
mod tree;

/// One for each process: several may run.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("mpstore-fuzz-{}", std::process::id())));

fuzz_target!(|data: &[u8]| {
    let Some((last, image)) = data.split_last() else {
        return;
    };
    if fs::write(&*FILE, image).is_err() {
        return;
    }
    let command = ["list", "salvage", "timeline", "show"][usize::from(last & 3)];
    let file = FILE.as_os_str();
    let words = [
        "mpstore".as_ref(),
        "--json".as_ref(),
        "--source".as_ref(),
        file,
        command.as_ref(),
    ];
    let cli = cli::Cli::try_parse_from(words).expect("these are its options");
    // What it says of the image goes to standard output; that it found nothing is no fault.
    if let Err(error) = cli::run(&cli) {
        assert!(out::is_broken_pipe(&error) || cli.failure() != 0);
    }
});
