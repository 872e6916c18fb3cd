// SPDX-License-Identifier: GPL-2.0

//! `survey`: which media survive which sort of reboot, tried out on this very machine.
//!
//! `begin` writes a canary that is never the same twice, to every backend through `/dev/pmsg0` and
//! to memory that is named, and writes down on disk that it did. After the reboot, `end` looks which
//! of them are still there. The results of all surveys are kept.

use crate::{
    cli::Context,
    list::load_all,
    out::{
        Out,
        BAD,
        GOOD, //
    },
    record::{
        Kind,
        Record, //
    },
    source,
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use clap::{
    Args,
    Subcommand,
    ValueEnum, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use std::{
    collections::BTreeSet,
    fs::{
        self,
        File, //
    },
    io::{
        self,
        Write as _, //
    },
    os::unix::fs::{
        FileExt as _,
        OpenOptionsExt as _, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
    time::{
        SystemTime,
        UNIX_EPOCH, //
    },
};

const PAGE: usize = 4096;
/// The bootloader's number under which kexec has a kernel booted, see Documentation/arch/x86/boot.
const KEXEC_LOADER: u32 = 0xd;

#[derive(Args, Debug)]
pub(crate) struct SurveyArgs {
    #[command(subcommand)]
    step: Step,
    /// Where canaries and results are written down
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/lib/mpstore/survey.json",
        global = true
    )]
    state: PathBuf,
}

#[derive(Subcommand, Debug)]
enum Step {
    /// Write canaries, before a reboot
    Begin {
        /// How the machine will go down
        #[arg(long, value_enum)]
        how: How,
        /// The device that writes to all backends
        #[arg(long, value_name = "PATH", default_value = "/dev/pmsg0")]
        pmsg: PathBuf,
        /// Also overwrite the memory of --source, --address and --size with canaries
        #[arg(long)]
        overwrite: bool,
    },
    /// Say what is left of them, after the reboot
    End,
    /// Show the results of all surveys
    Show,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum How {
    /// reboot
    Warm,
    /// kexec -e
    Kexec,
    /// A panic that resets the machine
    Panic,
    /// The reset button, or a watchdog
    Reset,
    /// Power off and on
    Cold,
}

impl How {
    const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Kexec => "kexec",
            Self::Panic => "panic",
            Self::Reset => "reset",
            Self::Cold => "cold",
        }
    }
}

#[derive(Serialize, Deserialize, Clone)]
struct Canary {
    token: String,
    written: u64,
    boot_id: String,
    how: How,
    backends: BTreeSet<String>,
    memory: Option<Region>,
}

#[derive(Serialize, Deserialize, Clone)]
struct Region {
    source: PathBuf,
    address: u64,
    size: usize,
}

#[derive(Serialize, Deserialize, Clone)]
struct Outcome {
    time: u64,
    how: How,
    kernel: String,
    medium: String,
    /// Percent of what was written; less than 100 for memory that was partly overwritten.
    survived: u8,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    version: u32,
    canary: Option<Canary>,
    outcomes: Vec<Outcome>,
}

impl State {
    fn read(path: &Path) -> Result<Self> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{}: not the file of a survey; move it away", path.display())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self {
                version: 1,
                ..Self::default()
            }),
            Err(error) => Err(error).with_context(|| format!("{}: can't read it", path.display())),
        }
    }

    /// On disk before it returns: the machine may go down at once.
    fn write(&self, path: &Path) -> Result<()> {
        let write = || -> io::Result<()> {
            if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                fs::create_dir_all(folder)?;
            }
            let new = path.with_extension("new");
            let mut file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                File::open(folder)?.sync_all()?;
            }
            Ok(())
        };
        write().with_context(|| {
            format!(
                "{}: can't write it; --state names another place, on a disk",
                path.display()
            )
        })
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// Backends that take pmsg, as far as the kernel tells.
fn backends(context: &Context<'_>) -> BTreeSet<String> {
    let text = context.host.read("/sys/kernel/debug/mpstore/status");
    let status = text.iter().flat_map(|t| t.lines()).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (backend, kind, on) = (words.next()?, words.next()?, words.next()?);
        (kind == "pmsg" && on == "Y").then(|| backend.to_owned())
    });
    let mut out: BTreeSet<String> = status.collect();
    if out.is_empty() {
        let backend = context.host.parameters("pstore").remove("backend");
        out.extend(backend.filter(|b| !b.is_empty() && b != "(null)"));
    }
    out
}

/// What is written to page `index` of a memory.
fn page(token: &str, index: usize) -> Vec<u8> {
    let text = format!("mpstore-survey {token} {index:08x}\n");
    text.bytes().cycle().take(PAGE).collect()
}

fn begin(
    context: &Context<'_>,
    args: &SurveyArgs,
    how: How,
    pmsg: &Path,
    overwrite: bool,
    out: &mut Out,
) -> Result<ExitCode> {
    let mut state = State::read(&args.state)?;
    if state.canary.is_some() {
        context.remark("the canary of a survey that was never ended is given up");
    }
    let random = context
        .host
        .read("/proc/sys/kernel/random/uuid")
        .context("/proc/sys/kernel/random/uuid can't be read")?;
    let boot_id = context
        .host
        .boot_id()
        .context("/proc/sys/kernel/random/boot_id can't be read")?;
    // In a copy of another machine it is always the same.
    let token = format!("{random}-{}", now());
    let given = &context.cli.source;
    let memory = match (given.source.first(), given.address, given.size) {
        (Some(path), Some(address), Some(size)) if overwrite => Some(Region {
            source: path.clone(),
            address,
            size: size / PAGE * PAGE,
        }),
        _ if overwrite => bail!("--overwrite wants --source, --address and --size"),
        (None, None, None) => None,
        _ => bail!("writing to memory destroys what is there; --overwrite says that you want it"),
    };
    let backends = backends(context);
    let device = context.host.path(&pmsg.display().to_string());
    let line = format!("mpstore-survey {token}\n");
    let sent = File::options()
        .write(true)
        .open(&device)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    match (sent, &memory) {
        (Ok(()), _) => {}
        (Err(error), Some(_)) => context.remark(&format!(
            "{}: {error}: backends are left out",
            device.display()
        )),
        (Err(error), None) => {
            return Err(error).with_context(|| {
                format!(
                    "{}: can't write to the backends: is mpstore loaded, with a pmsg zone?",
                    device.display()
                )
            })
        }
    }
    if let Some(region) = &memory {
        let file = File::options()
            .write(true)
            .open(&region.source)
            .with_context(|| format!("{}: can't write to it", region.source.display()))?;
        for index in 0..region.size / PAGE {
            let at = region.address + (index * PAGE) as u64;
            file.write_all_at(&page(&token, index), at)
                .with_context(|| format!("{}: can't write at {at:#x}", region.source.display()))?;
        }
    }
    state.version = 1;
    state.canary = Some(Canary {
        token,
        written: now(),
        boot_id,
        how,
        backends: backends.clone(),
        memory,
    });
    state.write(&args.state)?;
    if context.cli.json {
        out.json(&serde_json::json!({ "how": how, "backends": backends }))?;
    } else {
        let list: Vec<String> = backends.into_iter().collect();
        out.line(format!(
            "canaries are written{}. Now let the machine go down ({}); then `mpstore survey end`",
            if list.is_empty() {
                String::new()
            } else {
                format!(", to {}", list.join(", "))
            },
            how.name()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How the machine went down, as far as it can be told.
fn observed(context: &Context<'_>, records: &[Record], written: u64) -> Option<How> {
    let panicked = records.iter().any(|r| {
        r.head().is_some_and(|h| h.reason.as_str() == "Panic")
            && r.time.is_some_and(|t| t.sec >= written)
    });
    if panicked {
        return Some(How::Panic);
    }
    let loader: u32 = context
        .host
        .read("/proc/sys/kernel/bootloader_type")?
        .parse()
        .ok()?;
    (loader >> 4 == KEXEC_LOADER).then_some(How::Kexec)
}

fn end(context: &Context<'_>, args: &SurveyArgs, out: &mut Out) -> Result<ExitCode> {
    let mut state = State::read(&args.state)?;
    let canary = state
        .canary
        .clone()
        .context("no survey was begun: `mpstore survey begin`, reboot, `mpstore survey end`")?;
    let boot_id = context.host.boot_id().unwrap_or_default();
    if boot_id == canary.boot_id {
        bail!("the machine was not rebooted since the canaries were written");
    }
    // The memory that was overwritten is no source of records.
    let records = match &canary.memory {
        Some(_) => crate::tree::load_default(&context.host)
            .map(|l| l.records)
            .unwrap_or_default(),
        None => load_all(context)?.records,
    };
    let mut how = canary.how;
    if let Some(seen) = observed(context, &records, canary.written) {
        if seen != how {
            context.remark(&format!(
                "announced was '{}', but it was '{}': that is what is written down",
                how.name(),
                seen.name()
            ));
            how = seen;
        }
    }
    let kernel = context.host.release().unwrap_or_default();
    let line = format!("mpstore-survey {}", canary.token);
    let has = |record: &&Record| {
        record.kind == Kind::Pmsg && memchr::memmem::find(&record.text, line.as_bytes()).is_some()
    };
    let found: BTreeSet<String> = records
        .iter()
        .filter(has)
        .map(|r| r.backend.clone())
        .collect();
    let mut outcomes: Vec<(String, u8)> = canary
        .backends
        .union(&found)
        .map(|backend| {
            (
                backend.clone(),
                if found.contains(backend) { 100 } else { 0 },
            )
        })
        .collect();
    if let Some(region) = &canary.memory {
        let source = source::open(&region.source, &context.host)?;
        let pages = region.size / PAGE;
        let mut whole = 0usize;
        for index in 0..pages {
            let mut bytes = vec![0; PAGE];
            let at = region.address + (index * PAGE) as u64;
            let read = source.memory.read_exact_at(at, &mut bytes);
            whole += usize::from(read.is_ok() && bytes == page(&canary.token, index));
        }
        let percent = (whole * 100).checked_div(pages).unwrap_or(0);
        outcomes.push((
            format!("memory {:#x}+{:#x}", region.address, region.size),
            u8::try_from(percent).unwrap_or(0),
        ));
    }
    if outcomes.is_empty() {
        context.remark("no backend took canaries, and none has one: nothing is known");
    }
    for (medium, survived) in &outcomes {
        state.outcomes.push(Outcome {
            time: now(),
            how,
            kernel: kernel.clone(),
            medium: medium.clone(),
            survived: *survived,
        });
    }
    state.canary = None;
    state.write(&args.state)?;
    if context.cli.json {
        out.json(&serde_json::json!({
            "how": how,
            "media": outcomes
                .iter()
                .map(|(m, s)| serde_json::json!({ "medium": m, "survived": s }))
                .collect::<Vec<_>>(),
        }))?;
    } else {
        for (medium, survived) in &outcomes {
            tell(how, medium, *survived, out)?;
        }
    }
    let any = outcomes.iter().any(|(_, survived)| *survived == 100);
    Ok(ExitCode::from(u8::from(!any)))
}

fn tell(how: How, medium: &str, survived: u8, out: &mut Out) -> Result<()> {
    let (good, bad) = (GOOD, BAD);
    match survived {
        100 => out.line(format!("{good}survived{good:#}  {:6} {medium}", how.name())),
        0 => out.line(format!("{bad}lost{bad:#}      {:6} {medium}", how.name())),
        n => out.line(format!("{bad}{n:3}%{bad:#}      {:6} {medium}", how.name())),
    }
}

/// `mpstore survey`.
pub(crate) fn survey(context: &Context<'_>, args: &SurveyArgs, out: &mut Out) -> Result<ExitCode> {
    match &args.step {
        Step::Begin {
            how,
            pmsg,
            overwrite,
        } => begin(context, args, *how, pmsg, *overwrite, out),
        Step::End => end(context, args, out),
        Step::Show => {
            let state = State::read(&args.state)?;
            if context.cli.json {
                out.json_pretty(&state.outcomes)?;
            } else {
                for outcome in &state.outcomes {
                    tell(outcome.how, &outcome.medium, outcome.survived, out)?;
                }
                if let Some(canary) = &state.canary {
                    context.remark(&format!(
                        "a survey was begun ({}) and not ended",
                        canary.how.name()
                    ));
                }
            }
            Ok(ExitCode::from(u8::from(state.outcomes.is_empty())))
        }
    }
}
