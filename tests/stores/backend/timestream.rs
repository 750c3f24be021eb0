//! A relational store with Timestream beside, as moto's server has it: in a database of its own on a server that the
//! tests of a run share.

use std::os::unix::fs::PermissionsExt;

use gateway::store::timestream::{Settings, Timestream as Sink};
use harness::servers::Moto;
use serde_json::json;

use super::both::Both;
use super::keeper;
use super::{Backend, Place};

/// A store of this kind with Timestream beside.
pub(crate) struct Timestream<B>(pub(crate) B);

impl<B: Backend> Backend for Timestream<B> {
    fn is_here(&self) -> bool {
        self.0.is_here() && harness::servers::or_skip(Moto::program()).is_some()
    }

    fn place(&self) -> Box<dyn Place> {
        let place = self.0.place();
        let url = format!("http://127.0.0.1:{}", keeper::server(keeper::MOTO).port);
        let (database, table) = (keeper::new_name(), "reading".to_owned());
        Moto::call_at(&url, "CreateDatabase", &json!({ "DatabaseName": database })).unwrap();
        Moto::call_at(&url, "CreateTable", &json!({ "DatabaseName": database, "TableName": table })).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, "[default]\naws_access_key_id = any\naws_secret_access_key = any\n").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let (region, endpoint_url) = ("us-east-1".to_owned(), Some(url));
        let settings = Settings { region, database, table, endpoint_url, credentials_file: Some(file) };
        let sink = move || -> Box<dyn gateway::store::sink::Sink> {
            let _kept = &folder;
            Box::new(Sink::new(&settings).unwrap())
        };
        Box::new(Both { place, sink: Box::new(sink) })
    }

    fn cases(&self) -> u32 {
        self.0.cases().min(3)
    }
}
