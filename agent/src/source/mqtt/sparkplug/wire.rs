//! Sparkplug B payloads: as much of Protocol Buffers, and of the payload's definition (Eclipse Sparkplug 3.0.0, section
//! 6.4), as a host needs that takes single values.

/// Metrics that one payload may have.
pub(super) const METRICS_MAX: usize = 2_048;

/// A payload.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Payload<'a> {
    /// Milliseconds since the Unix epoch.
    pub(super) timestamp: Option<u64>,
    pub(super) seq: Option<u64>,
    pub(super) metrics: Vec<Metric<'a>>,
}

/// One value, as it is said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Metric<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) alias: Option<u64>,
    /// Milliseconds since the Unix epoch.
    pub(super) timestamp: Option<u64>,
    pub(super) datatype: Option<u32>,
    pub(super) is_historical: bool,
    pub(super) is_null: bool,
    pub(super) value: Option<Raw<'a>>,
}

/// What a value is carried as. What it means, the metric's data type says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Raw<'a> {
    /// Of either width.
    Integer(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Text(&'a str),
    /// Bytes, a data set, a template.
    Other,
}

impl<'a> Payload<'a> {
    /// Reads a payload. Fails with what is wrong with it.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let (mut payload, mut fields) = (Self::default(), Fields(bytes));
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, Wire::Varint(value)) => payload.timestamp = Some(value),
                (3, Wire::Varint(value)) => payload.seq = Some(value),
                (2, Wire::Bytes(metric)) => {
                    if payload.metrics.len() == METRICS_MAX {
                        return Err(format!("has more than {METRICS_MAX} metrics"));
                    }
                    payload.metrics.push(Metric::read(metric)?);
                }
                (1..=3, _) => return Err(WRONG_TYPE.into()),
                _ => {}
            }
        }
        Ok(payload)
    }
}

const WRONG_TYPE: &str = "is no Sparkplug B payload: a field is of another type";
const CUT: &str = "is no Sparkplug B payload: it is cut short";

impl<'a> Metric<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let (mut metric, mut fields) = (Self::default(), Fields(bytes));
        while let Some((number, content)) = fields.next()? {
            match (number, content) {
                (1, Wire::Bytes(name)) => metric.name = Some(text(name)?),
                (2, Wire::Varint(value)) => metric.alias = Some(value),
                (3, Wire::Varint(value)) => metric.timestamp = Some(value),
                (4, Wire::Varint(value)) => metric.datatype = Some(u32::try_from(value).unwrap_or(u32::MAX)),
                (5, Wire::Varint(value)) => metric.is_historical = value != 0,
                (7, Wire::Varint(value)) => metric.is_null = value != 0,
                // Some write negative ones in 64 bits: readers take the lower 32 (Protocol Buffers, "Encoding").
                (10, Wire::Varint(value)) => metric.value = Some(Raw::Integer(value & u64::from(u32::MAX))),
                (11, Wire::Varint(value)) => metric.value = Some(Raw::Integer(value)),
                (12, Wire::Fixed32(bits)) => metric.value = Some(Raw::Float(f32::from_bits(bits))),
                (13, Wire::Fixed64(bits)) => metric.value = Some(Raw::Double(f64::from_bits(bits))),
                (14, Wire::Varint(value)) => metric.value = Some(Raw::Boolean(value != 0)),
                (15, Wire::Bytes(value)) => metric.value = Some(Raw::Text(text(value)?)),
                (16..=19, Wire::Bytes(_)) => metric.value = Some(Raw::Other),
                (1..=5 | 7 | 10..=19, _) => return Err(WRONG_TYPE.into()),
                _ => {}
            }
        }
        Ok(metric)
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "has a text that is not UTF-8".into())
}

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| CUT)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.fixed()?)),
            _ => return Err("is no Sparkplug B payload: a field is of no type that there is".into()),
        };
        Ok(Some((tag >> 3, content)))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for place in 0..10 {
            let (byte, rest) = self.0.split_first().ok_or(CUT)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("is no Sparkplug B payload: a number does not end".into())
    }
}

/// What asks a node to be born again: the metric `Node Control/Rebirth`, true.
pub(super) fn rebirth(timestamp_ms: Option<u64>) -> Vec<u8> {
    const NAME: &[u8] = b"Node Control/Rebirth";
    let mut metric = vec![1 << 3 | 2];
    metric.extend(varint(NAME.len() as u64));
    metric.extend_from_slice(NAME);
    metric.extend([4 << 3, 11, 14 << 3, 1]); // of the data type Boolean; true
    let mut payload = Vec::new();
    if let Some(at) = timestamp_ms {
        payload.push(1 << 3);
        payload.extend(varint(at));
    }
    payload.push(2 << 3 | 2);
    payload.extend(varint(metric.len() as u64));
    payload.extend(metric);
    payload
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
