//! One list of tests over every engine, and the tests that only an engine with a file can have.

mod attached;
mod backup;
mod bed;
mod crash;
mod cursors;
mod damage;
mod entry_tail;
mod files;
mod full;
mod logs;
mod model;
mod order;
mod real;
mod records;
mod tail;

/// Runs each named test on each engine. A new test is named here, once.
macro_rules! on_every_engine {
    ($($file:ident: $($name:ident)*;)*) => {
        mod memory {
            $($(#[test] fn $name() { super::$file::$name(&mut super::bed::Bed::new(super::bed::Kind::Memory)); })*)*
        }
        mod sqlite {
            $($(#[test] fn $name() { super::$file::$name(&mut super::bed::Bed::new(super::bed::Kind::Sqlite)); })*)*
        }
    };
}

on_every_engine! {
    logs:
        numbers_are_dense_in_each_log
        the_same_command_twice_is_one_entry
        a_refusal_leaves_nothing
        a_plan_that_cannot_be_kept_leaves_nothing
        pages_go_both_ways
        a_page_has_at_most_a_mebibyte
        an_erased_text_is_gone_and_the_entry_stays
        what_became_of_messages_is_kept
        threads_are_found
        pins_are_found
        mentions_are_found_until_deleted
        the_last_message_is_found_behind_other_entries
        a_time_leads_to_its_entry
        positions_count_messages
        o4_a_clock_that_is_set_back_changes_no_order
        heads_of_all_logs
        searching_looks_at_what_may_be_read;
    records:
        records_are_kept_whole
        names_are_found_by_key_and_by_skeleton
        sessions_are_found_by_token_until_they_end
        members_are_paged_by_user
        bans_are_listed
        relations_are_listed
        invites_are_found_and_counted
        one_time_links_are_used_once
        files_are_held_until_let_go
        a_conversation_has_one_call
        the_direct_conversation_of_two
        numbers_are_never_handed_out_twice
        users_are_found_by_their_beginning_first
        public_conversations_are_found
        a_plan_sees_what_it_decided;
    real:
        d5_a_definite_refusal_is_kept
        a_picture_is_held_as_long_as_it_is_shown
        two_people_register_and_talk;
    cursors:
        c1_cursors_only_go_forward
        what_one_wrote_is_read_and_delivers_nothing_before_it;
    order:
        o1_commits_are_published_in_order
        a_reading_sees_one_state
        a_reading_sees_what_was_published
        a_rule_that_panics_harms_nobody
        a_reading_that_panics_harms_nobody
        closing_answers_everybody;
}
