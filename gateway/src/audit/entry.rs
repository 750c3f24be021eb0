//! What an entry of the trail says: when, who, what, about whom, and a few details.

use std::fmt;

use proto::{DeviceId, Instant};
use serde_json::Value;

/// Bytes of the details of one entry, as they are stored.
pub const DETAIL_BYTES_MAX: usize = 4_096;
/// Bytes of one text among them, as JSON has it. Longer ones are cut: a topic may have 65 535.
const TEXT_BYTES_MAX: usize = 512;

/// What happened. The list is closed: what is not in it is not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A certificate was issued.
    Issued,
    /// A device was let have one.
    Allowed,
    /// It was not.
    Refused,
    /// A certificate was issued in place of one that still lives.
    Renewed,
    /// A certificate counts no more; or a live connection was cut for that.
    Revoked,
    /// The right to enrol was given.
    ClaimMade,
    /// It was used.
    ClaimUsed,
    /// A publish where the device has no right to.
    DeniedPublish,
    /// A subscription to what it may not hear.
    DeniedSubscribe,
    /// A connection that was not let in, though its peer had a certificate.
    DeniedConnect,
    /// What the gateway goes by is another: settings, its own certificate, authorities, revocation lists.
    SettingsChanged,
    /// The oldest entries went, by the rule that ends the trail's growth.
    Trimmed,
    /// All that is stored was copied to a file.
    BackedUp,
    /// A copy was put back: what came after it was made is not in this trail.
    Restored,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Issued,
        Self::Allowed,
        Self::Refused,
        Self::Renewed,
        Self::Revoked,
        Self::ClaimMade,
        Self::ClaimUsed,
        Self::DeniedPublish,
        Self::DeniedSubscribe,
        Self::DeniedConnect,
        Self::SettingsChanged,
        Self::Trimmed,
        Self::BackedUp,
        Self::Restored,
    ];

    /// As it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Renewed => "renewed",
            Self::Revoked => "revoked",
            Self::ClaimMade => "claim_made",
            Self::ClaimUsed => "claim_used",
            Self::DeniedPublish => "denied_publish",
            Self::DeniedSubscribe => "denied_subscribe",
            Self::DeniedConnect => "denied_connect",
            Self::SettingsChanged => "settings_changed",
            Self::Trimmed => "trimmed",
            Self::BackedUp => "backed_up",
            Self::Restored => "restored",
        }
    }

    /// Whether a device alone makes it happen, as often as it likes: then repeats are one entry with a count. An operator's
    /// refusal is written by the command itself, and does not come this way.
    pub(super) fn is_denial(self) -> bool {
        matches!(self, Self::Refused | Self::DeniedPublish | Self::DeniedSubscribe | Self::DeniedConnect)
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person, by a command.
    Operator,
    /// The gateway by itself.
    Gateway,
    /// A device, by its certificate.
    Device(DeviceId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Gateway => f.write_str("gateway"),
            Self::Device(device) => write!(f, "device {device}"),
        }
    }
}

/// An entry before it has its place in the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When, by this machine's clock. The order of entries is that of the chain, whatever clocks say.
    pub time: Instant,
    /// Who.
    pub actor: Actor,
    /// What.
    pub event: Event,
    /// About which device, if about one.
    pub subject: Option<DeviceId>,
    /// More of it.
    pub detail: Detail,
}

/// More about an entry: names and numbers. No secret and no reading belongs here; what is given is kept for years.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detail(Vec<(&'static str, Value)>);

impl Detail {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// With a text, which is cut where it is long.
    #[must_use]
    pub fn text(self, name: &'static str, text: &str) -> Self {
        self.with(name, Value::from(cut(text)))
    }

    /// With a number.
    #[must_use]
    pub fn number(self, name: &'static str, number: impl Into<Value>) -> Self {
        self.with(name, number.into())
    }

    fn with(mut self, name: &'static str, value: Value) -> Self {
        self.0.push((name, value));
        self
    }

    /// As it is stored: a JSON object with its members in the order in which they were given, of
    /// [`DETAIL_BYTES_MAX`] bytes at most. Members that do not fit are left out, and `"cut":true` says so.
    #[must_use]
    pub fn to_json(&self) -> String {
        const CUT: &str = ",\"cut\":true";
        let mut json = String::from("{");
        for (name, value) in &self.0 {
            let comma = if json.len() > 1 { "," } else { "" };
            let member = format!("{comma}\"{name}\":{value}");
            if json.len() + member.len() + CUT.len() + 1 > DETAIL_BYTES_MAX {
                json.push_str(CUT);
                break;
            }
            json.push_str(&member);
        }
        json.push('}');
        json
    }
}

/// The beginning of `text`, of [`TEXT_BYTES_MAX`] bytes at most once it is JSON; with an ellipsis where that is not all.
fn cut(text: &str) -> String {
    let mut bytes = 0;
    let mut kept = String::new();
    for character in text.chars() {
        bytes += match character {
            '"' | '\\' => 2,
            control if u32::from(control) < 0x20 => 6,
            other => other.len_utf8(),
        };
        if bytes > TEXT_BYTES_MAX {
            kept.push('…');
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_an_object_in_the_order_in_which_they_were_given() {
        let detail = Detail::none().text("topic", "a\"b").number("count", 3).text("actor", "é");
        assert_eq!(detail.to_json(), r#"{"topic":"a\"b","count":3,"actor":"é"}"#);
        assert_eq!(Detail::none().to_json(), "{}");
    }

    #[test]
    fn details_never_pass_their_bound_and_say_when_something_is_left_out() {
        for text in ["x".repeat(70_000), "\u{1}".repeat(70_000), "\"".repeat(70_000), "\u{1f600}".repeat(20_000)] {
            let one = Detail::none().text("topic", &text).to_json();
            assert!(one.len() <= TEXT_BYTES_MAX + 20 && one.contains('…'), "{}", one.len());
            let many = (0..20).fold(Detail::none(), |detail, _| detail.text("topic", &text)).to_json();
            assert!(many.len() <= DETAIL_BYTES_MAX && many.ends_with(",\"cut\":true}"), "{}", many.len());
            assert!(serde_json::from_str::<Value>(&many).is_ok());
        }
    }

    #[test]
    fn every_event_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Event::ALL.into_iter().map(Event::name).collect();
        assert_eq!(names.len(), Event::ALL.len());
    }
}
