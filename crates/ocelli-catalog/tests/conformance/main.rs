//! One suite, two backends: every case is written once in `cases` and runs on SQLite and on PostgreSQL. What only one of
//! them can do (a file that is no database, a server that goes away) is in `opening` and `outages`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod accounts;
mod agreements;
mod alike;
mod backfills;
mod carrying;
mod cases;
mod claims;
mod dependents;
mod firsts;
mod jobs;
mod killing;
mod known_files;
mod lost;
mod migrating;
mod model;
mod opening;
mod orders;
mod outages;
mod pages;
mod plans;
mod presence;
mod ruling;
mod searching;
mod searching_model;
mod searching_pages;
mod spending;
mod telling;
mod told;
mod whole;
mod words;
mod world;

use accounts::*;
use agreements::*;
use alike::*;
use backfills::*;
use carrying::*;
use cases::*;
use claims::*;
use dependents::*;
use firsts::*;
use jobs::*;
use known_files::*;
use lost::*;
use orders::*;
use pages::*;
use presence::*;
use ruling::*;
use searching::*;
use searching_pages::*;
use spending::*;
use telling::*;
use told::*;
use whole::*;

macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::world::World::sqlite()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(crate::world::World::postgres().await).await;
            })*
        }
    };
}

on_both! {
    what_a_rule_leaves_out_is_skipped_until_it_is_asked_after_all,
    what_a_rule_leaves_out_is_asked_where_any_revision_will_do,
    a_rule_about_answers_is_decided_once_they_are_there,
    a_backfill_asks_what_no_rule_leaves_out,
    a_record_comes_back_as_it_was_sent,
    a_file_is_remembered_once_its_image_was_seen_there,
    the_latter_state_of_a_file_counts,
    many_files_are_remembered_at_once,
    a_url_is_remembered_once_its_image_was_seen_there,
    of_what_lists_say_the_latest_batch_counts_in_any_order,
    what_a_list_says_of_a_reference_that_failed_is_kept_with_it,
    a_name_that_no_index_holds_is_refused_alone,
    records_are_found_by_what_lists_said,
    what_a_worker_finds_out_is_kept_whenever_it_arrives,
    a_partial_before_its_intake_is_kept_and_completes_with_it,
    a_redelivered_batch_changes_nothing,
    a_reading_replaces_a_failure_and_never_the_other_way_round,
    a_newer_want_opens_the_record_again,
    a_refused_image_is_complete_and_counted_apart,
    first_seen_never_grows,
    deferred_jobs_are_counted_until_their_time_comes,
    open_jobs_come_in_pages_that_miss_none_and_repeat_none,
    touched_jobs_are_not_listed_until_later,
    failures_are_listed_and_reopened_by_filter,
    a_late_duplicate_of_a_reopened_failure_is_ignored,
    the_last_word_of_a_worker_counts_whatever_the_order,
    workers_whose_clocks_are_wrong_are_present_as_long_as_they_are_heard,
    only_a_newer_word_makes_a_worker_present_unless_its_clock_was_put_right,
    the_latest_report_of_a_batch_counts,
    problems_are_kept_once_per_reference,
    fences_are_noted_when_sent_and_when_passed,
    a_message_that_cannot_be_kept_spoils_no_other,
    hostile_text_is_stored_whole,
    a_source_of_the_greatest_length_is_kept_and_found,
    times_at_the_edges_of_the_calendar_are_kept,
    images_are_found_by_prefix_and_by_source,
    what_was_applied_survives_a_process_that_vanishes,
    two_writers_of_the_same_messages_make_one_record_and_complete_it_once,
    readers_are_served_while_a_writer_writes,
    a_thousand_images_are_looked_up_at_once,
    a_dead_job_is_a_failure_of_the_revision_that_was_asked_for,
    a_dead_job_that_is_answered_or_asked_anew_changes_nothing,
    a_dead_job_of_any_revision_never_hides_a_reading,
    a_dead_job_before_its_intake_is_a_whole_record,
    dead_messages_are_written_if_they_can_be_and_kept_if_not,
    an_answer_that_is_no_text_is_kept_byte_by_byte_and_spoils_no_other,
    failures_are_found_by_batch_and_by_age,
    a_discarded_failure_is_a_skip_that_no_duplicate_brings_back,
    every_batch_is_accounted_for_whatever_was_seen_before,
    a_damaged_catalog_is_found_out,
    a_record_that_is_noted_as_complete_too_early_is_found_out,
    of_any_number_of_claimers_at_once_one_gets_each_job,
    a_claim_is_held_until_it_is_given_back,
    a_claim_that_nobody_renews_ends_with_its_lease,
    a_claim_ends_in_the_transaction_that_writes_the_analysis,
    nobody_gets_a_job_while_its_analysis_is_being_written,
    a_clock_that_was_set_back_holds_no_job_for_that_long,
    a_paused_analyzer_gives_no_job_away_until_it_goes_on,
    what_is_on_its_way_counts_against_a_budget,
    every_attempt_is_counted_once_and_what_led_to_nothing_is_waste,
    when_an_earlier_answer_is_preferred_the_other_one_was_waste,
    two_collectors_of_the_same_messages_count_them_once,
    numbers_beyond_all_reason_stay_numbers,
    a_budget_of_a_batch_stops_the_jobs_of_that_batch_alone,
    a_budget_of_a_month_ends_with_it_and_money_counts_in_its_currency,
    a_paid_attempt_that_was_never_heard_of_is_waste_once_its_job_is_taken_over,
    a_message_that_comes_after_all_takes_the_place_of_what_was_presumed,
    an_answer_of_another_attempt_writes_off_what_the_holder_of_the_claim_has_paid,
    a_paid_attempt_whose_job_nobody_takes_over_is_written_off_after_a_while,
    old_payments_are_taken_out_their_sums_stay_and_no_message_counts_them_again,
    nothing_is_counted_twice_while_payments_are_taken_out,
    a_dependent_job_is_ready_with_the_last_answer_it_needs_and_taken_once,
    a_dependent_job_over_known_answers_is_ready_at_once_in_any_order,
    a_failure_that_is_tried_again_holds_what_needs_it,
    needed_texts_are_the_wanted_answers_cut_between_characters,
    jobs_of_a_paused_batch_wait_and_those_of_others_go_on,
    what_only_a_cancelled_batch_wants_is_taken_back_and_everything_adds_up,
    messages_of_a_cancelled_batch_that_come_late_ask_nothing,
    another_batch_asks_anew_for_what_a_cancelled_one_gave_up,
    what_was_tried_again_by_hand_is_not_taken_back,
    words_phrases_prefixes_and_insides_are_found,
    all_of_a_query_must_hold_for_one_answer_and_hits_name_their_analyzers,
    filters_tell_states_times_sources_and_models_apart,
    only_current_answers_are_found_unless_older_ones_are_asked_for,
    a_reading_that_replaces_a_failure_is_found_and_what_is_taken_out_is_not,
    an_answer_before_its_intake_is_found_once_the_record_is_there,
    short_answers_and_more_answers_come_first_and_order_by_time_is_exact,
    pages_follow_each_other_without_gap_or_repetition,
    facets_count_the_records_that_match,
    more_than_can_be_counted_is_said_and_still_paged_in_order,
    beginnings_of_words_that_are_in_most_answers_are_found_in_order,
    hostile_texts_and_queries_are_only_words,
    times_at_the_edges_do_not_break_the_order,
    sheets_tell_sizes_and_states_of_many_images_at_once,
    neighbours_lead_through_the_whole_archive_in_the_order_of_time,
    failures_and_batches_come_in_pages_that_miss_none_and_repeat_none,
    a_mark_of_the_archive_changes_with_every_record_and_with_nothing_else,
    a_batch_is_seen_with_the_states_of_its_images_alone,
    outcomes_are_counted_in_the_span_they_fall_into,
    failures_are_counted_as_they_are_listed,
    searches_are_kept_replaced_and_forgotten_within_a_bound,
    what_people_did_is_listed_the_latest_first_and_page_by_page,
    a_backup_that_is_made_while_others_write_is_whole_and_is_restored,
    a_backfill_asks_what_is_missing_once_and_older_answers_stay,
    a_cancelled_backfill_gives_back_what_was_wanted_before,
    a_paused_backfill_and_one_at_its_cap_give_no_job_away,
    two_backfills_of_the_same_images_at_once_ask_once,
    a_backfill_of_another_question_does_not_take_over_a_name,
    jobs_of_a_dependent_analyzer_wait_for_what_they_need,
    what_answers_took_is_read_back_latest_first,
    whatever_completes_a_record_is_told_to_every_listener,
    a_record_that_completes_again_while_it_is_told_is_told_again,
    what_is_not_taken_is_tried_again_and_what_is_given_up_waits_for_people,
    of_any_number_that_tell_at_once_one_gets_each,
    of_some_records_those_that_match_are_told_apart,
    whole_records_come_in_the_order_of_first_sightings,
    texts_come_back_as_they_were_whatever_is_in_them,
    images_that_look_alike_are_found_beside_every_other_term,
    the_nearest_images_are_named_with_their_distance_without_the_image_itself,
    an_image_that_cannot_be_compared_is_named_with_its_place,
    the_first_hash_of_an_image_stays_however_often_and_late_others_come,
    the_index_finds_what_comparing_all_would_find,
    a_group_is_what_looks_like_its_first_image_and_does_not_drift,
    of_near_images_one_is_asked_and_the_others_point_to_it,
    when_the_first_fails_the_next_of_its_like_is_asked,
    when_the_first_is_taken_back_another_is_asked,
    of_near_images_at_two_collectors_at_once_one_is_asked,
    an_answer_of_another_revision_stands_for_no_other_image,
    what_cannot_be_compared_and_what_needs_others_keep_their_ways,
    answers_are_compared_when_their_record_is_complete_in_any_order,
    parts_of_words_are_found_before_and_after_new_words_are_sorted_in,
    disagreements_come_lowest_first_page_by_page_and_by_pair,
    records_from_before_there_were_agreements_are_compared_when_the_archive_is_opened,
}
