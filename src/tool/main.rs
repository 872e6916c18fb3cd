// SPDX-License-Identifier: GPL-2.0

//! `mpstore`: reads and tends the records of mpstore and of the in-tree pstore, from a mounted tree
//! or from whatever holds a copy of the medium.

#![forbid(unsafe_code)]

mod check;
mod cli;
mod decode;
mod disk;
mod find;
#[cfg(test)]
#[path = "tests/forms/mod.rs"]
mod forms;
#[cfg(test)]
mod fuzz;
mod host;
mod import;
mod list;
mod load;
mod out;
mod plan;
mod progress;
mod record;
mod salvage;
mod source;
mod survey;
mod timeline;
mod tree;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli::run(&cli) {
        Ok(code) => code,
        Err(error) if out::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("mpstore: {error:#}");
            ExitCode::from(cli.failure())
        }
    }
}
