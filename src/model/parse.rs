//! stub
use super::order::Order; use super::defect::Defect;
pub struct Parsed { pub order: Order, pub warnings: Vec<Defect> }
pub fn parse_order(_b: &[u8], _s: &str) -> Result<Parsed, Vec<Defect>> { Err(vec![]) }
