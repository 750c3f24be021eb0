//! What a device may publish and subscribe to: its own topics, each in its own direction. A session of a claim may ask
//! for a certificate and hear the answer, and nothing else.

use proto::enrol::is_claim;
use proto::topic::Direction;
use proto::{Channel, DeviceId, Topic};

/// The channel of `topic`, if `device` may publish to it. Only its status may be retained.
pub(super) fn publish(device: &DeviceId, topic: &str, retain: bool) -> Option<Channel> {
    let channel = own(device, topic, Direction::Up)?;
    (!retain || channel == Channel::Status).then_some(channel)
}

/// The channel of `filter`, if `device` may subscribe to it. A filter is an exact topic here: no wildcards.
pub(super) fn subscribe(device: &DeviceId, filter: &str) -> Option<Channel> {
    own(device, filter, Direction::Down)
}

/// Whether `device` may have `topic` as its last will: its status and nothing else.
pub(super) fn will(device: &DeviceId, topic: &str) -> bool {
    own(device, topic, Direction::Up) == Some(Channel::Status)
}

fn own(device: &DeviceId, text: &str, direction: Direction) -> Option<Channel> {
    let topic: Topic = text.parse().ok()?;
    let is_own = topic.device == *device && topic.channel.direction() == direction;
    let is_open = !is_claim(device) || matches!(topic.channel, Channel::Enrol | Channel::EnrolAnswer);
    (is_own && is_open).then_some(topic.channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceId {
        name.parse().unwrap()
    }

    #[test]
    fn each_channel_of_each_device_is_open_to_its_owner_in_one_direction_only() {
        let devices = ["a", "a-", "meter-7", "meter-70", "0"].map(device);
        for me in &devices {
            for other in &devices {
                for channel in Channel::ALL {
                    let topic = Topic::new(other.clone(), channel).to_string();
                    let own_up = me == other && channel.direction() == Direction::Up;
                    let own_down = me == other && channel.direction() == Direction::Down;
                    assert_eq!(publish(me, &topic, false), own_up.then_some(channel), "{me} publishes {topic}");
                    assert_eq!(subscribe(me, &topic), own_down.then_some(channel), "{me} subscribes {topic}");
                    assert_eq!(will(me, &topic), own_up && channel == Channel::Status, "{me} wills {topic}");
                }
            }
        }
    }

    #[test]
    fn a_claim_may_ask_for_a_certificate_and_nothing_else() {
        let me = device("claim-0a1b");
        for channel in Channel::ALL {
            let topic = Topic::new(me.clone(), channel).to_string();
            assert_eq!(publish(&me, &topic, false).is_some(), channel == Channel::Enrol, "publishes {topic}");
            assert_eq!(subscribe(&me, &topic).is_some(), channel == Channel::EnrolAnswer, "subscribes {topic}");
            assert!(!will(&me, &topic), "wills {topic}");
        }
        assert_eq!(publish(&me, "trib/1/claim-0a1c/enrol", false), None);
    }

    #[test]
    fn only_the_status_may_be_retained() {
        let me = device("meter-7");
        assert_eq!(publish(&me, "trib/1/meter-7/status", true), Some(Channel::Status));
        assert_eq!(publish(&me, "trib/1/meter-7/batch", true), None);
    }

    #[test]
    fn wildcards_shares_and_other_spellings_are_nobodys() {
        let me = device("meter-7");
        for text in [
            "",
            "#",
            "+",
            "$SYS/#",
            "trib/1/meter-7/#",
            "trib/1/+/receipt",
            "trib/1/meter-7/+",
            "$share/g/trib/1/meter-7/receipt",
            "$aws/rules/x/trib/1/meter-7/batch",
            "trib/1/meter-7//receipt",
            "trib/1/METER-7/receipt",
            "trib/1/meter-7/receipt/",
            "trib/1/meter-7/receipt\0",
            "trib/1/../meter-7/batch",
        ] {
            assert_eq!(subscribe(&me, text), None, "{text:?}");
            assert_eq!(publish(&me, text, false), None, "{text:?}");
        }
    }
}
