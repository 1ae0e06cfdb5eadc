//! Whole lines to records by range of their tasks' ids: the twin of `workers/task_events/split.py`.

use crate::read::read_line;
use crate::table::Error;
use rmp::encode::{write_array_len, write_bin, write_str};

const ONES: &str = "ffffffffffffffff";

/// Begins the msgpack array of a range: how many follows in four bytes, once it is known.
const ARRAY_32: [u8; 5] = [0xdd, 0, 0, 0, 0];

#[derive(Default)]
pub struct Splitter {
    /// So many ranges of equal width, and so many for ids that begin with eight ff.
    pub plain: u64,
    pub ones: u64,
    ranges: Vec<(u32, Vec<u8>)>,
    pub events: u64,
    pub size: usize,
    encoded: Vec<u8>,
}

impl Splitter {
    pub fn new(plain: u64, ones: u64) -> Self {
        Splitter { plain, ones, ranges: vec![Default::default(); (plain + ones) as usize], ..Splitter::default() }
    }

    /// The lines that are left to the reference.
    pub fn feed(&mut self, text: &[u8]) -> Result<Vec<u8>, Error> {
        let mut odd = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, others) = rest.split_at(end);
            rest = others;
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Some((task_id, record)) = read_line(line) else {
                odd.extend(line);
                continue;
            };
            self.encoded.clear();
            rmp_serde::encode::write(&mut self.encoded, &record)?;
            let (count, out) = &mut self.ranges[range_of(&task_id, self.plain, self.ones)?];
            if *count == 0 {
                out.extend(ARRAY_32);
            }
            write_array_len(out, 2)?;
            write_str(out, &task_id)?;
            write_bin(out, &self.encoded)?;
            *count += 1;
            self.events += 1;
            self.size += self.encoded.len();
        }
        Ok(odd)
    }

    /// What there is of each range, as msgpack; empty where there is nothing. Begins anew.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        self.size = 0;
        let packed = self.ranges.iter_mut().map(|range| {
            let (count, mut packed) = std::mem::take(range);
            if count > 0 {
                packed[1..ARRAY_32.len()].copy_from_slice(&count.to_be_bytes());
            }
            packed
        });
        packed.collect()
    }
}

fn range_of(task_id: &str, plain: u64, ones: u64) -> Result<usize, Error> {
    let part = |from: usize| u64::from_str_radix(task_id.get(from..from + 8).unwrap_or_default(), 16);
    let range = if ones > 0 && task_id.starts_with(ONES) { plain + ((part(16)? * ones) >> 32) } else { (part(0)? * plain) >> 32 };
    Ok(range as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lines_are_given_back_and_others_sorted() {
        let line = |id: &str| format!(r#"{{"eventType":"TASK_LIFECYCLE_EVENT","taskLifecycleEvent":{{"taskId":"{id}"}}}}"#);
        let mut splitter = Splitter::new(2, 1);
        let text = [line("2MGtFYYQKJf///////////////8EAAAA"), line("AMGtFYYQKJf///////////////8EAAAA"), "{}".into(), " ".into()].join("\n");
        assert_eq!(splitter.feed(text.as_bytes()).unwrap(), b"{}\n");
        assert_eq!(splitter.events, 2);
        let found = splitter.take();
        assert_eq!(found.iter().map(|of| of.is_empty()).collect::<Vec<_>>(), [false, false, true]);
        assert!(splitter.take().iter().all(Vec::is_empty));
    }

    #[test]
    fn ranges_are_in_the_order_of_ids() {
        let of = |id: &str| range_of(&format!("{id:0<48}"), 4, 1).unwrap();
        assert_eq!([of("00"), of("40"), of("7f"), of("ffffffff"), of("ffffffffffffffff00"), of("ffffffffffffffffff")], [0, 1, 1, 3, 4, 4]);
    }
}
