//! Words: each different one once, then which of them comes when.

use alloc::string::String;
use alloc::vec::Vec;

use super::integers;
use crate::wire::{DecodeError, Reader, put};

/// Appends `texts`; their count is the reader's business.
pub(super) fn encode(texts: &[&str], bytes: &mut Vec<u8>) {
    let mut words: Vec<&str> = texts.to_vec();
    words.sort_unstable();
    words.dedup();
    put(bytes, &(words.len() as u64));
    for word in &words {
        put(bytes, word);
    }
    let places = texts.iter().map(|text| words.partition_point(|word| word < text) as u64);
    integers::encode(places.map(u64::cast_signed), bytes);
}

/// Takes `count` texts of at most `bytes_max` bytes each.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize, bytes_max: usize) -> Result<Vec<String>, DecodeError> {
    let mut words: Vec<&str> = Vec::new();
    for _ in 0..reader.count("words", count)? {
        let word: &str = reader.take("word")?;
        if word.len() > bytes_max {
            let (found, max) = (word.len() as u64, bytes_max as u64);
            return Err(DecodeError::TooMany { what: "bytes of text", found, max });
        }
        words.push(word);
    }
    // What all texts take together is bounded too: a long word, once on the wire, must not be asked for 65 536 times.
    let mut budget = EXPANDED_BYTES_MAX;
    let mut texts = Vec::with_capacity(count);
    for place in integers::decode(reader, count, "words' places")? {
        let word = usize::try_from(place).ok().and_then(|place| words.get(place));
        let word = word.ok_or(DecodeError::Malformed("word's place"))?;
        budget = budget.checked_sub(word.len()).ok_or(DecodeError::TooMany {
            what: "bytes of a column's text",
            found: u64::MAX,
            max: EXPANDED_BYTES_MAX as u64,
        })?;
        texts.push(String::from(*word));
    }
    Ok(texts)
}

/// Bytes that one column's texts may take once repeated words are written out.
pub(super) const EXPANDED_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_list_of_words_is_read_back(texts in prop::collection::vec("[a-c]{0,2}|.{0,8}", 0..40)) {
            let mut bytes = Vec::new();
            encode(&texts.iter().map(String::as_str).collect::<Vec<_>>(), &mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(decode(&mut reader, texts.len(), 64).unwrap(), texts);
            prop_assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn a_small_message_cannot_ask_for_much_memory() {
        let long = "x".repeat(4000);
        let texts = alloc::vec![long.as_str(); 1000];
        let mut bytes = Vec::new();
        encode(&texts, &mut bytes);
        assert!(bytes.len() < 4100);
        assert!(matches!(decode(&mut Reader::new(&bytes), 1000, 8192), Err(DecodeError::TooMany { .. })));
    }
}
