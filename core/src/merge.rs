//! The records of a task to one attempt each: the twin of `workers/task_events/merge.py`.

use crate::json::Text;
use crate::record::{Definition, ErrorInfo, Lifecycle, LogInfo, Profile, Span, State, TaskRecord};
use crate::rules::{end_from_outside, known_logs, merged_logs, Ends};
use std::cmp::Reverse;
use std::collections::HashMap;

const PROFILE_EVENTS_KEPT: usize = 1000;

#[derive(Default)]
pub struct Attempt<'a> {
    pub number: i64,
    pub definition: Option<Box<Definition<'a>>>,
    pub states: Vec<State<'a>>,
    pub node_id: Text<'a>,
    pub worker_id: Text<'a>,
    pub worker_pid: i64,
    pub error: Option<ErrorInfo<'a>>,
    pub logs: Option<LogInfo<'a>>,
    pub repr_name: Text<'a>,
    pub debugger_paused: Option<bool>,
    pub profile: Option<Box<Profile<'a>>>,
    pub spans: Vec<Span<'a>>,
    pub node_rank: u8,
}

impl Attempt<'_> {
    /// When a state was reached: outer `None` if it never was.
    pub fn state(&self, name: &str) -> Option<Option<i64>> {
        self.states.iter().find(|state| &*state.name == name).map(|state| state.ms)
    }
}

/// The attempts of one task. Its `encoded` records come in the order of their bytes, each once.
pub fn merge<'a>(encoded: &[&'a [u8]], ends: &Ends) -> Result<Vec<Attempt<'a>>, rmp_serde::decode::Error> {
    let mut records = encoded.iter().map(|record| rmp_serde::from_slice(record)).collect::<Result<Vec<TaskRecord>, _>>()?;
    records.sort_by_key(|record| record.ns);
    let mut attempts: Vec<Attempt> = Vec::with_capacity(1);
    for record in records {
        let at = attempts.iter().position(|attempt| attempt.number == record.attempt).unwrap_or_else(|| {
            attempts.push(Attempt { number: record.attempt, ..Attempt::default() });
            attempts.len() - 1
        });
        let attempt = &mut attempts[at];
        if let Some(lifecycle) = record.lifecycle {
            live(attempt, *lifecycle);
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
    }
    attempts.sort_by_key(|attempt| Reverse(attempt.number));
    Ok(attempts)
}

/// Only what an event sets counts. Where an attempt ran its worker's own events know best, then those that name its worker.
fn live<'a>(attempt: &mut Attempt<'a>, lifecycle: Lifecycle<'a>) {
    let own = lifecycle.worker_pid != 0 || lifecycle.states.iter().any(|state| &*state.name == "RUNNING");
    let rank = if own { 2 } else { u8::from(!lifecycle.worker_id.is_empty()) };
    for state in lifecycle.states {
        match attempt.states.iter_mut().find(|known| known.name == state.name) {
            None => attempt.states.push(state),
            Some(known) => known.ms = state.ms.or(known.ms),
        }
    }
    let set = |known: &mut Text<'a>, told: Text<'a>| {
        if !told.is_empty() {
            *known = told;
        }
    };
    if !lifecycle.node_id.is_empty() && rank >= attempt.node_rank {
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
    if let Some((ms, error)) = end_from_outside(&attempt.worker_id, &definition.job_id, ends) {
        attempt.states.push(State { name: "FAILED".into(), ms: Some(ms) });
        attempt.error = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(record: &TaskRecord) -> Vec<u8> {
        rmp_serde::to_vec(record).unwrap()
    }

    fn lived(ns: i64, state: &'static str, ms: Option<i64>) -> Vec<u8> {
        let states = vec![State { name: state.into(), ms }];
        encoded(&TaskRecord { ns, lifecycle: Some(Box::new(Lifecycle { states, worker_pid: ns, ..Default::default() })), ..Default::default() })
    }

    #[test]
    fn order_does_not_matter() {
        let defined = encoded(&TaskRecord { ns: 9, definition: Some(Box::default()), ..Default::default() });
        let events = [defined, lived(1, "RUNNING", Some(1)), lived(2, "FINISHED", None), lived(3, "RUNNING", None)];
        let ends = Ends { job_ends: [(String::new(), 7_000_000)].into(), ..Ends::default() };
        for turn in 0..events.len() {
            let order: Vec<_> = (0..events.len()).map(|at| &*events[(at + turn) % events.len()]).collect();
            let found = merge(&order, &ends).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].state("RUNNING"), found[0].state("FINISHED"), found[0].state("FAILED")), (Some(Some(1)), Some(None), None));
            assert_eq!(found[0].worker_pid, 3);
        }
        assert!(merge(&[&events[1]], &ends).unwrap().is_empty(), "live lists no attempt without a definition");
        let open = merge(&[&events[0]], &ends).unwrap();
        assert_eq!(open[0].state("FAILED"), Some(Some(7)));
        assert!(merge(&[b"x"], &ends).is_err());
    }
}
