//! `devices`: who may be one, and who no longer.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use certs::authority::Reason;
use certs::claim::Code;
use clap::{Args, Subcommand};
use proto::enrol::is_claim;
use proto::{DeviceId, Instant};
use zeroize::Zeroizing;

use super::At;
use crate::audit;
use crate::audit::entry::{Actor, Detail, Entry, Event};
use crate::config::Config;
use crate::config::authority::AuthorityKind;
use crate::enrol::authority::{Authority, Held};
use crate::enrol::registry::fingerprint;
use crate::enrol::{self, Registry};
use crate::named::Named;
use crate::now;

/// Minutes that a code is good for, unless told otherwise: time to walk to the device.
const CLAIM_MINUTES: u64 = 60;
/// The longest life of a code: a week, for one that is sent by post.
const CLAIM_MINUTES_MAX: u64 = 7 * 24 * 60;

#[derive(Debug, Subcommand)]
pub(super) enum Devices {
    /// Make a code by which one device may ask for its first certificate
    Claim(Claim),
    /// Let a device that waits have its certificate, or all whose ids match have one when they ask
    Allow(Allow),
    /// Say no to a device that waits
    Refuse(Name),
    /// Certificates, requests, claims and rules
    List(At),
    /// Revoke all certificates of a device, whoever issued them: it is cut off within seconds, on every gateway
    Revoke(Revoke),
    /// Take a device back that was revoked, where its certificates are not issued here: others than it had then count again
    Reinstate(Back),
}

#[derive(Debug, Args)]
pub(super) struct Claim {
    #[command(flatten)]
    at: At,
    /// Whom it is for; without, whoever has it says who it is
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// How long it is good for
    #[arg(long, default_value_t = CLAIM_MINUTES, value_parser = clap::value_parser!(u64).range(1..=CLAIM_MINUTES_MAX))]
    minutes: u64,
    /// The claim file to write for `tributary-agent enrol`: the code, and whom to trust. Without, the code is shown
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Name {
    #[command(flatten)]
    at: At,
    /// The device
    #[arg(value_name = "ID")]
    device: DeviceId,
    /// The beginning of its key's fingerprint, where several ask for one id
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Allow {
    #[command(flatten)]
    at: At,
    /// The device that waits
    #[arg(value_name = "ID", required_unless_present = "rule")]
    device: Option<DeviceId>,
    /// The beginning of its key's fingerprint, where several ask for one id
    #[arg(long, requires = "device")]
    key: Option<String>,
    /// An id, or the beginning of ids and a *: whoever asks with a shared claim to be such a device, and is new
    #[arg(long, value_name = "PATTERN", conflicts_with = "device")]
    rule: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    at: At,
    /// The device
    #[arg(value_name = "ID")]
    device: DeviceId,
    /// Cut it off though nobody here has heard of it
    #[arg(long)]
    unknown: bool,
    /// Why: unspecified, key-compromise, superseded, cessation-of-operation or privilege-withdrawn
    #[arg(long, default_value = "unspecified")]
    reason: Reason,
}

#[derive(Debug, Args)]
pub(super) struct Back {
    #[command(flatten)]
    at: At,
    /// The device
    #[arg(value_name = "ID")]
    device: DeviceId,
}

impl Devices {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Self::Claim(claim) => claim.make(out),
            Self::Allow(allow) => allow.note(out),
            Self::Refuse(Name { at, device, key }) => {
                let (config, mut registry) = registry(&at)?;
                let key = registry.who_waits(&device, key.as_deref())?;
                note(&config, Event::Refused, Some(&device), Detail::none().text("key", &key))?;
                registry.answer(&device, Some(&key), false)?;
                say(out, format_args!("{device} is refused"))
            }
            Self::List(at) => list(&at, out),
            Self::Revoke(revoke) => revoke.note(out),
            Self::Reinstate(Back { at, device }) => {
                let (config, mut registry) = registry(&at)?;
                anyhow::ensure!(registry.times_cut(&device)? > 0, "the device {device} is not cut off");
                note(&config, Event::Allowed, Some(&device), Detail::none().text("what", "reinstated"))?;
                registry.reinstate(&device)?;
                say(out, format_args!("{device} is taken back; certificates that are known to be revoked stay so"))
            }
        }
    }
}

impl Claim {
    fn make(self, out: &mut impl Write) -> anyhow::Result<()> {
        let (config, mut registry) = registry(&self.at)?;
        let issuer = config.authority.as_ref().map(|authority| authority.kind);
        let issuer = issuer.context(
            "this gateway issues no certificates: set `authority.path` to a folder that `tributary-certs init` made",
        )?;
        anyhow::ensure!(
            issuer == AuthorityKind::Own,
            "a code is shown to this gateway's own listener, and certificates of AWS IoT are for AWS IoT Core: let devices \
             ask there with a claim certificate that they share (docs/aws-iot.md)"
        );
        if let Some(device) = &self.device {
            anyhow::ensure!(!is_claim(device), "no device is called {device}: ids that begin with claim- are claims'");
        }
        if config.broker.is_some() {
            eprintln!(
                "note: a code is good at this gateway's own listener only, not at the broker, which cannot know it: \
                 devices there enrol with a shared claim (see gateway/brokers/README.md)"
            );
        }
        let anchors = std::fs::read_to_string(&config.listener.authority_file);
        let anchors = anchors.context("read whom devices trust").named_by("listener.authority_file")?;
        let code = Code::draw().context("draw a code")?;
        let now = now();
        let detail = Detail::none().text("claim", &fingerprint(&code.public_key()?)).number("minutes", self.minutes);
        note(&config, Event::ClaimMade, self.device.as_ref(), detail)?;
        let expires = Instant(now.0.saturating_add(i64::try_from(self.minutes)?.saturating_mul(60_000_000)));
        registry.add_claim(&code.public_key()?, self.device.as_ref(), now, expires)?;
        let text = code.text();
        match &self.out {
            Some(path) => {
                let file = Zeroizing::new(format!("{}\n{anchors}", &*text));
                certs::key_file::create_private(path, file.as_bytes())?;
                say(out, format_args!("wrote {}, good for {} minutes", path.display(), self.minutes))
            }
            None => say(out, format_args!("{}", &*text)),
        }
    }
}

impl Allow {
    fn note(self, out: &mut impl Write) -> anyhow::Result<()> {
        let (config, mut registry) = registry(&self.at)?;
        if let Some(pattern) = self.rule {
            let beginning = pattern.strip_suffix('*').unwrap_or(&pattern);
            let is_sound = beginning.is_empty() || beginning.parse::<DeviceId>().is_ok_and(|id| !is_claim(&id));
            anyhow::ensure!(
                is_sound && !pattern.is_empty(),
                "`{pattern}` is neither a device id nor the beginning of one and a *"
            );
            note(&config, Event::Allowed, None, Detail::none().text("rule", &pattern))?;
            registry.add_rule(&pattern, now())?;
            return say(out, format_args!("whoever asks with a shared claim to be {pattern}, and is new, is let in"));
        }
        let device = self.device.context("name a device, or a --rule")?;
        let key = registry.who_waits(&device, self.key.as_deref())?;
        note(&config, Event::Allowed, Some(&device), Detail::none().text("key", &key))?;
        registry.answer(&device, Some(&key), true)?;
        say(out, format_args!("{device} is allowed; it asks again within half a minute"))
    }
}

impl Revoke {
    fn note(self, out: &mut impl Write) -> anyhow::Result<()> {
        let (config, mut registry) = registry(&self.at)?;
        let mut authority = config.authority.as_ref().map(enrol::authority::open).transpose()?;
        let now = now();
        // All that the authority knows of it, those that were revoked before included: said again, it changes nothing.
        let asked = authority.as_mut().map_or(Ok(Vec::new()), |authority| authority.certificates(&self.device));
        // One that is far away and does not answer holds nothing up here.
        let is_known =
            self.unknown || !matches!(&asked, Ok(held) if held.is_empty()) || registry.knows(&self.device)?;
        anyhow::ensure!(
            is_known,
            "nobody here has heard of {0}, and the authority knows no certificate of {0}; with --unknown it is cut off all the same",
            self.device
        );
        note(&config, Event::Revoked, Some(&self.device), Detail::none().text("reason", &self.reason.to_string()))?;
        // The gateways first: they cut it off at once, and an authority may be far away.
        registry.revoke(&self.device, asked.as_deref().unwrap_or_default(), now)?;
        let held = asked.context("it is cut off here; its authority could not be asked: say it again")?;
        self.revoke_at(authority, &held, now)?;
        let (device, count) = (&self.device, held.len());
        say(
            out,
            format_args!(
                "{device} is cut off within seconds, whatever it shows; its authority has revoked {count} certificates"
            ),
        )
    }

    /// Has the authority's list say so too, for brokers and others.
    fn revoke_at(&self, authority: Option<Box<dyn Authority>>, held: &[Held], now: Instant) -> anyhow::Result<()> {
        let Some(mut authority) = authority else { return Ok(()) };
        let at = UNIX_EPOCH + Duration::from_micros(now.0.try_into().unwrap_or(0));
        for certificate in held {
            let failed =
                || format!("certificate {} is cut off here and not revoked yet; say it again", certificate.serial);
            authority.revoke(certificate, self.reason, at).with_context(failed)?;
        }
        Ok(())
    }
}

fn list(at: &At, out: &mut impl Write) -> anyhow::Result<()> {
    let lines = registry(at)?.1.list(now())?;
    say(out, format_args!("{:<24}  {:<11}  {:<32}  TIME", "DEVICE", "WHAT", "MORE"))?;
    lines.iter().try_for_each(|line| {
        let time = line.time.and_then(|time| jiff::Timestamp::from_microsecond(time.0).ok());
        let time = time.map_or_else(String::new, |time| format!("{time:.0}"));
        say(out, format_args!("{:<24}  {:<11}  {:<32}  {time}", line.device, line.what, line.more))
    })
}

/// Has it in the audit trail before it is done.
fn note(config: &Config, event: Event, device: Option<&DeviceId>, detail: Detail) -> anyhow::Result<()> {
    let entry = Entry { time: now(), actor: Actor::Operator, event, subject: device.cloned(), detail };
    audit::append(audit::open(config)?.as_mut(), entry)?;
    Ok(())
}

/// The configuration, and the registry in its database.
fn registry(at: &At) -> anyhow::Result<(Config, Registry)> {
    let config = Config::read(Path::new(&at.config))?;
    let registry = Registry::new(config.side()?);
    Ok((config, registry))
}

fn say(out: &mut impl Write, line: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    writeln!(out, "{line}").context("write to standard output")
}
