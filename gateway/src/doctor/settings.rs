//! Settings that work and are not safe.

use std::net::IpAddr;

use super::finding::{Finding, or_well};
use crate::config::{Config, StoreKind, TimeSeries, TlsMode};

const CHECK: &str = "settings";

/// What crosses a network in the clear, and what a broker between could do.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    if config.broker.is_some() && config.receipts.is_none() {
        let what =
            "receipts are not signed, and devices are behind a broker: whoever can write there can make them forget";
        found.push(Finding::fault(CHECK, what, "set `receipts.key_file`, and `uplink.receipt_key_file` of each agent"));
    }
    if !config.http.address.ip().is_loopback() {
        let what =
            format!("`http.address` is {}: dashboard and API go over the network unencrypted", config.http.address);
        found.push(Finding::fault(CHECK, what, "serve them on loopback, behind a proxy with TLS or an SSH tunnel"));
    }
    let postgres = &config.store.postgres;
    if config.store.kind == StoreKind::Postgres && postgres.tls == TlsMode::Disable && !is_here(&postgres.host) {
        let what = format!("readings and the password go to {} unencrypted", postgres.host);
        found.push(Finding::fault(CHECK, what, "set `store.postgres.tls` to \"verify-full\", and `ca_file`"));
    }
    if let Some(url) = plain_sink(config) {
        let what = format!("readings and the password go to {url} unencrypted");
        found.push(Finding::fault(CHECK, what, "use https there, and take `timeseries.plain_http` away"));
    }
    or_well(found, CHECK, || {
        "nothing crosses a network in the clear, and no broker can speak for this gateway".to_owned()
    })
}

fn plain_sink(config: &Config) -> Option<&str> {
    let url = match config.timeseries.as_ref()? {
        TimeSeries::Influx1(influx) => influx.url.as_str(),
        TimeSeries::Influx2(influx) => influx.url.as_str(),
        TimeSeries::Timestream(timestream) => timestream.endpoint_url.as_deref()?,
    };
    let host = url.strip_prefix("http://")?.split('/').next()?;
    // The port behind the last colon, unless that is within an address in brackets.
    let host = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(host, _)| host);
    (!is_here(host)).then_some(url)
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.starts_with('/') || host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
