//! Every kind of device with bad manners, over pseudo-terminals and TCP: what comes out is what it said, once.

use emulators::{Device as Emulator, Manners, Sent, Socket};

use super::kinds::{self, Kind, WELL, Way};
use super::rig::{DEADLINE, Rig, SOON, Said};

/// Whether what came of a device is what it said: each thing at most once and in order, nothing else, and all of `must`.
pub(super) fn judge(kind: &Kind, rig: &Rig, must: &[u16], most: u16) {
    let got = rig.said(kind.series);
    if kind.way == Way::Repeats {
        let right = [WELL.spo2.to_string(), WELL.pulse.to_string()];
        let is_right =
            |got: &[Said], right: &String| got.iter().all(|(_, value)| value == right || value.contains('('));
        let both = [got, rig.said("pulse")];
        assert!(both.iter().zip(&right).all(|(got, right)| is_right(got, right)), "{}: {both:?}", kind.name);
        return;
    }
    let all: Vec<Said> = (0..most).map(kind.said).collect();
    let mut next = 0;
    for said in &got {
        let found = all[next..].iter().position(|one| one == said);
        let at = found.unwrap_or_else(|| panic!("{}: {said:?} is invented, or came twice: {got:?}", kind.name));
        next += at + 1;
    }
    for number in must {
        let said = (kind.said)(*number);
        assert!(got.contains(&said), "{}: number {number} is lost: {got:?}", kind.name);
    }
}

/// Of a device that speaks by itself, which of its frames went over the wire whole, at the beginning of a line where it
/// says lines.
fn came(kind: &Kind, sent: &[Sent]) -> Vec<u16> {
    let wire: Vec<u8> = sent.iter().flat_map(|sent| sent.came.iter().copied()).collect();
    let whole = |number: &u16| {
        let frame = (kind.frame)(*number);
        let begins = |at: usize| kind.is_checked || at == 0 || wire[at - 1] == b'\n';
        wire.windows(frame.len()).enumerate().any(|(at, bytes)| bytes == frame && begins(at))
    };
    (0..kind.count).filter(whole).collect()
}

/// How often something goes wrong, of a thousand answers, and how often at most.
pub(super) fn rate(kind: &Kind) -> (u64, Option<usize>) {
    match kind.way {
        Way::Keeps { at_once: true } => (1_000, Some(2)),
        Way::Keeps { .. } if kind.name == "dexcom_receiver" => (600, Some(2)),
        // After ten seconds of silence Contour is asked anew, and CodeFree is to be switched on again.
        Way::Keeps { .. } => (300, Some(1)),
        Way::Asked => (400, Some(3)),
        Way::Speaks => (300, None),
        Way::Repeats => (10, None),
    }
}

/// Whether something is told of garbage, where there was any: of an answer that was cut to nothing, nothing comes.
fn is_told(rig: &Rig, socket: &Socket) -> bool {
    !rig.rejects.is_empty() || socket.sent().iter().all(|sent| sent.is_whole() || sent.came.is_empty())
}

/// A device with these manners is read; `is_garbage` where something must be counted.
async fn endure(kind: Kind, manners: Manners, is_garbage: bool, device: Box<dyn Emulator>) {
    let mut socket = Socket::new().unwrap();
    let mut rig = Rig::start(kind.toml, socket.path.to_str().unwrap(), SOON);
    let (rate, troubles_max) = rate(&kind);
    let of = |share: u64| share * rate / 1_000;
    let manners = Manners {
        damaged: of(manners.damaged),
        swallowed: of(manners.swallowed),
        cut: of(manners.cut),
        noisy: of(manners.noisy),
        troubles_max,
        ..manners
    };
    let is_spoilt = manners.damaged + manners.swallowed + manners.cut + manners.noisy > 0;
    socket.plug_in(device, manners).unwrap();
    let all: Vec<u16> = (0..kind.count).collect();
    let (mut must, mut most) = (all.clone(), kind.count);
    match kind.way {
        Way::Keeps { .. } => rig.until(kind.name, |rig| rig.said(kind.series).len() >= all.len()).await,
        Way::Speaks => must = listen(&kind, &mut rig, || socket.sent()).await,
        Way::Asked | Way::Repeats => {
            let is_enough = |rig: &Rig| rig.said(kind.series).len() >= all.len();
            rig.until(kind.name, |rig| is_enough(rig) && (!is_garbage || is_told(rig, &socket))).await;
            (must, most) = (Vec::new(), 10_000);
        }
    }
    judge(&kind, &rig, &must, most);
    if is_spoilt {
        assert!(socket.sent().iter().any(|sent| !sent.is_whole()), "{}: nothing went wrong", kind.name);
    }
    if is_garbage {
        assert!(is_told(&rig, &socket), "{}: garbage is not told of: {:?}", kind.name, rig.rejects);
    }
    rig.stop().await;
}

/// Listens to a device that speaks by itself until it has said all, and answers which of it went over the wire whole: the
/// last of that has come, and most of what it said has.
pub(super) async fn listen(kind: &Kind, rig: &mut Rig, sent: impl Fn() -> Vec<Sent>) -> Vec<u16> {
    let last = (kind.frame)(kind.count - 1);
    rig.until(kind.name, |_| sent().iter().any(|sent| sent.said.ends_with(&last))).await;
    let must = came(kind, &sent());
    let said: Vec<Said> = must.iter().map(|number| (kind.said)(*number)).collect();
    let is_there = |rig: &Rig| said.last().is_none_or(|last| rig.said(kind.series).contains(last));
    rig.until(kind.name, is_there).await;
    assert!(must.len() >= usize::from(kind.count) / 2, "{}: {must:?}", kind.name);
    must
}

/// All that `takes_part`, at once, each with chance of its own.
async fn endure_all(manners: Manners, is_garbage: bool, takes_part: impl Fn(&Kind) -> bool) {
    let kinds = kinds::all().filter(|kind| takes_part(kind));
    let tasks = kinds.zip(manners.seed..).map(|(kind, seed)| {
        let manners = Manners { seed, ..manners.clone() };
        tokio::spawn(endure(kind, manners, is_garbage, (kind.device)(0..kind.count)))
    });
    all_end(tasks.collect()).await;
}

/// Waits for all of them; each says by itself what went wrong.
pub(super) async fn all_end(tasks: Vec<tokio::task::JoinHandle<()>>) {
    let mut failed = 0;
    for task in tasks {
        failed += u32::from(!matches!(tokio::time::timeout(2 * DEADLINE, task).await, Ok(Ok(()))));
    }
    assert_eq!(failed, 0, "so many kinds of devices failed");
}

#[tokio::test]
async fn noise_before_frames_is_told_and_costs_no_reading() {
    endure_all(Manners { noisy: 1_000, ..Manners::good() }, true, |_| true).await;
}

#[tokio::test]
async fn a_damaged_frame_costs_itself_alone_and_is_told() {
    endure_all(Manners { damaged: 1_000, seed: 2, ..Manners::good() }, true, |kind| kind.is_checked).await;
}

#[tokio::test]
async fn an_answer_that_is_swallowed_or_broken_off_is_asked_for_again() {
    let swallowed = Manners { swallowed: 1_000, seed: 3, ..Manners::good() };
    let cut = Manners { cut: 1_000, seed: 4, ..Manners::good() };
    tokio::join!(endure_all(swallowed, false, |_| true), endure_all(cut, true, |_| true));
}

/// A device that says several things at once.
struct Merged(Box<dyn Emulator>);

impl Emulator for Merged {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.hear(bytes)
    }

    fn idle(&mut self) -> Vec<u8> {
        (0..7).flat_map(|_| self.0.idle()).collect()
    }
}

#[tokio::test]
async fn frames_that_come_byte_by_byte_or_several_at_once_are_read_all_the_same() {
    let by_byte = Manners { piece_bytes: 1, bytes_per_s: 50_000, ..Manners::good() };
    let merged = kinds::all()
        .filter(|kind| matches!(kind.way, Way::Speaks | Way::Repeats))
        .map(|kind| tokio::spawn(endure(kind, Manners::good(), false, Box::new(Merged((kind.device)(0..kind.count))))));
    let merged: Vec<_> = merged.collect();
    endure_all(by_byte, false, |_| true).await;
    all_end(merged).await;
}

/// Whether the device at `socket` has gone.
fn is_gone(socket: &Socket) -> bool {
    socket.path.symlink_metadata().is_err()
}

/// Its plug is pulled in the middle of a frame, more than once, and it comes back with more to say.
async fn unplug(kind: Kind) {
    let mut socket = Socket::new().unwrap();
    let mut rig = Rig::start(kind.toml, socket.path.to_str().unwrap(), SOON);
    let (count, more) = (kind.count, kind.count + 4);
    match kind.way {
        Way::Speaks => {
            let half = (kind.frame)(count);
            let mut frames: Vec<Vec<u8>> = (0..count).map(kind.frame).collect();
            frames.push(half[..half.len() / 2].to_vec());
            frames.reverse();
            socket.plug_in(emulators::air::Air::pushing(frames), Manners::good()).unwrap();
            rig.until(kind.name, |rig| rig.said(kind.series).len() >= count.into()).await;
            socket.plug_in((kind.device)(count + 1..more), Manners::good()).unwrap();
            rig.until(kind.name, |rig| rig.said(kind.series).len() >= usize::from(more) - 1).await;
            let must: Vec<u16> = (0..more).filter(|number| *number != count).collect();
            judge(&kind, &rig, &must, more);
            assert_eq!(rig.said(kind.series).len(), must.len(), "{}: half a frame is none", kind.name);
        }
        _ => {
            // Within an answer of nine bytes, and behind one.
            for unplug_after in if kind.way == Way::Asked { [5, 12] } else { [40, 90] } {
                let begins = if kind.way == Way::Asked { unplug_after } else { 0 };
                let manners = Manners { unplug_after: Some(unplug_after.into()), ..Manners::good() };
                socket.plug_in((kind.device)(begins..begins + count), manners).unwrap();
                rig.until(kind.name, |_| is_gone(&socket)).await;
            }
            let begins = if kind.way == Way::Asked { 1_000 } else { 0 };
            socket.plug_in((kind.device)(begins..more), Manners::good()).unwrap();
            let last = (kind.said)(begins.max(more - 1));
            rig.until(kind.name, |rig| rig.said(kind.series).contains(&last)).await;
            let must: Vec<u16> = if begins == 0 && kind.way != Way::Repeats { (0..more).collect() } else { Vec::new() };
            judge(&kind, &rig, &must, 10_000);
        }
    }
    socket.unplug();
    rig.stop().await;
}

#[tokio::test]
async fn a_device_that_is_unplugged_in_mid_frame_and_comes_back_loses_and_doubles_nothing() {
    all_end(kinds::all().map(|kind| tokio::spawn(unplug(kind))).collect()).await;
}
