//! What a register holds, and what that means.

use std::sync::Arc;

use proto::{Kind, Series, SeriesName, Unit, Value};
use serde::{Deserialize, Serialize};

use super::frame::Framing;
use crate::source::BadSetting;
use crate::source::decimal::Decimal;
use crate::source::fields::SERIES_MAX;

/// One value in a device's registers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterSettings {
    /// The series' name, such as `voltage.l1`.
    pub name: SeriesName,
    /// Where it is, from 0, as the request says it: 0 for what manuals may call 30001 or 40001.
    pub address: i64,
    /// `input`, `holding`, `coil` or `discrete`.
    pub kind: String,
    /// `u16`, `i16`, `u32`, `i32`, `u64`, `i64`, `f32`, `f64` or `bool`.
    pub r#type: String,
    /// Which word of several comes first: `big` (the highest) or `little`.
    #[serde(default = "big")]
    pub word_order: String,
    /// What the number is multiplied by, as an exact decimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Decimal>,
    /// What is added to it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<Decimal>,
    /// The UCUM unit that this makes.
    #[serde(default = "plain")]
    pub unit: Unit,
    /// `gauge`, `counter`, `delta` or `state`. Left out: `state` for bool, otherwise `gauge`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series_kind: Option<String>,
    /// The device that has it, where several are on the bus. Left out: the source's `slave`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave: Option<u8>,
}

fn big() -> String {
    "big".into()
}

fn plain() -> Unit {
    "1".parse().expect("`1` is a unit: one printable character")
}

/// One of the four spaces of addresses, in the order of the functions that read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Space {
    Coil,
    Discrete,
    Holding,
    Input,
}

impl Space {
    /// The function that reads it.
    pub(super) fn function(self) -> u8 {
        match self {
            Self::Coil => 1,
            Self::Discrete => 2,
            Self::Holding => 3,
            Self::Input => 4,
        }
    }

    /// Whether its addresses are of single bits.
    pub(super) fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    Bool,
}

const SPACES: &[(&str, Space)] =
    &[("input", Space::Input), ("holding", Space::Holding), ("coil", Space::Coil), ("discrete", Space::Discrete)];
const TYPES: &[(&str, Type)] = &[
    ("u16", Type::U16),
    ("i16", Type::I16),
    ("u32", Type::U32),
    ("i32", Type::I32),
    ("u64", Type::U64),
    ("i64", Type::I64),
    ("f32", Type::F32),
    ("f64", Type::F64),
    ("bool", Type::Bool),
];
const ORDERS: &[(&str, bool)] = &[("big", false), ("little", true)];

/// A register that was checked.
#[derive(Debug)]
pub(super) struct Register {
    /// Who has it, in which space, and where there.
    pub(super) at: (u8, Space, u16),
    /// Addresses that it takes.
    pub(super) count: u16,
    pub(super) series: Arc<Series>,
    r#type: Type,
    is_little: bool,
    scale: Option<Decimal>,
    offset: Option<Decimal>,
}

/// Checks registers, with their places in the settings, and sorts them by address.
pub(super) fn check<'a>(
    all: impl Iterator<Item = (Option<usize>, &'a RegisterSettings)>,
    slave: u8,
    framing: Framing,
) -> Result<Vec<Register>, BadSetting> {
    check_slave(slave, framing)?;
    let mut checked: Vec<(Option<usize>, Register)> = Vec::new();
    for (place, settings) in all {
        let within = |error: BadSetting| error.within(&label(place));
        let register = Register::new(settings, slave, framing).map_err(within)?;
        if checked.iter().any(|(_, other)| other.series.name == register.series.name) {
            let problem = format!("`{}` is there twice; each series needs its own name", settings.name);
            return Err(within(BadSetting::new("name", problem)));
        }
        checked.push((place, register));
    }
    if checked.is_empty() || checked.len() > SERIES_MAX {
        let problem = format!("1 to {SERIES_MAX} are needed, as [[source.registers]], or a `map` such as sdm630");
        return Err(BadSetting::new("registers", problem));
    }
    checked.sort_by_key(|(_, register)| register.at);
    for ((_, one), (place, next)) in checked.iter().zip(checked.iter().skip(1)) {
        let same = (one.at.0, one.at.1) == (next.at.0, next.at.1);
        if same && u32::from(next.at.2) < one.end() {
            let problem = format!("overlaps `{}`, which takes {} to {}", one.series.name, one.at.2, one.end() - 1);
            return Err(BadSetting::new("address", problem).within(&label(*place)));
        }
    }
    Ok(checked.into_iter().map(|(_, register)| register).collect())
}

fn label(place: Option<usize>) -> String {
    place.map_or_else(|| "map".into(), |index| format!("registers[{index}]"))
}

fn check_slave(slave: u8, framing: Framing) -> Result<(), BadSetting> {
    if framing == Framing::Rtu && !(1..=247).contains(&slave) {
        return Err(BadSetting::new("slave", "is to be 1 to 247"));
    }
    Ok(())
}

/// What a word in the settings means.
fn meant<T: Copy>(field: &str, word: &str, known: &[(&str, T)]) -> Result<T, BadSetting> {
    known.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let word: String = word.chars().take(40).collect();
        let known = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        BadSetting::new(field, format!("`{word}` is none of {known}"))
    })
}

impl Register {
    fn new(settings: &RegisterSettings, slave: u8, framing: Framing) -> Result<Self, BadSetting> {
        let bad = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        let space = meant("kind", &settings.kind, SPACES)?;
        let r#type = meant("type", &settings.r#type, TYPES)?;
        let is_little = meant("word_order", &settings.word_order, ORDERS)?;
        if space.is_bits() && r#type != Type::Bool {
            return bad("type", "is to be bool: coils and discrete inputs are single bits");
        }
        let count = r#type.words();
        let Some(start) = u16::try_from(settings.address).ok().filter(|start| start.checked_add(count - 1).is_some())
        else {
            return bad(
                "address",
                "is to be 0 to 65535, all words of the value within; manuals that count from 30001 \
                or 40001 mean 0 by that",
            );
        };
        if settings.scale.is_some_and(Decimal::is_zero) {
            return bad("scale", "is 0, which leaves nothing of a number");
        }
        if r#type == Type::Bool && (settings.scale.is_some() || settings.offset.is_some()) {
            return bad("scale", "is for numbers; a bool is on or off");
        }
        if !settings.unit.is_known() {
            let problem = format!("`{}` is no unit known here; use its UCUM code, such as V or kW.h", settings.unit);
            return bad("unit", &problem);
        }
        let slave = settings.slave.unwrap_or(slave);
        check_slave(slave, framing)?;
        let kind = r#type.kind(settings.series_kind.as_deref())?;
        let series = Arc::new(Series { name: settings.name.clone(), unit: settings.unit.clone(), kind });
        let (scale, offset) = (settings.scale, settings.offset);
        Ok(Self { at: (slave, space, start), count, series, r#type, is_little, scale, offset })
    }

    /// The address behind it.
    pub(super) fn end(&self) -> u32 {
        u32::from(self.at.2) + u32::from(self.count)
    }

    /// What it says in `data`, which begins with the address `start`; fails with why it says nothing.
    pub(super) fn value(&self, data: &[u8], start: u16) -> Result<Value, &'static str> {
        let short = "is not all in the answer";
        let at = usize::from(self.at.2.checked_sub(start).ok_or(short)?);
        if self.at.1.is_bits() {
            return Ok(Value::Bool(data.get(at / 8).ok_or(short)? >> (at % 8) & 1 == 1));
        }
        let words = data.get(2 * at..2 * (at + usize::from(self.count))).ok_or(short)?;
        let fold = |bits: u64, word: &[u8]| bits << 16 | u64::from(word[0]) << 8 | u64::from(word[1]);
        let bits = match self.is_little {
            false => words.chunks_exact(2).fold(0, fold),
            true => words.chunks_exact(2).rev().fold(0, fold),
        };
        self.number(bits)
    }

    fn number(&self, bits: u64) -> Result<Value, &'static str> {
        let all = bits.to_be_bytes();
        let low = |bytes: usize| &all[8 - bytes..];
        let whole = match self.r#type {
            Type::Bool => return Ok(Value::Bool(bits != 0)),
            Type::F32 => return self.float(f32::from_be_bytes(array(low(4))), |float| format!("{float:e}")),
            Type::F64 => return self.float(f64::from_bits(bits), |float| format!("{float:e}")),
            Type::U16 | Type::U32 | Type::U64 => i128::from(bits),
            Type::I16 => i16::from_be_bytes(array(low(2))).into(),
            Type::I32 => i32::from_be_bytes(array(low(4))).into(),
            Type::I64 => i64::from_be_bytes(array(low(8))).into(),
        };
        self.scaled(Decimal::from(whole))
    }

    /// The shortest decimal that means this float, which is what the device's makers had in mind: 230.2, not
    /// 230.1999969482422. The same float is read from it again.
    fn float<F: Copy + Into<f64>>(&self, float: F, text: impl Fn(F) -> String) -> Result<Value, &'static str> {
        let wide: f64 = float.into();
        if !wide.is_finite() {
            return Err("is no number (NaN or infinite): the device says so where it has no value");
        }
        let text = text(float);
        if self.scale.is_none() && self.offset.is_none() {
            return Ok(Value::Number(text.parse().unwrap_or(wide)));
        }
        self.scaled(text.parse().map_err(|_| "has more digits than can be scaled exactly")?)
    }

    fn scaled(&self, number: Decimal) -> Result<Value, &'static str> {
        let scaled = number.scaled(self.scale, self.offset);
        scaled.map(Value::Number).ok_or("has more digits than can be scaled exactly")
    }
}

/// As many bytes as there are.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

impl Type {
    fn words(self) -> u16 {
        match self {
            Self::U16 | Self::I16 | Self::Bool => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
        }
    }

    /// What kind of series it makes.
    fn kind(self, said: Option<&str>) -> Result<Kind, BadSetting> {
        let known: &[(&str, Kind)] = match self {
            Self::Bool => &[("state", Kind::State)],
            _ => &[("gauge", Kind::Gauge), ("counter", Kind::Counter), ("delta", Kind::Delta), ("state", Kind::State)],
        };
        said.map_or(Ok(known[0].1), |said| meant("series_kind", said, known))
    }
}
