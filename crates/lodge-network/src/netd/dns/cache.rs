//! Answers from outside, remembered as long as they allow. Bounded; the oldest goes first.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};

/// Most answers kept.
const ENTRIES_MAX: usize = 2_000;
/// Longest an answer is kept, whatever it says.
const TTL_MAX: Duration = Duration::from_hours(1);
/// Longest that a "there is no such thing" is kept.
const NEGATIVE_TTL_MAX: Duration = Duration::from_mins(1);

/// What makes two queries the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    name: String,
    kind: RecordType,
    dnssec: bool,
    checking_disabled: bool,
}

impl Key {
    /// The key of a query with one question.
    pub fn of(query: &Message) -> Option<Self> {
        let question = query.queries.first()?;
        Some(Self {
            name: super::plain(question.name()),
            kind: question.query_type(),
            dnssec: query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
            checking_disabled: query.metadata.checking_disabled,
        })
    }
}

#[derive(Debug)]
struct Kept {
    answer: Message,
    since: Instant,
    until: Instant,
}

/// The remembered answers.
#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<Key, Kept>,
    order: VecDeque<Key>,
}

impl Cache {
    /// The answer to `query`, made its own: id, question, and times to live that have run on.
    pub fn find(&self, key: &Key, query: &Message, now: Instant) -> Option<Message> {
        let kept = self.entries.get(key).filter(|kept| now < kept.until)?;
        let age_s = u32::try_from(now.saturating_duration_since(kept.since).as_secs()).unwrap_or(u32::MAX);
        let mut answer = kept.answer.clone();
        answer.metadata.id = query.metadata.id;
        answer.queries.clone_from(&query.queries);
        let sections = [&mut answer.answers, &mut answer.authorities, &mut answer.additionals];
        for record in sections.into_iter().flatten() {
            record.ttl = record.ttl.saturating_sub(age_s);
        }
        if query.edns.is_none() {
            answer.edns = None;
        }
        Some(answer)
    }

    /// Remembers an answer, if it may be.
    pub fn keep(&mut self, key: Key, answer: &Message, now: Instant) {
        let Some(ttl) = keepable_for(answer) else { return };
        while self.entries.len() >= ENTRIES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.entries.remove(&oldest);
        }
        let kept = Kept { answer: answer.clone(), since: now, until: now + ttl };
        if self.entries.insert(key.clone(), kept).is_none() {
            self.order.push_back(key);
        }
    }

    /// How many answers are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets everything: the servers outside have changed.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

/// How long an answer may be kept (RFC 2308 for negative ones); `None`: not at all.
fn keepable_for(answer: &Message) -> Option<Duration> {
    let metadata = &answer.metadata;
    if metadata.truncation
        || !matches!(metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
    {
        return None;
    }
    let shortest = answer.answers.iter().map(|record| record.ttl).min();
    let ttl = match shortest {
        Some(ttl) if metadata.response_code == ResponseCode::NoError => {
            Duration::from_secs(ttl.into()).min(TTL_MAX)
        }
        _ => {
            let soa = answer.authorities.iter().find_map(|record| match &record.data {
                RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
                _ => None,
            })?;
            Duration::from_secs(soa.into()).min(NEGATIVE_TTL_MAX)
        }
    };
    (!ttl.is_zero()).then_some(ttl)
}
