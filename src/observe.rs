//! From the disk to facts.
//!
//! Invariants: observing changes nothing; a file that may still be being written is never taken for an
//! order; by file name first, so that unparsable files count; what was read is kept only as long as
//! inode, size and modification time stay the same.

pub mod catalogue;
pub mod plain;
pub mod signs;

use crate::model::config::Config;
use crate::model::defect::Defect;
use crate::model::id::OrderId;
use crate::model::index::{Brief, Carried, LeaseFact, Place, Reading, Request, Ticket, hand_key};
use crate::model::lease::{LEASE_BYTES_MAX, LeaseBody, LeaseMode};
use crate::model::order::{Order, State};
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::request::{RequestBody, parse_request, parse_request_name};
use crate::model::time::{Moment, Tick};
use crate::world::store::{TICKET_BYTES_MAX, read_whole};
use crate::world::{Fault, Kind, Stat, World};
use std::collections::BTreeSet;
use std::path::Path;

/// Largest request in bytes.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// How a name came to notice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Arrival {
    /// A scan, a write in place, anything that leaves open whether it is whole.
    Unsure,
    /// Renamed in: whole by definition.
    Renamed,
}

/// What observing relies on.
pub struct Look<'a> {
    /// Configuration.
    pub config: &'a Config,
    /// Steady clock.
    pub tick: Tick,
    /// Wall clock, for ages that somebody asked for.
    pub now: Moment,
    /// Tickets beside which a `.why` explains a refusal.
    pub refusals: &'a BTreeSet<(State, OrderId)>,
    /// A lock file that is known by its inode: that of this instance.
    pub own_lease: Option<(u64, &'a LeaseBody)>,
}

/// Everything the disk says of one id. `before` saves reading what has not changed.
pub fn ticket<W: World>(
    world: &mut W,
    look: &Look<'_>,
    id: &OrderId,
    before: &Ticket,
    arrival: Arrival,
) -> Result<Ticket, Fault> {
    let mut ticket = Ticket {
        attempt: before.attempt.clone(),
        seen: before.seen,
        last_attempt: before.last_attempt,
        requests: before.requests.clone(),
        obstacle: before.obstacle.clone(),
        ..Ticket::default()
    };
    for state in State::ALL {
        ticket.places[state as usize] =
            place(world, look, id, state, before, arrival)?.map(Box::new);
    }
    ticket.lease = lease(world, look, id, before, &ticket)?.map(Box::new);
    ticket.granted = granted(world, id, &ticket)?;
    Ok(ticket)
}

/// A take is granted by the rename of its request; its line may be missing.
fn granted<W: World>(world: &mut W, id: &OrderId, ticket: &Ticket) -> Result<bool, Fault> {
    let attempt = ticket.attempt.as_deref().filter(|a| !a.claimed && a.settled.is_none());
    let Some(attempt) = attempt else { return Ok(false) };
    let Some(file) = &attempt.claim.request else { return Ok(false) };
    Ok(world.stat(&paths::run(id, attempt.number).join(file))?.is_some())
}

fn place<W: World>(
    world: &mut W,
    look: &Look<'_>,
    id: &OrderId,
    state: State,
    before: &Ticket,
    arrival: Arrival,
) -> Result<Option<Place>, Fault> {
    let path = paths::ticket(state, id);
    let Some(stat) = world.stat(&path)? else { return Ok(None) };
    let same =
        |p: &&Place| p.inode == stat.inode && p.size == stat.size && p.mtime_ns == stat.mtime_ns;
    let here = before.place(state).filter(same);
    let known = here.or_else(|| State::ALL.into_iter().find_map(|s| before.place(s).filter(same)));
    let reading = match known.map(|p| &p.reading) {
        Some(Reading::Order(brief)) if state != State::Pending && stamped_here(brief, state) => {
            read(world, look, id, state, &path, stat, false)?
        }
        Some(reading @ Reading::Refused(defects)) if !defects.iter().any(is_of_the_file) => {
            reading.clone()
        }
        Some(reading @ Reading::Order(_)) if here.is_some() || state != State::Pending => {
            reading.clone()
        }
        Some(reading @ Reading::Settled { .. }) if here.is_some() => reading.clone(),
        // Nobody was asked who has it open where it was read: only in `pending/` that matters.
        // What was wrong with the file, its names or its mode, may have gone without a trace in its text.
        Some(Reading::Order(_) | Reading::Settled { .. } | Reading::Refused(_)) => {
            read(world, look, id, state, &path, stat, state == State::Pending)?
        }
        Some(Reading::Settling(_)) | None => {
            // What is written in place must lie unchanged for `settle`; what is renamed is whole at once.
            let since = match known.map(|p| &p.reading) {
                Some(Reading::Settling(at)) => Some(*at),
                _ => None,
            };
            let doubtful = since.is_some() || state == State::Pending;
            let until = since.unwrap_or_else(|| look.tick.after(look.config.settle));
            let young = doubtful && arrival == Arrival::Unsure && look.tick < until;
            if young && stat.kind == Kind::File {
                Reading::Settling(until)
            } else {
                read(world, look, id, state, &path, stat, doubtful)?
            }
        }
    };
    let intake_ns = known.map_or(stat.ctime_ns, |p| p.intake_ns);
    let why = look.refusals.contains(&(state, id.clone()));
    Ok(Some(Place {
        inode: stat.inode,
        size: stat.size,
        mtime_ns: stat.mtime_ns,
        intake_ns,
        uid: stat.uid,
        why,
        reading,
    }))
}

fn stamped_here(brief: &Brief, state: State) -> bool {
    brief.stamp.as_ref().is_some_and(|s| s.state == state)
}

/// Code of what is wrong with the file of a ticket; what it says is wrong by the same code.
const INVALID_FILE: &str = "invalid-ticket";

/// It is about the file and not about what it says.
fn is_of_the_file(defect: &Defect) -> bool {
    defect.code == INVALID_FILE && defect.line == 0
}

/// First word of a `.why` that goes when the ticket is mended.
pub const REFUSAL_MARK: &str = "refused";

/// The tickets beside which a `.why` explains a refusal.
pub fn refusals<W: World>(world: &mut W) -> Result<BTreeSet<(State, OrderId)>, Fault> {
    let mut found = BTreeSet::new();
    for state in [State::Pending, State::Running] {
        for entry in world.list(&paths::dir(state))? {
            let stem = entry.name.to_str().and_then(|n| n.strip_suffix(".yaml.why"));
            let Some(id) = stem.and_then(|s| OrderId::parse(s).ok()) else { continue };
            let text = read_whole(world, &paths::why(state, &id), REQUEST_BYTES_MAX);
            if matches!(text, Ok(Some(t)) if t.bytes.starts_with(REFUSAL_MARK.as_bytes())) {
                found.insert((state, id));
            }
        }
    }
    Ok(found)
}

fn not_a_file(kind: Kind, code: &'static str, of: &str) -> Defect {
    let what = plain::no_file(kind).unwrap_or("a file");
    Defect::whole(code, format!("is {what}; {of} is a regular file"))
}

/// Reads a ticket; a `doubtful` one only while nobody has it open for writing, whoever renamed it.
fn read<W: World>(
    world: &mut W,
    look: &Look<'_>,
    id: &OrderId,
    state: State,
    path: &Path,
    stat: Stat,
    doubtful: bool,
) -> Result<Reading, Fault> {
    let refused = |d: Defect| Ok(Reading::Refused(Box::new([d])));
    if stat.kind != Kind::File {
        return refused(not_a_file(stat.kind, INVALID_FILE, "a work order"));
    }
    if stat.size > TICKET_BYTES_MAX as u64 {
        let text = format!("is {} bytes long; a work order has at most 1 MiB", stat.size);
        return refused(Defect::whole(INVALID_FILE, text));
    }
    if stat.links > 1 && state == State::Pending {
        let text = format!("has {} names (hard links); copy it instead", stat.links);
        return refused(Defect::whole(INVALID_FILE, text));
    }
    let snapshot = match read_whole(world, path, TICKET_BYTES_MAX) {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return Ok(Reading::Settling(look.tick)),
        Err(fault) if fault.is_obstacle() => {
            return refused(Defect::whole(INVALID_FILE, format!("cannot be read: {fault}")));
        }
        Err(fault) => return Err(fault),
    };
    let settle = look.config.settle;
    if doubtful && world.has_writer(&snapshot.file)? == Some(true) {
        let pause = settle.max(crate::model::time::Millis(1000));
        return Ok(Reading::Settling(look.tick.after(pause)));
    }
    // Whoever wrote and closed it meanwhile left another time.
    let now = if doubtful { world.stat(path)? } else { Some(snapshot.stat) };
    if now.is_none_or(|now| now.size != stat.size || now.mtime_ns != stat.mtime_ns) {
        return Ok(Reading::Settling(look.tick.after(settle)));
    }
    Ok(match parse_order(&snapshot.bytes, id.as_str()) {
        Err(defects) => Reading::Refused(defects.into()),
        Ok(parsed) => {
            let brief = brief(&parsed.order, look.config, !parsed.warnings.is_empty());
            if matches!(state, State::Done | State::Failed) && stamped_here(&brief, state) {
                Reading::Settled { attempt: brief.attempt, unverified: unverified(&snapshot.bytes) }
            } else {
                Reading::Order(Box::new(brief))
            }
        }
    })
}

/// The settled ticket says that nothing vouches for it.
fn unverified(bytes: &[u8]) -> bool {
    bytes.split(|b| *b == b'\n').any(|l| {
        l.strip_prefix(b"result:").is_some_and(|v| v.trim_ascii().starts_with(b"unverified"))
    })
}

/// What of an order decides when it runs.
pub fn brief(order: &Order, config: &Config, warned: bool) -> Brief {
    let engine = order.engine.as_ref().is_some_and(|e| config.engines.contains_key(e));
    // An empty own key: a person let go what the order itself holds.
    let hold = order.own.hold.as_ref().or(order.hold.as_ref()).filter(|why| !why.is_empty());
    Brief {
        priority: order.priority,
        deadline: order.deadline,
        not_before: order.not_before,
        retry_at: order.own.retry_at,
        dependencies: order.dependencies.clone().into(),
        group: order.group.as_deref().map(Into::into),
        workspace: order.workspace.clone(),
        hold: hold.map(|h| h.as_str().into()),
        executable: !order.run.is_empty() || engine,
        attempt: order.own.attempt,
        stamp: order.own.settled.clone().map(Box::new),
        warned,
    }
}

fn lease<W: World>(
    world: &mut W,
    look: &Look<'_>,
    id: &OrderId,
    before: &Ticket,
    ticket: &Ticket,
) -> Result<Option<LeaseFact>, Fault> {
    let path = paths::lock(id);
    let Some(stat) = world.stat(&path)? else { return Ok(None) };
    let known = before.lease.as_deref().filter(|l| l.inode == stat.inode).map(|l| &l.body);
    let own = look.own_lease.filter(|(inode, _)| *inode == stat.inode).map(|(_, body)| body);
    let body = match known.or(own) {
        Some(body) => body.clone(),
        None if stat.kind != Kind::File => LeaseBody::Foreign("not a regular file".to_owned()),
        None => match read_whole(world, &path, LEASE_BYTES_MAX) {
            Ok(Some(snapshot)) => LeaseBody::parse(&snapshot.bytes),
            Ok(None) => return Ok(None),
            Err(fault) if fault.is_obstacle() => {
                LeaseBody::Foreign(format!("cannot be read: {fault}"))
            }
            Err(fault) => return Err(fault),
        },
    };
    let holder_dead = match &body {
        LeaseBody::Foreign(_) => false,
        LeaseBody::Ours(lease) => {
            let identity = world.identity();
            lease.host == identity.host
                && (lease.boot != identity.boot
                    || (lease.instance != identity.instance
                        && !world.process_alive(lease.pid, lease.start_time)))
        }
    };
    let asked = ticket.requests.iter().any(|r| r.body.as_ref().is_ok_and(|b| b.takeover));
    let manual = matches!(&body, LeaseBody::Ours(l) if l.mode != LeaseMode::Process);
    let silent_ms = match asked && manual {
        true => Some(signs::silence(world, look, id, ticket, stat)?),
        false => None,
    };
    Ok(Some(LeaseFact { inode: stat.inode, body, holder_dead, silent_ms }))
}

/// The request in a file of `control/`; `before` is what was known of it. `None` for a name that is no
/// request.
pub fn request<W: World>(
    world: &mut W,
    look: &Look<'_>,
    file: &str,
    before: Option<&Request>,
    arrival: Arrival,
    waiting: &mut Option<Tick>,
) -> Result<Option<(OrderId, Request)>, Fault> {
    let since = waiting.take();
    let Some((id, verb, hex)) = parse_request_name(file) else { return Ok(None) };
    let path = Path::new(paths::CONTROL).join(file);
    let Some(stat) = world.stat(&path)? else { return Ok(None) };
    if arrival == Arrival::Unsure && stat.kind == Kind::File {
        let until = since.unwrap_or_else(|| look.tick.after(look.config.settle));
        let file = match world.open(&path) {
            // It was swapped just now, or is not ours to read: its content says which.
            Err(fault) if fault.is_obstacle() => None,
            Ok(None) => return Ok(None),
            opened => opened?,
        };
        let written = match &file {
            Some(file) => world.has_writer(file)? == Some(true),
            None => false,
        };
        if look.tick < until || written {
            *waiting = Some(until.max(look.tick.after(crate::model::time::Millis(1))));
            return Ok(None);
        }
    }
    let Some((body, stat)) = request_body(world, &path, stat)? else { return Ok(None) };
    let why = world.stat(&Path::new(paths::CONTROL).join(format!("{file}.why")))?;
    // A request that was put there again after its refusal is a new one, however old its content is.
    let refused = match before {
        Some(known) => {
            known.refused && (known.inode, known.ctime_ns) == (stat.inode, stat.ctime_ns)
        }
        None => why.is_some_and(|why| why.ctime_ns >= stat.ctime_ns),
    };
    let (by_hand, uid) = (hex.is_none(), stat.uid);
    let (inode, ctime_ns) = (stat.inode, stat.ctime_ns);
    let key = hex.unwrap_or_else(|| hand_key(inode, ctime_ns));
    let (user, file, carried) = (world.user(uid), file.to_owned(), Carried::No);
    let request =
        Request { file, verb, key, by_hand, uid, user, inode, ctime_ns, body, refused, carried };
    Ok(Some((id, request)))
}

/// A request's words, and its file.
type Content = (Result<RequestBody, Defect>, Stat);

/// What a request says, and the file that says it, as it was when it was read: `stat` was before it was known
/// that nobody writes it. `None`: it was taken back meanwhile.
fn request_body<W: World>(
    world: &mut W,
    path: &Path,
    stat: Stat,
) -> Result<Option<Content>, Fault> {
    let refused = |defect| Ok(Some((Err(defect), stat)));
    if stat.kind != Kind::File {
        return refused(not_a_file(stat.kind, "invalid-request", "a request"));
    }
    if stat.size > REQUEST_BYTES_MAX as u64 {
        return refused(Defect::whole("invalid-request", "is longer than 64 KiB"));
    }
    match read_whole(world, path, REQUEST_BYTES_MAX) {
        Ok(Some(snapshot)) => Ok(Some((parse_request(&snapshot.bytes), snapshot.stat))),
        Ok(None) => Ok(None),
        Err(fault) if fault.is_obstacle() => {
            refused(Defect::whole("invalid-request", format!("cannot be read: {fault}")))
        }
        Err(fault) => Err(fault),
    }
}
