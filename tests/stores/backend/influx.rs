//! A relational store with an InfluxDB beside, in a database of its own on a server that the tests of a run share.

use gateway::store::influx::{self, Access, Settings};

use super::both::Both;
use super::keeper;
use super::{Backend, Place};

/// A store of this kind with an InfluxDB beside.
pub(crate) struct Influx<B>(pub(crate) B);

impl<B: Backend> Backend for Influx<B> {
    fn is_here(&self) -> bool {
        self.0.is_here() && harness::servers::or_skip(harness::servers::Influx::program()).is_some()
    }

    fn place(&self) -> Box<dyn Place> {
        let place = self.0.place();
        let port = keeper::server(keeper::INFLUX).port;
        let (url, database) = (format!("http://127.0.0.1:{port}"), keeper::new_name());
        let make = format!("create database \"{database}\"");
        ureq::post(format!("{url}/query")).send_form([("q", make.as_str())]).unwrap();
        let access = Access::V1 { database, user: None };
        let settings = Settings { url, access, authority_file: None, plain_http: false };
        Box::new(Both { place, sink: Box::new(move || Box::new(influx::Influx::new(&settings).unwrap())) })
    }

    fn cases(&self) -> u32 {
        self.0.cases().min(3)
    }
}
