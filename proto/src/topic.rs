//! Where a message goes: `trib/1/{device}/{channel}`. Topics are parsed and printed here and nowhere else.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::DeviceId;

/// The first two levels of every topic: the name of the house, and the version of this list.
const PREFIX: &str = "trib/1/";

/// What a topic carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Channel {
    /// A [`crate::Frame`], device to gateway.
    Batch,
    /// A SenML pack (RFC 8428), device to gateway.
    Senml,
    /// A [`crate::message::Notice`], device to gateway.
    Hello,
    /// A [`crate::message::Status`], retained and as last will, device to gateway.
    Status,
    /// A [`crate::message::Receipt`], gateway to device.
    Receipt,
    /// An order to the device.
    Command,
    /// What became of an order, device to gateway.
    CommandResult,
    /// The configuration a device shall have.
    Config,
    /// The configuration a device has, device to gateway.
    ConfigReported,
    /// A request for a certificate, device to gateway.
    Enrol,
    /// Its answer.
    EnrolAnswer,
}

/// Who sends on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Only the device publishes.
    Up,
    /// Only the gateway publishes; the device subscribes.
    Down,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Batch,
        Self::Senml,
        Self::Hello,
        Self::Status,
        Self::Receipt,
        Self::Command,
        Self::CommandResult,
        Self::Config,
        Self::ConfigReported,
        Self::Enrol,
        Self::EnrolAnswer,
    ];

    /// The levels after the device.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Senml => "senml",
            Self::Hello => "hello",
            Self::Status => "status",
            Self::Receipt => "receipt",
            Self::Command => "command",
            Self::CommandResult => "command/result",
            Self::Config => "config",
            Self::ConfigReported => "config/reported",
            Self::Enrol => "enrol",
            Self::EnrolAnswer => "enrol/answer",
        }
    }

    /// Who sends on it.
    #[must_use]
    pub fn direction(self) -> Direction {
        match self {
            Self::Receipt | Self::Command | Self::Config | Self::EnrolAnswer => Direction::Down,
            _ => Direction::Up,
        }
    }
}

/// One device's channel.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Topic {
    /// Whose.
    pub device: DeviceId,
    /// Which.
    pub channel: Channel,
}

impl Topic {
    /// `device`'s `channel`.
    #[must_use]
    pub fn new(device: DeviceId, channel: Channel) -> Self {
        Self { device, channel }
    }

    /// The MQTT filter that matches every device's `channel`.
    #[must_use]
    pub fn filter_of_all(channel: Channel) -> String {
        alloc::format!("{PREFIX}+/{}", channel.path())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}", self.device, self.channel.path())
    }
}

/// Text that is no topic of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic `{0}` is not trib/1/{{device}}/{{channel}} with a channel such as batch, senml, hello or status")]
pub struct BadTopic(String);

impl FromStr for Topic {
    type Err = BadTopic;

    fn from_str(text: &str) -> Result<Self, BadTopic> {
        let parse = || {
            let (device, path) = text.strip_prefix(PREFIX)?.split_once('/')?;
            let channel = Channel::ALL.into_iter().find(|channel| channel.path() == path)?;
            Some(Self { device: device.parse().ok()?, channel })
        };
        parse().ok_or_else(|| BadTopic(text.chars().take(120).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_topic_is_read_back_from_its_text() {
        for channel in Channel::ALL {
            let topic = Topic::new("meter-7".parse().unwrap(), channel);
            assert_eq!(topic.to_string().parse(), Ok(topic));
        }
    }

    #[test]
    fn the_filter_of_all_devices_is_their_topic_with_a_wildcard_for_the_device() {
        for channel in Channel::ALL {
            let topic = Topic::new("meter-7".parse().unwrap(), channel).to_string();
            assert_eq!(Topic::filter_of_all(channel), topic.replace("meter-7", "+"));
        }
    }

    #[test]
    fn wildcards_and_near_misses_are_no_topics() {
        for bad in
            ["", "trib/1/+/batch", "trib/1/#", "trib/2/a/batch", "trib/1/a/batch/", "/trib/1/a/batch", "trib/1/A/batch"]
        {
            assert!(bad.parse::<Topic>().is_err(), "{bad:?}");
        }
    }
}
