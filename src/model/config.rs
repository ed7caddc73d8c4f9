//! The configuration.
/// x
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unsatisfiable {
    /// h
    #[default]
    Hold,
    /// s
    Skip,
    /// f
    Fail,
}
#[derive(Clone, Debug, Default)]
pub struct Config { pub settle: super::time::Millis, pub engines: std::collections::BTreeMap<String, Engine> }
#[derive(Clone, Debug, Default)]
pub struct Engine { pub command: String }
