//! What every store does, whatever database is behind it: each behaviour is written once and shown on each.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod backend;
mod batches;
mod bed;

mod bounds;
mod clocks;
mod copies;
mod identity;
mod losses;
mod questions;
mod settling;
mod sqlite_alone;
mod trail;
mod values;

/// Hands each behaviour's room and name to a macro, after what it is told besides.
macro_rules! behaviours {
    ($each:ident!($($told:tt)*)) => {
        $each! {
            ($($told)*)
            identity {
                the_same_batch_twice_changes_nothing,
                another_body_under_the_same_identity_is_refused_kept_aside_and_alarmed,
                a_batch_whose_row_was_collapsed_is_known_whatever_its_hash,
                every_order_of_delivery_ends_in_the_same_ledger_and_the_same_readings,
                a_pack_is_known_by_its_hash_or_by_its_packet_among_the_last_64,
                a_pack_that_bears_another_devices_name_is_kept_aside_whole_and_alarmed,
                a_restart_keeps_everything_and_takes_all_devices_for_disconnected,
                a_transaction_that_fails_leaves_nothing_behind,
                a_transaction_that_fails_while_much_of_it_is_on_its_way_leaves_nothing_behind,
                only_what_is_settled_around_a_commit_is_told_after_it,
            }
            settling {
                an_unreadable_batch_is_settled_as_quarantined_and_moves_when_it_can_be_read,
                quarantine_has_a_quota_beyond_which_a_batch_is_refused_and_not_settled,
                a_gap_settles_what_is_open_and_gives_way_to_what_comes_after_all,
                neighbouring_gaps_are_one_and_a_repeated_one_counts_once,
                ranges_merge_in_any_order_in_memory_and_on_the_disk,
                what_is_settled_here_and_there_is_in_the_database_and_told_as_a_plain_map_has_it,
            }
            losses {
                what_was_given_away_and_is_nowhere_becomes_an_unexplained_gap_with_the_hello_that_shows_it,
                what_comes_after_all_ends_its_gap_and_counts_as_repaired,
                a_reason_that_is_told_later_takes_the_place_of_none,
                part_of_a_hello_concludes_nothing_about_epochs_that_it_does_not_name,
                losses_between_ranges_that_a_full_hello_had_to_join_stay_losses,
                ten_thousand_gaps_become_fewer_and_still_count_each_number_once,
            }
            copies {
                an_epoch_that_a_whole_hello_names_no_more_and_that_no_later_one_hides_is_lost,
                the_only_copy_of_what_a_gap_names_is_never_called_settled,
                a_next_number_that_went_back_is_a_copied_buffer_and_makes_nothing_lost,
                two_agents_of_one_disk_image_lose_nothing_and_are_noticed,
                an_older_buffer_copied_back_is_noticed_even_if_all_had_arrived,
                an_epoch_that_began_under_a_connection_is_later_than_those_its_hello_named,
                what_a_copy_held_that_is_never_heard_of_again_is_lost_in_the_end,
                a_healthy_agent_that_starts_again_and_again_raises_nothing,
                a_ledger_restored_from_an_older_copy_gets_again_what_agents_hold_and_names_the_rest,
            }
            values {
                every_bit_of_every_value_is_kept,
                readings_of_one_instant_are_ranked_across_batches_and_commits,
                a_batch_that_spans_many_readings_is_ranked_all_the_same,
                the_newest_revision_counts_in_whatever_order_they_come,
                a_retraction_hides_its_record_even_if_it_comes_first,
                what_a_source_reads_twice_counts_once_but_two_readings_of_one_record_both_count,
                a_device_that_makes_a_series_of_every_value_is_stopped,
            }
            clocks {
                the_first_clock_of_a_boot_that_knows_the_time_serves_all_its_batches,
                a_clock_that_is_learned_later_moves_what_was_placed_without_one_and_nothing_else,
                clocks_that_step_by_years_either_way_lose_reorder_and_expire_nothing,
            }
            questions {
                a_reading_from_the_far_future_is_kept_and_flagged_but_is_not_the_newest,
                thinning_keeps_extremes_and_counts_low_and_high_among_them,
                days_are_those_of_the_zone_with_23_24_or_25_hours,
                a_question_that_takes_too_long_is_given_up,
                the_feed_gives_readings_in_the_order_of_commits_and_only_those_that_count,
                a_subject_of_the_settings_has_what_its_devices_measure,
                the_newest_live_reading_tells_how_far_a_device_lags,
                a_device_that_left_more_than_a_day_ago_is_silent_unless_it_was_revoked_since,
            }
            bounds {
                batch_rows_of_a_device_that_never_says_hello_go_with_the_hello_of_another,
                batch_rows_that_a_device_needs_no_more_go_a_few_with_each_hello,
                epochs_beyond_the_bound_are_forgotten_when_nobody_can_have_their_batches,
                a_conflict_that_quarantine_has_no_room_for_is_said_to_be_one_that_was_not_kept,
                a_device_at_its_series_has_what_names_another_kept_aside_however_often_it_comes,
                a_gap_stays_while_what_came_for_it_has_no_room_anywhere,
                gaps_of_more_readings_than_can_be_counted_are_taken_in,
            }
            trail {
                entries_are_kept_to_the_byte_and_hang_together_whatever_clocks_say,
                those_who_append_at_once_make_one_chain_without_a_hole_or_a_fork,
                what_was_changed_removed_or_cut_off_is_named,
                an_older_copy_of_the_database_is_noticed_by_its_checkpoints,
                the_oldest_entries_go_by_the_rule_and_nothing_else_does_and_the_rest_is_proven_still,
            }
        }
    };
}

/// A test for each behaviour, on one kind of store.
macro_rules! on {
    (($backend:expr) $($room:ident { $($name:ident,)* })*) => {
        $($(
            #[test]
            fn $name() {
                let backend = $backend;
                if crate::backend::Backend::is_here(&backend) {
                    crate::$room::$name(&backend);
                }
            }
        )*)*
    };
}

mod sqlite {
    behaviours!(on!(crate::backend::Sqlite));
}

mod postgres {
    behaviours!(on!(crate::backend::Postgres(harness::servers::Edition::Plain15)));
}

mod influx_beside_sqlite {
    behaviours!(on!(crate::backend::Influx(crate::backend::Sqlite)));
}

#[cfg(feature = "aws")]
mod timestream_beside_sqlite {
    behaviours!(on!(crate::backend::Timestream(crate::backend::Sqlite)));
}

mod influx_beside_postgres {
    behaviours!(on!(crate::backend::Influx(crate::backend::Postgres(harness::servers::Edition::Plain15))));
}

mod timescale {
    behaviours!(on!(crate::backend::Postgres(harness::servers::Edition::Timescale17)));
}
