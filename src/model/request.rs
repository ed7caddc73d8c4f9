//! stub
use super::id::OrderId;
use super::defect::Defect;
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verb { Take, Finish, Cancel, Requeue, Hold, Unhold }
impl Verb {
    pub const ALL: [Self; 6] = [Self::Take, Self::Finish, Self::Cancel, Self::Requeue, Self::Hold, Self::Unhold];
    pub const fn name(self) -> &'static str { match self { Self::Take=>"take", Self::Finish=>"finish", Self::Cancel=>"cancel", Self::Requeue=>"requeue", Self::Hold=>"hold", Self::Unhold=>"unhold" } }
    pub fn parse(w: &str) -> Option<Self> { Self::ALL.into_iter().find(|v| v.name()==w) }
}
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequestBody { pub reason: Option<String>, pub as_: Option<String>, pub force: bool, pub skip_verification: bool, pub takeover: bool, pub stop: bool }
pub fn parse_request(_b: &[u8]) -> Result<RequestBody, Defect> { Ok(RequestBody::default()) }
pub fn parse_request_name(_n: &str) -> Option<(OrderId, Verb, Option<String>)> { None }
