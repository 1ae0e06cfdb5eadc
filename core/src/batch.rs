//! One POST of Ray's agent, sorted by where its events belong: the twin of `collector/batches.py`, for what agents usually send.

use crate::scan::Scanner;
use std::collections::HashMap;

/// Where an event belongs, as it says itself.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Names<'a> {
    pub session: &'a str,
    pub node: &'a str,
    pub job: &'a str,
}

/// Their ids and texts.
pub struct Group<'a> {
    pub names: Names<'a>,
    pub ids: Vec<&'a str>,
    pub events: Vec<&'a str>,
}

/// In the order of `_PARTS`.
const PARTS: [&str; 7] = [
    "driverJobDefinitionEvent",
    "driverJobLifecycleEvent",
    "taskDefinitionEvent",
    "taskLifecycleEvent",
    "taskProfileEvents",
    "actorTaskDefinitionEvent",
    "actorDefinitionEvent",
];
const TASK_DEFINITION: usize = 2;
const TASK_LIFECYCLE: usize = 3;
const TASK_PROFILE: usize = 4;
const ACTOR_TASK_DEFINITION: usize = 5;

#[derive(Default)]
struct Envelope<'a> {
    id: Option<&'a str>,
    kind: Option<&'a str>,
    session: Option<&'a str>,
    node: Option<&'a str>,
    /// The job's id in each of the parts that are there.
    jobs: [Option<&'a str>; PARTS.len()],
}

/// Groups in the order in which they appear; `None`: the body is unusual in some way, and the Python reference reads it.
pub fn sort(body: &[u8]) -> Option<Vec<Group<'_>>> {
    if memchr::memchr(b'\n', body).is_some() {
        return None;
    }
    let mut scanner = Scanner::new(std::str::from_utf8(body).ok()?);
    let mut groups: Vec<Group> = Vec::new();
    let mut numbers: HashMap<Names, usize> = HashMap::new();
    let mut last = 0;
    scanner.blanks();
    scanner.mark(b'[').then_some(())?;
    loop {
        let start = scanner.position();
        let envelope = envelope(&mut scanner)?;
        let event = scanner.since(start);
        let names = envelope.names();
        // Most events belong where the one before them does.
        if !groups.get(last).is_some_and(|of| of.names == names) {
            last = *numbers.entry(names).or_insert(groups.len());
            if last == groups.len() {
                groups.push(Group { names, ids: Vec::new(), events: Vec::new() });
            }
        }
        groups[last].ids.push(envelope.id.unwrap_or_default());
        groups[last].events.push(event);
        scanner.blanks();
        if scanner.mark(b']') {
            return scanner.at_end().then_some(groups);
        }
        scanner.mark(b',').then_some(())?;
    }
}

fn envelope<'a>(scanner: &mut Scanner<'a>) -> Option<Envelope<'a>> {
    let mut envelope = Envelope::default();
    scanner.object(|scanner, key| {
        let field = match key {
            "eventId" => &mut envelope.id,
            "eventType" => &mut envelope.kind,
            "sessionName" => &mut envelope.session,
            "nodeId" => &mut envelope.node,
            _ => {
                let Some(part) = PARTS.iter().position(|part| *part == key) else {
                    return scanner.skip();
                };
                envelope.jobs[part].is_none().then_some(())?;
                envelope.jobs[part] = Some(job_id(scanner)?);
                return Some(());
            }
        };
        field.is_none().then_some(())?;
        *field = Some(scanner.plain_string()?);
        Some(())
    })?;
    Some(envelope)
}

fn job_id<'a>(scanner: &mut Scanner<'a>) -> Option<&'a str> {
    let mut job = None;
    scanner.object(|scanner, key| {
        if key != "jobId" {
            return scanner.skip();
        }
        job.is_none().then_some(())?;
        job = Some(scanner.plain_string()?);
        Some(())
    })?;
    Some(job.unwrap_or_default())
}

impl<'a> Envelope<'a> {
    fn names(&self) -> Names<'a> {
        Names { session: self.session.unwrap_or_default(), node: self.node.unwrap_or_default(), job: self.job().unwrap_or_default() }
    }

    fn job(&self) -> Option<&'a str> {
        let own = match self.kind.unwrap_or_default() {
            "NODE_DEFINITION_EVENT" | "NODE_LIFECYCLE_EVENT" => return None,
            "TASK_PROFILE_EVENT" => TASK_PROFILE,
            "TASK_DEFINITION_EVENT" => TASK_DEFINITION,
            "ACTOR_TASK_DEFINITION_EVENT" => ACTOR_TASK_DEFINITION,
            _ => TASK_LIFECYCLE,
        };
        self.jobs[own].or_else(|| self.jobs.iter().flatten().find(|job| !job.is_empty()).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_grouped_by_session_node_and_job() {
        let of = |id: &str, job: &str| format!(r#"{{"eventId": "{id}", "sessionName": "s", "nodeId": "n", "taskLifecycleEvent": {{"jobId": "{job}"}}}}"#);
        let body = format!("[{}, {}\t,{} ] ", of("a", "1"), of("b", "2"), of("c", "1"));
        let groups = sort(body.as_bytes()).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].names.job, groups[1].names.job), ("1", "2"));
        assert_eq!(groups[0].ids, ["a", "c"]);
        assert_eq!(groups[0].events, [of("a", "1"), of("c", "1")]);
    }

    #[test]
    fn what_is_unusual_is_left_to_the_reference() {
        for body in ["", "[]", "{}", "[1]", "[{}", "[{},]", "[{}] x", "[{}\n]", r#"[{"eventId": 5}]"#, r#"[{"eventId": "a", "eventId": "b"}]"#] {
            assert!(sort(body.as_bytes()).is_none(), "{body}");
        }
    }
}
