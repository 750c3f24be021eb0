//! The commands about a root and the authorities below it.

use std::io::Write;
use std::path::Path;

use crate::authority::{AUTHORITY_BELOW_DAYS_MAX, Authority, Kind, Record, UnixTime};
use crate::files;

use super::arguments::{Install, Request, SignAuthority};
use super::{CliError, PUBLIC, REQUEST_BYTES_MAX, now, refuse_existing};

pub(super) fn init(
    dir: &Path,
    under: &Path,
    name: &str,
    days: Option<u32>,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let made = Authority::create_below(dir, under, name, days.unwrap_or(AUTHORITY_BELOW_DAYS_MAX), now())?;
    writeln!(out, "made an authority in {} below the root in {}", dir.display(), under.display())?;
    say_whom_to_trust(dir, &made, out)
}

pub(super) fn request(arguments: &Request, out: &mut impl Write) -> Result<(), CliError> {
    let path = Authority::request(&arguments.dir, &arguments.name)?;
    writeln!(out, "wrote {}; take it to the root, and have it signed with `sign-authority`", path.display())?;
    Ok(())
}

pub(super) fn sign_authority(arguments: &SignAuthority, out: &mut impl Write) -> Result<(), CliError> {
    refuse_existing(&[&arguments.out])?;
    let root = Authority::open(&arguments.dir)?;
    let (request, _) = files::read(&arguments.csr, REQUEST_BYTES_MAX)?;
    let signed = root.sign_authority(&request, arguments.days, now())?;
    files::create(&arguments.out, signed.bundle.as_bytes(), PUBLIC)?;
    let Record { serial, role, subject, not_after, .. } = &signed.record;
    writeln!(out, "issued {serial} to {role} {subject}, until {not_after}")?;
    writeln!(out, "the root's key is {}; compare it when it is installed", root.anchor_print())?;
    writeln!(out, "wrote {}", arguments.out.display())?;
    Ok(())
}

pub(super) fn install(arguments: &Install, out: &mut impl Write) -> Result<(), CliError> {
    let dir = &arguments.dir;
    if let Some(certificate) = &arguments.certificate {
        let made = Authority::install(dir, certificate, now())?;
        writeln!(out, "installed the authority in {}", dir.display())?;
        say_whom_to_trust(dir, &made, out)?;
    }
    if let Some(list) = &arguments.crl {
        let authority = Authority::open(dir)?;
        authority.install_root_crl(list, now())?;
        writeln!(out, "installed the root's revocation list; wrote {}", authority.crl_path().display())?;
    }
    Ok(())
}

/// What is left for a person to do about revocation lists: a root's has to be carried to where it is read.
///
/// Fails where the root's list has run out.
pub(super) fn say_where_the_list_goes(authority: &Authority, out: &mut impl Write) -> Result<(), CliError> {
    if authority.kind() == Kind::Root {
        writeln!(out, "take it to each authority below this root: `tributary-certs install --crl`")?;
    }
    let Some((due, ended)) = authority.root_crl_ends()? else { return Ok(()) };
    let now = UnixTime::try_from(now())?;
    if now >= ended {
        return Err(CliError::RootListEnded { ended });
    }
    if now >= due {
        writeln!(out, "the root's own list runs out {ended}; write it anew where the root is, and install it here")?;
    }
    Ok(())
}

fn say_whom_to_trust(dir: &Path, authority: &Authority, out: &mut impl Write) -> Result<(), CliError> {
    writeln!(out, "devices and gateways trust {}, whose key is", dir.join("root.crt").display())?;
    writeln!(out, "{}; compare it with what the root's machine says", authority.anchor_print())?;
    Ok(())
}
