//! What no single event says: the twin of `workers/task_events/rules.py`.

use crate::record::{ErrorInfo, LogInfo, Text};
use std::collections::HashMap;

const JOB_END_GRACE_MS: i64 = 14_000;

/// Deaths by worker id (ms, exit type, detail), and job ends (ns) by job id.
#[derive(Default)]
pub struct Ends {
    pub deaths: HashMap<String, (i64, i64, String)>,
    pub job_ends: HashMap<String, i64>,
}

pub fn end_from_outside(worker: &str, job: &str, ends: &Ends) -> Option<(i64, ErrorInfo<'static>)> {
    let failed = |message: String| ErrorInfo { kind: Text::from("WORKER_DIED"), message: Text::from(message) };
    let death = if worker.is_empty() { None } else { ends.deaths.get(worker) };
    let job_end_ms = ends.job_ends.get(job).map(|ns| ns.div_euclid(1_000_000));
    match (death, job_end_ms) {
        (Some((ms, kind, detail)), end) if end.map_or(true, |end| *ms <= end.saturating_add(JOB_END_GRACE_MS)) => {
            let message = format!("Worker running the task ({worker}) died with exit_type: {kind} with error_message: {detail}");
            Some((*ms, failed(message)))
        }
        (_, Some(end)) => {
            Some((end, failed(format!("Job finishes ({job}) as driver exits. Marking all non-terminal tasks as failed."))))
        }
        _ => None,
    }
}

/// A default never replaces a value.
pub fn merged_logs<'a>(known: LogInfo<'a>, later: LogInfo<'a>) -> LogInfo<'a> {
    fn file<'a>(known: Option<Text<'a>>, later: Option<Text<'a>>) -> Option<Text<'a>> {
        later.filter(|text| !text.is_empty() || known.is_none()).or(known)
    }
    fn offset(known: Option<i64>, later: Option<i64>) -> Option<i64> {
        later.filter(|offset| *offset != 0 || known.is_none()).or(known)
    }
    LogInfo {
        stdout_file: file(known.stdout_file, later.stdout_file),
        stderr_file: file(known.stderr_file, later.stderr_file),
        stdout_start: offset(known.stdout_start, later.stdout_start),
        stdout_end: offset(known.stdout_end, later.stdout_end),
        stderr_start: offset(known.stderr_start, later.stderr_start),
        stderr_end: offset(known.stderr_end, later.stderr_end),
    }
}
