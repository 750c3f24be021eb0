//! Every kind of device with bad manners behind a TCP port: a connection that breaks off is a plug that is pulled.

use std::time::Duration;

use emulators::{Manners, Remote};

use super::kinds::{self, Kind, Way};
use super::manners::{all_end, judge, listen, rate};
use super::rig::{Rig, SOON};

/// What goes wrong with answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Damage,
    Noise,
    Cuts,
}

#[tokio::test]
async fn over_tcp_broken_and_damaged_answers_and_lost_connections_lose_and_double_nothing() {
    let kinds = kinds::all().filter(|kind| kind.name != "modbus").chain([kinds::MODBUS_TCP]);
    // TCP has a checksum; what is damaged was so before, on a wire behind a converter.
    let pairs = kinds.flat_map(|kind| [Trouble::Damage, Trouble::Noise, Trouble::Cuts].map(|trouble| (kind, trouble)));
    let pairs = pairs.filter(|(kind, trouble)| kind.is_checked || *trouble != Trouble::Damage);
    all_end(pairs.zip(1..).map(|((kind, trouble), seed)| tokio::spawn(over(kind, trouble, seed))).collect()).await;
}

/// Something goes wrong as often as the kind bears, and its connection breaks off once.
async fn over(kind: Kind, trouble: Trouble, seed: u64) {
    let (often, troubles_max) = rate(&kind);
    // A line that is cut costs the next one as well, where they have no beginning.
    let often = if kind.name == "serial" { often / 2 } else { often };
    // Within an answer: those of a sensor that is asked are short, and few.
    let unplug_after = Some(if kind.way == Way::Asked { 12 } else { 62 });
    let of = |one: Trouble| if one == trouble { often } else { 0 };
    let (damaged, noisy, cut) = (of(Trouble::Damage), of(Trouble::Noise), of(Trouble::Cuts));
    let manners = Manners { damaged, noisy, cut, piece_bytes: 7, troubles_max, unplug_after, seed, ..Manners::good() };
    let remote = Remote::start((kind.device)(0..kind.count), manners).unwrap();
    let mut rig = Rig::start(kind.toml, &format!("tcp://{}", remote.address), SOON);
    let mut must: Vec<u16> = (0..kind.count).collect();
    match kind.way {
        Way::Keeps { .. } => rig.until(kind.name, |rig| rig.said(kind.series).len() >= must.len()).await,
        Way::Speaks => must = listen(&kind, &mut rig, || remote.sent()).await,
        Way::Asked | Way::Repeats => {
            rig.until(kind.name, |rig| rig.said(kind.series).len() >= must.len()).await;
            must.clear();
        }
    }
    rig.linger(Duration::from_millis(50)).await;
    let most = if kind.way == Way::Speaks { kind.count } else { 10_000 };
    judge(&kind, &rig, &must, most);
    let broken = remote.sent().iter().filter(|sent| !sent.is_whole()).count();
    assert!(broken > 0, "{}: nothing went wrong", kind.name);
    rig.stop().await;
}
