//! The commands: arguments in, files and a few lines of text out. Here alone the clock is read.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{ArgGroup, Args, Parser, Subcommand};
use serde::Serialize;
use tributary_certs::authority::{
    AUTHORITY_DAYS, Authority, AuthorityError, CRL_DAYS, DEVICE_DAYS_MAX, Leaf, Reason, Record, SERVER_DAYS_MAX,
    Serial, State, TimeOutOfRange, UnixTime, Which,
};
use tributary_certs::files::{self, FileError};
use tributary_certs::key_file;

/// A certificate authority in a folder, for devices and their gateways
#[derive(Debug, Parser)]
#[command(name = "tributary-certs", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an authority; refuses a folder that already holds one
    Init(Init),
    /// Make a private key and a certificate for a device or a server
    Issue(Issue),
    /// Sign a device's signing request; only its public key is used
    Sign(Sign),
    /// Show what was issued
    List(List),
    /// Revoke certificates and write the revocation list anew
    Revoke(Revoke),
    /// Write a fresh revocation list
    Crl(Crl),
}

#[derive(Debug, Args)]
struct Init {
    /// The authority's folder
    #[arg(long)]
    dir: PathBuf,
    /// Its name, for people
    #[arg(long, default_value = "Tributary authority")]
    name: String,
    /// How long it lives
    #[arg(long, default_value_t = AUTHORITY_DAYS)]
    days: u32,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("subject").required(true).args(["device", "server"])))]
struct Issue {
    /// The authority's folder
    #[arg(long)]
    dir: PathBuf,
    /// The device's id: 1 to 63 of a-z, 0-9 and -
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// The server's host names and IP addresses
    #[arg(long, value_name = "NAME[,IP...]", value_delimiter = ',')]
    server: Vec<String>,
    /// Where to: writes OUT.crt and OUT.key, neither of which may exist
    #[arg(long)]
    out: PathBuf,
    /// How long it lives; a device at most 90 (the default), a server at most 397 (the default)
    #[arg(long)]
    days: Option<u32>,
}

#[derive(Debug, Args)]
struct Sign {
    /// The authority's folder
    #[arg(long)]
    dir: PathBuf,
    /// The signing request, in PEM
    #[arg(long)]
    csr: PathBuf,
    /// The device's id; names in the request are not looked at
    #[arg(long, value_name = "ID")]
    device: String,
    /// The certificate file to write, which may not exist
    #[arg(long)]
    out: PathBuf,
    /// How long it lives, at most 90
    #[arg(long, default_value_t = DEVICE_DAYS_MAX)]
    days: u32,
}

#[derive(Debug, Args)]
struct List {
    /// The authority's folder
    #[arg(long)]
    dir: PathBuf,
    /// As JSON, times in seconds since 1970
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["serial", "device"])))]
struct Revoke {
    /// The authority's folder
    #[arg(long)]
    dir: PathBuf,
    /// The certificate of this serial number
    #[arg(long)]
    serial: Option<Serial>,
    /// All certificates of this device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Why: unspecified, key-compromise, superseded, cessation-of-operation or privilege-withdrawn
    #[arg(long)]
    reason: Reason,
}

#[derive(Debug, Args)]
struct Crl {
    /// The authority's folder
    #[arg(long)]
    dir: PathBuf,
    /// How long the list is good for
    #[arg(long, default_value_t = CRL_DAYS)]
    days: u32,
    /// Only where it is due: past half its life, missing or behind the index
    #[arg(long)]
    if_due: bool,
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Time(#[from] TimeOutOfRange),
    #[error("cannot write the answer")]
    Print(#[from] io::Error),
    #[error("cannot write the list as JSON")]
    Json(#[from] serde_json::Error),
}

/// Performs a command, and answers on `out`.
pub(crate) fn run(arguments: Arguments, out: &mut impl Write) -> Result<(), CliError> {
    match arguments.command {
        Command::Init(arguments) => init(&arguments, out),
        Command::Issue(arguments) => issue(&arguments, out),
        Command::Sign(arguments) => sign(&arguments, out),
        Command::List(arguments) => list(&arguments, out),
        Command::Revoke(arguments) => revoke(&arguments, out),
        Command::Crl(arguments) => crl(&arguments, out),
    }
}

fn init(arguments: &Init, out: &mut impl Write) -> Result<(), CliError> {
    Authority::create(&arguments.dir, &arguments.name, arguments.days, now())?;
    writeln!(out, "made an authority in {}; keep a copy of ca.key offline", arguments.dir.display())?;
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
    let which = match (arguments.serial, &arguments.device) {
        (Some(serial), _) => Which::Serial(serial),
        (None, device) => Which::Device(device.as_deref().unwrap_or_default()),
    };
    let revoked = authority.revoke(which, arguments.reason, now())?;
    for Record { serial, role, subject, .. } in &revoked {
        writeln!(out, "revoked {serial} of {role} {subject}")?;
    }
    if revoked.is_empty() {
        writeln!(out, "was revoked already")?;
    }
    writeln!(out, "wrote {}; have brokers read it again", authority.crl_path().display())?;
    Ok(())
}

fn crl(arguments: &Crl, out: &mut impl Write) -> Result<(), CliError> {
    let authority = Authority::open(&arguments.dir)?;
    let path = authority.crl_path();
    if arguments.if_due && !authority.crl_due(now())? {
        writeln!(out, "{} is not due", path.display())?;
        return Ok(());
    }
    authority.crl(arguments.days, now())?;
    writeln!(out, "wrote {}, good for {} days", path.display(), arguments.days)?;
    Ok(())
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
