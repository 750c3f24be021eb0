//! A relational store with an InfluxDB beside, in a database of its own on a server that the tests of a run share.

use gateway::store::influx::{self, Access, Settings};
use gateway::store::sink::Sink;
use gateway::store::{Now, Store, StoreError, SubjectSeed};

use super::keeper;
use super::{Backend, Beside, Place};

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
        Box::new(Both { place, sink: Settings { url, access, authority_file: None, plain_http: false } })
    }

    fn cases(&self) -> u32 {
        self.0.cases().min(3)
    }
}

struct Both {
    place: Box<dyn Place>,
    sink: Settings,
}

impl Place for Both {
    fn open_beside(
        &self,
        now: Now,
        subjects: &[SubjectSeed],
        _none: Option<Box<dyn Sink>>,
    ) -> Result<Store, StoreError> {
        self.place.open_beside(now, subjects, Some(Box::new(influx::Influx::new(&self.sink).unwrap())))
    }

    fn beside(&self) -> Box<dyn Beside> {
        self.place.beside()
    }

    fn back_up(&self) {
        self.place.back_up();
    }

    fn restore(&self) {
        self.place.restore();
    }
}
