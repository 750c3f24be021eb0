//! An edge node's payloads: `sparkplug_b.proto` of Eclipse Sparkplug, in the encoding of Protocol Buffers.

/// A payload.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// 0 to 255; the death of a node has none.
    pub seq: Option<u64>,
    /// What it says.
    pub metrics: Vec<Metric>,
}

/// One metric.
#[derive(Clone, Debug, Default)]
pub struct Metric {
    /// With a birth, and where there is no alias.
    pub name: Option<&'static str>,
    /// Instead of the name.
    pub alias: Option<u64>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// An index of the specification's table.
    pub datatype: Option<u32>,
    /// Of the past.
    pub is_historical: bool,
    /// There is no value.
    pub is_null: bool,
    /// The value.
    pub value: Option<Value>,
}

/// A value, by how it is carried.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Up to 32 bits, signed ones as two's complement.
    Int(u32),
    /// 64 bits.
    Long(u64),
    /// 32 bits.
    Float(f32),
    /// 64 bits.
    Double(f64),
    /// True or false.
    Boolean(bool),
    /// Words.
    Text(&'static str),
}

impl Metric {
    /// A metric as a birth says it.
    #[must_use]
    pub fn born(name: &'static str, alias: u64, datatype: u32, value: Value) -> Self {
        let (name, alias, datatype, value) = (Some(name), Some(alias), Some(datatype), Some(value));
        Self { name, alias, datatype, value, ..Self::default() }
    }

    /// A metric as data says it.
    #[must_use]
    pub fn changed(alias: u64, value: Value) -> Self {
        Self { alias: Some(alias), value: Some(value), ..Self::default() }
    }

    /// Which birth or death of a node it is.
    #[must_use]
    pub fn birth_number(number: u64) -> Self {
        Self { name: Some("bdSeq"), datatype: Some(4), value: Some(Value::Long(number)), ..Self::default() }
    }

    /// The same with a time.
    #[must_use]
    pub fn at(self, timestamp: u64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let number = |bytes: &mut Vec<u8>, field: u64, value: Option<u64>| {
            if let Some(value) = value {
                bytes.extend(varint(field * 8));
                bytes.extend(varint(value));
            }
        };
        if let Some(name) = self.name {
            bytes.extend(chunk(1, name.as_bytes()));
        }
        number(&mut bytes, 2, self.alias);
        number(&mut bytes, 3, self.timestamp);
        number(&mut bytes, 4, self.datatype.map(u64::from));
        number(&mut bytes, 5, self.is_historical.then_some(1));
        number(&mut bytes, 7, self.is_null.then_some(1));
        match self.value {
            None => {}
            Some(Value::Int(value)) => number(&mut bytes, 10, Some(value.into())),
            Some(Value::Long(value)) => number(&mut bytes, 11, Some(value)),
            Some(Value::Float(value)) => {
                bytes.extend(varint(12 * 8 + 5));
                bytes.extend(value.to_le_bytes());
            }
            Some(Value::Double(value)) => {
                bytes.extend(varint(13 * 8 + 1));
                bytes.extend(value.to_le_bytes());
            }
            Some(Value::Boolean(value)) => number(&mut bytes, 14, Some(value.into())),
            Some(Value::Text(value)) => bytes.extend(chunk(15, value.as_bytes())),
        }
        bytes
    }
}

impl Payload {
    /// A payload with a number.
    #[must_use]
    pub fn new(seq: u64, timestamp: u64, metrics: Vec<Metric>) -> Self {
        Self { timestamp: Some(timestamp), seq: Some(seq), metrics }
    }

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(timestamp) = self.timestamp {
            bytes.extend(varint(8));
            bytes.extend(varint(timestamp));
        }
        for metric in &self.metrics {
            bytes.extend(chunk(2, &metric.encode()));
        }
        if let Some(seq) = self.seq {
            bytes.extend(varint(3 * 8));
            bytes.extend(varint(seq));
        }
        bytes
    }
}

/// A field of bytes.
fn chunk(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field * 8 + 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn varint(value: u64) -> Vec<u8> {
    let groups = (64 - value.leading_zeros()).div_ceil(7).max(1);
    let group = |place: u32| {
        let bits = u8::try_from(value >> (7 * place) & 127).expect("seven bits");
        if place + 1 < groups { bits | 128 } else { bits }
    };
    (0..groups).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_encoded_as_the_documentation_of_protocol_buffers_shows() {
        assert_eq!(varint(150), [0x96, 0x01]);
        assert_eq!((varint(0), varint(1), varint(127)), (vec![0], vec![1], vec![127]));
        assert_eq!(varint(u64::MAX).len(), 10);
        assert_eq!(chunk(2, b"testing"), [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
    }
}
