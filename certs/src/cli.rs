//! The commands: arguments in, files and a few lines of text out. Here alone the clock is read.

mod arguments;
mod below;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::authority::{
    AUTHORITY_DAYS, AUTHORITY_DAYS_MAX, Authority, AuthorityError, DEVICE_DAYS_MAX, Leaf, Record, SERVER_DAYS_MAX,
    State, TimeOutOfRange, UnixTime, Which,
};
use crate::files::{self, FileError};
use crate::key_file;
use serde::Serialize;

pub use arguments::Arguments;
use arguments::{Command, Crl, Init, Issue, List, Renew, Revoke, Sign};

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The authority refused, or its folder is not what it should be.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The clock stands where no certificate can begin.
    #[error(transparent)]
    Time(#[from] TimeOutOfRange),
    /// What hangs on the root's list is refused everywhere.
    #[error(
        "the root's revocation list ran out {ended}, and verifiers refuse every certificate; write it anew where the root is (`tributary-certs crl`), then `tributary-certs install --crl` here"
    )]
    RootListEnded {
        /// When.
        ended: UnixTime,
    },
    /// Nobody takes the answer.
    #[error("cannot write the answer")]
    Print(#[from] io::Error),
    /// The answer makes no JSON.
    #[error("cannot write the list as JSON")]
    Json(#[from] serde_json::Error),
}

/// Performs a command, and answers on `out`.
///
/// # Errors
/// Each says what was wrong with what.
pub fn run(arguments: Arguments, out: &mut impl Write) -> Result<(), CliError> {
    match arguments.command {
        Command::Init(arguments) => init(&arguments, out),
        Command::Request(arguments) => below::request(&arguments, out),
        Command::SignAuthority(arguments) => below::sign_authority(&arguments, out),
        Command::Install(arguments) => below::install(&arguments, out),
        Command::Issue(arguments) => issue(&arguments, out),
        Command::Renew(arguments) => renew(&arguments, out),
        Command::Sign(arguments) => sign(&arguments, out),
        Command::List(arguments) => list(&arguments, out),
        Command::Revoke(arguments) => revoke(&arguments, out),
        Command::Crl(arguments) => crl(&arguments, out),
    }
}

fn init(arguments: &Init, out: &mut impl Write) -> Result<(), CliError> {
    let Init { dir, root, under, name, days } = arguments;
    match (dir, root, under) {
        (Some(dir), _, Some(under)) => below::init(dir, under, name, *days, out)?,
        (Some(dir), _, None) => {
            Authority::create(dir, name, days.unwrap_or(AUTHORITY_DAYS), now())?;
            writeln!(out, "made an authority in {}; keep a copy of ca.key offline", dir.display())?;
        }
        (None, root, _) => {
            let root = root.as_deref().unwrap_or(Path::new("")); // one of the two is there, says the parser
            let made = Authority::create_root(root, name, days.unwrap_or(AUTHORITY_DAYS_MAX), now())?;
            writeln!(out, "made a root in {}; keep all of it offline", root.display())?;
            writeln!(out, "its key is {}", made.anchor_print())?;
        }
    }
    Ok(())
}

fn issue(arguments: &Issue, out: &mut impl Write) -> Result<(), CliError> {
    let (certificate_path, key_path) = (with_suffix(&arguments.out, ".crt"), with_suffix(&arguments.out, ".key"));
    // Asked before anything is issued; the writes below refuse on their own.
    refuse_existing(&[&certificate_path, &key_path])?;
    let authority = Authority::open(&arguments.dir)?;
    let issued = match &arguments.device {
        Some(device) => authority.issue_device(device, arguments.days.unwrap_or(DEVICE_DAYS_MAX), now())?,
        None => {
            let names: Vec<&str> = arguments.server.iter().map(String::as_str).collect();
            authority.issue_server(&names, arguments.days.unwrap_or(SERVER_DAYS_MAX), now())?
        }
    };
    key_file::create_private(&key_path, issued.key_pem.as_bytes())?;
    files::create(&certificate_path, issued.leaf.pem.as_bytes(), PUBLIC)?;
    say_issued(&issued.leaf, out)?;
    writeln!(out, "wrote {} and {}", certificate_path.display(), key_path.display())?;
    Ok(())
}

fn renew(arguments: &Renew, out: &mut impl Write) -> Result<(), CliError> {
    let Renew { dir, certificate, days } = arguments;
    let leaf = Authority::open(dir)?.issue_next(certificate, *days, now())?;
    files::replace(certificate, leaf.pem.as_bytes(), PUBLIC)?;
    say_issued(&leaf, out)?;
    writeln!(out, "wrote {}; its key is the same as before", certificate.display())?;
    Ok(())
}

fn sign(arguments: &Sign, out: &mut impl Write) -> Result<(), CliError> {
    refuse_existing(&[&arguments.out])?;
    let authority = Authority::open(&arguments.dir)?;
    let (request, _) = files::read(&arguments.csr, REQUEST_BYTES_MAX)?;
    let leaf = authority.sign_csr(&request, &arguments.device, arguments.days, now())?;
    files::create(&arguments.out, leaf.pem.as_bytes(), PUBLIC)?;
    say_issued(&leaf, out)?;
    writeln!(out, "wrote {}", arguments.out.display())?;
    Ok(())
}

fn list(arguments: &List, out: &mut impl Write) -> Result<(), CliError> {
    let (records, now) = (Authority::open(&arguments.dir)?.list()?, UnixTime::try_from(now())?);
    if arguments.json {
        let rows: Vec<Row> = records.iter().map(|record| Row { record, state: record.state(now) }).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        return Ok(());
    }
    writeln!(out, "{:<32}  {:<6}  {:<13}  {:<20}  SUBJECT", "SERIAL", "ROLE", "STATE", "NOT AFTER")?;
    for record in &records {
        let Record { serial, role, subject, not_after, .. } = record;
        write!(out, "{serial}  {role:<6}  {:<13}  {not_after}  {subject}", record.state(now))?;
        match record.revoked {
            Some(revoked) => writeln!(out, "  (revoked {}: {})", revoked.at, revoked.reason)?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn revoke(arguments: &Revoke, out: &mut impl Write) -> Result<(), CliError> {
    let authority = Authority::open(&arguments.dir)?;
    let which = match (arguments.serial, arguments.authority, &arguments.device) {
        (Some(serial), ..) => Which::Serial(serial),
        (None, Some(authority), _) => Which::Authority(authority),
        (None, None, device) => Which::Device(device.as_deref().unwrap_or_default()),
    };
    let revoked = authority.revoke(which, arguments.reason, now())?;
    for Record { serial, role, subject, .. } in &revoked {
        writeln!(out, "revoked {serial} of {role} {subject}")?;
    }
    if revoked.is_empty() {
        writeln!(out, "was revoked already")?;
    }
    writeln!(out, "wrote {}; have brokers read it again", authority.crl_path().display())?;
    below::say_where_the_list_goes(&authority, out)
}

fn crl(arguments: &Crl, out: &mut impl Write) -> Result<(), CliError> {
    let authority = Authority::open(&arguments.dir)?;
    let (path, days) = (authority.crl_path(), arguments.days.unwrap_or(authority.crl_days()));
    if arguments.if_due && !authority.crl_if_due(days, now())? {
        writeln!(out, "{} is not due", path.display())?;
    } else {
        if !arguments.if_due {
            authority.crl(days, now())?;
        }
        writeln!(out, "wrote {}, good for {days} days", path.display())?;
    }
    below::say_where_the_list_goes(&authority, out)
}

fn say_issued(leaf: &Leaf, out: &mut impl Write) -> io::Result<()> {
    let Record { serial, role, subject, not_after, .. } = &leaf.record;
    writeln!(out, "issued {serial} to {role} {subject}, until {not_after}")
}

/// One certificate of `list --json`.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    record: &'a Record,
    state: State,
}

fn refuse_existing(paths: &[&Path]) -> Result<(), FileError> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(FileError::Exists { path: path.to_path_buf() }),
        None => Ok(()),
    }
}

/// The path with more text at its end; a dot within it, as in a host name, starts no extension.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[expect(clippy::disallowed_methods, reason = "this is the shell: everything below is given the time")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Certificates are for everybody to see.
const PUBLIC: u32 = 0o644;
/// A request that is larger is refused by the authority too.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
