//! The records of a task to one attempt each: the twin of `workers/task_events/merge.py`.

use crate::record::{Definition, ErrorInfo, Lifecycle, LogInfo, Profile, Span, TaskRecord, Text};
use crate::rules::{end_from_outside, inferred_logs, known_logs, merged_logs, Ends};
use std::cmp::Reverse;
use std::collections::HashMap;

const PROFILE_EVENTS_KEPT: usize = 1000;

#[derive(Default)]
pub struct Attempt<'a> {
    pub number: i64,
    pub definition: Option<Definition<'a>>,
    pub states: Vec<(Text<'a>, Option<i64>)>,
    pub node_id: Text<'a>,
    pub worker_id: Text<'a>,
    pub worker_pid: i64,
    pub error: Option<ErrorInfo<'a>>,
    pub logs: Option<LogInfo<'a>>,
    pub repr_name: Text<'a>,
    pub debugger_paused: Option<bool>,
    pub profile: Option<Profile<'a>>,
    pub spans: Vec<Span<'a>>,
    pub node_rank: u8,
}

impl Attempt<'_> {
    /// When a state was reached: outer `None` if it never was.
    pub fn state(&self, name: &str) -> Option<Option<i64>> {
        self.states.iter().find(|state| state.0 .0 == name).map(|state| state.1)
    }
}

pub fn merge<'a>(task_id: &str, mut encoded: Vec<&'a [u8]>, ends: &Ends) -> Result<Vec<Attempt<'a>>, rmp_serde::decode::Error> {
    encoded.sort_unstable();
    encoded.dedup();
    let mut records = encoded.into_iter().map(rmp_serde::from_slice).collect::<Result<Vec<TaskRecord>, _>>()?;
    records.sort_by_key(|record| record.ns);
    let senders_node = ends.old.as_ref().is_some_and(|old| old.senders_node);
    let mut attempts: Vec<Attempt> = Vec::with_capacity(1);
    for record in records {
        let at = attempts.iter().position(|attempt| attempt.number == record.attempt).unwrap_or_else(|| {
            attempts.push(Attempt { number: record.attempt, ..Attempt::default() });
            attempts.len() - 1
        });
        let attempt = &mut attempts[at];
        if let Some(lifecycle) = record.lifecycle {
            live(attempt, lifecycle, senders_node);
        } else if let Some(mut profile) = record.profile {
            attempt.spans.append(&mut profile.spans);
            attempt.profile = Some(profile);
        } else if record.definition.is_some() {
            attempt.definition = record.definition;
        }
    }
    attempts.retain(|attempt| attempt.definition.is_some());
    for attempt in &mut attempts {
        attempt.spans = distinct(std::mem::take(&mut attempt.spans));
        end(attempt, ends);
        if let Some(old) = &ends.old {
            attempt.logs = inferred_logs(attempt, task_id, old);
        }
    }
    attempts.sort_by_key(|attempt| Reverse(attempt.number));
    Ok(attempts)
}

/// Only what an event sets counts; where an attempt ran, its worker's own events know best.
fn live<'a>(attempt: &mut Attempt<'a>, lifecycle: Lifecycle<'a>, senders_node: bool) {
    let own = lifecycle.worker_pid != 0 || lifecycle.states.iter().any(|state| state.0 .0 == "RUNNING");
    let rank = if own { 2 } else { u8::from(!lifecycle.worker_id.is_empty()) };
    for state in lifecycle.states {
        match attempt.states.iter_mut().find(|known| known.0 == state.0) {
            None => attempt.states.push((state.0, state.1)),
            Some(known) if state.1.is_some() => known.1 = state.1,
            Some(_) => {}
        }
    }
    let set = |known: &mut Text<'a>, told: Text<'a>| {
        if !told.is_empty() {
            *known = told;
        }
    };
    if !lifecycle.node_id.is_empty() && rank >= attempt.node_rank && (rank > 0 || !senders_node) {
        (attempt.node_id, attempt.node_rank) = (lifecycle.node_id, rank);
    }
    set(&mut attempt.worker_id, lifecycle.worker_id);
    set(&mut attempt.repr_name, lifecycle.repr_name);
    if lifecycle.worker_pid != 0 {
        attempt.worker_pid = lifecycle.worker_pid;
    }
    attempt.error = lifecycle.error.or(attempt.error.take());
    attempt.debugger_paused = lifecycle.debugger_paused.or(attempt.debugger_paused);
    if let Some(later) = lifecycle.logs.map(known_logs) {
        attempt.logs = Some(match attempt.logs.take() {
            Some(known) => merged_logs(known, later),
            None => later,
        });
    }
}

fn distinct(spans: Vec<Span>) -> Vec<Span> {
    let mut once: Vec<Span> = Vec::with_capacity(spans.len());
    if spans.windows(2).all(|pair| pair[0].end < pair[1].end) {
        once = spans;
    } else {
        let mut places: HashMap<(Text, i64, i64), usize> = HashMap::new();
        for span in spans {
            match places.get(&(span.name.clone(), span.start, span.end)) {
                Some(at) => once[*at] = span,
                None => {
                    places.insert((span.name.clone(), span.start, span.end), once.len());
                    once.push(span);
                }
            }
        }
        once.sort_by_key(|span| (span.end, Reverse(span.start)));
    }
    once.drain(..once.len().saturating_sub(PROFILE_EVENTS_KEPT));
    once
}

fn end(attempt: &mut Attempt, ends: &Ends) {
    let Some(definition) = &attempt.definition else { return };
    if attempt.state("FINISHED").is_some() || attempt.state("FAILED").is_some() {
        return;
    }
    if let Some((ms, error)) = end_from_outside(&attempt.worker_id.0, &definition.job_id.0, ends) {
        attempt.states.push((Text::from("FAILED"), Some(ms)));
        attempt.error = Some(error);
    }
}
