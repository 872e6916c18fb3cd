// SPDX-License-Identifier: GPL-2.0

//! Does the documentation say what the code does? The parameters' table in `src/params.rs` is
//! compared with those in `README.md` and `Documentation/parameters.md`, and the worked example of
//! a region with what the code makes of it.

use mpstore_format::layout::{RamLayout, RamSizes};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Name and default of each parameter.
type Params = BTreeMap<String, String>;

fn insert(params: &mut Params, from: &str, name: &str, default: &str) {
    let old = params.insert(name.to_owned(), default.to_owned());
    assert_eq!(old, None, "{from}: {name} is there twice");
}

/// What the macro `params_table!` lists: `name: type, mode, "default", hook,` on one line each.
fn params_of_code() -> Params {
    let source = read("src/params.rs");
    let table = source
        .split_once("macro_rules! params_table")
        .and_then(|(_, rest)| rest.split_once("$define! {"))
        .and_then(|(_, rest)| rest.split_once("\n        }\n"))
        .map(|(table, _)| table)
        .expect("no params_table! in src/params.rs");
    let mut params = Params::new();
    for line in table.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('"') {
            continue;
        }
        let entry = line.split_once(": ").and_then(|(name, rest)| {
            let (_, rest) = rest.split_once(", 0o")?;
            let (_, rest) = rest.split_once(", \"")?;
            let (default, _) = rest.split_once("\", ")?;
            Some((name, default))
        });
        let (name, default) = entry.unwrap_or_else(|| panic!("not understood: {line}"));
        insert(&mut params, "src/params.rs", name, default);
    }
    // One description each, or an entry was written in a way that is not seen here.
    assert_eq!(params.len(), table.matches("\";").count());
    params
}

/// The cells of the rows of every table whose head begins with `head`.
fn rows<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let mut rows = Vec::new();
    let mut ours = false;
    let mut before = "";
    for line in text.lines() {
        if !line.starts_with('|') {
            ours = false;
        } else if line.starts_with("| ---") {
            ours = before.starts_with(&format!("| {head} |"));
        } else if ours {
            rows.push(line.trim_matches('|').split('|').map(str::trim).collect());
        }
        before = line;
    }
    assert!(!rows.is_empty(), "no table that begins with '{head}'");
    rows
}

fn params_of_doc(name: &str) -> Params {
    let text = read(name);
    let mut params = Params::new();
    for row in rows(&text, "parameter") {
        let code = |cell: &str| cell.trim_matches('`').to_owned();
        insert(&mut params, name, &code(row[0]), &code(row[1]));
    }
    params
}

#[test]
fn readme_lists_the_parameters() {
    assert_eq!(params_of_doc("README.md"), params_of_code());
}

#[test]
fn parameters_md_lists_the_parameters() {
    assert_eq!(
        params_of_doc("Documentation/parameters.md"),
        params_of_code()
    );
}

#[test]
fn the_worked_example_is_what_the_code_makes() {
    let sizes = RamSizes {
        mem_size: 0x10_0000,
        record_size: 0x2_0000,
        console_size: 0x1_0000,
        ftrace_size: 0x1000,
        pmsg_size: 0x1_0000,
        tty_size: 0x1_0000,
        ftrace_zones: 2,
        ecc_size: 0,
    };
    let text = read("Documentation/format-ram.md");
    assert!(text.replace('\n', " ").contains(
        "`mem_size=0x100000 record_size=0x20000 console_size=0x10000 ftrace_size=0x1000 \
         pmsg_size=0x10000 tty_size=0x10000`, two possible CPUs"
    ));
    let layout = |sizes: &RamSizes| -> Vec<Vec<String>> {
        RamLayout::new(sizes)
            .unwrap()
            .zones()
            .map(|(kind, index, zone)| {
                vec![
                    format!("{} {index}", kind.as_str()),
                    format!("{:#x}", zone.offset),
                    format!("{:#x}", zone.len),
                ]
            })
            .collect()
    };
    let ours = layout(&sizes);
    assert_eq!(rows(&text, "zone"), ours);
    // What a C ramoops is told to look at.
    let theirs = layout(&RamSizes {
        mem_size: 0xf_0000,
        tty_size: 0,
        ..sizes
    });
    assert_eq!(theirs, ours[..ours.len() - 1]);
}

#[test]
fn every_file_that_is_linked_to_exists() {
    let mut pages = vec!["README.md".to_owned()];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("Documentation");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        pages.push(format!("Documentation/{name}"));
    }
    for page in pages {
        let text = read(&page);
        assert!(
            text.starts_with("<!-- SPDX-License-Identifier: GPL-2.0 -->\n"),
            "{page} has no licence line"
        );
        let folder = Path::new(&page).parent().unwrap();
        for (_, rest) in text
            .match_indices("](")
            .map(|(at, _)| text.split_at(at + 2))
        {
            let target = rest.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(folder)
                .join(target);
            assert!(path.exists(), "{page}: no file {target}");
        }
    }
}
