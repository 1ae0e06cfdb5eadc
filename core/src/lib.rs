//! The engine of Ray History Server, in Rust: what `workers/task_events/` says in plain Python, for the lines that collectors usually
//! write, and what `shared/ray/lineage.py` and `collector/batches.py` say. It knows no Redis, storage or Celery.

// Much is used by Python only.
#![cfg_attr(not(feature = "python"), allow(dead_code))]

mod batch;
mod json;
mod lineage;
mod merge;
#[cfg(feature = "python")]
mod python;
mod read;
mod record;
mod render;
mod rules;
mod scan;
mod split;
mod table;
#[cfg(feature = "python")]
mod trace;
