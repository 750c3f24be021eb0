//! What the ledger says, as receipts.

use bytes::Bytes;
use proto::message::{RECEIPT_RANGES_MAX, RECEIPT_REFUSED_MAX, Receipt, Refused, Settled};
use proto::{DeviceId, Epoch, Instant, Nonce};

use super::signing::ReceiptKey;
use crate::store::SettledRanges;

/// Whom receipts are for, and what they are signed with, if they are.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Whom.
    pub device: &'a DeviceId,
    /// With what.
    pub key: Option<&'a ReceiptKey>,
}

/// The receipts that say all of `settled` and `refused`: one, or several of which all but the last say that more
/// follow.
#[must_use]
pub fn receipts(
    reader: Reader<'_>,
    epoch: Epoch,
    nonce: Option<Nonce>,
    now: Instant,
    settled: &SettledRanges,
    refused: &[Refused],
) -> Vec<Bytes> {
    let ranges: Vec<Settled> =
        settled.0.iter().map(|(range, state)| Settled { range: *range, state: *state }).collect();
    let count = ranges.len().div_ceil(RECEIPT_RANGES_MAX).max(refused.len().div_ceil(RECEIPT_REFUSED_MAX)).max(1);
    let mut pieces = ranges.chunks(RECEIPT_RANGES_MAX);
    let mut refusals = refused.chunks(RECEIPT_REFUSED_MAX);
    let piece = |index| {
        let mut receipt = Receipt {
            nonce,
            gateway_time: now,
            epoch,
            ranges: pieces.next().unwrap_or_default().to_vec(),
            continued: index + 1 < count,
            refused: refusals.next().unwrap_or_default().to_vec(),
            signature: None,
        };
        reader.key.into_iter().for_each(|key| key.sign(reader.device, &mut receipt));
        Bytes::from(receipt.encode())
    };
    (0..count).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Range;
    use proto::message::Settlement;

    #[test]
    fn many_ranges_go_in_several_receipts_and_the_last_one_says_so() {
        let ranges = (0..600).map(|index| (Range::one(index * 2 + 1), Settlement::Stored)).collect();
        let device: DeviceId = "a".parse().unwrap();
        let reader = Reader { device: &device, key: None };
        let all = receipts(reader, Epoch([1; 8]), Some(Nonce([2; 8])), Instant(3), &SettledRanges(ranges), &[]);
        let read: Vec<Receipt> = all.iter().map(|bytes| Receipt::decode(bytes).unwrap()).collect();
        assert_eq!(read.iter().map(|receipt| receipt.ranges.len()).collect::<Vec<_>>(), [256, 256, 88]);
        assert_eq!(read.iter().map(|receipt| receipt.continued).collect::<Vec<_>>(), [true, true, false]);
        let nothing = receipts(reader, Epoch([1; 8]), None, Instant(3), &SettledRanges::default(), &[]);
        assert_eq!(nothing.len(), 1, "that nothing is settled is said too");
    }
}
