// SPDX-License-Identifier: GPL-2.0

//! The command line, and which part of the program does what it says.

use crate::{
    check,
    host::Host,
    import,
    list,
    load::SourceArgs,
    out::{
        Color,
        Out, //
    },
    plan,
    progress::Progress,
    salvage,
    survey,
    timeline, //
};
use anyhow::Result;
use clap::{
    CommandFactory as _,
    Parser,
    Subcommand, //
};
use std::{
    path::PathBuf,
    process::ExitCode, //
};

/// Reads and tends what crashed kernels left: the records of mpstore, and of the in-tree pstore
#[derive(Parser, Debug)]
#[command(name = "mpstore", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// For machines: one JSON value, or one on each line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Whether to colour what is said
    #[arg(long, value_enum, default_value = "auto", global = true)]
    pub(crate) color: Color,

    /// No progress bar, no remarks
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Another root than / for /proc and /sys: a copy of some machine's
    #[arg(long, value_name = "DIR", default_value = "/", global = true)]
    pub(crate) root: PathBuf,

    #[command(flatten)]
    pub(crate) source: SourceArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List records, and the regions of a raw source
    List(list::ListArgs),
    /// Print records
    Show(list::ShowArgs),
    /// Copy records to files
    Extract(list::ExtractArgs),
    /// Erase records of a mounted tree
    Erase(list::EraseArgs),
    /// Wait for new records in a mounted tree and print them
    Follow(list::FollowArgs),
    /// Print what can still be read of a damaged region
    Salvage(salvage::SalvageArgs),
    /// Merge the lines of all records by time
    Timeline(timeline::TimelineArgs),
    /// Propose a region for this machine, with the words for kernel, modprobe and kdump
    Plan(plan::PlanArgs),
    /// Find out which media survive which sort of reboot on this machine
    Survey(survey::SurveyArgs),
    /// Put new records into the journal, or write them as JSON lines
    Import(import::ImportArgs),
    /// Say whether everything is armed; for monitoring
    Check(check::CheckArgs),
    /// Print the manual page, or the pages of all commands into a directory
    #[command(hide = true)]
    Man {
        /// Where to write mpstore.1, mpstore-list.1, ...
        dir: Option<PathBuf>,
    },
    /// Print completions for a shell
    Completions {
        /// Which one
        shell: clap_complete::Shell,
    },
}

impl Cli {
    /// The exit status if there was an error: monitoring takes 3 for "unknown".
    pub(crate) fn failure(&self) -> u8 {
        match self.command {
            Command::Check(_) => 3,
            _ => 2,
        }
    }
}

/// What commands are given.
pub(crate) struct Context<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) host: Host,
    pub(crate) progress: Progress,
}

impl Context<'_> {
    /// Says something that is not what was asked for.
    pub(crate) fn remark(&self, text: &str) {
        if !self.cli.quiet {
            anstream::eprintln!("mpstore: {text}");
        }
    }
}

/// Does what the command line says. Exit status 1 means that nothing was found.
pub(crate) fn run(cli: &Cli) -> Result<ExitCode> {
    let context = Context {
        cli,
        host: Host::new(&cli.root),
        progress: Progress::new(cli.quiet),
    };
    let mut out = Out::new(cli.color);
    let code = match &cli.command {
        Command::List(args) => list::list(&context, args, &mut out),
        Command::Show(args) => list::show(&context, args, &mut out),
        Command::Extract(args) => list::extract(&context, args, &mut out),
        Command::Erase(args) => list::erase(&context, args, &mut out),
        Command::Follow(args) => list::follow(&context, args, &mut out),
        Command::Salvage(args) => salvage::salvage(&context, args, &mut out),
        Command::Timeline(args) => timeline::timeline(&context, args, &mut out),
        Command::Plan(args) => plan::plan(&context, args, &mut out),
        Command::Survey(args) => survey::survey(&context, args, &mut out),
        Command::Import(args) => import::import(&context, args, &mut out),
        Command::Check(args) => check::check(&context, args, &mut out),
        Command::Man { dir } => man(dir.as_deref(), &mut out),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "mpstore", &mut text);
            out.raw(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }?;
    out.flush()?;
    Ok(code)
}

fn man(dir: Option<&std::path::Path>, out: &mut Out) -> Result<ExitCode> {
    match dir {
        Some(dir) => clap_mangen::generate_to(Cli::command(), dir)?,
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text)?;
            out.raw(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
