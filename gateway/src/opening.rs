//! Opens what the settings name, before anything runs: the store, the trail, the desk.

use std::thread::JoinHandle;

use anyhow::Context;

use crate::audit::{self, Auditor};
use crate::config::{self, Config};
use crate::enrol::{self, Cuts, Desk, Registry};
use crate::ingest::signing::ReceiptKey;
use crate::named::Named;
use crate::now;
use crate::store::influx::Influx;
use crate::store::sink::{Sink, SinkError};
use crate::store::{self, Store, SubjectSeed, outbox, postgres, sqlite};

/// The desk where certificates are asked for, if this gateway has an authority.
pub(crate) fn desk(
    config: &Config,
    receipt_key: Option<&ReceiptKey>,
    cuts: &Cuts,
    auditor: Auditor,
) -> anyhow::Result<Option<(Desk, JoinHandle<()>)>> {
    let Some(authority) = &config.authority else { return Ok(None) };
    let settings = enrol::desk::Settings {
        authority: enrol::authority::open(authority)?,
        anchors: enrol::authority::anchors(authority, &config.listener.authority_file)?,
        receipt_key: receipt_key.map(ReceiptKey::public),
        cuts: cuts.clone(),
    };
    let registry = Registry::new(config.side()?).with_bounds(authority.bounds());
    Ok(Some(Desk::open(settings, registry, auditor, now).context("open the desk")?))
}

/// Opens the store that the settings choose, and makes sure that `subjects` are there.
pub(crate) fn store(config: &Config, subjects: &[SubjectSeed]) -> anyhow::Result<Store> {
    let of = |subject: &SubjectSeed| format!("set up subject {}", subject.id);
    // First, because it may refuse its settings.
    let sink = config.timeseries.as_ref().map(sink_of).transpose()?;
    let beside = outbox::Settings::default();
    match config.store.kind {
        config::StoreKind::Sqlite => {
            let path = &config.store.path;
            let opened = sqlite::Store::open(path, now).with_context(|| format!("open store {}", path.display()));
            let mut store = opened.named_by("store.path")?;
            subjects.iter().try_for_each(|subject| store.ensure_subject(subject).with_context(|| of(subject)))?;
            match sink {
                Some(sink) => store.beside(sink, beside, now).context("set the time-series store beside"),
                None => Ok(store.into()),
            }
        }
        config::StoreKind::Postgres => {
            let settings = config.store.postgres.ingest()?;
            let mut store = postgres::Store::open(&settings, now).context("open the store")?;
            subjects.iter().try_for_each(|subject| store.ensure_subject(subject).with_context(|| of(subject)))?;
            match sink {
                Some(sink) => store.beside(sink, beside, now).context("set the time-series store beside"),
                None => Ok(store.into()),
            }
        }
    }
}

/// Opens what the audit trail needs besides the store, and starts writing it.
pub(crate) fn trail(config: &Config, trail: Box<dyn store::audit::Trail>) -> anyhow::Result<(Auditor, audit::Keeper)> {
    let file = config.audit_checkpoints();
    let opened = audit::checkpoint::Checkpoints::open(&file);
    let opened = opened.with_context(|| format!("open {} for checkpoints of the audit trail", file.display()));
    let checkpoints = opened.named_by("audit.checkpoint_file")?;
    let settings = audit::Settings { keep: config.audit.keep(), ..audit::Settings::default() };
    audit::start(trail, checkpoints, settings, now).context("start the audit trail's thread")
}

/// Reads the files of a time-series store, each by its setting.
fn read_files_of(config: &config::TimeSeries) -> anyhow::Result<()> {
    use config::TimeSeries::{Influx1, Influx2, Timestream};
    let (secret, file, authority) = match config {
        Influx1(influx) => ("password_file", influx.password_file.as_ref(), influx.authority_file.as_ref()),
        Influx2(influx) => ("token_file", Some(&influx.token_file), influx.authority_file.as_ref()),
        Timestream(timestream) => ("credentials_file", timestream.credentials_file.as_ref(), None),
    };
    if let Some(file) = file {
        certs::key_file::read_private(file).named_by(&format!("timeseries.{secret}"))?;
    }
    if let Some(file) = authority {
        certs::read_certificates(file).named_by("timeseries.authority_file")?;
    }
    Ok(())
}

/// Prepares to write to the time-series store that the settings choose. It need not be there yet.
pub(crate) fn sink_of(config: &config::TimeSeries) -> anyhow::Result<Box<dyn Sink>> {
    read_files_of(config)?;
    use config::TimeSeries::{Influx1, Influx2, Timestream};
    let sink: Result<Box<dyn Sink>, SinkError> = match config {
        Influx1(influx) => Influx::new(&influx.settings()).map(|sink| Box::new(sink) as _),
        Influx2(influx) => Influx::new(&influx.settings()).map(|sink| Box::new(sink) as _),
        #[cfg(feature = "aws")]
        Timestream(timestream) => {
            store::timestream::Timestream::new(&timestream.settings()).map(|sink| Box::new(sink) as _)
        }
        #[cfg(not(feature = "aws"))]
        Timestream(_) => Err(SinkError::Unfit(
            "this gateway was built without Timestream: build it with `--features aws`, or use InfluxDB".to_owned(),
        )),
    };
    sink.context("prepare the time-series store")
}
