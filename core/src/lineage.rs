//! Tasks grouped by who created them: the twin of `shared/ray/lineage.py`. Nothing recurses: a chain of tasks may be deeper than the stack.

use crate::table::Error;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::cmp::min;
use std::collections::HashMap;

const CREATION: &str = "ACTOR_CREATION_TASK";
const KINDS: [(&str, &str); 3] = [("total_tasks", "NORMAL_TASK"), ("total_actor_tasks", "ACTOR_TASK"), ("total_actor_scheduled", CREATION)];
/// Begins the ids of driver tasks.
const DRIVER: &str = "ffffffffffffffffffffffffffffffffffffffff";
const NEVER: i64 = i64::MAX;

/// Representation and class name by actor id.
pub type Actors = HashMap<String, (String, String)>;

#[derive(Deserialize)]
struct Task<'a> {
    id: &'a str,
    name: &'a str,
    function: &'a str,
    kind: &'a str,
    state: &'a str,
    parent: &'a str,
    actor: Option<&'a str>,
    created_ms: Option<i64>,
}

impl<'a> Task<'a> {
    fn created(&self) -> i64 {
        self.created_ms.filter(|ms| *ms != 0).unwrap_or(NEVER)
    }

    /// What it hangs on; `None`: it is a root.
    fn above(&self) -> Option<Key<'a>> {
        if self.kind == "ACTOR_TASK" || self.kind == CREATION { Some(Key::Actor(self.actor.unwrap_or_default())) } else { self.creator() }
    }

    fn creator(&self) -> Option<Key<'a>> {
        (!self.parent.is_empty() && !self.parent.starts_with(DRIVER)).then_some(Key::Task(self.parent))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'a> {
    Task(&'a str),
    Actor(&'a str),
    /// Several siblings of one name.
    Name,
}

/// Attempts by state, in the order of the states' names. Of most groups there is one.
type Counts<'a> = Vec<(&'a str, i64)>;

fn count<'a>(counts: &mut Counts<'a>, state: &'a str, more: i64) {
    match counts.binary_search_by_key(&state, |(known, _)| known) {
        Ok(at) => counts[at].1 += more,
        Err(_) if counts.is_empty() => *counts = vec![(state, more)],
        Err(at) => counts.insert(at, (state, more)),
    }
}

struct Group<'a> {
    key: Key<'a>,
    name: &'a str,
    kind: &'a str,
    created: i64,
    counts: Counts<'a>,
    children: Vec<usize>,
}

struct Tree<'a> {
    tasks: HashMap<&'a str, &'a Task<'a>>,
    creations: HashMap<&'a str, &'a Task<'a>>,
    actors: &'a Actors,
    groups: Vec<Group<'a>>,
    numbers: HashMap<Key<'a>, usize>,
    roots: Vec<usize>,
}

impl<'a> Tree<'a> {
    fn new(tasks: &'a [Task<'a>], actors: &'a Actors) -> Self {
        let creations = tasks.iter().filter(|task| task.kind == CREATION).filter_map(|task| Some((task.actor?, task)));
        let mut tree = Tree {
            tasks: tasks.iter().map(|task| (task.id, task)).collect(),
            creations: creations.filter(|(actor, _)| !actor.is_empty()).collect(),
            actors,
            groups: Vec::with_capacity(tasks.len()),
            numbers: HashMap::with_capacity(tasks.len()),
            roots: vec![],
        };
        for task in tasks {
            if let Some(number) = tree.add(task) {
                count(&mut tree.groups[number].counts, task.state, 1);
            }
        }
        tree
    }

    /// The number of a task's group, which is made, with those of every parent, if it is not there yet.
    fn add(&mut self, task: &'a Task<'a>) -> Option<usize> {
        let (mut key, mut child) = (Key::Task(task.id), None);
        loop {
            if let Some(known) = self.numbers.get(&key) {
                self.groups[*known].children.extend(child);
                break;
            }
            // What has no known parent is dropped, as live drops it.
            let Some((group, above)) = self.make(key, task) else { break };
            let number = self.groups.len();
            self.groups.push(group);
            self.numbers.insert(key, number);
            self.groups[number].children.extend(child);
            child = Some(number);
            match above {
                Some(above) => key = above,
                None => {
                    self.roots.push(number);
                    break;
                }
            }
        }
        self.numbers.get(&Key::Task(task.id)).copied()
    }

    /// A group, and the key of its parent. Live takes the time of the task at which it first meets an actor.
    fn make(&self, key: Key<'a>, met_at: &Task<'a>) -> Option<(Group<'a>, Option<Key<'a>>)> {
        match key {
            Key::Task(id) => self.tasks.get(id).map(|task| (group(key, task.name, task.kind, task.created()), task.above())),
            Key::Actor(id) => {
                let creation = self.creations.get(id)?;
                let name = match self.actors.get(id) {
                    Some((name, class)) => if name.is_empty() { class } else { name },
                    None => creation.function.split('.').next()?,
                };
                Some((group(key, name, "ACTOR", met_at.created()), creation.creator()))
            }
            Key::Name => None,
        }
    }

    /// Every group after its children.
    fn bottom_up(&self) -> Vec<usize> {
        let (mut order, mut stack) = (vec![], self.roots.clone());
        while let Some(number) = stack.pop() {
            order.push(number);
            stack.extend(&self.groups[number].children);
        }
        order.reverse();
        order
    }

    fn merge_siblings(&mut self) {
        for number in self.bottom_up() {
            let siblings = std::mem::take(&mut self.groups[number].children);
            let children = self.merged(siblings);
            self.groups[number].created = min(self.groups[number].created, self.earliest(&children));
            self.groups[number].children = children;
        }
        let roots = std::mem::take(&mut self.roots);
        self.roots = self.merged(roots);
    }

    /// Siblings of one name become one group.
    fn merged(&mut self, siblings: Vec<usize>) -> Vec<usize> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut by_name: Vec<Vec<usize>> = vec![];
        for child in siblings {
            let place = *places.entry(self.groups[child].name).or_insert(by_name.len());
            if place == by_name.len() {
                by_name.push(vec![]);
            }
            by_name[place].push(child);
        }
        let mut merged = Vec::with_capacity(by_name.len());
        for children in by_name {
            if let [only] = children[..] {
                merged.push(only);
                continue;
            }
            let (name, created) = (self.groups[children[0]].name, self.earliest(&children));
            merged.push(self.groups.len());
            self.groups.push(Group { children, ..group(Key::Name, name, "GROUP", created) });
        }
        merged
    }

    fn earliest(&self, groups: &[usize]) -> i64 {
        groups.iter().map(|number| self.groups[*number].created).min().unwrap_or(NEVER)
    }

    fn add_up(&mut self) {
        for number in self.bottom_up() {
            let mut children = std::mem::take(&mut self.groups[number].children);
            let mut counts = std::mem::take(&mut self.groups[number].counts);
            for (state, more) in children.iter().flat_map(|child| &self.groups[*child].counts) {
                count(&mut counts, state, *more);
            }
            children.sort_by_cached_key(|child| order(&self.groups[*child]));
            let group = &mut self.groups[number];
            (group.children, group.counts) = (children, counts);
        }
        self.roots.sort_by_cached_key(|root| order(&self.groups[*root]));
    }

    /// Each group around its children.
    fn write(&self, out: &mut Pieces) -> Result<(), Error> {
        let mut stack: Vec<(usize, bool)> = self.roots.iter().rev().map(|root| (*root, true)).collect();
        let mut is_first = true;
        while let Some((number, begins)) = stack.pop() {
            out.hand_on_full()?;
            let group = &self.groups[number];
            if begins {
                out.push(if is_first { "" } else { "," });
                serde_json::to_writer(&mut out.text, &Shown::of(group))?;
                // Its children and its link are still of the same object.
                out.text.pop();
                out.push(",\"children\":[");
                stack.push((number, false));
                stack.extend(group.children.iter().rev().map(|child| (*child, true)));
                is_first = true;
                continue;
            }
            match group.key {
                Key::Name => out.push("],\"link\":null}"),
                Key::Task(id) => out.link("task", id),
                Key::Actor(id) => out.link("actor", id),
            }
            is_first = false;
        }
        Ok(())
    }
}

/// A text that is handed on, `size` bytes at a time, while it is written: that of a large job is many times a range.
struct Pieces<'h> {
    text: Vec<u8>,
    size: usize,
    hand_on: &'h mut dyn FnMut(&[u8]) -> Result<(), Error>,
}

impl Pieces<'_> {
    fn push(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn link(&mut self, kind: &str, id: &str) {
        for text in ["],\"link\":{\"type\":\"", kind, "\",\"id\":\"", id, "\"}}"] {
            self.push(text);
        }
    }

    fn hand_on_full(&mut self) -> Result<(), Error> {
        while self.text.len() >= self.size {
            (self.hand_on)(&self.text[..self.size])?;
            self.text.drain(..self.size);
        }
        Ok(())
    }
}

/// Ray's `NestedTaskSummary`, but for its children and its link.
#[derive(Serialize)]
struct Shown<'g> {
    name: &'g str,
    key: Cow<'g, str>,
    r#type: &'g str,
    timestamp: Option<i64>,
    #[serde(serialize_with = "as_map")]
    state_counts: &'g Counts<'g>,
}

fn as_map<S: Serializer>(counts: &Counts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().copied())
}

impl<'g> Shown<'g> {
    fn of(group: &'g Group) -> Self {
        let key = match group.key {
            Key::Name => Cow::Borrowed(group.name),
            Key::Task(id) => Cow::Borrowed(id),
            Key::Actor(id) => Cow::Owned(format!("actor:{id}")),
        };
        let timestamp = (group.created != NEVER).then_some(group.created);
        Shown { name: group.name, key, r#type: group.kind, timestamp, state_counts: &group.counts }
    }
}

fn group<'a>(key: Key<'a>, name: &'a str, kind: &'a str, created: i64) -> Group<'a> {
    Group { key, name, kind, created, counts: vec![], children: vec![] }
}

/// Running first, then pending, failed, older; an actor's creation before what else is of the same time.
fn order(group: &Group) -> (i64, i64, i64, i64, bool) {
    let (mut running, mut pending, mut failed) = (0, 0, 0);
    for (state, count) in &group.counts {
        match *state {
            "RUNNING" | "RUNNING_IN_RAY_GET" | "RUNNING_IN_RAY_WAIT" => running -= count,
            "PENDING_ARGS_AVAIL" | "PENDING_NODE_ASSIGNMENT" | "PENDING_OBJ_STORE_MEM_AVAIL" | "PENDING_ARGS_FETCH" => pending -= count,
            "FAILED" => failed -= count,
            _ => {}
        }
    }
    (running, pending, failed, group.created, group.kind != CREATION)
}

/// The JSON of one `TaskSummaries`, handed on in pieces of `size` bytes, the last one shorter. `chunks` are what merged ranges left of a job,
/// in the order of the list API.
pub fn summary_by_lineage<'c>(
    chunks: impl Iterator<Item = &'c [u8]>,
    actors: &Actors,
    size: usize,
    hand_on: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut tasks: Vec<Task> = Vec::new();
    for chunk in chunks {
        tasks.extend(rmp_serde::from_slice::<Vec<Task>>(chunk)?);
    }
    let mut tree = Tree::new(&tasks, actors);
    tree.merge_siblings();
    tree.add_up();
    let mut out = Pieces { text: Vec::with_capacity(size), size, hand_on };
    out.push("{\"summary\":[");
    tree.write(&mut out)?;
    out.push("]");
    for (name, kind) in KINDS {
        let count = tasks.iter().filter(|task| task.kind == kind).count();
        out.push(&format!(",\"{name}\":{count}"));
    }
    out.push(",\"summary_by\":\"lineage\"}");
    out.hand_on_full()?;
    if out.text.is_empty() { Ok(()) } else { (out.hand_on)(&out.text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tasks: &[(&str, &str, &str)]) -> String {
        let tasks: Vec<_> = tasks.iter().map(|(id, name, parent)| (id, name, name, "NORMAL_TASK", "FAILED", parent, None::<&str>, 7)).collect();
        let mut pieces: Vec<Vec<u8>> = vec![];
        let mut hand_on = |piece: &[u8]| {
            pieces.push(piece.to_vec());
            Ok(())
        };
        summary_by_lineage([&*rmp_serde::to_vec(&tasks).unwrap()].into_iter(), &Actors::new(), 100, &mut hand_on).unwrap();
        let (last, full) = pieces.split_last().unwrap();
        assert!(last.len() <= 100 && full.iter().all(|piece| piece.len() == 100));
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[test]
    fn siblings_of_one_name_are_one_group() {
        let found = of(&[("a", "f", ""), ("b", "f", DRIVER), ("c", "g", "b"), ("d", "g", "unknown")]);
        let task = |id: &str, name: &str, count: u8, children: &str| {
            let link = format!(r#""link":{{"type":"task","id":"{id}"}}"#);
            format!(r#"{{"name":"{name}","key":"{id}","type":"NORMAL_TASK","timestamp":7,"state_counts":{{"FAILED":{count}}},"children":[{children}],{link}}}"#)
        };
        let both = format!("{},{}", task("b", "f", 2, &task("c", "g", 1, "")), task("a", "f", 1, ""));
        let group = format!(r#"{{"name":"f","key":"f","type":"GROUP","timestamp":7,"state_counts":{{"FAILED":3}},"children":[{both}],"link":null}}"#);
        let counts = r#""total_tasks":4,"total_actor_tasks":0,"total_actor_scheduled":0,"summary_by":"lineage""#;
        assert_eq!(found, format!(r#"{{"summary":[{group}],{counts}}}"#));
    }

    #[test]
    fn a_deep_chain_and_a_circle_are_no_recursion() {
        let ids: Vec<String> = (0..100_000).map(|number| format!("{number:048}")).collect();
        let mut tasks: Vec<_> = ids.iter().enumerate().map(|(at, id)| (&**id, "f", if at > 0 { &*ids[at - 1] } else { "" })).collect();
        assert!(of(&tasks).contains(r#""FAILED":100000}"#));
        tasks[0].2 = &ids[99_999];
        assert!(of(&tasks).starts_with(r#"{"summary":[],"total_tasks":100000,"#));
    }
}
