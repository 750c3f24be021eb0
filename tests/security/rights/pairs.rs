//! The gateway's own rules against a plain model of what filters match (OASIS MQTT 5.0, section 4.7): whatever is granted
//! to a device matches nothing of another's.

use gateway::ingest::listener::fuzzing::{may_publish, may_subscribe, may_will};
use harness::world::Random;
use proto::{Channel, DeviceId};

use super::{NAMES, is_up, topic};
use crate::part::{Found, Plan};

/// Levels that texts are made of.
const LEVELS: [&str; 26] = [
    "trib", "1", "+", "#", "", "$share", "$SYS", "g", "batch", "senml", "hello", "status", "receipt", "command",
    "result", "config", "reported", "enrol", "answer", "TRIB", "01", "meter", "meter-1", "a", "..", "\0",
];

pub(super) fn run(plan: &Plan, found: &mut Found) -> anyhow::Result<()> {
    let mut random = Random::new(plan.seed ^ 0x0F11_7E45);
    let devices: Vec<DeviceId> = NAMES.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let topics: Vec<(usize, Channel, String)> = (0..NAMES.len())
        .flat_map(|owner| Channel::ALL.map(|channel| (owner, channel, topic(owner, channel))))
        .collect();
    let (mut granted, pairs) = (0, plan.amount(50_000, 1_000_000));
    for _ in 0..pairs {
        let me = random.index(NAMES.len());
        let text = text(&mut random, &topics);
        granted += judge(me, &devices[me], &text, &topics, &mut random, found);
    }
    found.check(granted > pairs / 1_000, || format!("of {pairs} texts just {granted} were granted: that shows little"));
    found.count("filter_pairs", pairs);
    found.count("filter_pairs_granted", granted);
    Ok(())
}

/// Holds what is granted for `text` against the model. Answers whether anything was.
fn judge(
    me: usize,
    device: &DeviceId,
    text: &str,
    topics: &[(usize, Channel, String)],
    random: &mut Random,
    found: &mut Found,
) -> usize {
    let is_own = |owner: usize, channel: Channel, up: bool| owner == me && is_up(channel) == up;
    let subscribes = may_subscribe(device, text);
    if subscribes {
        let reads: Vec<_> = topics.iter().filter(|(_, _, topic)| matches(text, topic)).collect();
        let all_own = reads.iter().all(|(owner, channel, _)| is_own(*owner, *channel, false));
        found.check(all_own && reads.len() == 1, || {
            format!("{device} may subscribe to {text:?}, which reads {reads:?}")
        });
    }
    let (publishes, retains) = (may_publish(device, text, false), may_publish(device, text, true));
    let wills = may_will(device, text);
    if publishes || retains || wills {
        let of = topics.iter().find(|(_, _, topic)| topic == text);
        let is_right = of.is_some_and(|(owner, channel, _)| {
            is_own(*owner, *channel, true) && (!(retains || wills) || *channel == Channel::Status)
        });
        found.check(is_right, || format!("{device} may publish to {text:?}"));
    }
    // What a device must be able to do is granted, and matches nothing else: the rules are not simply closed.
    let (owner, channel, topic) = &topics[random.index(topics.len())];
    let due = (*owner == me && !is_up(*channel), *owner == me && is_up(*channel));
    let got = (may_subscribe(device, topic), may_publish(device, topic, false));
    found.check(got == due, || format!("{device} and {topic}: {got:?}, where {due:?} is due"));
    usize::from(subscribes || publishes || wills)
}

/// A topic or a filter: of random levels, or a good one that is spoiled in one place, or a good one.
fn text(random: &mut Random, topics: &[(usize, Channel, String)]) -> String {
    if random.one_in(3) {
        let levels = 1 + random.index(7);
        let level = |random: &mut Random| match random.one_in(5) {
            true => NAMES[random.index(NAMES.len())],
            false => LEVELS[random.index(LEVELS.len())],
        };
        return (0..levels).map(|_| level(random)).collect::<Vec<_>>().join("/");
    }
    let mut text = topics[random.index(topics.len())].2.clone();
    if random.one_in(4) {
        return text;
    }
    let at = random.index(text.len() + 1);
    match random.index(5) {
        0 => text.insert(at, ['+', '#', '/', '\0', '$', '-', 'A', ' '][random.index(8)]),
        1 => text.truncate(at),
        2 => text.insert_str(0, ["$share/g/", "/", "$queue/", "+/", "trib/1/"][random.index(5)]),
        3 => text.push_str(["/", "/#", "/+", "\0", "/result", "x"][random.index(6)]),
        _ => {
            let levels: Vec<&str> = text.split('/').collect();
            let place = random.index(levels.len());
            let other = LEVELS[random.index(LEVELS.len())];
            return levels
                .iter()
                .enumerate()
                .map(|(at, level)| if at == place { other } else { level })
                .collect::<Vec<_>>()
                .join("/");
        }
    }
    text
}

/// Whether a subscription to `filter` reads `topic`. A shared one reads what its filter reads.
fn matches(filter: &str, topic: &str) -> bool {
    let filter = match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').map_or("", |(_, filter)| filter),
        None => filter,
    };
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let (mut filters, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(filter), Some(level)) if filter == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn the_model_is_what_the_standard_shows() {
        // MQTT 5.0, sections 4.7.1.2 and 4.7.1.3.
        for topic in ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"] {
            assert!(matches("sport/tennis/player1/#", topic) && matches("#", topic));
        }
        assert!(matches("sport/#", "sport") && matches("+/+", "/finance") && matches("/+", "/finance"));
        assert!(
            matches("sport/tennis/+", "sport/tennis/player1") && !matches("sport/tennis/+", "sport/tennis/player1/x")
        );
        assert!(!matches("+", "/finance") && !matches("sport/+", "sport") && matches("sport/+", "sport/"));
        assert!(!matches("#", "$SYS/x") && !matches("+/monitor/x", "$SYS/monitor/x") && matches("$SYS/#", "$SYS/x"));
        assert!(matches("$share/g/sport/+", "sport/x") && !matches("$share/g/sport/+", "golf/x"));
    }
}
