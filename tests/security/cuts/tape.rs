//! What the unmodified agent does to the files of its identity, as strace sees it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use harness::issuing::PATIENCE;
use harness::wait_for;

/// One thing done, to files of one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Make {
        file: String,
        mode: u32,
    },
    Write {
        file: String,
        bytes: Vec<u8>,
    },
    SyncFile(String),
    Rename {
        from: String,
        to: String,
    },
    Remove(String),
    SyncNames,
    /// The device speaks to somebody.
    Speak,
}

/// What is looked at: everything that changes a file or a name, and speaking.
const CALLS: &str = "openat,open,creat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,\
                     ftruncate,truncate,link,linkat,connect";

/// Writes a program that runs `program` under strace, as the process that was started, with its traces in `folder`.
pub(crate) fn traced(program: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let script = folder.join("traced");
    let calls = CALLS.split_whitespace().collect::<String>();
    let text = format!(
        "#!/bin/sh\nexec strace -D -ff -ttt -y -xx -s 65536 -e signal=none -e trace={calls} -o '{}/trace' '{}' \"$@\"\n",
        folder.display(),
        program.display()
    );
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// Everything that was done in `watched`, once the traced program has ended.
pub(crate) fn read(folder: &Path, watched: &Path) -> anyhow::Result<Vec<Act>> {
    let traces = wait_for("the traces to be whole", PATIENCE, || {
        let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        let files: Vec<PathBuf> = entries.filter(|path| path.file_stem().is_some_and(|stem| stem == "trace")).collect();
        let texts: Vec<String> = files.iter().map(std::fs::read_to_string).collect::<Result<_, _>>().ok()?;
        let is_whole = |text: &String| text.trim_end().ends_with("+++");
        (!texts.is_empty() && texts.iter().all(is_whole)).then_some(texts)
    });
    let mut lines: Vec<(&str, &str)> =
        traces.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once(' ')).collect();
    lines.sort_by_key(|(time, _)| *time);
    let acts = lines.into_iter().map(|(_, line)| act(line, watched).with_context(|| line.to_owned()));
    Ok(acts.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// What one line says, if it concerns a file of the folder.
fn act(line: &str, watched: &Path) -> anyhow::Result<Option<Act>> {
    let Some((call, rest)) = line.split_once('(') else { return Ok(None) };
    let Some((arguments, result)) = rest.rsplit_once(") = ") else { return Ok(None) };
    if result.starts_with('-') && call != "connect" {
        return Ok(None); // it did nothing
    }
    let own = |path: &str| {
        let path = Path::new(path);
        let name = path.file_name()?.to_str()?.to_owned();
        (path.parent() == Some(watched)).then_some(name)
    };
    let of_descriptor = |text: &str| own(&descriptor(text)?);
    Ok(match call {
        "connect" if arguments.contains("AF_INET") => Some(Act::Speak),
        "openat" | "open" | "creat" => {
            let Some(file) = of_descriptor(result) else { return Ok(None) };
            anyhow::ensure!(!arguments.contains("O_TRUNC"), "a file is written over");
            let mode = arguments.rsplit(", ").next().and_then(|mode| u32::from_str_radix(mode, 8).ok());
            arguments.contains("O_CREAT").then(|| Act::Make { file, mode: mode.unwrap_or(0o644) })
        }
        "write" => {
            let Some(file) = of_descriptor(arguments) else { return Ok(None) };
            let mut bytes = quoted(arguments).into_iter().next().context("what was written")?;
            bytes.truncate(result.split(' ').next().unwrap_or_default().parse()?);
            Some(Act::Write { file, bytes })
        }
        "fsync" | "fdatasync" => match descriptor(arguments) {
            Some(path) if Path::new(&path) == watched => Some(Act::SyncNames),
            Some(path) => own(&path).map(Act::SyncFile),
            None => None,
        },
        "rename" | "renameat" | "renameat2" => {
            let names: Vec<Option<String>> = paths(arguments).iter().map(|path| own(path)).collect();
            match <[Option<String>; 2]>::try_from(names) {
                Ok([Some(from), Some(to)]) => Some(Act::Rename { from, to }),
                Ok([None, None]) => None,
                other => anyhow::bail!("a rename into or out of the folder: {other:?}"),
            }
        }
        "unlink" | "unlinkat" => paths(arguments).first().and_then(|path| own(path)).map(Act::Remove),
        // What the model does not know must not happen there.
        _ => {
            let is_own = of_descriptor(arguments).is_some() || paths(arguments).iter().any(|path| own(path).is_some());
            anyhow::ensure!(!is_own, "a call that the model does not know");
            None
        }
    })
}

/// The path that stands behind a descriptor's number.
fn descriptor(text: &str) -> Option<String> {
    let (inner, _) = text.split_once('<')?.1.split_once('>')?;
    Some(String::from_utf8_lossy(&hexadecimal(inner)).into_owned())
}

fn hexadecimal(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

fn paths(arguments: &str) -> Vec<String> {
    quoted(arguments).into_iter().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

/// What stands in quotes, all of it in hexadecimal.
fn quoted(arguments: &str) -> Vec<Vec<u8>> {
    let texts = arguments.split('"').skip(1).step_by(2);
    texts.map(hexadecimal).collect()
}
