//! Gateways tell each other who came in and who left, by a table of the database that they share.

use std::collections::{BTreeSet, VecDeque};

use proto::{DeviceId, Instant};

use super::{NOTHING, Registry, RegistryError, TENANT};
use crate::store::Side;
use crate::store::sql::{Cell, Many, params};

/// How long a row stays.
const KEPT_US: i64 = 120 * 1_000_000;
/// Rows that are read at once: what a fleet makes that comes back within seconds.
const ROWS_MAX: i64 = 50_000;
/// Looks behind which no row is waited for any more: its number was given when its transaction began to write, and others
/// may be seen first.
const LOOKS_BACK: usize = 5;

const TELL: Many = Many {
    one: "insert into coming (tenant, gateway, device, serial, is_there, at_us) values (?1, ?2, ?3, ?4, ?5, ?6) returning id",
    all: "insert into coming (tenant, gateway, device, serial, is_there, at_us)
          select * from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::bigint[]) returning id",
};

/// Somebody came in, or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coming {
    /// Who.
    pub device: DeviceId,
    /// With the certificate of this serial number.
    pub serial: String,
    /// Whether it came.
    pub is_there: bool,
}

/// A number in the order of telling, and who came or left elsewhere.
pub type Heard = (i64, Coming);

/// What has been heard of other gateways.
#[derive(Debug)]
pub struct Ear {
    name: String,
    /// The last numbers at the latest looks, oldest first.
    floors: VecDeque<i64>,
    seen: BTreeSet<i64>,
}

impl Ear {
    /// Of a gateway that calls itself `name`, as no other does.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self { name, floors: VecDeque::new(), seen: BTreeSet::new() }
    }

    /// Rows behind this one may be new.
    fn floor(&self) -> i64 {
        self.floors.front().copied().unwrap_or(0)
    }

    fn looked(&mut self, last: i64) {
        self.floors.push_back(last);
        if self.floors.len() > LOOKS_BACK {
            self.floors.pop_front();
        }
        let floor = self.floor();
        self.seen.retain(|id| *id > floor);
    }
}

impl Registry {
    /// Whether other gateways may use the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.side, Side::Postgres(_))
    }

    /// Tells other gateways who came in here and who left, and hears of theirs what was not heard yet. The numbers are in
    /// the order of telling, over all gateways: those of `ours`, and with what is heard.
    ///
    /// # Errors
    /// The database; then nothing was told.
    pub fn meet(
        &mut self,
        ear: &mut Ear,
        ours: &[Coming],
        now: Instant,
    ) -> Result<(Vec<i64>, Vec<Heard>), RegistryError> {
        let (name, floor, is_first) = (ear.name.clone(), ear.floor(), ear.floors.is_empty());
        let (numbers, heard, last) = self.side.transact::<_, RegistryError>(|db| {
            db.prepare("delete from coming where at_us < ?1").execute([now.0 - KEPT_US])?;
            let rows: Vec<Vec<Cell<'_>>> = ours.iter().map(|it| row(it, &name, now)).collect();
            let mut numbers = Vec::with_capacity(rows.len());
            db.driver().each_many(&TELL, &rows, &mut |row| {
                numbers.push(row.get(0)?);
                Ok(())
            })?;
            let last: i64 = db.prepare("select coalesce(max(id), 0) from coming").one(NOTHING, |row| row.get(0))?;
            // What was before this gateway is nothing to it.
            let floor = if is_first { last } else { floor };
            let sql =
                "select id, device, serial, is_there from coming where id > ?1 and gateway <> ?2 order by id limit ?3";
            let heard = db.prepare(sql).rows(params![floor, name, ROWS_MAX], |row| {
                Ok((row.get::<i64>(0)?, row.get::<String>(1)?, row.get::<String>(2)?, row.get::<i64>(3)? != 0))
            })?;
            Ok((numbers, heard, last))
        })?;
        let mut fresh = Vec::new();
        for (id, device, serial, is_there) in heard {
            if let (true, Ok(device)) = (ear.seen.insert(id), device.parse()) {
                fresh.push((id, Coming { device, serial, is_there }));
            }
        }
        ear.looked(last);
        Ok((numbers, fresh))
    }
}

fn row<'a>(coming: &'a Coming, name: &'a str, now: Instant) -> Vec<Cell<'a>> {
    let Coming { device, serial, is_there } = coming;
    let is_there = Cell::Int(i64::from(*is_there));
    vec![
        Cell::Int(TENANT),
        Cell::Text(name),
        Cell::Text(device.as_str()),
        Cell::Text(serial),
        is_there,
        Cell::Int(now.0),
    ]
}
