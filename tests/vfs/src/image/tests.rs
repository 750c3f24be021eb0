use super::*;

/// A tape of one file, `a`.
fn tape(operations: impl IntoIterator<Item = Operation>) -> (Tape, FileId) {
    let mut tape = Tape::default();
    let (file, _) = tape.file("a");
    operations.into_iter().for_each(|operation| tape.note(operation));
    (tape, file)
}

/// What all images of a cut after `mark` operations hold of the one file.
fn outcomes(tape: &Tape, mark: usize) -> std::collections::BTreeSet<Option<Vec<u8>>> {
    let mut replay = tape.replay();
    replay.advance(mark);
    let content = |seed| replay.image(seed).files.pop().map(|(_, bytes)| bytes);
    (0..200).map(content).collect()
}

const A: FileId = FileId(0);

fn write(offset: u64, byte: u8, length: usize) -> Operation {
    Operation::Write(A, offset, vec![byte; length])
}

#[test]
fn what_was_synced_is_there_in_every_image() {
    let (tape, file) = tape([Operation::Create(A), write(0, 1, 600), Operation::Sync(A), write(600, 2, 600)]);
    assert!(outcomes(&tape, 4).iter().all(|content| content.as_ref().unwrap().starts_with(&[1; 600])));
    let mut replay = tape.replay();
    replay.advance(3);
    assert_eq!(replay.durable(file), Some([1; 600].as_slice()));
    assert_eq!(outcomes(&tape, 3).len(), 1, "nothing is open after a sync");
}

#[test]
fn a_write_without_a_sync_is_there_or_not_or_torn_at_sectors() {
    let (tape, _) = tape([Operation::Create(A), write(0, 1, 1_024), Operation::Sync(A), write(0, 2, 1_024)]);
    let seen = outcomes(&tape, 4);
    let of = |left: u8, right: u8| Some([[left; 512], [right; 512]].concat());
    assert_eq!(seen, [of(1, 1), of(1, 2), of(2, 1), of(2, 2)].into());
}

#[test]
fn a_later_write_can_be_there_without_an_earlier_one() {
    let (tape, _) = tape([Operation::Create(A), Operation::Sync(A), write(0, 1, 512), write(512, 2, 512)]);
    let reordered = Some([[0; 512], [2; 512]].concat());
    assert!(outcomes(&tape, 4).contains(&reordered));
}

#[test]
fn a_deleted_file_comes_back_whole_unless_its_folder_was_synced() {
    let made = || [Operation::Create(A), write(0, 1, 9), Operation::Sync(A), Operation::Delete(A)];
    let (unsynced, _) = tape(made());
    assert_eq!(outcomes(&unsynced, 4), [None, Some(vec![1; 9])].into());
    let (synced, _) = tape(made().into_iter().chain([Operation::SyncFolder]));
    assert_eq!(outcomes(&synced, 5), [None].into());
    // The next file of that name never shows with the bytes of the first.
    let (again, _) = tape(made().into_iter().chain([Operation::Create(A), write(0, 2, 3)]));
    assert_eq!(outcomes(&again, 6), [None, Some(vec![1; 9]), Some(vec![]), Some(vec![2; 3])].into());
}

#[test]
fn a_sync_of_the_folder_makes_names_durable_and_no_content() {
    let (tape, _) = tape([Operation::Create(A), write(0, 1, 9), Operation::SyncFolder]);
    assert_eq!(outcomes(&tape, 2), [None, Some(vec![]), Some(vec![1; 9])].into());
    assert_eq!(outcomes(&tape, 3), [Some(vec![]), Some(vec![1; 9])].into());
}

#[test]
fn after_a_failed_sync_what_was_not_durable_never_is() {
    let (tape, file) = tape([
        Operation::Create(A),
        write(0, 1, 4),
        Operation::Sync(A),
        write(0, 2, 4),
        Operation::Lose(A),
        write(4, 3, 4),
        Operation::Sync(A),
    ]);
    let mut replay = tape.replay();
    replay.advance(7);
    assert_eq!(replay.durable(file), Some([1, 1, 1, 1, 3, 3, 3, 3].as_slice()));
}

#[test]
fn truncations_without_a_sync_may_have_happened() {
    let (tape, _) = tape([Operation::Found(A, vec![7; 5]), Operation::Truncate(A, 2)]);
    assert_eq!(outcomes(&tape, 2), [Some(vec![7; 2]), Some(vec![7; 5])].into());
    assert_eq!(outcomes(&tape, 1), [Some(vec![7; 5])].into());
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let (tape, _) = tape([Operation::Create(A), write(0, 1, 9_000)]);
    let mut replay = tape.replay();
    replay.advance(2);
    for seed in 0..20 {
        assert_eq!(replay.image(seed), replay.image(seed));
    }
}
