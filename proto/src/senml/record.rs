//! One record as written, in JSON or CBOR: its known fields, unjudged.
//!
//! Both formats go through serde's own walk, one record at a time, so that nothing is held but what is asked for.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use serde::de::{EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Resolver, SenmlError};

/// How deep CBOR may nest; unknown fields may hold anything, known ones need 4.
const CBOR_DEPTH_MAX: usize = 32;

/// The pack in JSON. Nesting is bounded by `serde_json` (128), which walks ignored fields without recursion.
pub(super) fn from_json(bytes: &[u8]) -> Result<Records, SenmlError> {
    let malformed = |error: serde_json::Error| SenmlError::Malformed { format: "JSON", problem: error.to_string() };
    serde_json::from_slice(bytes).map_err(malformed)
}

/// The pack in CBOR.
pub(super) fn from_cbor(mut bytes: &[u8]) -> Result<Records, SenmlError> {
    let malformed = |problem| SenmlError::Malformed { format: "CBOR", problem };
    let records = ciborium::de::from_reader_with_recursion_limit(&mut bytes, CBOR_DEPTH_MAX);
    let records = records.map_err(|error| malformed(describe(&error)))?;
    if !bytes.is_empty() {
        return Err(malformed(format!("{} bytes after the pack's end", bytes.len())));
    }
    Ok(records)
}

fn describe<E>(error: &ciborium::de::Error<E>) -> String {
    match error {
        ciborium::de::Error::Io(_) => "it ends within a record".into(),
        ciborium::de::Error::Syntax(offset) => format!("no CBOR at byte {offset}"),
        ciborium::de::Error::Semantic(Some(offset), what) => format!("{what} at byte {offset}"),
        ciborium::de::Error::Semantic(None, what) => what.clone(),
        ciborium::de::Error::RecursionLimitExceeded => format!("nested deeper than {CBOR_DEPTH_MAX}"),
    }
}

/// Every record, taken in one by one; what the first bad one had wrong is kept, and the walk goes on to the end.
pub(super) struct Records(pub(super) Result<Resolver, SenmlError>);

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;

        impl<'de> Visitor<'de> for Walk {
            type Value = Records;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Records, A::Error> {
                let mut resolver = Resolver::default();
                while let Some(raw) = seq.next_element()? {
                    if let Err(error) = resolver.take(raw) {
                        while seq.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(Records(Err(error)));
                    }
                }
                Ok(Records(Ok(resolver)))
            }
        }

        deserializer.deserialize_seq(Walk)
    }
}

/// The fields of RFC 8428, section 4, and RFC 9100.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Bver,
    Bn,
    Bt,
    Bu,
    Bv,
    Bs,
    N,
    U,
    V,
    Vs,
    Vb,
    S,
    T,
    Ut,
    Vd,
}

/// Labels in JSON and in CBOR (RFC 8428, section 6, table 4).
const LABELS: [(Field, &str, i64); 15] = [
    (Field::Bver, "bver", -1),
    (Field::Bn, "bn", -2),
    (Field::Bt, "bt", -3),
    (Field::Bu, "bu", -4),
    (Field::Bv, "bv", -5),
    (Field::Bs, "bs", -6),
    (Field::N, "n", 0),
    (Field::U, "u", 1),
    (Field::V, "v", 2),
    (Field::Vs, "vs", 3),
    (Field::Vb, "vb", 4),
    (Field::S, "s", 5),
    (Field::T, "t", 6),
    (Field::Ut, "ut", 7),
    (Field::Vd, "vd", 8),
];

impl Field {
    /// Its label in JSON.
    pub(super) fn label(self) -> &'static str {
        LABELS.iter().find(|(field, ..)| *field == self).map_or("?", |(_, label, _)| label)
    }

    fn is_base(self) -> bool {
        matches!(self, Self::Bver | Self::Bn | Self::Bt | Self::Bu | Self::Bv | Self::Bs)
    }
}

/// What a field holds.
pub(super) enum Scalar {
    Number(f64),
    Text(String),
    Bool(bool),
    /// Anything else: no field takes it.
    Other,
}

/// One record as written.
#[derive(Default)]
pub(super) struct Raw {
    fields: [Option<Scalar>; LABELS.len()],
    /// The first label that makes the record unreadable, and why.
    pub(super) problem: Option<(String, &'static str)>,
}

impl Raw {
    /// A field's content, once.
    pub(super) fn take(&mut self, field: Field) -> Option<Scalar> {
        self.fields.get_mut(field as usize)?.take()
    }

    /// Whether it sets base fields and says nothing itself.
    pub(super) fn only_base(&self) -> bool {
        let present = || LABELS.iter().zip(&self.fields).filter(|(_, held)| held.is_some());
        present().next().is_some() && present().all(|((field, ..), _)| field.is_base())
    }

    fn put(&mut self, field: Field, scalar: Scalar) {
        let Some(place) = self.fields.get_mut(field as usize) else { return };
        if place.replace(scalar).is_some() {
            self.problem.get_or_insert_with(|| (field.label().into(), "is there twice"));
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;

        impl<'de> Visitor<'de> for Walk {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record, which is a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut raw = Raw::default();
                while let Some(label) = map.next_key()? {
                    match label {
                        Label::Known(field) => raw.put(field, map.next_value()?),
                        Label::Ignored => drop(map.next_value::<IgnoredAny>()?),
                        Label::MustUnderstand(name) => {
                            map.next_value::<IgnoredAny>()?;
                            let problem = "ends in `_`, so it must be understood, and is not known here";
                            raw.problem.get_or_insert((name, problem));
                        }
                    }
                }
                Ok(raw)
            }
        }

        deserializer.deserialize_map(Walk)
    }
}

/// A field's label: a text, or in CBOR a number.
enum Label {
    Known(Field),
    Ignored,
    /// RFC 8428, section 4.4: a label that ends in `_` must not be ignored.
    MustUnderstand(String),
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;

        impl Visitor<'_> for Walk {
            type Value = Label;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's label")
            }

            fn visit_str<E>(self, text: &str) -> Result<Label, E> {
                let known = LABELS.iter().find(|(_, label, _)| *label == text);
                Ok(match known {
                    Some((field, ..)) => Label::Known(*field),
                    None if text.ends_with('_') => Label::MustUnderstand(text.chars().take(40).collect()),
                    None => Label::Ignored,
                })
            }

            fn visit_i64<E>(self, number: i64) -> Result<Label, E> {
                let known = LABELS.iter().find(|(.., label)| *label == number);
                Ok(known.map_or(Label::Ignored, |(field, ..)| Label::Known(*field)))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Label, E> {
                i64::try_from(number).map_or(Ok(Label::Ignored), |number| self.visit_i64(number))
            }
        }

        deserializer.deserialize_any(Walk)
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarWalk)
    }
}

struct ScalarWalk;

#[expect(clippy::cast_precision_loss, reason = "RFC 8428, section 4.3: numbers are doubles")]
impl<'de> Visitor<'de> for ScalarWalk {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's value")
    }

    fn visit_bool<E>(self, switch: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(switch))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Scalar, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Scalar, E> {
        Ok(Scalar::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_string()))
    }

    fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_none<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    /// How ciborium hands over a tagged value. Only decimal fractions mean something here.
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Scalar, A::Error> {
        let (_, content) = data.variant::<IgnoredAny>()?;
        content.tuple_variant(2, DecimalWalk)
    }
}

/// A decimal fraction (RFC 8949, section 3.4.4): tag 4 around an exponent of ten and a mantissa.
struct DecimalWalk;

impl<'de> Visitor<'de> for DecimalWalk {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tag and its content")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        if seq.next_element()? != Some(4_u64) {
            seq.next_element::<IgnoredAny>()?;
            return Ok(Scalar::Other);
        }
        let (exponent, mantissa): (i64, i64) = seq.next_element()?.ok_or_else(|| A::Error::custom("empty tag"))?;
        // Through text, because only that rounds to the nearest double.
        let number = format!("{mantissa}e{exponent}").parse();
        Ok(number.map_or(Scalar::Other, Scalar::Number))
    }
}
