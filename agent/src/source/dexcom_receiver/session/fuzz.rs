//! Answers from outside.

use super::*;

/// Takes `bytes` for answers, each a status, a length in two bytes and what it says; FF is silence. For fuzzing: checksums
/// would keep almost all of them out.
pub(in super::super) fn fuzz(mut bytes: &[u8]) -> usize {
    let now = Now { boot: proto::Instant(0), wall: None };
    let (mut session, mut out) = (Session::new(Memory::default(), PATIENCE), Out::default());
    session.opened(now, &mut out);
    while let Some((&[status, low, high], rest)) = bytes.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(rest.len()).min(1_584);
        let (said, after) = rest.split_at(length);
        match status {
            0xff => session.due(now, &mut out),
            _ => session.heard(&frame(status, said), now, &mut out),
        }
        bytes = after;
    }
    assert!(session.buffer.len() <= 1_590, "an answer at most is held");
    out.readings()
}
