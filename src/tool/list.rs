// SPDX-License-Identifier: GPL-2.0

//! `list`, `show`, `extract`, `erase` and `follow`.

use crate::{
    cli::Context,
    load::{
        self,
        Loaded,
        Region,
        ZoneLine, //
    },
    out::{
        Out,
        DOUBT,
        FAINT,
        NAME, //
    },
    record::{
        rfc3339,
        Record,
        RecordJson, //
    },
    tree,
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use clap::Args;
use serde::Serialize;
use std::{
    collections::HashSet,
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
    time::Duration, //
};

/// Which records.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Only of this backend, for instance ramoops
    #[arg(short, long, value_name = "NAME")]
    backend: Vec<String>,
    /// Only of this kind: dmesg, console, tty, pmsg, ftrace
    #[arg(short, long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only dumps for this reason: Panic, Oops, Emergency, Shutdown
    #[arg(short, long, value_name = "REASON")]
    reason: Vec<String>,
}

impl Filter {
    pub(crate) fn takes(&self, record: &Record) -> bool {
        let any = |list: &[String], value: &str| {
            list.is_empty() || list.iter().any(|x| x.eq_ignore_ascii_case(value))
        };
        any(&self.backend, &record.backend)
            && any(&self.kind, record.kind.as_str())
            && (self.reason.is_empty()
                || record
                    .head()
                    .is_some_and(|head| any(&self.reason, head.reason.as_str())))
    }

    fn is_empty(&self) -> bool {
        self.backend.is_empty() && self.kind.is_empty() && self.reason.is_empty()
    }
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// The zones of each region too
    #[arg(long)]
    zones: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// Names of records, for instance dmesg-ramoops-0, or the beginnings of names; default: all
    names: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// No line with the name in front of each record
    #[arg(long)]
    bare: bool,
    /// Of a tty record, what was written to this terminal, byte for byte
    #[arg(long, value_name = "TTY")]
    tty: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ExtractArgs {
    /// Names of records, or the beginnings of names; default: all
    names: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Where to, made if it is not there
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// A directory for each backend, as the tree has it
    #[arg(long)]
    tree: bool,
    /// Overwrite files that are there
    #[arg(long)]
    force: bool,
    /// The notice about parity at the end is left out
    #[arg(long)]
    no_notice: bool,
}

#[derive(Args, Debug)]
pub(crate) struct EraseArgs {
    /// Names of records as `list` tells them
    names: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All records, or all that the filter takes
    #[arg(long)]
    all: bool,
    /// Only say what would be erased
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct FollowArgs {
    #[command(flatten)]
    filter: Filter,
    /// Seconds between looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
    /// Those that are there already, too
    #[arg(long)]
    from_start: bool,
    /// End after so many records
    #[arg(long, value_name = "NUMBER")]
    count: Option<usize>,
}

/// Loads what the command line says, and says what was wrong with it.
pub(crate) fn load_all(context: &Context<'_>) -> Result<Loaded> {
    let loaded = load::load(&context.cli.source, &context.host, context.progress)?;
    for complaint in &loaded.complaints {
        context.remark(complaint);
    }
    Ok(loaded)
}

/// What to say if there are no records.
fn nothing(context: &Context<'_>, loaded: &Loaded) {
    let looked = loaded.tried.join("; ");
    if loaded.regions.is_empty() {
        context.remark(&format!(
            "no records. Looked at: {looked}{}",
            if context.cli.source.source.is_empty() {
                ""
            } else {
                ". If you know where the region is, give --address, --size and the zones' sizes; of \
                 a damaged one `mpstore salvage` shows what is left"
            }
        ));
    } else {
        context.remark("the regions hold no records");
    }
}

#[derive(Serialize)]
struct ListJson<'a> {
    records: Vec<RecordJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regions: Vec<RegionJson<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    complaints: &'a [String],
}

#[derive(Serialize)]
struct RegionJson<'a> {
    source: &'a str,
    address: String,
    size: usize,
    backend: &'a str,
    how: &'a str,
    plausibility: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    doubt: Option<&'a str>,
    ecc: usize,
    zones: &'a [ZoneLine],
}

/// `mpstore list`.
pub(crate) fn list(context: &Context<'_>, args: &ListArgs, out: &mut Out) -> Result<ExitCode> {
    let loaded = load_all(context)?;
    let records: Vec<&Record> = loaded
        .records
        .iter()
        .filter(|r| args.filter.takes(r))
        .collect();
    if context.cli.json {
        out.json_pretty(&ListJson {
            records: records.iter().map(|r| r.to_json(false)).collect(),
            regions: loaded
                .regions
                .iter()
                .map(|r| RegionJson {
                    source: &r.source,
                    address: format!("{:#x}", r.address),
                    size: r.size,
                    backend: &r.backend,
                    how: &r.how,
                    plausibility: r.score,
                    doubt: r.doubt,
                    ecc: r.ecc_size,
                    zones: &r.zones,
                })
                .collect(),
            complaints: &loaded.complaints,
        })?;
        return Ok(ExitCode::from(u8::from(records.is_empty())));
    }
    for region in &loaded.regions {
        region_lines(region, args.zones, out)?;
    }
    if !loaded.regions.is_empty() && !records.is_empty() {
        out.line("")?;
    }
    let width = records.iter().map(|r| r.name().len()).max().unwrap_or(0);
    for record in &records {
        let time = record.time.map_or("-".to_owned(), rfc3339);
        let mut what = String::new();
        if let Some(head) = record.head() {
            what = format!("{}#{} Part{}", head.reason.as_str(), head.count, head.part);
        }
        if record.encoded {
            what.push_str("can't be decompressed");
        }
        if let Some(parity) = record.parity.filter(|p| p.corrected + p.lost > 0) {
            what.push_str(&format!(
                " {} bytes corrected, {} blocks lost",
                parity.corrected, parity.lost
            ));
        }
        if let Some(remark) = &record.remark {
            what = format!("{} ({remark})", what.trim());
        }
        let (dim, name) = (FAINT, NAME);
        let mut line = format!(
            "{name}{:width$}{name:#}  {:>8}  {dim}{time}{dim:#}",
            record.name(),
            record.text.len(),
        );
        if !what.trim().is_empty() {
            // Where no time is, what follows is still in its column.
            let pad = 27usize.saturating_sub(time.len());
            line.push_str(&format!("{:pad$}  {}", "", what.trim()));
        }
        out.line(line)?;
    }
    if records.is_empty() {
        nothing(context, &loaded);
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

fn region_lines(region: &Region, zones: bool, out: &mut Out) -> Result<()> {
    let (name, doubt) = (NAME, DOUBT);
    let mut line = format!(
        "{name}{}{name:#}  {:#x}+{:#x} in {}: {}",
        region.backend, region.address, region.size, region.source, region.how
    );
    if region.ecc_size > 0 {
        line.push_str(&format!(", {} parity bytes", region.ecc_size));
    }
    if region.score < 100 {
        line.push_str(&format!(", plausibility {}%", region.score));
    }
    out.line(line)?;
    if let Some(why) = region.doubt {
        out.line(format!("    {doubt}{why}{doubt:#}"))?;
    }
    if zones {
        for zone in &region.zones {
            let line = format!(
                "    {:8} {:3}  {:#9x} {:#9x}  {}",
                zone.kind, zone.index, zone.offset, zone.len, zone.holds
            );
            out.line(line.trim_end())?;
        }
    }
    Ok(())
}

/// The records that were named, or all. A name that fits none is an error.
fn select<'a>(records: &'a [Record], names: &[String], filter: &Filter) -> Result<Vec<&'a Record>> {
    for name in names {
        if !records.iter().any(|r| r.name().starts_with(name.as_str())) {
            let mut known: Vec<String> = records.iter().map(Record::name).collect();
            known.truncate(10);
            bail!(
                "no record is called '{name}'{}",
                if known.is_empty() {
                    "; there are none".to_owned()
                } else {
                    format!("; there are {}", known.join(", "))
                }
            );
        }
    }
    Ok(records
        .iter()
        .filter(|record| {
            let name = record.name();
            // An exact name is not the beginning of others.
            let named = |wanted: &String| {
                name == *wanted
                    || name.starts_with(wanted.as_str())
                        && !records.iter().any(|r| r.name() == *wanted)
            };
            filter.takes(record) && (names.is_empty() || names.iter().any(named))
        })
        .collect())
}

/// `mpstore show`.
pub(crate) fn show(context: &Context<'_>, args: &ShowArgs, out: &mut Out) -> Result<ExitCode> {
    let loaded = load_all(context)?;
    let records = select(&loaded.records, &args.names, &args.filter)?;
    if let Some(tty) = &args.tty {
        let mut any = false;
        for record in records
            .iter()
            .filter(|r| r.kind == crate::record::Kind::Tty)
        {
            for piece in mpstore_format::tty::Demux::new(record.content(), tty.as_bytes()) {
                any = true;
                out.text(piece)?;
            }
        }
        if !any {
            let names: HashSet<String> = records
                .iter()
                .filter(|r| r.kind == crate::record::Kind::Tty)
                .flat_map(|r| mpstore_format::tty::lines(r.content()))
                .filter(|line| line.time_us.is_some())
                .map(|line| String::from_utf8_lossy(line.name).into_owned())
                .collect();
            let mut names: Vec<_> = names.into_iter().collect();
            names.sort();
            context.remark(&format!(
                "nothing was written to '{tty}'; there is output of: {}",
                names.join(", ")
            ));
            return Ok(ExitCode::from(1));
        }
        return Ok(ExitCode::SUCCESS);
    }
    for record in &records {
        print(
            context,
            record,
            args.bare || records.len() == 1 && !args.names.is_empty(),
            out,
        )?;
    }
    if records.is_empty() {
        nothing(context, &loaded);
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(context: &Context<'_>, record: &Record, bare: bool, out: &mut Out) -> Result<()> {
    if context.cli.json {
        return out.json(&record.to_json(true));
    }
    if !bare {
        let name = NAME;
        let time = record
            .time
            .map_or(String::new(), |t| format!(" {}", rfc3339(t)));
        out.line(format!("{name}==> {}{time} <=={name:#}", record.name()))?;
    }
    out.text(&record.text)?;
    if !bare && !record.text.ends_with(b"\n") {
        out.line("")?;
    }
    Ok(())
}

/// `mpstore extract`.
pub(crate) fn extract(
    context: &Context<'_>,
    args: &ExtractArgs,
    out: &mut Out,
) -> Result<ExitCode> {
    let loaded = load_all(context)?;
    let records = select(&loaded.records, &args.names, &args.filter)?;
    let mut written = HashSet::new();
    for record in &records {
        let folder = if args.tree {
            args.output.join(safe(&record.backend))
        } else {
            args.output.clone()
        };
        fs::create_dir_all(&folder)
            .with_context(|| format!("{}: can't make it", folder.display()))?;
        let path = folder.join(safe(&record.name()));
        if !written.insert(path.clone()) {
            bail!(
                "two records are called {}: extract them one source at a time",
                record.name()
            );
        }
        let bytes = if args.no_notice {
            record.content()
        } else {
            &record.text
        };
        write_file(&path, bytes, args.force)?;
        if let Some(time) = record.time {
            let since = Duration::new(time.sec, time.usec.saturating_mul(1000));
            if let Some(time) = std::time::UNIX_EPOCH.checked_add(since) {
                let file = fs::File::options().write(true).open(&path)?;
                // As the tree shows it; no loss if the file system has no such time.
                let _ = file.set_modified(time);
            }
        }
        if context.cli.json {
            out.json(&serde_json::json!({
                "path": path.display().to_string(),
                "record": record.to_json(false),
            }))?;
        } else {
            out.line(path.display())?;
        }
    }
    if records.is_empty() {
        nothing(context, &loaded);
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

/// A file name that stays in its folder: names of backends come from media, too.
fn safe(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c == '/' || c.is_control() { '_' } else { c })
        .take(200)
        .collect();
    if name.starts_with('.') || name.is_empty() {
        format!("_{name}")
    } else {
        name
    }
}

/// Writes a whole file that only its owner may read: it may hold anything that was on a console.
fn write_file(path: &Path, bytes: &[u8], force: bool) -> Result<()> {
    let mut options = fs::File::options();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = options.open(path).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "; --force overwrites it",
            _ => "",
        };
        anyhow::Error::from(error).context(format!("{}: can't write it{hint}", path.display()))
    })?;
    file.write_all(bytes)
        .with_context(|| format!("{}: can't write it", path.display()))
}

/// `mpstore erase`.
pub(crate) fn erase(context: &Context<'_>, args: &EraseArgs, out: &mut Out) -> Result<ExitCode> {
    if args.names.is_empty() && !args.all {
        bail!("say which records: names, or --all, which may be narrowed by --backend, --kind and --reason");
    }
    if !args.names.is_empty() && args.all && args.filter.is_empty() {
        bail!("names or --all, not both");
    }
    let loaded = load_all(context)?;
    for name in &args.names {
        if !loaded.records.iter().any(|r| r.name() == *name) {
            bail!("no record is called '{name}'; erasing wants whole names, as `mpstore list` tells them");
        }
    }
    let records = select(&loaded.records, &args.names, &args.filter)?;
    let mut failed = false;
    for record in &records {
        if !args.dry_run {
            if let Err(error) = tree::erase(record) {
                context.remark(&format!("{error:#}"));
                failed = true;
                continue;
            }
        }
        if context.cli.json {
            out.json(&record.to_json(false))?;
        } else {
            let verb = if args.dry_run {
                "would erase"
            } else {
                "erased"
            };
            out.line(format!("{verb} {}", record.name()))?;
        }
    }
    if failed {
        return Ok(ExitCode::from(2));
    }
    if records.is_empty() {
        nothing(context, &loaded);
        return Ok(ExitCode::from(1));
    }
    Ok(ExitCode::SUCCESS)
}

/// `mpstore follow`.
pub(crate) fn follow(context: &Context<'_>, args: &FollowArgs, out: &mut Out) -> Result<ExitCode> {
    if context.cli.source.source.iter().any(|p| !p.is_dir()) {
        bail!("only a mounted tree can be followed: a raw source does not tell what is new");
    }
    let pause = Duration::try_from_secs_f64(args.interval.clamp(0.01, 86400.0))?;
    let mut known: HashSet<String> = HashSet::new();
    let mut first = !args.from_start;
    let mut left = args.count.unwrap_or(usize::MAX);
    let mut broken = None;
    if left == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        match load::load(&context.cli.source, &context.host, context.progress) {
            Ok(loaded) => {
                broken = None;
                let mut now = HashSet::new();
                for record in loaded.records.iter().filter(|r| args.filter.takes(r)) {
                    let key = record.identity("");
                    if !first && !known.contains(&key) {
                        print(context, record, false, out)?;
                        out.flush()?;
                        left -= 1;
                        if left == 0 {
                            return Ok(ExitCode::SUCCESS);
                        }
                    }
                    now.insert(key);
                }
                known = now;
                first = false;
            }
            // It may be mounted again, but nobody must wait in vain without knowing.
            Err(error) => {
                let text = format!("{error:#}");
                if first {
                    return Err(error);
                }
                if broken.as_ref() != Some(&text) {
                    context.remark(&text);
                    broken = Some(text);
                }
            }
        }
        std::thread::sleep(pause);
    }
}
