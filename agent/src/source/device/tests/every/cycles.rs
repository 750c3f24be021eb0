//! Plugs that are pulled and put back, again and again: of each family of protocols, one.
//!
//! `LONG=1` makes a thousand cycles of each.

use std::ops::Range;

use emulators::air::Air;
use emulators::{Manners, Socket};

use super::kinds::{DEXCOM, DSMR, Kind, METERS, MODBUS, SDS011};
use super::rig::{Rig, SOON, Said};
use super::{descriptors, terminals};

/// How often each is pulled.
fn cycles() -> u16 {
    if std::env::var_os("LONG").is_some() { 1_000 } else { 120 }
}

/// After so many, everything that stays open is open.
const SETTLED: u16 = 20;

/// Pulls the plug of a device in each cycle; `cycle` puts one in, waits for what it says, and answers what that is.
async fn pull(kind: Kind, mut cycle: impl AsyncFnMut(u16, &mut Socket, &mut Rig) -> Range<u16>) {
    let mut socket = Socket::new().unwrap();
    let mut rig = Rig::start(kind.toml, socket.path.to_str().unwrap(), SOON);
    let (mut settled, mut expected) = (0, Vec::<Said>::new());
    for number in 0..cycles() {
        let more = cycle(number, &mut socket, &mut rig).await;
        expected.extend(more.map(kind.said));
        socket.unplug();
        settled = if number == SETTLED { descriptors() } else { settled };
    }
    assert_eq!(rig.said(kind.series), expected, "{}", kind.name);
    let open = descriptors();
    assert!(open <= settled + 2, "{open} descriptors are open, {settled} were after {SETTLED} cycles");
    rig.stop().await;
    assert_eq!(terminals(), 0);
}

/// One that is never heard again, pulled in the middle of its answer.
async fn pulled_early(kind: &Kind, held: u16, unplug_after: usize, socket: &mut Socket, rig: &mut Rig) {
    let manners = Manners { unplug_after: Some(unplug_after), ..Manners::good() };
    socket.plug_in((kind.device)(0..held), manners).unwrap();
    rig.until("the plug to be pulled", |_| socket.path.symlink_metadata().is_err()).await;
}

/// A device with a memory has one record more in each cycle.
async fn pull_memory(kind: Kind, early_bytes: usize) {
    pull(kind, async |number, socket, rig| {
        if number % 3 == 2 {
            let unplug_after = 1 + usize::from(number) * 7 % early_bytes;
            pulled_early(&kind, number + 1, unplug_after, socket, rig).await;
        }
        let had = rig.said(kind.series).len();
        socket.plug_in((kind.device)(0..number + 1), Manners::good()).unwrap();
        rig.until(kind.name, |rig| rig.said(kind.series).len() > number.into()).await;
        u16::try_from(had.min(number.into())).unwrap()..number + 1
    })
    .await;
}

#[tokio::test]
async fn a_meter_that_is_asked_record_by_record_loses_and_doubles_nothing() {
    pull_memory(METERS[4], 60).await;
}

#[tokio::test]
async fn a_receiver_with_pages_loses_and_doubles_nothing() {
    pull_memory(DEXCOM, 600).await;
}

/// A sensor says three things in each cycle, and half of a fourth, which it says in the next one.
async fn pull_speaking(kind: Kind) {
    pull(kind, async |number, socket, rig| {
        let (first, last) = (number * 3, number * 3 + 3);
        let half = (kind.frame)(last);
        let mut frames = vec![half[..half.len() / 2].to_vec()];
        frames.extend((first..last).rev().map(kind.frame));
        socket.plug_in(Air::pushing(frames), Manners::good()).unwrap();
        rig.until(kind.name, |rig| rig.said(kind.series).len() >= usize::from(number + 1) * 3).await;
        first..last
    })
    .await;
}

#[tokio::test]
async fn a_sensor_that_speaks_by_itself_loses_and_doubles_nothing_that_it_said() {
    pull_speaking(SDS011).await;
}

#[tokio::test]
async fn an_energy_meter_that_speaks_by_itself_loses_and_doubles_nothing_that_it_said() {
    pull_speaking(DSMR).await;
}

#[tokio::test]
async fn a_bus_whose_device_is_pulled_again_and_again_gives_no_value_twice() {
    pull(MODBUS, async |number, socket, rig| {
        let first = number * 20;
        if number % 3 == 2 {
            let manners = Manners { unplug_after: Some(5), ..Manners::good() };
            socket.plug_in((MODBUS.device)(first..first), manners).unwrap();
            rig.until("the plug to be pulled", |_| socket.path.symlink_metadata().is_err()).await;
        }
        let had = rig.said(MODBUS.series).len();
        socket.plug_in((MODBUS.device)(first + 10..first + 10), Manners::good()).unwrap();
        // A round of four registers.
        rig.until("a round", |rig| rig.said(MODBUS.series).len() >= had + 4).await;
        first + 10..first + 14
    })
    .await;
}
