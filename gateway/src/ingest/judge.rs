//! What a publish means: the items to record, and what the sender wants to hear. Pure: bytes and the time in, values
//! out.
//!
//! Whatever cannot be read becomes a quarantined item with its bytes and the reason; one bad body costs no other.

use bytes::Bytes;
use proto::frame::{FRAME_READINGS_MAX, Header, Sealed};
use proto::message::{Hello, Notice, Status};
use proto::{Body, Channel, Column, DeviceId, Epoch, Frame, Instant, Kind, Number, Range, Value, senml};

use super::Arrival;
use crate::store::{Batch, Item, Pack, Quarantine};

/// What to record of a publish, and what to answer.
#[derive(Debug)]
pub struct Judgement {
    /// To be recorded together.
    pub items: Vec<Item>,
    /// What the sender wants to hear beside the PUBACK.
    pub answer: Answer,
}

/// What a sender wants to hear.
#[derive(Debug)]
pub enum Answer {
    /// Nothing: the PUBACK says it all.
    Nothing,
    /// What is settled around these numbers.
    Around(Vec<(Epoch, Range)>),
    /// All that is settled of the epochs it names.
    Everything(Hello),
    /// That this gateway does nothing with such messages.
    Unsupported,
}

impl Judgement {
    fn new(items: Vec<Item>, answer: Answer) -> Self {
        Self { items, answer }
    }
}

/// Judges what came. `now` is when.
#[must_use]
pub fn judge(arrival: &Arrival, now: Instant) -> Judgement {
    let sender = Sender { arrival, now };
    match arrival.channel {
        Channel::Batch => sender.frame(),
        Channel::Senml => sender.pack(),
        Channel::Hello => sender.notice(),
        Channel::Status => match Status::decode(&arrival.payload) {
            // Presence is known from the connection itself; the status is for others who listen.
            Ok(_) => Judgement::new(Vec::new(), Answer::Nothing),
            Err(error) => sender.unreadable(error.to_string()),
        },
        _ => Judgement::new(Vec::new(), Answer::Unsupported),
    }
}

/// The publish at hand.
struct Sender<'a> {
    arrival: &'a Arrival,
    now: Instant,
}

impl Sender<'_> {
    fn device(&self) -> DeviceId {
        self.arrival.device.clone()
    }

    fn unreadable(&self, reason: String) -> Judgement {
        Judgement::new(vec![self.aside(None, reason, self.arrival.payload.clone())], Answer::Nothing)
    }

    fn aside(&self, identity: Option<(Epoch, Number, proto::BodyHash)>, reason: String, bytes: Bytes) -> Item {
        let (device, channel, arrived) = (self.device(), self.arrival.channel, self.now);
        Item::Quarantine(Quarantine { device, channel, identity, arrived, reason, bytes })
    }

    fn frame(&self) -> Judgement {
        let frame = match Frame::decode(&self.arrival.payload) {
            Ok(frame) => frame,
            Err(error) => return self.unreadable(format!("frame: {error}")),
        };
        let numbers = frame.numbers().map(|numbers| (frame.header.epoch, numbers));
        let bodies = (frame.header.first..).zip(frame.bodies);
        let mut left = FRAME_READINGS_MAX;
        let items = bodies.map(|(number, sealed)| self.body(&frame.header, number, sealed, &mut left)).collect();
        Judgement::new(items, Answer::Around(numbers.into_iter().collect()))
    }

    /// `left` is how many readings this frame may still bring.
    fn body(&self, header: &Header, number: Number, sealed: Sealed, left: &mut usize) -> Item {
        let hash = sealed.hash;
        match read_body(header, &sealed, left) {
            Ok(columns) => Item::Batch(Batch {
                device: self.device(),
                epoch: header.epoch,
                number,
                hash,
                lane: header.lane,
                clock: header.clock,
                arrived: self.now,
                columns,
                body: sealed.body.into(),
            }),
            Err(reason) => self.aside(Some((header.epoch, number, hash)), reason, sealed.body.into()),
        }
    }

    fn pack(&self) -> Judgement {
        let payload = &self.arrival.payload;
        let pack = match senml::parse(payload, self.now) {
            Ok(pack) => pack,
            Err(error) => return self.unreadable(format!("SenML: {error}")),
        };
        if let Some(reason) = pack.columns.iter().find_map(implausible) {
            return self.unreadable(format!("SenML: {reason}"));
        }
        let item = Item::Pack(Pack {
            device: self.device(),
            hash: proto::BodyHash::of(payload),
            absolute: pack.all_absolute,
            packet_id: self.arrival.packet_id,
            resent: self.arrival.resent,
            arrived: self.now,
            columns: pack.columns,
            payload: payload.clone(),
        });
        Judgement::new(vec![item], Answer::Nothing)
    }

    fn notice(&self) -> Judgement {
        match Notice::decode(&self.arrival.payload) {
            Err(error) => self.unreadable(format!("notice: {error}")),
            Ok(Notice::Hello(hello)) => {
                let held = Item::Held { device: self.device(), held: hello.epochs.clone() };
                Judgement::new(vec![held], Answer::Everything(hello))
            }
            Ok(Notice::HelloPart(hello)) => {
                let held = Item::HeldPart { device: self.device(), held: hello.epochs.clone() };
                Judgement::new(vec![held], Answer::Everything(hello))
            }
            Ok(Notice::Gaps(gaps)) => {
                let settled = gaps.iter().filter_map(|gap| gap.epoch.zip(gap.range)).collect();
                Judgement::new(vec![Item::Gaps { device: self.device(), gaps }], Answer::Around(settled))
            }
            Ok(Notice::Clocks(clocks)) => {
                let clocks = clocks.into_iter().map(|clock| Item::Clock { device: self.device(), clock });
                Judgement::new(clocks.collect(), Answer::Nothing)
            }
        }
    }
}

/// A body's columns, or why it cannot be stored. The device's own agent sealed it, so values are taken as they are;
/// only what would make them meaningless is refused.
fn read_body(header: &Header, sealed: &Sealed, left: &mut usize) -> Result<Vec<Column>, String> {
    if !sealed.is_intact() {
        return Err(
            "body: its bytes do not have the hash they were sealed with; was the buffer's disk damaged?".to_owned()
        );
    }
    let body = Body::decode(&sealed.body).map_err(|error| format!("body: {error}"))?;
    if body.boot != header.clock.boot {
        return Err("body: it is of another boot than its frame's clock".to_owned());
    }
    *left = left
        .checked_sub(body.readings())
        .ok_or_else(|| format!("frame: more than {FRAME_READINGS_MAX} readings in one; send fewer batches at once"))?;
    match body.columns.iter().find(|column| !column.series.unit.is_known()) {
        Some(Column { series, .. }) => Err(format!(
            "series `{}`: unit `{}` is not known here; use a UCUM code, or a gateway that knows it",
            series.name, series.unit
        )),
        None => Ok(body.columns),
    }
}

/// Glucose that nobody can have: above 2000 mg/dL no meter reads, and none is negative. What a thing that is not our
/// agent sends is not believed beyond that.
fn implausible(column: &Column) -> Option<String> {
    let max = match column.series.unit.as_str() {
        "mg/dL" => 2_000.0,
        "mmol/L" => 111.0, // the same, at 18.0156 mg/dL a mmol/L
        _ => return None,
    };
    if column.series.kind != Kind::Gauge || !column.series.name.as_str().contains("glucose") {
        return None;
    }
    let outside = |value: &Value| matches!(value, Value::Number(number) if !(0.0..=max).contains(number));
    let place = column.readings.iter().position(|reading| outside(&reading.value))?;
    let (name, unit) = (&column.series.name, &column.series.unit);
    Some(format!("`{name}`, reading {}: value out of range, 0 to {max} {unit}", place + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{ConnectionId, Ticket};
    use proto::{Basis, BootId, Clock, Lane, Reading, Series};

    fn arrival(channel: Channel, payload: Vec<u8>) -> Arrival {
        Arrival {
            claim: None,
            device: "meter-7".parse().unwrap(),
            connection: ConnectionId(1),
            channel,
            packet_id: Some(1),
            resent: false,
            payload: payload.into(),
            ticket: Ticket::unasked(),
        }
    }

    fn sealed(unit: &str, boot: BootId) -> Sealed {
        let series = Series { name: "power.active".parse().unwrap(), unit: unit.parse().unwrap(), kind: Kind::Gauge };
        let readings = vec![Reading::new(Instant(1), Value::Number(1.0))];
        let body = Body { boot, columns: vec![Column { series, basis: Basis::Boot, readings }] };
        Sealed::new(body.encode().unwrap())
    }

    fn frame(bodies: Vec<Sealed>) -> Frame {
        let clock = Clock { boot: BootId([1; 8]), ..Clock::default() };
        Frame { header: Header { epoch: Epoch([2; 8]), first: 5, lane: Lane::Live, clock }, bodies }
    }

    fn reasons(judgement: &Judgement) -> Vec<Option<&str>> {
        let reason = |item: &Item| match item {
            Item::Quarantine(quarantine) => Some(quarantine.reason.clone()),
            _ => None,
        };
        judgement.items.iter().map(|item| reason(item).map(|reason| &*reason.leak())).collect()
    }

    #[test]
    fn one_bad_body_costs_no_other_and_each_reason_names_what_is_wrong() {
        let boot = BootId([1; 8]);
        let mut damaged = sealed("W", boot);
        damaged.body[9] ^= 1;
        let newer = Sealed::new(vec![9, 0, 0]);
        let bodies = vec![sealed("W", boot), damaged, sealed("bananas", boot), newer, sealed("W", BootId([3; 8]))];
        let judged = judge(&arrival(Channel::Batch, frame(bodies).encode()), Instant(0));
        let reasons = reasons(&judged);
        assert_eq!(reasons[0], None);
        let expected = ["hash", "unit `bananas`", "version 9", "another boot"];
        for (reason, expected) in reasons[1..].iter().zip(expected) {
            assert!(reason.unwrap().contains(expected), "{reason:?} should say {expected}");
        }
        let Answer::Around(around) = judged.answer else { panic!("{:?}", judged.answer) };
        assert_eq!(around, [(Epoch([2; 8]), Range { first: 5, last: 9 })]);
    }

    #[test]
    fn a_small_frame_cannot_bring_more_readings_than_one_may() {
        let series = Series { name: "n".parse().unwrap(), unit: "1".parse().unwrap(), kind: Kind::Gauge };
        let readings: Vec<Reading> = (0..40_000).map(|time| Reading::new(Instant(time), Value::Number(0.0))).collect();
        let body = Body { boot: BootId([1; 8]), columns: vec![Column { series, basis: Basis::Source, readings }] };
        let steady = Sealed::new(body.encode().unwrap());
        let judged = judge(&arrival(Channel::Batch, frame(vec![steady; 3]).encode()), Instant(0));
        let reasons = reasons(&judged);
        assert_eq!(reasons[0], None);
        assert!(reasons[1..].iter().all(|reason| reason.unwrap().contains("more than 65536 readings")), "{reasons:?}");
    }

    #[test]
    fn a_frame_that_is_cut_or_of_a_newer_version_is_quarantined_whole() {
        let whole = frame(vec![sealed("W", BootId([1; 8]))]).encode();
        let cut = judge(&arrival(Channel::Batch, whole[..whole.len() - 3].to_vec()), Instant(0));
        assert!(reasons(&cut)[0].unwrap().contains("truncated in body"));
        let mut newer = whole;
        newer[0] = 7;
        let newer = judge(&arrival(Channel::Batch, newer), Instant(0));
        assert!(reasons(&newer)[0].unwrap().contains("version 7 is not known here"));
        let Item::Quarantine(kept) = &newer.items[0] else { panic!() };
        assert_eq!(kept.bytes[0], 7, "the bytes are kept as they came");
    }

    #[test]
    fn senml_that_nobody_can_mean_is_refused_with_its_place() {
        let judged = |pack: &str| judge(&arrival(Channel::Senml, pack.into()), Instant(1_790_000_000_000_000));
        let good = judged(r#"[{"n":"glucose","u":"mg/dL","v":104,"t":1790000000}]"#);
        assert!(matches!(&good.items[0], Item::Pack(pack) if pack.absolute));
        let high = judged(r#"[{"n":"glucose","u":"mg/dL","v":104},{"n":"glucose","u":"mg/dL","v":9104,"t":1}]"#);
        assert!(reasons(&high)[0].unwrap().contains("`glucose`, reading 2: value out of range"));
        let unit = judged(r#"[{"n":"glucose","u":"bananas","v":104}]"#);
        assert!(reasons(&unit)[0].unwrap().contains("bananas"), "{:?}", reasons(&unit));
    }
}
