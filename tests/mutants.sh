#!/bin/sh
# Puts a known bug back, one at a time, and expects the models to notice.
#
#   tests/mutants.sh             all of them
#   tests/mutants.sh wake        only those whose name contains the word
#
# Each line of the table names a switch (`mutant!` in the sources) and the models that have to fail with it. Only the
# exit code of the models counts. One that neither fails nor ends in time has survived, and so has the mutant.
set -eu
cd "$(dirname "$0")/.."

# Without the check that the models pass without a fault: for who has just run them.
passed=
if [ "${1-}" = --models-passed ]; then
    passed=yes
    shift
fi
only=${1-}

. tests/models.env
export LOOM_MAX_PREEMPTIONS=2

table=$(sed '/^#/d; /^$/d' <<'MUTANTS'
wake_skips_release            cell::models::what_was_written_before_a_wake_is_seen_by_a_poll
suspend_relaxed               cell::models::polls_on_two_threads_do_not_overlap
cancel_ignores_running        cell::models::a_cancel_races_with_a_wake_and_the_completion
join_no_recheck               cell::models::whoever_awaits_a_task_that_completes_gets_its_output
unbind_ignores_lock           cell::models::the_walk_at_the_shutdown_meets_a_task_that_completes
parker_drops_merged_token     parker::models::tokens_that_were_merged_are_all_seen
parker_goes_elsewhere_with_a_token  parker::models::a_token_left_before_or_during_a_sleep_elsewhere_ends_it
parker_elsewhere_relaxed      parker::models::tokens_that_were_merged_elsewhere_are_all_seen
loser_lays_the_lead_down      driver::models::at_most_one_thread_has_the_lead
wait_without_second_look      driver::models::an_event_that_meets_a_wait_ends_it
shared_key_left_blindly       driver::models::who_polls_and_finds_an_event_takes_the_waker_of_nobody_else_who_polls
waiters_counted_outside_the_lock  driver::models::a_wait_that_is_given_up_beside_another_leaves_no_waker_behind
readiness_cleared_without_tick  driver::models::an_event_between_a_try_and_the_clearing_stays
token_without_generation      driver::models::an_event_of_a_former_owner_reaches_nobody
hasten_without_fence          driver::models::a_timer_armed_while_the_leader_falls_asleep_ends_its_sleep
leader_without_second_look    driver::models::a_timer_armed_while_the_leader_falls_asleep_ends_its_sleep
reactor_made_quietly          driver::models::a_reactor_made_while_the_leader_falls_asleep_is_slept_in
timer_next_after_unlock       driver::timers::models::a_timer_armed_while_somebody_falls_asleep_wakes_it_in_time
timer_elapsed_before_unlink   driver::timers::models::what_has_fired_is_out_of_the_wheel
fetched_thread_gets_up_at_once  whereabouts::models::a_thread_that_gets_up_while_it_is_fetched_keeps_no_narrow_set
note_is_taken_after_an_early_look  whereabouts::models::a_thread_that_gets_up_while_it_is_fetched_again_keeps_no_narrow_set
fires_after_the_close         driver::timers::models::what_fires_beside_a_close_moves_no_wheel_of_the_next_runtime
attend_without_fence          scheduler::models::driver::what_was_left_to_the_driver_before_a_call_for_attention_is_seen
attend_leaves_the_leader_asleep  scheduler::models::driver::a_guest_that_leaves_a_timer_behind_hastens_the_leader
lead_laid_down_without_fence  scheduler::models::driver::a_timer_armed_while_the_lead_is_laid_down_goes_off
follower_lets_the_leader_sleep  scheduler::models::driver::a_worker_that_sleeps_behind_a_timer_hastens_the_leader
fires_without_a_hold          scheduler::models::driver::a_stopped_clock_stands_still_while_a_timer_is_being_fired
guest_leaves_the_driver       scheduler::models::driver::a_guest_that_leaves_passes_the_driver_on
submit_without_fence          scheduler::models::the_idle_word_loses_no_submission
park_without_fence            scheduler::models::the_idle_word_loses_no_submission
park_skips_second_look        scheduler::models::what_is_submitted_while_the_worker_falls_asleep_is_run
last_searcher_keeps_quiet     scheduler::models::the_last_searcher_passes_the_search_on
next_slot_relaxed             scheduler::models::the_next_slot_gives_each_task_once
core_taken_without_the_bit    scheduler::models::a_guest_and_a_submitter_meet_at_one_seat
offer_is_deserted             scheduler::models::a_worker_that_is_offered_to_a_thread_that_ends_is_put_back
guest_keeps_the_search        scheduler::models::the_worker_of_a_current_thread_is_notified_again_by_the_next_submitter
late_wake_leaves_it           scheduler::models::a_wake_that_meets_the_shutdown_leaves_no_task_behind
stop_without_recheck          scheduler::models::a_wake_that_meets_the_shutdown_leaves_no_task_behind
stir_without_fence            scheduler::monitor::alarm::models::a_worker_that_is_taken_up_while_the_monitor_falls_asleep_is_seen
monitor_sleeps_without_fence  scheduler::monitor::alarm::models::a_worker_that_is_taken_up_while_the_monitor_falls_asleep_is_seen
quiet_without_fence           scheduler::monitor::alarm::models::a_worker_that_is_taken_up_while_another_stops_the_timer_is_seen
nobody_is_called_beside       scheduler::models::monitor::a_task_that_relies_on_a_search_that_is_stuck_is_run_by_who_is_called_beside_it
quiet_without_second_look     scheduler::monitor::alarm::models::a_worker_that_is_taken_up_while_another_stops_the_timer_is_seen
tell_without_fence            scheduler::monitor::alarm::models::what_is_kept_is_news_to_a_worker_that_parks_meanwhile
timer_says_when_after_asking  scheduler::monitor::alarm::news::models::what_is_told_while_the_timer_is_set_is_not_late
last_ring_is_stopped          scheduler::monitor::alarm::models::the_last_ring_is_not_stopped
late_wake_fails_next_runtime  scheduler::models::a_wake_that_comes_a_runtime_too_late_harms_nobody
late_call_is_dropped          scheduler::models::a_call_between_two_runtimes_is_one_for_the_next
host_before_phase             scheduler::models::a_call_that_meets_the_opening_ends_nothing
monitor_before_host           scheduler::models::a_thread_that_wants_the_monitor_of_the_last_runtime_starts_none_for_the_next
late_hand_holds_no_clock      scheduler::models::driver::a_stopped_clock_stands_still_while_a_task_is_in_a_late_hand
buried_wake_holds_nothing     scheduler::models::driver::a_root_that_is_woken_behind_a_nested_call_holds_a_stopped_clock_once_and_not_meanwhile
clock_polls_first             scheduler::models::driver::a_stopped_clock_stands_still_when_a_worker_brought_an_event_before_it_slept
clock_reads_its_timer_first   scheduler::models::driver::a_stopped_clock_goes_on_to_the_timer_that_a_worker_armed_before_it_slept
clock_counts_no_changes       scheduler::models::driver::a_stopped_clock_stands_still_when_somebody_was_up_between_the_two_looks
clock_moves_after_the_look    scheduler::models::driver::a_worker_that_is_woken_while_a_stopped_clock_goes_on_sees_one_time
failed_tasks_are_not_told     scheduler::models::who_waits_for_the_last_task_is_told_when_it_fails_for_want_of_a_thread
pool_idle_counted_early       blocking::models::a_job_that_another_waits_for_has_a_thread_of_its_own
pool_leaves_without_a_look    blocking::models::a_job_that_meets_a_thread_without_patience_is_run
pool_forgets_a_refusal        blocking::models::a_job_whose_scout_was_refused_has_one_later
pool_forgets_a_handed_job     blocking::models::a_wait_for_every_job_lets_none_be_failed
pool_refused_scout_stays      blocking::models::a_scout_that_is_refused_every_thread_runs_the_jobs_itself
pool_scout_keeps_its_duty     blocking::models::each_job_that_finds_everybody_at_work_has_a_scout
pool_scout_leaves_the_rest    blocking::models::jobs_that_wait_for_each_other_have_threads_beyond_those_that_start_at_once
pool_swallows_refusal         blocking::models::jobs_fail_when_no_thread_starts
promise_publish_relaxed       promise::models::what_was_set_is_seen
promise_no_recheck            promise::models::two_waiters_are_woken
token_no_recheck              cancel::models::a_child_that_is_made_during_a_cancel_is_cancelled
token_trusts_other_cancels    cancel::models::a_cancel_reaches_what_is_below_a_node_that_another_one_has_only_begun_with
MUTANTS
)

# Not a pipe, which would hide that the build failed.
. tests/models.build

results="$CARGO_TARGET_DIR/mutants"
rm -rf "$results"
mkdir -p "$results"

# judge MODEL [MUTANT]: runs the model, and leaves its exit code and what it printed in the results.
cat >"$results/judge" <<'JUDGE'
model=$1 mutant=${2-}
log="$results/${mutant:-$model}"
status=0
RUNTIME_MUTANT="$mutant" timeout 600 "$models" --exact "$model" >"$log.log" 2>&1 || status=$?
if [ -z "$mutant" ] && ! grep -q '^test result: ok. 1 passed' "$log.log"; then status=missing; fi
echo "$status" >"$log.status"
JUDGE
export results models

# Two at a time: each runs in one thread.
chosen=$(echo "$table" | awk -v only="$only" 'only == "" || index($1, only)')
if [ -z "$passed" ]; then
    # A model that fails without any mutant kills nobody.
    echo "$chosen" | awk '{ print $2 }' | sort -u | xargs -P 2 -n 1 sh "$results/judge"
    for model in $(echo "$chosen" | awk '{ print $2 }' | sort -u); do
        if [ "$(cat "$results/$model.status")" != 0 ]; then
            echo "$model does not pass without a mutant:" >&2
            cat "$results/$model.log" >&2
            exit 1
        fi
    done
fi
echo "$chosen" | awk '{ print $2, $1 }' | xargs -P 2 -n 2 sh "$results/judge"

survived=0
printf '%-36s %-9s %5s  %s\n' mutant verdict exit model
for mutant in $(echo "$chosen" | awk '{ print $1 }'); do
    grep -rq "mutant!(\"$mutant\")" runtime/src || { echo "no switch is named $mutant" >&2; exit 1; }
    status=$(cat "$results/$mutant.status")
    case $status in
        0 | 124) verdict=SURVIVED; survived=1 ;;
        *) verdict=killed ;;
    esac
    model=$(echo "$chosen" | awk -v mutant="$mutant" '$1 == mutant { print $2 }')
    printf '%-36s %-9s %5s  %s\n' "$mutant" "$verdict" "$status" "$model"
done

# A switch that no line names is a mutant that nobody hunts.
for mutant in $(grep -rhoE 'mutant!\("[a-z_]+"\)' runtime/src | sed 's/.*"\(.*\)".*/\1/' | sort -u); do
    echo "$table" | grep -q "^$mutant " || { echo "$mutant is not in the table" >&2; exit 1; }
done
[ $survived = 0 ]
