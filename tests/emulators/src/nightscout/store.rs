//! What a site keeps, and whom it shows it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::data::iso;

/// A kind of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Collection {
    /// What sensors and meters measured.
    Entries,
    /// What people and pumps did.
    Treatments,
    /// What pumps, loops and phones said of themselves.
    Devicestatus,
    /// Basal rates, ratios and targets.
    Profile,
}

impl Collection {
    /// The collection of that name.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "entries" => Some(Self::Entries),
            "treatments" => Some(Self::Treatments),
            "devicestatus" => Some(Self::Devicestatus),
            "profile" => Some(Self::Profile),
            _ => None,
        }
    }

    /// The field that it is filed by.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Entries => "date",
            Self::Treatments | Self::Devicestatus => "created_at",
            Self::Profile => "startDate",
        }
    }
}

/// A site's records and rights.
#[derive(Debug)]
pub struct Store {
    /// What its clock says, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Whether it has the interface v3.
    pub has_v3: bool,
    /// Whether v3 needs a right for this collection that nobody has.
    pub denied: Option<&'static str>,
    /// The token of its only reader.
    pub token: Option<String>,
    /// SHA-1 of its secret, in hex.
    pub api_secret: Option<String>,
    /// Whether anyone may read by v1.
    pub open: bool,
    /// Which pass is good, and for how many questions.
    pub pass: (u32, u32),
    /// How many questions a new pass is good for.
    pub pass_uses: u32,
    /// The most that v3 answers at once; a greater `limit` is refused.
    pub limit_max: usize,
    last_modified: i64,
    records: BTreeMap<Collection, Vec<Map<String, Value>>>,
    made: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            now_ms: 1_772_366_400_000,
            has_v3: true,
            denied: None,
            token: None,
            api_secret: None,
            open: true,
            pass: (0, 0),
            pass_uses: u32::MAX,
            limit_max: 1_000,
            last_modified: 0,
            records: BTreeMap::new(),
            made: 0,
        }
    }
}

impl Store {
    /// A number that grows with each change, whatever the clock does.
    fn next_modified(&mut self) -> i64 {
        self.last_modified = (self.last_modified + 1).max(self.now_ms);
        self.last_modified
    }

    fn put(&mut self, collection: Collection, mut record: Map<String, Value>) -> String {
        self.made += 1;
        let id = format!("{:024x}", self.made);
        record.insert("_id".into(), json!(id));
        self.records.entry(collection).or_default().push(record);
        id
    }

    /// An app writes `record` by v1, at `at_ms` in its own time. Answers its `_id`.
    ///
    /// # Panics
    /// When it is no object.
    pub fn write_v1(&mut self, collection: Collection, at_ms: i64, record: Value) -> String {
        let Value::Object(mut record) = record else { panic!("an object") };
        let at = if collection == Collection::Entries { json!(at_ms) } else { json!(iso(at_ms)) };
        record.entry(collection.field()).or_insert(at);
        self.put(collection, record)
    }

    /// An app writes `record` by v3. Answers its `identifier`.
    ///
    /// # Panics
    /// When it is no object.
    pub fn write_v3(&mut self, collection: Collection, at_ms: i64, record: Value) -> String {
        let modified = self.next_modified();
        self.write_v3_at(collection, at_ms, record, modified)
    }

    /// The same, by several apps in one moment, or late into the order of changes.
    ///
    /// # Panics
    /// When it is no object.
    pub fn write_v3_at(&mut self, collection: Collection, at_ms: i64, record: Value, modified: i64) -> String {
        let Value::Object(mut record) = record else { panic!("an object") };
        let id = format!("00000000-0000-5000-8000-{:012x}", self.made + 1);
        let at = if collection == Collection::Entries { json!(at_ms) } else { json!(iso(at_ms)) };
        record.entry(collection.field()).or_insert(at);
        record.entry("date").or_insert(json!(at_ms));
        record.insert("identifier".into(), json!(id));
        record.insert("srvCreated".into(), json!(modified));
        record.insert("srvModified".into(), json!(modified));
        record.insert("isValid".into(), json!(true));
        self.last_modified = self.last_modified.max(modified);
        self.put(collection, record);
        id
    }

    /// Someone changes one field of a record, known by either of its names; by v3 if it was written that way.
    ///
    /// # Panics
    /// When there is no such record.
    pub fn edit(&mut self, collection: Collection, id: &str, field: &str, value: Value) {
        let modified = self.next_modified();
        let record = self.find(collection, id);
        record.insert(field.into(), value);
        if record.contains_key("srvModified") {
            record.insert("srvModified".into(), json!(modified));
        }
    }

    /// Someone deletes a record: by v3 it stays and says so, by v1 it is gone.
    ///
    /// # Panics
    /// When there is no such record.
    pub fn delete(&mut self, collection: Collection, id: &str) {
        if self.find(collection, id).contains_key("srvModified") {
            self.edit(collection, id, "isValid", json!(false));
        } else {
            let records = self.records.entry(collection).or_default();
            records.retain(|record| !is_called(record, id));
        }
    }

    fn find(&mut self, collection: Collection, id: &str) -> &mut Map<String, Value> {
        let records = self.records.entry(collection).or_default();
        records.iter_mut().find(|record| is_called(record, id)).expect("a record of that name")
    }

    /// All records of a collection.
    #[must_use]
    pub fn all(&self, collection: Collection) -> &[Map<String, Value>] {
        self.records.get(&collection).map_or(&[], Vec::as_slice)
    }

    /// A new pass; the old one is not good any more. Its number.
    pub(super) fn new_pass(&mut self) -> u32 {
        self.pass = (self.pass.0 + 1, self.pass_uses);
        self.pass.0
    }
}

fn is_called(record: &Map<String, Value>, id: &str) -> bool {
    ["_id", "identifier"].iter().any(|name| record.get(*name).and_then(Value::as_str) == Some(id))
}
