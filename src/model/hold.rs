//! Holds by request, as the ledger says: who is held, and why.
//!
//! Invariants: a fold over the lines in their order; a hold ends with `unhold`, with a start, or with the
//! order's ticket, never by an edit; what is taken away and put there again at once, as some editors save, is
//! the same ticket; one of a settled order counts again once that is requeued. What an order itself says of
//! `hold` is not here: that is the person's to change.

use super::config::NO_REASON;
use super::event::Event;
use super::id::OrderId;
use super::order::State;
use super::time::Moment;
use std::collections::BTreeMap;

/// How long a ticket may be away, in milliseconds, while an editor saves it.
const AWAY_MS_MAX: i64 = 2000;

/// One hold.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Hold {
    reason: Box<str>,
    course: Course,
}

/// What has become of its order since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Course {
    /// It is held.
    Pending,
    /// It was settled.
    Settled,
    /// Its ticket was taken away, then.
    Gone(Moment),
}

impl Hold {
    fn new(reason: &str) -> Self {
        let reason = if reason.is_empty() { NO_REASON } else { reason };
        Self { reason: reason.into(), course: Course::Pending }
    }
}

/// The holds by request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holds(BTreeMap<OrderId, Hold>);

impl Holds {
    /// What a checkpoint lists: reasons by id.
    pub fn listed(list: &BTreeMap<String, String>) -> Self {
        let named =
            |(id, reason): (&String, &String)| Some((OrderId::parse(id).ok()?, Hold::new(reason)));
        Self(list.iter().filter_map(named).collect())
    }

    /// What a checkpoint has to list: the holds of orders that may still be started.
    pub fn to_list(&self) -> BTreeMap<String, String> {
        let open = self.0.iter().filter(|(_, hold)| hold.course == Course::Pending);
        open.map(|(id, hold)| (id.to_string(), hold.reason.to_string())).collect()
    }

    /// Takes a line about an order into account.
    pub fn follow(&mut self, id: &OrderId, time: Moment, event: &Event) {
        match event {
            Event::Held { reason, .. } => {
                self.0.insert(id.clone(), Hold::new(reason));
            }
            Event::Unheld { .. } | Event::Claiming(_) => {
                self.0.remove(id);
            }
            Event::Settled { state, .. } if state != State::Pending.name() => {
                self.mark(id, Course::Settled);
            }
            Event::Requeued { .. } => self.mark(id, Course::Pending),
            Event::Withdrawn => self.mark(id, Course::Gone(time)),
            Event::Intake => match self.0.get(id).map(|hold| hold.course) {
                Some(Course::Gone(at)) if is_brief(at, time) => {
                    self.mark(id, Course::Pending);
                }
                Some(Course::Gone(_) | Course::Settled) => _ = self.0.remove(id),
                Some(Course::Pending) | None => {}
            },
            _ => {}
        }
    }

    fn mark(&mut self, id: &OrderId, course: Course) {
        if let Some(hold) = self.0.get_mut(id) {
            hold.course = course;
        }
    }

    /// The reason for which a request held this order before it was settled.
    pub fn before_its_end(&self, id: &OrderId) -> Option<&str> {
        self.0.get(id).filter(|hold| hold.course == Course::Settled).map(|hold| &*hold.reason)
    }

    /// The reason for which a request holds this order at this time.
    pub fn of(&self, id: &OrderId, now: Moment) -> Option<&str> {
        let hold = self.0.get(id)?;
        let stands = match hold.course {
            Course::Pending => true,
            Course::Gone(at) => is_brief(at, now),
            Course::Settled => false,
        };
        stands.then_some(&*hold.reason)
    }

    /// A request holds this order, whose ticket is there.
    pub fn has(&self, id: &OrderId) -> bool {
        self.0.get(id).is_some_and(|hold| hold.course == Course::Pending)
    }
}

/// From the one to the other a ticket can have been away while an editor saved it.
fn is_brief(gone: Moment, back: Moment) -> bool {
    back.0.saturating_sub(gone.0).abs() <= AWAY_MS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reason after each of these lines, `-` for none.
    fn told(lines: &str) -> String {
        let id = OrderId::parse("a").unwrap();
        let mut holds = Holds::default();
        let mut said = Vec::new();
        let mut now = Moment(0);
        for word in lines.split_whitespace() {
            let (request, reason) = (String::new(), "legal".to_owned());
            let settled = |state: &str| Event::Settled {
                state: state.to_owned(),
                result: "fail".to_owned(),
                reason: String::new(),
                retry_at: None,
                request: String::new(),
            };
            let event = match word {
                "held" => Event::Held { reason, request },
                "unheld" => Event::Unheld { request },
                "requeued" => Event::Requeued { reason, request },
                "withdrawn" => Event::Withdrawn,
                "intake" => Event::Intake,
                "later" => {
                    now = now.after(crate::model::time::Millis(3000));
                    continue;
                }
                state => settled(state),
            };
            holds.follow(&id, now, &event);
            said.push(holds.of(&id, now).unwrap_or("-").to_owned());
            let again = Holds::listed(&holds.to_list());
            assert_eq!(again.has(&id), holds.has(&id), "{word}");
        }
        said.join(" ")
    }

    #[test]
    fn an_empty_reason_of_an_older_line_is_one_in_words() {
        let (mut holds, id) = (Holds::default(), OrderId::parse("a").unwrap());
        let (reason, request) = (String::new(), String::new());
        holds.follow(&id, Moment(0), &Event::Held { reason, request });
        assert_eq!(holds.of(&id, Moment(0)), Some(NO_REASON));
    }

    #[test]
    fn a_hold_ends_by_a_word_and_counts_for_one_ticket() {
        assert_eq!(told("intake held intake pending"), "- legal legal legal");
        assert_eq!(told("held unheld"), "legal -");
        assert_eq!(told("held withdrawn intake"), "legal legal legal");
        assert_eq!(told("held withdrawn later intake"), "legal legal -");
        assert_eq!(told("held failed requeued intake"), "legal - legal legal");
        assert_eq!(told("held failed intake requeued"), "legal - - -");
    }
}
