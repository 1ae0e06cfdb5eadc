//! What no single event says: the twin of `workers/task_events/rules.py`.

use crate::merge::Attempt;
use crate::record::{ErrorInfo, LogInfo, Text};
use std::collections::{HashMap, HashSet};

const JOB_END_GRACE_MS: i64 = 14_000;
const NO_JOB: &str = "ffffffff";

/// Deaths by worker id (ms, exit type, detail), and job ends (ns) by job id.
#[derive(Default)]
pub struct Ends {
    pub deaths: HashMap<String, (i64, i64, String)>,
    pub job_ends: HashMap<String, i64>,
    pub old: Option<OldRay>,
}

/// As `entities.ends.OldRay`.
#[derive(Default)]
pub struct OldRay {
    pub by_function: bool,
    pub senders_node: bool,
    pub log_info: bool,
    pub log_directory: String,
    pub prestarted: HashSet<String>,
    pub log_starts: HashMap<String, (i64, i64)>,
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

/// Ray up to 2.57 prints all six fields, and defaults for what the event does not know.
pub fn known_logs(info: LogInfo<'_>) -> LogInfo<'_> {
    let LogInfo { stdout_file: Some(out), stderr_file: Some(err), .. } = &info else { return info };
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

/// File and start of a normal task's lines, where no event says: from the end of the worker's previous task on.
pub fn inferred_logs<'a>(attempt: &mut Attempt<'a>, task_id: &str, old: &OldRay) -> Option<LogInfo<'a>> {
    let logs = attempt.logs.take();
    let Some(definition) = &attempt.definition else { return logs };
    let worker = &*attempt.worker_id.0;
    if definition.kind.0 != "NORMAL_TASK" || worker.is_empty() || attempt.worker_pid == 0 || attempt.state("RUNNING").is_none() {
        return logs;
    }
    if logs.is_none() && old.log_info {
        return None;
    }
    let logs = logs.unwrap_or_default();
    let job = if old.prestarted.contains(worker) { NO_JOB } else { &definition.job_id.0 };
    let file = |known: Option<Text<'a>>, suffix: &str| {
        let inferred = || Text::from(format!("{}worker-{worker}-{job}-{}.{suffix}", old.log_directory, attempt.worker_pid));
        Some(known.filter(|name| !name.is_empty()).unwrap_or_else(inferred))
    };
    let (out, err) = old.log_starts.get(&format!("{task_id}/{}", attempt.number)).copied().unwrap_or((-1, -1));
    let marker = format!(":task_name:{}\n", definition.name.0).len() as i64;
    let start = |known: Option<i64>, former: i64| known.or((former >= 0).then_some(former + marker));
    Some(LogInfo {
        stdout_file: file(logs.stdout_file, "out"),
        stderr_file: file(logs.stderr_file, "err"),
        stdout_start: start(logs.stdout_start, out),
        stdout_end: logs.stdout_end,
        stderr_start: start(logs.stderr_start, err),
        stderr_end: logs.stderr_end,
    })
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
