//! What can be asked of `tributary-certs`.

use std::path::PathBuf;

use crate::authority::{AUTHORITY_BELOW_DAYS_MAX, DEVICE_DAYS_MAX, Reason, Serial};
use clap::{ArgGroup, Args, Parser, Subcommand};

/// A certificate authority in a folder, for devices and their gateways
#[derive(Debug, Parser)]
#[command(name = "tributary-certs", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an authority, a root, or an authority below a root; refuses a folder that already holds one
    Init(Init),
    /// Make a key for an authority below a root, and the request that the root is to sign
    Request(Request),
    /// Sign such a request; in the root's folder
    SignAuthority(SignAuthority),
    /// Install what the root answered, or a newer revocation list of the root
    Install(Install),
    /// Make a private key and a certificate for a device or a server
    Issue(Issue),
    /// Put the next certificate in the place of one that ends, for the same key and names: once a year for a server
    Renew(Renew),
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
#[command(group(ArgGroup::new("what").required(true).args(["dir", "root"])))]
pub(super) struct Init {
    /// The folder of an authority that issues
    #[arg(long)]
    pub(super) dir: Option<PathBuf>,
    /// The folder of a root, which signs authorities and nothing else, and is kept offline
    #[arg(long)]
    pub(super) root: Option<PathBuf>,
    /// The folder of the root above the authority, which is not needed again afterwards
    #[arg(long, requires = "dir", conflicts_with = "root")]
    pub(super) under: Option<PathBuf>,
    /// Its name, for people
    #[arg(long, default_value = "Tributary authority")]
    pub(super) name: String,
    /// How long it lives: an authority alone 3650 (at most 7300), a root 7300 (at most), one below it 1826 (at most)
    #[arg(long)]
    pub(super) days: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Request {
    /// The authority's folder, which gets ca.key and ca.csr
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// Its name, for people
    #[arg(long, default_value = "Tributary authority")]
    pub(super) name: String,
}

#[derive(Debug, Args)]
pub(super) struct SignAuthority {
    /// The root's folder
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// The request, in PEM
    #[arg(long)]
    pub(super) csr: PathBuf,
    /// The file to write, which may not exist: the certificate, the root's, the root's revocation list
    #[arg(long)]
    pub(super) out: PathBuf,
    /// How long it lives, at most 1826, and not beyond the root
    #[arg(long, default_value_t = AUTHORITY_BELOW_DAYS_MAX)]
    pub(super) days: u32,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("file").required(true).args(["certificate", "crl"])))]
pub(super) struct Install {
    /// The authority's folder
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// What `sign-authority` wrote
    #[arg(long)]
    pub(super) certificate: Option<PathBuf>,
    /// The root's newer ca.crl
    #[arg(long)]
    pub(super) crl: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("subject").required(true).args(["device", "server"])))]
pub(super) struct Issue {
    /// The authority's folder
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// The device's id: 1 to 63 of a-z, 0-9 and -
    #[arg(long, value_name = "ID")]
    pub(super) device: Option<String>,
    /// The server's host names and IP addresses
    #[arg(long, value_name = "NAME[,IP...]", value_delimiter = ',')]
    pub(super) server: Vec<String>,
    /// Where to: writes OUT.crt and OUT.key, neither of which may exist
    #[arg(long)]
    pub(super) out: PathBuf,
    /// How long it lives; a device at most 90 (the default), a server at most 397 (the default)
    #[arg(long)]
    pub(super) days: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Renew {
    /// The authority's folder
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// The certificate that ends, which this authority issued: its file is replaced whole, and keeps its owner
    #[arg(long)]
    pub(super) certificate: PathBuf,
    /// How long the next one lives; a device at most 90 (the default), a server at most 397 (the default)
    #[arg(long)]
    pub(super) days: Option<u32>,
}

#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The authority's folder
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// The signing request, in PEM
    #[arg(long)]
    pub(super) csr: PathBuf,
    /// The device's id; names in the request are not looked at
    #[arg(long, value_name = "ID")]
    pub(super) device: String,
    /// The certificate file to write, which may not exist
    #[arg(long)]
    pub(super) out: PathBuf,
    /// How long it lives, at most 90
    #[arg(long, default_value_t = DEVICE_DAYS_MAX)]
    pub(super) days: u32,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The authority's folder
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// As JSON, times in seconds since 1970
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["serial", "device", "authority"])))]
pub(super) struct Revoke {
    /// The authority's folder
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// The certificate of this serial number
    #[arg(long)]
    pub(super) serial: Option<Serial>,
    /// All certificates of this device
    #[arg(long, value_name = "ID")]
    pub(super) device: Option<String>,
    /// The authority of this serial number, and with it all that it issued; in the root's folder
    #[arg(long, value_name = "SERIAL")]
    pub(super) authority: Option<Serial>,
    /// Why: unspecified, key-compromise, superseded, cessation-of-operation or privilege-withdrawn
    #[arg(long)]
    pub(super) reason: Reason,
}

#[derive(Debug, Args)]
pub(super) struct Crl {
    /// The authority's folder
    #[arg(long)]
    pub(super) dir: PathBuf,
    /// How long the list is good for: 7 (at most 90), a root's 365 (at most 397)
    #[arg(long)]
    pub(super) days: Option<u32>,
    /// Only where it is due: past half its life, missing or behind the index
    #[arg(long)]
    pub(super) if_due: bool,
}
