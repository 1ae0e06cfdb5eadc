//! What no single event says: the twin of `workers/task_events/rules.py`.

use crate::json::Text;
use crate::record::{ErrorInfo, LogInfo};
use std::collections::HashMap;

const JOB_END_GRACE_MS: i64 = 14_000;

/// Deaths by worker id (ms, exit type, detail), and job ends (ns) by job id.
#[derive(Default)]
pub struct Ends {
    pub deaths: HashMap<String, (i64, i64, String)>,
    pub job_ends: HashMap<String, i64>,
}

pub fn end_from_outside(worker: &str, job: &str, ends: &Ends) -> Option<(i64, ErrorInfo<'static>)> {
    let failed = |message: String| ErrorInfo { kind: "WORKER_DIED".into(), message: message.into() };
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

/// Ray up to 2.57 prints all six fields, and defaults for what the event does not know.
pub fn known_logs(info: LogInfo<'_>) -> LogInfo<'_> {
    let (Some(out), Some(err)) = (&info.stdout_file, &info.stderr_file) else { return info };
    let (Some(_), Some(out_end), Some(_), Some(err_end)) = (info.stdout_start, info.stdout_end, info.stderr_start, info.stderr_end) else {
        return info;
    };
    let (out, err, ended) = (!out.is_empty(), !err.is_empty(), out_end != 0 || err_end != 0);
    LogInfo {
        stdout_file: info.stdout_file.filter(|_| out),
        stderr_file: info.stderr_file.filter(|_| err),
        stdout_start: info.stdout_start.filter(|_| out),
        stdout_end: info.stdout_end.filter(|_| ended),
        stderr_start: info.stderr_start.filter(|_| err),
        stderr_end: info.stderr_end.filter(|_| ended),
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
